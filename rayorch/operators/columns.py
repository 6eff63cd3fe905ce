"""Columns as the engine carries them, and back: every type comes out as it went in.

DuckDB knows one unit of time with a zone, one kind of text and no dictionaries, and its names do
not tell upper from lower case. So columns travel under positional names, and what the engine would
change travels as its storage: times as integers, dictionaries as their values.
"""

from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.types as pt

from rayorch.errors import SpecError

_TIMES: Final = {32: pa.int32(), 64: pa.int64()}
_DECIMAL128_DIGITS: Final = 38


def carried_type(type_: pa.DataType) -> pa.DataType:
    """Return the type under which the engine carries values of a type, without loss.

    Raises: SpecError, for a type that it cannot carry.
    """
    if pt.is_nested(type_):
        return _carried_nested(type_)
    if pt.is_dictionary(type_):
        return carried_type(type_.value_type)
    if pt.is_temporal(type_) and not pt.is_interval(type_):
        return _TIMES[type_.bit_width]
    if pt.is_large_string(type_) or pt.is_string_view(type_):
        return pa.string()
    if pt.is_large_binary(type_) or pt.is_binary_view(type_) or pt.is_fixed_size_binary(type_):
        return pa.binary()
    return _carried_number(type_)


def _carried_number(type_: pa.DataType) -> pa.DataType:
    if pt.is_null(type_):
        return pa.int8()
    if pt.is_float16(type_):
        return pa.float32()
    if pt.is_decimal256(type_):
        return pa.string()
    if pt.is_decimal(type_):
        return pa.decimal128(type_.precision, type_.scale)
    plain = pt.is_integer(type_) or pt.is_floating(type_) or pt.is_boolean(type_)
    if plain or pt.is_string(type_) or pt.is_binary(type_):
        return type_
    raise SpecError(
        "a relational operator cannot carry a column of this type",
        value=str(type_),
        fix="cast or drop the column before it",
    )


def _carried_nested(type_: pa.DataType) -> pa.DataType:
    if pt.is_list(type_) or pt.is_large_list(type_):
        return pa.list_(_carried_field(type_.value_field))
    if pt.is_fixed_size_list(type_):
        return pa.list_(_carried_field(type_.value_field), type_.list_size)
    if pt.is_struct(type_) and type_.num_fields:
        return pa.struct([_carried_field(field) for field in type_])
    if pt.is_map(type_):
        return pa.map_(carried_type(type_.key_type), _carried_field(type_.item_field))
    raise SpecError(
        "a relational operator cannot carry a column of this type",
        value=str(type_),
        fix="cast or drop the column before it",
    )


def _carried_field(field: pa.Field) -> pa.Field:
    return field.with_type(carried_type(field.type))


def carried_schema(schema: pa.Schema, prefix: str) -> pa.Schema:
    """Return the schema under positional names: the prefix and the column's index."""
    return pa.schema(
        [pa.field(f"{prefix}{i}", carried_type(field.type)) for i, field in enumerate(schema)]
    )


def carried(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table as the engine carries it; schema is of `carried_schema`."""
    assert table.num_columns == len(schema)
    columns = [_cast(column, schema.field(i).type) for i, column in enumerate(table.columns)]
    return pa.Table.from_arrays(columns, schema=schema)


def restored(columns: Sequence[pa.ChunkedArray], schema: pa.Schema) -> pa.Table:
    """Return what came out of the engine with the types of the schema."""
    typed = [_cast(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(typed, schema=schema)


def _cast(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    if column.type.equals(type_):
        return column
    if pt.is_null(type_):
        return pa.chunked_array([pa.nulls(len(column))])
    if pt.is_dictionary(type_) and pt.is_null(type_.value_type):
        places = pa.nulls(len(column), type_.index_type)
        return pa.chunked_array([pa.DictionaryArray.from_arrays(places, pa.nulls(0))])
    return column.cast(type_)
