"""What an operator needs of the columns of its sides, asked as soon as they are known.

By the planner, where a side's columns are those of files; else by the first task that has rows.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.types as pt

from connectors.data_errors import MissingColumnError
from rayorch.errors import SpecError
from rayorch.exchange.errors import KeysApartError
from rayorch.exchange.hashing import key_hashes
from rayorch.exchange.ordering import sort_order
from rayorch.relational import (
    AggregateCode,
    AsofCode,
    DedupeCode,
    GroupMapCode,
    HashKeys,
    JoinCode,
    OperatorCode,
    RangeKeys,
    RepartitionCode,
    SortCode,
    WindowCode,
    keying_of,
)


def check_side(name: str, code: OperatorCode, side: int, schema: pa.Schema) -> None:
    """Refuse rows that lack a column, or whose keys cannot be keys.

    Raises: MissingColumnError, KeyRefusedError.
    """
    for column in _taken(code, side):
        if column not in schema.names:
            raise MissingColumnError(f"what {name!r} is made of", column, tuple(schema.names))
    keying = keying_of(code, side)
    if isinstance(keying, HashKeys):
        key_hashes(schema.empty_table(), keying.columns)
    elif isinstance(keying, RangeKeys):
        sort_order(schema.empty_table(), keying.keys)


def _taken(code: OperatorCode, side: int) -> Iterator[str]:
    """Yield the columns of a side that the operator names."""
    match code:
        case AggregateCode():
            yield from code.by
            for measure in code.measures:
                yield from (measure.column,) if measure.column != "*" else ()
                yield from (key.column for key in measure.order)
                yield from map(str, measure.args if measure.aggregate is not None else ())
        case GroupMapCode() | DedupeCode():
            yield from code.by
            yield from (key.column for key in code.order)
        case WindowCode():
            yield from code.by
            yield from (key.column for key in code.order)
            yield from (column.column for column in code.columns if column.column)
        case JoinCode():
            yield from code.right_on if side else code.left_on
        case AsofCode():
            yield from code.right_by if side else code.left_by
            yield code.right_on if side else code.left_on
        case SortCode():
            yield from (key.column for key in code.keys)
        case RepartitionCode():
            yield from code.by


def check_sides(name: str, code: OperatorCode, schemas: Sequence[pa.Schema]) -> None:
    """Refuse keys of two sides that cannot be equal, and results with two columns of one name.

    Raises: KeysApartError, SpecError.
    """
    _check_names(name, code, schemas)
    # Rows that are equal only to the eye would go to different tasks.
    for left, right in _paired(code):
        types = _types(schemas, left, right)
        if _family(types[0]) != _family(types[1]):
            raise KeysApartError(name, left, str(types[0]), right, str(types[1]))
    if isinstance(code, AsofCode):
        types = _types(schemas, code.left_on, code.right_on)
        # Times are compared as they are stored: of one unit, and both with a zone or without.
        if not all(map(_is_number, types)) and not (
            types[0].equals(types[1]) and pt.is_temporal(types[0])
        ):
            apart = (code.left_on, str(types[0]), code.right_on, str(types[1]))
            raise KeysApartError(name, *apart)


def _check_names(name: str, code: OperatorCode, schemas: Sequence[pa.Schema]) -> None:
    names = list(schemas[0].names)
    match code:
        case JoinCode(how="semi" | "anti"):
            return
        case JoinCode() | AsofCode():
            keys = code.right_on if isinstance(code, JoinCode) else code.right_by
            kept = [each for each in schemas[1].names if each not in keys]
            taken = set(names)
            names += [each + code.suffix if each in taken else each for each in kept]
            fix = "give another suffix=, or select and rename columns before"
        case WindowCode():
            names += [column.name for column in code.columns]
            fix = "give the new column another name"
        case _:
            return
    for each, count in Counter(names).items():
        if count > 1:
            problem = "two columns of the result have one name"
            raise SpecError(problem, transform=name, field="columns", value=each, fix=fix)


def _paired(code: OperatorCode) -> list[tuple[str, str]]:
    match code:
        case JoinCode():
            return list(zip(code.left_on, code.right_on, strict=True))
        case AsofCode():
            return list(zip(code.left_by, code.right_by, strict=True))
        case _:
            return []


def _types(schemas: Sequence[pa.Schema], left: str, right: str) -> list[pa.DataType]:
    names = (left, right)
    found = [schema.field(name).type for schema, name in zip(schemas, names, strict=True)]
    return [type_.value_type if pt.is_dictionary(type_) else type_ for type_ in found]


def _is_number(type_: pa.DataType) -> bool:
    return bool(pt.is_integer(type_) or pt.is_floating(type_) or pt.is_decimal(type_))


def _family(type_: pa.DataType) -> str:
    """Return the name of the types whose values are equal when they look equal."""
    if pt.is_integer(type_):
        return "whole number"
    if pt.is_floating(type_):
        return "number"
    if pt.is_string(type_) or pt.is_large_string(type_) or pt.is_string_view(type_):
        return "text"
    if pt.is_binary(type_) or pt.is_large_binary(type_) or pt.is_binary_view(type_):
        return "binary"
    return str(type_)
