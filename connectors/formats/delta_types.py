"""Arrow types as Delta holds them: cast where nothing is lost, refused where something would be.

delta-rs would take uint8 as int8 and drop the zone of a timestamp without a word, so nothing
reaches it that is not already one of Delta's own types.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.types as pt

from connectors.data_errors import UnsupportedTypeError
from connectors.schema import DECIMAL128_DIGITS

DELTA: Final = "Delta"
# Digits of the largest uint64.
UINT64_DIGITS: Final = 20
_SAME: Final = frozenset(
    [
        pa.int8(),
        pa.int16(),
        pa.int32(),
        pa.int64(),
        pa.float32(),
        pa.float64(),
        pa.bool_(),
        pa.string(),
        pa.binary(),
        pa.date32(),
    ]
)
_WIDER: Final = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(UINT64_DIGITS, 0),
    pa.float16(): pa.float32(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.date64(): pa.date32(),
}


def delta_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema with Delta's types; a column of nulls stays one.

    Raises: UnsupportedTypeError, naming the column.
    """
    return pa.schema(
        [field if pt.is_null(field.type) else _delta_field(field, field.name) for field in schema]
    )


def delta_table(table: pa.Table) -> pa.Table:
    """Return the table with Delta's types. Raises: UnsupportedTypeError."""
    wanted = delta_schema(table.schema)
    if wanted.equals(table.schema):
        return table
    columns = []
    for column, field in zip(table.columns, wanted, strict=True):
        try:
            columns.append(column if column.type == field.type else _cast(column, field.type))
        except pa.ArrowInvalid as error:
            advice = f"cast it in the transform ({error})"
            raise UnsupportedTypeError(DELTA, field.name, str(column.type), advice) from error
    return pa.Table.from_arrays(columns, schema=wanted)


def _cast(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column if column.type == type_ else column.cast(type_)


def _delta_field(field: pa.Field, column: str) -> pa.Field:
    return pa.field(field.name, _delta_type(field.type, column), field.nullable)


def _delta_type(type_: pa.DataType, column: str) -> pa.DataType:
    if type_ in _SAME or type_ in _WIDER:
        return _WIDER.get(type_, type_)
    if pt.is_dictionary(type_):
        return _delta_type(type_.value_type, column)
    if pt.is_timestamp(type_):
        # Delta keeps instants, in UTC, and times without a zone; both in microseconds.
        return pa.timestamp("us", "UTC" if type_.tz else None)
    if pt.is_fixed_size_binary(type_):
        return pa.binary()
    if pt.is_decimal(type_) and type_.precision <= DECIMAL128_DIGITS:
        return pa.decimal128(type_.precision, type_.scale)
    return _delta_nested(type_, column)


def _delta_nested(type_: pa.DataType, column: str) -> pa.DataType:
    if pt.is_struct(type_):
        return pa.struct([_delta_field(field, column) for field in type_])
    if pt.is_map(type_):
        return pa.map_(_delta_type(type_.key_type, column), _delta_type(type_.item_type, column))
    if pt.is_list(type_) or pt.is_large_list(type_) or pt.is_fixed_size_list(type_):
        return pa.list_(pa.field("element", _delta_type(type_.value_type, column)))
    advice = "give it a type in the transform" if pt.is_null(type_) else _advice(type_)
    raise UnsupportedTypeError(DELTA, column, str(type_), advice)


def _advice(type_: pa.DataType) -> str:
    plain = "string" if pt.is_time(type_) or pt.is_decimal(type_) else "a plain type"
    return f"cast it to {'int64' if pt.is_duration(type_) else plain} in the transform"
