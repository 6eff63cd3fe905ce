"""What the public face needs to turn a user's arguments into parts of a spec."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from connectors.errors import BadUrlError
from connectors.formats.registry import FORMATS
from connectors.url import parse_url, split_glob
from rayorch.conventions import check_extra
from rayorch.errors import SpecError, near_miss
from rayorch.expressions import parsed_expression
from rayorch.spec.fields import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PACKAGE: Final = str(Path(__file__).parent)


@contextmanager
def located(pipeline: str, transform: str, where: str) -> Iterator[None]:
    """Tell a SpecError that passes where it happened."""
    try:
        yield
    except SpecError as error:
        raise error.located(pipeline, transform, where) from None


def caller_place() -> str:
    """Return the file and line that called rayorch, or nothing."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""


def absolute_url(url: object) -> str:
    """Return the URL as every process of a run understands it, whatever folder it is in.

    Raises: SpecError.
    """
    if not isinstance(url, str | Path):
        raise SpecError("a URL must be text", field="url", value=shown(url))
    try:
        return parse_url(str(url)).url
    except BadUrlError as error:
        raise SpecError(f"not a URL: {error.reason}", field="url", value=repr(error.url)) from None


def place_to_write(url: object) -> str:
    """Return the absolute URL of an output.

    Raises: SpecError, also for a wildcard: whoever reads the output would look for a pattern.
    """
    place = absolute_url(url)
    if split_glob(place)[1]:
        raise SpecError(
            "an output's place cannot hold a wildcard (*, ? or [)", field="url", value=repr(url)
        )
    return place


def checked_format(name: object) -> str | None:
    """Return the name of a format that can be read and written.

    Raises: SpecError, with a near miss.
    """
    if name is None or (isinstance(name, str) and name in FORMATS):
        return name
    known = f"known formats: {', '.join(FORMATS)}"
    fix = (near_miss(name, FORMATS) if isinstance(name, str) else "") or known
    raise SpecError("unknown format", field="format", value=shown(name), fix=fix)


def expression_of(given: object, field: str) -> pc.Expression:
    """Return an Arrow expression from one, or from its text.

    Raises: SpecError.
    """
    if isinstance(given, pc.Expression):
        return given
    if not isinstance(given, str):
        fix = "use pc.field('x') > 1, or text such as 'x > 1'"
        if callable(given):
            fix = f"{fix}\nfor a function of your own, use .map"
        raise SpecError(
            "an expression must be a pyarrow.compute.Expression or text",
            field=field,
            value=shown(given),
            fix=fix,
        )
    try:
        return parsed_expression(given)
    except SpecError as error:
        raise SpecError(error.problem, field=field, value=repr(given), fix=error.fix) from None


def selection(
    columns: Sequence[str] | Mapping[str, pc.Expression | str],
) -> tuple[tuple[tuple[str, pc.Expression], ...], tuple[str, ...] | None]:
    """Return (new name, expression) pairs, and the columns they take when none is computed.

    Raises: SpecError.
    """
    if isinstance(columns, str):
        raise SpecError(
            "columns must be a list or a mapping",
            field="columns",
            value=repr(columns),
            fix=f"write [{columns!r}]",
        )
    if not isinstance(columns, Mapping):
        names = tuple(columns)
        given: tuple[object, ...] = names  # Whatever its author passed.
        bad = [name for name in given if not isinstance(name, str)]
        if bad:
            fix = "a computed column needs a name: {'name': expression}"
            raise SpecError(
                "a column must be named by text", field="columns", value=shown(bad[0]), fix=fix
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SpecError("a column is selected twice", field="columns", value=repr(twice[0]))
        return tuple((name, pc.field(name)) for name in names), names
    pairs = tuple(
        (name, expression_of(given, f"columns.{name}")) for name, given in columns.items()
    )
    sources = tuple(_plain_column(given) for given in columns.values())
    plain = tuple(name for name in sources if name is not None)
    return pairs, plain if len(plain) == len(sources) else None


def _plain_column(given: object) -> str | None:
    """Return the column that text names, when it does nothing but name one."""
    if not isinstance(given, str):
        return None
    name = given.strip()
    name = name[1:-1] if name.startswith('"') and name.endswith('"') else name
    return name if parsed_expression(given).equals(pc.field(name)) else None


def checked_schema(schema: object) -> pa.Schema | None:
    """Return the declared schema of a result.

    Raises: SpecError.
    """
    if schema is None or isinstance(schema, pa.Schema):
        return schema
    fix = 'for example pa.schema({"id": pa.int64()})'
    raise SpecError("a schema must be a pa.Schema", field="schema", value=shown(schema), fix=fix)


def checked_query(query: object) -> str:
    """Return the query, when it is one SELECT that reads from `input`.

    Raises: SpecError.
    """
    if not isinstance(query, str):
        raise SpecError("a query must be text", field="query", value=shown(query))
    check_extra("duckdb", "sql", "an SQL transform")
    import duckdb  # noqa: PLC0415 - 0.1 s that only users of SQL should pay.

    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise SpecError("the query cannot be parsed", field="query", fix=str(error)) from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        problem = f"a query must be one SELECT, this is {len(statements)} statements"
        if len(statements) == 1:
            problem = f"a query must be a SELECT, this is {statements[0].type.name}"
        raise SpecError(problem, field="query", value=shown(query))
    if "input" not in query.lower():
        raise SpecError(
            "a query must read from the relation `input`",
            field="query",
            value=shown(query),
            fix="for example: select * from input where qty > 10",
        )
    return query
