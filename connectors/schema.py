"""Schemas that several files share: unified where nothing is lost, refused where something is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import pyarrow as pa
import pyarrow.types as pt

from connectors.data_errors import OutputSchemaConflictError, SchemaConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

UNITS: Final = ("s", "ms", "us", "ns")
DECIMAL128_DIGITS: Final = 38
DECIMAL256_DIGITS: Final = 76
# The widest integers that a float holds exactly: 24 and 53 bits of significand.
FLOAT32_INT_BITS: Final = 16
FLOAT64_INT_BITS: Final = 32


class SchemaOf(msgspec.Struct, frozen=True):
    """A file's schema and its name, for the text of a refusal."""

    file: str
    schema: pa.Schema


def load_schema(schema_ipc: bytes) -> pa.Schema:
    """Return the schema of its IPC bytes."""
    return pa.ipc.read_schema(pa.BufferReader(schema_ipc))


def dump_schema(schema: pa.Schema) -> bytes:
    """Return the schema's IPC bytes."""
    return bytes(schema.serialize())


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema without metadata: pandas indexes and Parquet field ids do not travel."""
    return pa.schema([pa.field(f.name, f.type, f.nullable) for f in schema])


def usual_schema(schema: pa.Schema) -> pa.Schema:
    """Return the plain schema with the usual types of text and bytes for their views.

    Arrow's own filter, take and group_by know no views, and some writers of Parquet declare all
    text to be such.
    """
    return pa.schema([pa.field(f.name, _usual(f.type), f.nullable) for f in schema])


def _usual(type_: pa.DataType) -> pa.DataType:
    if pt.is_string_view(type_):
        return pa.string()
    if pt.is_binary_view(type_):
        return pa.binary()
    if pt.is_list(type_) or pt.is_large_list(type_):
        make = pa.list_ if pt.is_list(type_) else pa.large_list
        return make(_usual_field(type_.value_field))
    if pt.is_struct(type_):
        return pa.struct([_usual_field(field) for field in type_])
    if pt.is_map(type_):
        key = _usual_field(type_.key_field)
        return pa.map_(key, _usual_field(type_.item_field), type_.keys_sorted)
    return type_


def _usual_field(field: pa.Field) -> pa.Field:
    return field.with_type(_usual(field.type))


def unified(schemas: Sequence[SchemaOf]) -> pa.Schema:
    """Return the schema that every file can be read as without a loss.

    Columns come in the order in which the files first name them; one that a file lacks is
    nullable.
    Raises: SchemaConflictError, naming the column and the first two files that disagree.
    """
    assert schemas
    fields: dict[str, pa.Field] = {}
    seen_in: dict[str, str] = {}
    folded: pa.Schema | None = None
    for index, (file, schema) in enumerate((s.file, s.schema) for s in schemas):
        # Thousands of files have one schema: compare before the walk over columns.
        if folded is not None and schema.equals(folded):
            continue
        folded = schema
        _refuse_double_names(file, schema)
        names = set(schema.names)
        for name in fields.keys() - names:
            fields[name] = fields[name].with_nullable(True)
        for field in schema:
            known = fields.get(field.name)
            if known is None:
                nullable = field.nullable or index > 0
                fields[field.name] = pa.field(field.name, field.type, nullable)
                seen_in[field.name] = file
                continue
            joined = common_type(known.type, field.type)
            if joined is None:
                raise SchemaConflictError(
                    field.name, seen_in[field.name], str(known.type), file, str(field.type)
                )
            if joined != known.type:
                seen_in[field.name] = file
            fields[field.name] = pa.field(field.name, joined, known.nullable or field.nullable)
    return pa.schema(list(fields.values()))


def _refuse_double_names(file: str, schema: pa.Schema) -> None:
    if len(set(schema.names)) == len(schema.names):
        return
    double = next(name for name in schema.names if schema.names.count(name) > 1)
    first, second = schema.get_all_field_indices(double)[:2]
    raise SchemaConflictError(
        double,
        file,
        str(schema.field(first).type),
        file,
        str(schema.field(second).type),
        "the file holds it twice",
    )


def merge_output_schemas(schemas_ipc: Iterable[bytes]) -> bytes:
    """Return the one schema of a sink's outputs; a column of nulls takes the type of another's.

    Raises: OutputSchemaConflictError, naming the column and both types.
    """
    merged: pa.Schema | None = None
    for schema_ipc in schemas_ipc:
        schema = plain_schema(load_schema(schema_ipc))
        merged = schema if merged is None else with_nulls_typed(merged, schema)
    assert merged is not None
    return dump_schema(merged)


def appended_schema(there: pa.Schema, ours: pa.Schema) -> pa.Schema:
    """Return the schema of a dataset that outputs are added to; either may lack columns.

    Raises: OutputSchemaConflictError, naming a column of two types.
    """
    fields = []
    for name in dict.fromkeys([*there.names, *ours.names]):
        one = there.field(name) if name in there.names else ours.field(name)
        other = ours.field(name) if name in ours.names else one
        joined = nulls_typed(one.type, other.type)
        if joined is None:
            raise OutputSchemaConflictError(name, str(one.type), str(other.type))
        fields.append(pa.field(name, joined))
    return pa.schema(fields)


def with_nulls_typed(ours: pa.Schema, theirs: pa.Schema) -> pa.Schema:
    """Return our schema, each column of nulls typed as theirs.

    Raises: OutputSchemaConflictError where a column is missing or has another type.
    """
    if ours.equals(theirs):
        return ours
    for name in theirs.names:
        if ours.get_field_index(name) < 0:
            raise OutputSchemaConflictError(name, "missing", str(theirs.field(name).type))
    fields = []
    for field in ours:
        if theirs.get_field_index(field.name) < 0:
            raise OutputSchemaConflictError(field.name, str(field.type), "missing")
        other = theirs.field(field.name)
        joined = nulls_typed(field.type, other.type)
        if joined is None:
            raise OutputSchemaConflictError(field.name, str(field.type), str(other.type))
        fields.append(pa.field(field.name, joined, field.nullable or other.nullable))
    return pa.schema(fields)


def nulls_typed(ours: pa.DataType, theirs: pa.DataType) -> pa.DataType | None:
    """Return the type that both are once nulls take the other's type, or None."""
    if ours == theirs or pt.is_null(theirs):
        return ours
    if pt.is_null(ours):
        return theirs
    return _nested(ours, theirs, nulls_typed, same_fields=True)


def common_type(ours: pa.DataType, theirs: pa.DataType) -> pa.DataType | None:
    """Return the smallest type that holds every value of both exactly, or None."""
    if ours == theirs or pt.is_null(theirs):
        return ours
    if pt.is_null(ours):
        return theirs
    if pt.is_dictionary(ours) or pt.is_dictionary(theirs):
        return common_type(_decoded(ours), _decoded(theirs))
    for rule in (_common_number, _common_decimal, _common_time, _common_text):
        joined = rule(ours, theirs)
        if joined is not None:
            return joined
    return _nested(ours, theirs, common_type, same_fields=False)


def _decoded(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pt.is_dictionary(type_) else type_


def _common_number(ours: pa.DataType, theirs: pa.DataType) -> pa.DataType | None:
    for is_kind in (pt.is_signed_integer, pt.is_unsigned_integer, pt.is_floating):
        if is_kind(ours) and is_kind(theirs):
            return ours if ours.bit_width >= theirs.bit_width else theirs
    integer, floating = (ours, theirs) if pt.is_integer(ours) else (theirs, ours)
    if not (pt.is_integer(integer) and pt.is_floating(floating)):
        return None
    if integer.bit_width <= FLOAT32_INT_BITS and floating == pa.float32():
        return floating
    return pa.float64() if integer.bit_width <= FLOAT64_INT_BITS else None


def _common_decimal(ours: pa.DataType, theirs: pa.DataType) -> pa.DataType | None:
    if not (pt.is_decimal(ours) and pt.is_decimal(theirs)):
        return None
    scale = max(ours.scale, theirs.scale)
    digits = max(ours.precision - ours.scale, theirs.precision - theirs.scale) + scale
    if digits <= DECIMAL128_DIGITS:
        return pa.decimal128(digits, scale)
    return pa.decimal256(digits, scale) if digits <= DECIMAL256_DIGITS else None


def _common_time(ours: pa.DataType, theirs: pa.DataType) -> pa.DataType | None:
    # A finer unit spans fewer years; the cast at reading refuses a value outside of them.
    if pt.is_timestamp(ours) and pt.is_timestamp(theirs) and ours.tz == theirs.tz:
        return pa.timestamp(_finer(ours.unit, theirs.unit), ours.tz)
    if pt.is_duration(ours) and pt.is_duration(theirs):
        return pa.duration(_finer(ours.unit, theirs.unit))
    if pt.is_time(ours) and pt.is_time(theirs):
        unit = _finer(ours.unit, theirs.unit)
        return pa.time64(unit) if unit in ("us", "ns") else pa.time32(unit)
    if pt.is_date(ours) and pt.is_date(theirs):
        return pa.date64()
    return None


def _finer(ours: str, theirs: str) -> str:
    return max(ours, theirs, key=UNITS.index)


def _common_text(ours: pa.DataType, theirs: pa.DataType) -> pa.DataType | None:
    if _is_text(ours) and _is_text(theirs):
        large = pt.is_large_string(ours) or pt.is_large_string(theirs)
        return pa.large_string() if large else pa.string()
    if _is_bytes(ours) and _is_bytes(theirs):
        large = pt.is_large_binary(ours) or pt.is_large_binary(theirs)
        return pa.large_binary() if large else pa.binary()
    return None


def _is_text(type_: pa.DataType) -> bool:
    return type_ in (pa.string(), pa.large_string(), pa.string_view())


def _is_bytes(type_: pa.DataType) -> bool:
    if type_ in (pa.binary(), pa.large_binary(), pa.binary_view()):
        return True
    return bool(pt.is_fixed_size_binary(type_))


def _is_list(type_: pa.DataType) -> bool:
    return any(kind(type_) for kind in (pt.is_list, pt.is_large_list, pt.is_fixed_size_list))


def _nested(
    ours: pa.DataType,
    theirs: pa.DataType,
    join: Callable[[pa.DataType, pa.DataType], pa.DataType | None],
    *,
    same_fields: bool,
) -> pa.DataType | None:
    """Join two nested types of one kind child by child, or return None."""
    if pt.is_struct(ours) and pt.is_struct(theirs):
        return _common_struct(ours, theirs, join, same_fields=same_fields)
    if pt.is_map(ours) and pt.is_map(theirs):
        key, item = join(ours.key_type, theirs.key_type), join(ours.item_type, theirs.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    if _is_list(ours) and _is_list(theirs):
        return _common_list(ours, theirs, join, same_fields=same_fields)
    return None


def _common_list(
    ours: pa.DataType,
    theirs: pa.DataType,
    join: Callable[[pa.DataType, pa.DataType], pa.DataType | None],
    *,
    same_fields: bool,
) -> pa.DataType | None:
    value = join(ours.value_type, theirs.value_type)
    if value is None or (same_fields and ours.id != theirs.id):
        return None
    field = pa.field(ours.value_field.name, value)
    fixed = pt.is_fixed_size_list(ours) and pt.is_fixed_size_list(theirs)
    if fixed and ours.list_size == theirs.list_size:
        return pa.list_(field, ours.list_size)
    if fixed and same_fields:
        return None
    large = pt.is_large_list(ours) or pt.is_large_list(theirs)
    return pa.large_list(field) if large else pa.list_(field)


def _common_struct(
    ours: pa.StructType,
    theirs: pa.StructType,
    join: Callable[[pa.DataType, pa.DataType], pa.DataType | None],
    *,
    same_fields: bool,
) -> pa.DataType | None:
    our_fields, their_fields = {f.name: f for f in ours}, {f.name: f for f in theirs}
    if same_fields and list(our_fields) != list(their_fields):
        return None
    fields = []
    for name in our_fields | their_fields:
        one, other = our_fields.get(name), their_fields.get(name)
        if one is None or other is None:
            there = one if one is not None else other
            assert there is not None
            fields.append(pa.field(name, there.type))
            continue
        joined = join(one.type, other.type)
        if joined is None:
            return None
        fields.append(pa.field(name, joined, one.nullable or other.nullable))
    return pa.struct(fields)
