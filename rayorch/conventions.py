"""How a user's function wants its rows, read from its signature."""

import functools
import importlib.util
import inspect
from collections.abc import Callable
from typing import Final

from rayorch.closures import unwrapped
from rayorch.errors import SpecError
from rayorch.relational import Convention

# (top package, class): the classes live in different modules in different versions.
_BY_CLASS: Final[dict[tuple[str, str], Convention]] = {
    ("pyarrow", "Table"): "arrow",
    ("pyarrow", "RecordBatch"): "batch",
    ("pandas", "DataFrame"): "pandas",
    ("polars", "DataFrame"): "polars",
    ("duckdb", "DuckDBPyRelation"): "duckdb",
    ("_duckdb", "DuckDBPyRelation"): "duckdb",
}
# What people write in quotes, or import for type checkers alone.
_BY_TEXT: Final[dict[str, Convention]] = {
    **{f"{package}.{name}": kind for (package, name), kind in _BY_CLASS.items()},
    "pa.Table": "arrow",
    "pa.RecordBatch": "batch",
    "pd.DataFrame": "pandas",
    "pl.DataFrame": "polars",
    # These say nothing, as no annotation does.
    "object": "arrow",
    "typing.Any": "arrow",
    "Any": "arrow",
}
_EXTRA: Final[dict[Convention, tuple[str, str]]] = {
    "pandas": ("pandas", "pandas"),
    "polars": ("polars", "polars"),
    "duckdb": ("duckdb", "sql"),
}
_SUPPORTED: Final = (
    "supported: pa.Table, pa.RecordBatch, pandas.DataFrame, polars.DataFrame, "
    "duckdb.DuckDBPyRelation"
)


def convention_of(function: Callable[..., object]) -> Convention:
    """Return how the function takes its rows: by the annotation of its parameter, else Arrow.

    Raises: SpecError, when it does not take exactly one table or an annotation is not supported.
    """
    _check_callable(function)
    try:
        signature = inspect.signature(function)
    except ValueError:  # a builtin that does not tell: it is called with one table, as any other
        return "arrow"
    parameter = _only_parameter(signature)
    annotations = _resolved(function)
    if "return" in annotations:
        _convention(annotations["return"], "annotation of the result")
    if parameter.name not in annotations:
        return "arrow"
    return _convention(annotations[parameter.name], f"annotation of {parameter.name!r}")


def check_extra(library: str, extra: str, needed_for: str) -> None:
    """Refuse an optional library that is not installed.

    Raises: SpecError, with the command that installs it.
    """
    if importlib.util.find_spec(library) is None:
        raise SpecError(
            f"{needed_for} needs {library}, which is not installed",
            fix=f"pip install 'rayorch[{extra}]'",
        )


def _check_callable(function: object) -> None:
    if isinstance(function, type):
        raise SpecError(
            "a transform must be a function or an object that can be called, not a class",
            field="function",
            value=function.__qualname__,
            fix=f"pass an instance: {function.__name__}(...)",
        )
    if not callable(function):
        raise SpecError(
            "a transform must be a function", field="function", value=type(function).__name__
        )
    plain = unwrapped(function)
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        raise SpecError(
            "a transform cannot be async",
            field="function",
            value=_label(function),
            fix="use def; call asyncio.run inside it if need be",
        )
    if inspect.isgeneratorfunction(plain):
        raise SpecError(
            "a transform returns one table and cannot be a generator",
            field="function",
            value=_label(function),
            fix="return pa.concat_tables([...]) instead of yielding",
        )


def _only_parameter(signature: inspect.Signature) -> inspect.Parameter:
    positional = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    parameters = list(signature.parameters.values())
    variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    needed = [
        item
        for item in parameters
        if item.default is inspect.Parameter.empty and item.kind not in variadic
    ]
    first = parameters[0] if parameters and parameters[0].kind in positional else None
    if first is None or any(item is not first for item in needed):
        fix = (
            "bind the others: functools.partial(function, other=...), or give them defaults"
            if first is not None
            else "add a parameter: def f(table: pa.Table) -> pa.Table"
        )
        raise SpecError(
            f"a transform takes exactly one table, this function needs {len(needed)} arguments",
            field="function",
            value=str(signature),
            fix=fix,
        )
    return first


def _resolved(function: Callable[..., object]) -> dict[str, object]:
    """Return annotations with strings resolved where they can be, else as strings."""
    while isinstance(function, functools.partial):
        function = function.func
    plain = unwrapped(function)
    if plain is None:
        return {}
    resolved: dict[str, object] = dict(inspect.get_annotations(plain))
    for name, annotation in resolved.items():
        if not isinstance(annotation, str):
            continue
        try:
            resolved[name] = eval(annotation, plain.__globals__)  # noqa: S307 - as inspect does.
        # The text is other people's code; what it names may be imported for type checkers alone.
        except Exception:
            resolved[name] = annotation
    return resolved


def _convention(annotation: object, field: str) -> Convention:
    text = _annotation_text(annotation)
    found = _BY_TEXT.get(text)
    if isinstance(annotation, type):
        key = (annotation.__module__.partition(".")[0], annotation.__name__)
        found = _BY_CLASS.get(key, found)
    if found is None:
        fix = _SUPPORTED
        if text.endswith("LazyFrame"):
            fix = f"collect() it inside the function\n{_SUPPORTED}"
        if annotation is None:
            fix = (
                f"return a table, even an empty one; the dataset can be .discard()ed\n{_SUPPORTED}"
            )
        raise SpecError("unsupported annotation", field=field, value=text, fix=fix)
    if found in _EXTRA:
        library, extra = _EXTRA[found]
        check_extra(library, extra, f"the {field} ({text})")
    return found


def _annotation_text(annotation: object) -> str:
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type):
        return f"{annotation.__module__}.{annotation.__qualname__}".removeprefix("builtins.")
    return str(annotation)


def _label(function: object) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))
