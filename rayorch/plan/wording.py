"""A relational operator in one line, for people."""

from collections.abc import Sequence
from typing import Final, assert_never

from rayorch.observe.figures import bytes_text, counted
from rayorch.relational import (
    AggregateCode,
    AsofCode,
    DedupeCode,
    GroupMapCode,
    JoinCode,
    Measure,
    OperatorCode,
    RepartitionCode,
    SortCode,
    SortKey,
    WindowCode,
    WindowColumn,
)

COLUMNS_SHOWN_MAX: Final = 8


def operator_text(code: OperatorCode) -> str:
    """Return what an operator does: `aggregate by day: qty = sum(l_quantity)`."""
    match code:
        case AggregateCode():
            measures = [f"{each.name} = {_measure_text(each)}" for each in code.measures]
            text = f"aggregate{_by(code.by)}: {_listed(measures)}"
        case GroupMapCode():
            name = getattr(code.function, "__qualname__", type(code.function).__qualname__)
            text = f"map_groups {name}{_by(code.by)}{_ordered(code.order)}"
        case JoinCode():
            text = f"{code.how} join on {_pairs(code.left_on, code.right_on)}"
        case AsofCode():
            text = _asof_text(code)
        case SortCode():
            text = f"sort by {_keys(code.keys)}"
        case DedupeCode():
            keep = f", keeping the first{_ordered(code.order)}" if code.order else ""
            text = f"dedupe{_by(code.by) or ' by all columns'}{keep}"
        case RepartitionCode():
            text = _repartition_text(code)
        case WindowCode():
            columns = [f"{each.name} = {_column_text(each)}" for each in code.columns]
            text = f"window{_by(code.by)}{_ordered(code.order)}: {_listed(columns)}"
        case _:
            assert_never(code)
    return text


def sides_text(sides: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the stages that fill each side of an exchange."""
    if len(sides) == 1:
        return tuple(sides[0])
    names = ("left", "right")
    return tuple(f"{', '.join(side)} ({name})" for name, side in zip(names, sides, strict=True))


def _measure_text(measure: Measure) -> str:
    if measure.aggregate is not None:
        function = type(getattr(measure.aggregate.create, "__self__", None)).__qualname__
        return f"{function}({measure.column})"
    more = "".join(f", {each}" for each in measure.args)
    function = "count" if measure.function == "count_all" else measure.function
    return f"{function}({measure.column}{more}{_ordered(measure.order)})"


def _column_text(column: WindowColumn) -> str:
    return f"{column.function}({column.column}{''.join(f', {each}' for each in column.args)})"


def _asof_text(code: AsofCode) -> str:
    by = f" by {_pairs(code.left_by, code.right_by)}" if code.left_by else ""
    within = "" if code.tolerance is None else f", within {code.tolerance}"
    return f"asof join {code.direction} on {_pairs((code.left_on,), (code.right_on,))}{by}{within}"


def _repartition_text(code: RepartitionCode) -> str:
    by = _by(code.by) + (" in ranges" if code.ranges else "")
    size = "" if code.size_bytes is None else f" into parts of {bytes_text(code.size_bytes)}"
    parts = "" if code.parts is None else f" into {counted(code.parts, 'part')}"
    return f"repartition{by}{size}{parts}"


def _by(columns: Sequence[str]) -> str:
    return f" by {_listed(columns)}" if columns else ""


def _ordered(order: Sequence[SortKey]) -> str:
    return f" by order of {_keys(order)}" if order else ""


def _keys(keys: Sequence[SortKey]) -> str:
    words = [
        key.column
        + (" descending" if key.descending else "")
        + (" nulls first" if key.nulls_first else "")
        for key in keys
    ]
    return _listed(words)


def _pairs(left: Sequence[str], right: Sequence[str]) -> str:
    return _listed([a if a == b else f"{a} = {b}" for a, b in zip(left, right, strict=True)])


def _listed(words: Sequence[str]) -> str:
    shown = ", ".join(words[:COLUMNS_SHOWN_MAX])
    more = len(words) - COLUMNS_SHOWN_MAX
    return f"{shown} and {more} more" if more > 0 else shown
