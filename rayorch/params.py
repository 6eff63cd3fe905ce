"""Parameters of a pipeline file: values with a default, which `--set name=value` replaces."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date
from typing import TypeVar, cast

from rayorch.errors import SpecError, near_miss

ParamType = str | int | float | bool | date
Value = TypeVar("Value", bound=ParamType)


class ParamScope:
    """The values given from outside, and what the pipeline file asked for."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.given = dict(given)
        self.used: dict[str, str | int | float | bool] = {}

    def check_all_used(self, pipeline: str) -> None:
        """Refuse a given value that nothing asked for.

        Raises: SpecError, with the nearest parameter.
        """
        for name, value in self.given.items():
            if name not in self.used:
                known = ", ".join(sorted(self.used)) or "none"
                raise SpecError(
                    "unknown parameter",
                    pipeline,
                    field=f"--set {name}",
                    value=repr(value),
                    fix=near_miss(name, self.used) or f"known parameters: {known}",
                )


_scope: ContextVar[ParamScope] = ContextVar("rayorch_params", default=ParamScope({}))  # noqa: B039


def current_scope() -> ParamScope:
    """Return the scope that `param` reads and records into."""
    return _scope.get()


@contextmanager
def param_scope(given: Mapping[str, str]) -> Iterator[ParamScope]:
    """Make `param` read these values while a pipeline file is loaded."""
    scope = ParamScope(given)
    token = _scope.set(scope)
    try:
        yield scope
    finally:
        _scope.reset(token)


def param(name: str, default: Value) -> Value:
    """Return the value of a parameter: of `--set name=value`, else the default.

    Text is read as the type of the default. Value and name are recorded with the run.

    Raises: SpecError, when the text is no such value.
    """
    scope = _scope.get()
    if name not in scope.given:
        scope.used[name] = default.isoformat() if isinstance(default, date) else default
        return default
    text = scope.given[name]
    scope.used[name] = text
    try:
        return cast("Value", _read(text, default))
    except ValueError:
        kind = type(default).__name__
        raise SpecError(
            f"a parameter must be {'an' if kind[0] in 'aeiou' else 'a'} {kind}",
            field=f"--set {name}",
            value=repr(text),
        ) from None


def _read(text: str, default: ParamType) -> ParamType:
    if isinstance(default, bool):
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.lower() not in words:
            raise ValueError(text)
        return words[text.lower()]
    if isinstance(default, date):
        return type(default).fromisoformat(text)
    return type(default)(text)
