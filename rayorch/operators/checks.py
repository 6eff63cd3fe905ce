"""Columns that an operator cannot compare, refused before any row is read."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.types as pt

from rayorch.errors import SpecError
from rayorch.relational import (
    AggregateCode,
    AsofCode,
    DedupeCode,
    GroupMapCode,
    JoinCode,
    OperatorCode,
    RepartitionCode,
    SortCode,
    SortKey,
    WindowCode,
)

_ORDERED = frozenset({"min", "max"})


def check_compared(code: OperatorCode, schemas: tuple[pa.Schema, ...]) -> None:
    """Refuse keys and orders of a type that the engine carries as text.

    schemas: of the rows of each side. Raises: SpecError, naming the column.
    """
    for side, column in _compared(code):
        type_ = schemas[side].field(column).type
        if pt.is_decimal256(type_) or (
            pt.is_dictionary(type_) and pt.is_decimal256(type_.value_type)
        ):
            raise SpecError(
                "decimals of more than 38 digits cannot be compared",
                field=column,
                value=str(type_),
                fix="cast the column to decimal128 before it",
            )


def _compared(code: OperatorCode) -> Iterator[tuple[int, str]]:
    """Yield sides and the columns of theirs that are compared."""
    match code:
        case JoinCode():
            yield from _of(0, code.left_on)
            yield from _of(1, code.right_on)
        case AsofCode():
            yield from _of(0, (*code.left_by, code.left_on))
            yield from _of(1, (*code.right_by, code.right_on))
        case SortCode():
            yield from _by(code.keys)
        case RepartitionCode():
            yield from _of(0, code.by)
        case AggregateCode():
            yield from _of(0, code.by)
            for measure in code.measures:
                yield from _by(measure.order)
                yield from _of(0, [measure.column] if measure.function in _ORDERED else [])
        case GroupMapCode() | DedupeCode():
            yield from _of(0, code.by)
            yield from _by(code.order)
        case WindowCode():
            yield from _of(0, code.by)
            yield from _by(code.order)
            yield from _of(0, [c.column for c in code.columns if c.function in _ORDERED])


def _of(side: int, columns: tuple[str, ...] | list[str]) -> Iterator[tuple[int, str]]:
    yield from ((side, column) for column in columns)


def _by(keys: tuple[SortKey, ...]) -> Iterator[tuple[int, str]]:
    yield from ((0, key.column) for key in keys)
