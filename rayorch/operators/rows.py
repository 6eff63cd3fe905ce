"""Queries of the operators that keep rows: join, as-of join, sort, dedupe, window."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import pyarrow as pa
import pyarrow.types as pt

from rayorch.errors import SpecError
from rayorch.operators.columns import carried_type
from rayorch.operators.engine import SEQUENCE
from rayorch.operators.kernel import Room, SqlKernel
from rayorch.relational import (
    AsofCode,
    DedupeCode,
    JoinCode,
    SortCode,
    SortKey,
    WindowCode,
    WindowColumn,
)

_UNITS: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_MIRRORED: Final = {"inner": "INNER", "left": "RIGHT", "right": "LEFT", "full": "FULL"}


def names(schema: pa.Schema, prefix: str = "c") -> dict[str, str]:
    """Return under what name the engine knows each column."""
    return {name: f"{prefix}{i}" for i, name in enumerate(schema.names)}


def ordering(keys: Sequence[SortKey], columns: dict[str, str]) -> list[str]:
    """Return the terms of an ORDER BY."""
    return [
        f"{columns[key.column]} {'DESC' if key.descending else 'ASC'} "
        f"NULLS {'FIRST' if key.nulls_first else 'LAST'}"
        for key in keys
    ]


def sort_key(terms: Sequence[str]) -> str:
    """Return the expression that gives a row's place in an order as bytes.

    terms: as of an ORDER BY. The last one, always the same, is because DuckDB makes of a few short
    columns an integer instead.
    """
    pairs = (term.rsplit(" ", 3) for term in [*terms, "''::BLOB ASC NULLS LAST"])
    parts = (f"{value}, '{' '.join(how)}'" for value, *how in pairs)
    return f"create_sort_key({', '.join(parts)})"


def sort_kernel(code: SortCode, schema: pa.Schema, room: Room) -> SqlKernel:
    """Return the kernel that yields all rows in order."""
    columns = names(schema)
    terms = ordering(code.keys, columns) + ([SEQUENCE] if code.deterministic else [])
    sql = f"SELECT {', '.join(columns.values())} FROM l ORDER BY {', '.join(terms)}"
    return SqlKernel(
        sides=(schema,), schema=schema, sql=sql, room=room, numbered=code.deterministic
    )


def dedupe_kernel(code: DedupeCode, schema: pa.Schema, room: Room) -> SqlKernel:
    """Return the kernel that keeps one row per key."""
    columns = names(schema)
    by = ", ".join(columns[name] for name in code.by or schema.names)
    terms = ordering(code.order, columns) + ([SEQUENCE] if code.deterministic else [])
    order = f" ORDER BY {', '.join(terms)}" if terms else ""
    sql = (
        f"SELECT {', '.join(columns.values())} FROM l "
        f"QUALIFY row_number() OVER (PARTITION BY {by}{order}) = 1"
    )
    return SqlKernel(
        sides=(schema,), schema=schema, sql=sql, room=room, numbered=code.deterministic
    )


def join_kernel(code: JoinCode, sides: tuple[pa.Schema, ...], room: Room) -> SqlKernel:
    """Return the kernel that pairs rows, built on the smaller side where that is free to choose."""
    left, right = sides
    lefts, rights = names(left), names(right, "d")
    on = " AND ".join(
        f"l.{lefts[a]} = r.{rights[b]}" for a, b in zip(code.left_on, code.right_on, strict=True)
    )
    _check_comparable(code, left, right)
    if code.how in {"semi", "anti"}:
        sql = f"SELECT l.* FROM l {code.how.upper()} JOIN r ON {on}"
        return SqlKernel(sides=sides, schema=left, sql=sql, room=room)
    taken = [f"l.{name}" for name in lefts.values()]
    if code.how in {"right", "full"}:
        for a, b in zip(code.left_on, code.right_on, strict=True):
            at = left.names.index(a)
            # Of the left's type: what the two sides are compared in may be wider.
            key = f"CASE WHEN l.{lefts[a]} IS NULL THEN r.{rights[b]} ELSE l.{lefts[a]} END"
            taken[at] = f"{key} AS c{at}"
    kept = [name for name in right.names if name not in code.right_on]
    taken += [f"r.{rights[name]}" for name in kept]
    select = f"SELECT {', '.join(taken)} FROM"
    return SqlKernel(
        sides=sides,
        schema=_joined(left, right, kept, code.suffix, code.how),
        sql=f"{select} l {code.how.upper()} JOIN r ON {on}",
        sql_left_small=f"{select} r {_MIRRORED[code.how]} JOIN l ON {on}",
        room=room,
    )


def _check_comparable(code: JoinCode, left: pa.Schema, right: pa.Schema) -> None:
    for a, b in zip(code.left_on, code.right_on, strict=True):
        x, y = left.field(a).type, right.field(b).type
        if (pt.is_temporal(x) or pt.is_temporal(y)) and not x.equals(y):
            raise SpecError(
                "keys of a join have different types", field=f"{a} = {b}", value=f"{x} and {y}"
            )


def _joined(
    left: pa.Schema, right: pa.Schema, kept: Sequence[str], suffix: str, how: str
) -> pa.Schema:
    """Return the columns of both sides, nullable where a side may be absent."""
    taken = set(left.names)
    fields = [field.with_nullable(True) if how in {"right", "full"} else field for field in left]
    for name in kept:
        field = right.field(name)
        field = field.with_name(name + suffix if name in taken else name)
        fields.append(field.with_nullable(True) if how in {"left", "full"} else field)
    return pa.schema(fields)


def asof_kernel(code: AsofCode, sides: tuple[pa.Schema, ...], room: Room) -> SqlKernel:
    """Return the kernel that gives every left row the nearest right row in time."""
    left, right = sides
    lefts, rights = names(left), names(right, "d")
    kept = [name for name in right.names if name not in code.right_by]
    pairs = zip(code.left_by, code.right_by, strict=True)
    by = "".join(f"l.{lefts[a]} = x.{rights[b]} AND " for a, b in pairs)
    at, time = f"l.{lefts[code.left_on]}", rights[code.right_on]
    back = _one_sided(code, rights, "DESC")
    ahead = _one_sided(code, rights, "ASC")
    found = [rights[name] for name in kept]
    if code.direction == "nearest":
        return _nearest(code, sides, room)
    source, sign = (back, ">=") if code.direction == "backward" else (ahead, "<=")
    near = _within(code, left, at, f"x.{time}")
    columns = ", ".join([f"l.{c}" for c in lefts.values()] + [_if(near, f"x.{c}") for c in found])
    sql = f"SELECT {columns} FROM l ASOF LEFT JOIN {source} x ON {by}{at} {sign} x.{time}"
    schema = _joined(left, right, kept, code.suffix, "left")
    return SqlKernel(sides=sides, schema=schema, sql=sql, room=room, numbered=True)


def _nearest(code: AsofCode, sides: tuple[pa.Schema, ...], room: Room) -> SqlKernel:
    """Join both ways, then take the closer one; the right side is kept, as it is read twice."""
    left, right = sides
    lefts, rights = names(left), names(right, "d")
    kept = [name for name in right.names if name not in code.right_by]
    pairs = list(zip(code.left_by, code.right_by, strict=True))
    at, time = f"l.{lefts[code.left_on]}", rights[code.right_on]
    joins = "".join(
        f" ASOF LEFT JOIN {alias} ON "
        + "".join(f"l.{lefts[a]} = {alias}.{rights[b]} AND " for a, b in pairs)
        + f"{at} {sign} {alias}.{time}"
        for alias, sign in (("x", ">="), ("y", "<="))
    )
    ahead = f"(x.{time} IS NULL OR y.{time} - {at} < {at} - x.{time}) AND y.{time} IS NOT NULL"
    near_x, near_y = (_within(code, left, at, f"{alias}.{time}") for alias in "xy")
    taken = [
        f"CASE WHEN {ahead} THEN {_if(near_y, f'y.{c}')} ELSE {_if(near_x, f'x.{c}')} END"
        for c in (rights[name] for name in kept)
    ]
    columns = ", ".join([f"l.{c}" for c in lefts.values()] + taken)
    sql = (
        f"WITH s AS MATERIALIZED (SELECT * FROM r), "
        f"x AS (SELECT * FROM {_one_sided(code, rights, 'DESC', 's')}), "
        f"y AS (SELECT * FROM {_one_sided(code, rights, 'ASC', 's')}) "
        f"SELECT {columns} FROM l{joins}"
    )
    schema = _joined(left, right, kept, code.suffix, "left")
    return SqlKernel(sides=sides, schema=schema, sql=sql, room=room, numbered=True)


def _one_sided(code: AsofCode, rights: dict[str, str], arrival: str, source: str = "r") -> str:
    """Return the right side with one row per key and time: the last to arrive, or the first."""
    by = ", ".join(rights[name] for name in (*code.right_by, code.right_on))
    return (
        f"(SELECT * FROM {source} WHERE {rights[code.right_on]} IS NOT NULL "
        f"QUALIFY row_number() OVER (PARTITION BY {by} ORDER BY {SEQUENCE} {arrival}) = 1)"
    )


def _within(code: AsofCode, left: pa.Schema, at: str, time: str) -> str | None:
    if code.tolerance is None:
        return None
    bound: int | float
    if isinstance(code.tolerance, timedelta):
        bound = _ticks(code.tolerance, left.field(code.left_on).type)
    else:
        bound = code.tolerance
    return f"greatest({at}, {time}) - least({at}, {time}) <= {bound}"


def _ticks(tolerance: timedelta, type_: pa.DataType) -> int:
    """Return the tolerance in the unit in which the engine carries the times."""
    if pt.is_date32(type_):
        return tolerance // timedelta(days=1)
    unit = "ms" if pt.is_date64(type_) else type_.unit
    return (tolerance // timedelta(microseconds=1)) * _UNITS[unit] // 10**6


def _if(condition: str | None, value: str) -> str:
    return value if condition is None else f"CASE WHEN {condition} THEN {value} END"


def window_kernel(code: WindowCode, schema: pa.Schema, room: Room) -> SqlKernel:
    """Return the kernel that gives every row its further columns."""
    columns = names(schema)
    parts = [f"PARTITION BY {', '.join(columns[name] for name in code.by)}"] if code.by else []
    order = ordering(code.order, columns)
    parts += [f"ORDER BY {', '.join(order)}"] if order else []
    made = [_window_column(column, schema, columns) for column in code.columns]
    taken = [*columns.values(), *(sql for sql, _ in made)]
    fields = [pa.field(c.name, type_) for c, (_, type_) in zip(code.columns, made, strict=True)]
    sql = (
        f"SELECT {', '.join(taken)} FROM l "
        f"WINDOW w AS ({' '.join(parts)} ROWS UNBOUNDED PRECEDING), o AS ({' '.join(parts)})"
    )
    return SqlKernel(sides=(schema,), schema=pa.schema([*schema, *fields]), sql=sql, room=room)


def _window_column(
    column: WindowColumn, schema: pa.Schema, columns: dict[str, str]
) -> tuple[str, pa.DataType]:
    """Return the expression and the type of its values."""
    if not column.column:
        call = "count(*)" if column.function == "count" else f"{column.function}()"
        return f"{call} OVER {'w' if column.function == 'count' else 'o'}", pa.int64()
    source, type_ = columns[column.column], schema.field(column.column).type
    match column.function:
        case "lag" | "lead":
            offset = column.args[0] if column.args else 1
            value = _literal(column.args[1] if len(column.args) > 1 else None, type_)
            return f"{column.function}({source}, {offset}, {value}) OVER o", type_
        case "sum":
            total = sum_type(type_)
            return f"(sum({source}) OVER w)::{sql_type(total)}", total
        case "mean":
            return f"avg({source}) OVER w", pa.float64()
        case "count":
            return f"count({source}) OVER w", pa.int64()
        case _:
            return f"{column.function}({source}) OVER w", type_


def _literal(value: object, type_: pa.DataType) -> str:
    """Return a value of a column's type as the engine reads it."""
    if value is None:
        return "NULL"
    scalar = pa.scalar(value, type_.value_type if pt.is_dictionary(type_) else type_)
    plain = scalar.cast(carried_type(type_)).as_py()
    if isinstance(plain, bytes):
        return "'" + "".join(f"\\x{byte:02X}" for byte in plain) + "'::BLOB"
    text = str(plain).replace("'", "''")
    return f"'{text}'::{sql_type(carried_type(type_))}"


def sum_type(type_: pa.DataType) -> pa.DataType:
    """Return the type of a sum of values of a type."""
    if pt.is_unsigned_integer(type_):
        return pa.uint64()
    if pt.is_integer(type_) or pt.is_boolean(type_):
        return pa.int64()
    if pt.is_decimal(type_) and not pt.is_decimal256(type_):
        return pa.decimal128(38, type_.scale)
    if pt.is_floating(type_):
        return pa.float64()
    if pt.is_duration(type_):
        return type_
    raise SpecError("a column of this type has no sum and no mean", value=str(type_))


def sql_type(type_: pa.DataType) -> str:
    """Return the engine's name of a type that it carries."""
    carried = carried_type(type_)
    if pt.is_decimal(carried):
        return f"DECIMAL({carried.precision},{carried.scale})"
    plain = {
        "bool": "BOOLEAN",
        "int8": "TINYINT",
        "int16": "SMALLINT",
        "int32": "INTEGER",
        "int64": "BIGINT",
        "uint8": "UTINYINT",
        "uint16": "USMALLINT",
        "uint32": "UINTEGER",
        "uint64": "UBIGINT",
        "float": "FLOAT",
        "double": "DOUBLE",
        "string": "VARCHAR",
        "binary": "BLOB",
    }
    name = plain.get(str(carried))
    if name is None:
        raise SpecError("not supported by this function", value=str(type_))
    return name
