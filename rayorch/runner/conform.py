"""What a transform returned, in the schema that it declared or that its first batch had."""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from connectors.schema import nulls_typed
from rayorch.errors import near_miss
from rayorch.runner.errors import ResultError


def conformed(table: pa.Table, wanted: pa.Schema, whose: str) -> pa.Table:
    """Return the same rows in the wanted schema, where no value changes by it.

    `whose` says in an error where the schema comes from, for example "its declared schema".
    Raises: ResultError, naming the column and both types.
    """
    if table.schema.equals(wanted):
        return table
    _refuse_other_names(table.schema, wanted, whose)
    columns = []
    for field in wanted:
        column = table.column(field.name)
        if column.type != field.type:
            column = _cast(column, field, whose)
        if not field.nullable and column.null_count:
            raise ResultError(
                f"column {field.name!r} has {column.null_count} nulls, and {whose} allows none",
                "fill the nulls, or declare the column nullable",
            )
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=wanted)


def learnt(schema: pa.Schema, later: pa.Schema) -> pa.Schema:
    """Return the schema with the types that a later batch gives to columns of nothing but nulls."""
    fields = []
    for field in schema:
        index = later.get_field_index(field.name)
        typed = nulls_typed(field.type, later.field(index).type) if index >= 0 else None
        fields.append(field if typed is None else field.with_type(typed))
    return pa.schema(fields, schema.metadata)


def checked_names(schema: pa.Schema) -> None:
    """Refuse a table that has two columns of one name.

    Raises: ResultError, naming the column.
    """
    names = schema.names
    if len(set(names)) != len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise ResultError(f"column {twice!r} is there twice", "rename one of the two")


def _refuse_other_names(schema: pa.Schema, wanted: pa.Schema, whose: str) -> None:
    made, named = set(schema.names), set(wanted.names)
    missing = [name for name in wanted.names if name not in made]
    surplus = [name for name in schema.names if name not in named]
    if missing:
        near = near_miss(missing[0], surplus)
        raise ResultError(
            f"column {missing[0]!r} of {whose} is missing" + (f"; {near}" if near else ""),
            "return the same columns for every batch",
        )
    if surplus:
        raise ResultError(
            f"column {surplus[0]!r} is not in {whose}", "return the same columns for every batch"
        )


def _cast(column: pa.ChunkedArray, field: pa.Field, whose: str) -> pa.ChunkedArray:
    if column.null_count == len(column):
        # Nothing but nulls can be of any type: pandas has them as floats, whatever they stand for.
        return pa.chunked_array([pa.nulls(len(column), field.type)])
    problem = f"column {field.name!r} is {column.type}, and {whose} has {field.type}"
    fix = "declare the result's schema, or cast the column in the function"
    if not may_cast(column.type, field.type):
        raise ResultError(problem, fix)
    try:
        cast = column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ResultError(f"{problem}; not every value fits: {error.args[0]}", fix) from error
    # Arrow checks every narrowing but that of floats.
    if _narrows_float(column.type, field.type):
        same = pc.or_(pc.equal(cast.cast(column.type), column), pc.is_nan(column))
        if pc.all(same).as_py() is False:
            raise ResultError(f"{problem}; not every value fits", fix)
    return cast


def may_cast(have: pa.DataType, want: pa.DataType) -> bool:
    """Say whether one value can be of either type. Text is never a number."""
    have, want = _decoded(have), _decoded(want)
    if pt.is_null(have):
        return True
    if _is_list(have) and _is_list(want):
        return may_cast(have.value_type, want.value_type)
    if pt.is_struct(have) and pt.is_struct(want):
        return [f.name for f in have] == [f.name for f in want] and all(
            may_cast(one.type, other.type) for one, other in zip(have, want, strict=True)
        )
    if pt.is_timestamp(have) and pt.is_timestamp(want):
        return bool(have.tz == want.tz)
    return any(is_kind(have) and is_kind(want) for is_kind in _KINDS)


def _decoded(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pt.is_dictionary(type_) else type_


def _is_number(type_: pa.DataType) -> bool:
    return bool(pt.is_integer(type_) or pt.is_floating(type_) or pt.is_decimal(type_))


def _is_text(type_: pa.DataType) -> bool:
    return bool(pt.is_string(type_) or pt.is_large_string(type_) or pt.is_string_view(type_))


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(
        pt.is_binary(type_)
        or pt.is_large_binary(type_)
        or pt.is_binary_view(type_)
        or pt.is_fixed_size_binary(type_)
    )


def _is_list(type_: pa.DataType) -> bool:
    return bool(pt.is_list(type_) or pt.is_large_list(type_) or pt.is_fixed_size_list(type_))


_KINDS = (_is_number, _is_text, _is_bytes, pt.is_date, pt.is_time, pt.is_duration)


def _narrows_float(have: pa.DataType, want: pa.DataType) -> bool:
    return bool(pt.is_floating(have) and pt.is_floating(want) and have.bit_width > want.bit_width)
