"""What the relational operators do: values that compilers, exchanges and kernels share.

An operator takes all rows of one or two datasets (its *sides*: the first is the left) and needs
them in an order of its own, so that between it and the steps before it stands an exchange.
`keying_of` says how the exchange has to divide the rows of each side.

Semantics are SQL's. As a key, null is a group of its own in `aggregate`, `map_groups`, `dedupe` and
`window`, and equals nothing in `join` and `asof`; NaN equals NaN and -0.0 equals 0.0 everywhere.
The order of a result's rows is free, but for `sort`. "The order of the input" is that of files,
then splits, then rows; of a union, that of its inputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, assert_never

import pyarrow as pa

Convention = Literal["arrow", "batch", "pandas", "polars", "duckdb"]
"""In what form a function takes its rows: pa.Table, pa.RecordBatch, or another library's frame."""

MeasureFunction = Literal[
    "sum",
    "count",
    "count_all",
    "mean",
    "min",
    "max",
    "var",
    "std",
    "first",
    "last",
    "count_distinct",
    "approx_count_distinct",
    "approx_quantile",
    "user",
]
WindowFunction = Literal[
    "row_number",
    "rank",
    "dense_rank",
    "lag",
    "lead",
    "sum",
    "mean",
    "min",
    "max",
    "count",
    "first",
    "last",
]
JoinHow = Literal["inner", "left", "right", "full", "semi", "anti"]
AsofDirection = Literal["backward", "forward", "nearest"]
OperatorKind = Literal[
    "aggregate", "map_groups", "join", "asof", "sort", "dedupe", "repartition", "window"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SortKey:
    """One column of an order. NaN comes after every other number."""

    column: str
    descending: bool = False
    nulls_first: bool = False  # whatever the direction


@dataclass(frozen=True, slots=True, kw_only=True)
class UserAggregate:
    """An aggregate of the author's own, over rows of one group. A state must be picklable."""

    create: Callable[[], Any]  # -> the state of no rows
    update: Callable[[Any, pa.Table], Any]  # (state, some rows, at least one) -> state
    merge: Callable[[Any, Any], Any]  # (state, state of other rows) -> state
    finish: Callable[[Any], Any]  # -> the value: None, a Python value or a pa.Scalar
    returns: pa.DataType  # the type of the column of such values


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One column of an aggregate's result, and how it is made of the rows of a group.

    Nulls are left out, as in SQL; of nulls alone, a count is 0 and all else null. `var` and `std`
    are of a sample (divided by n - 1), null for one row. `sum` of integers is int64 (uint64 of
    unsigned ones) and fails rather than wrap; of decimals it has 38 digits; `mean`, `var`, `std`
    and `approx_quantile` are float64. `first` and `last` are the value of the first and last row by
    `order`, null when it is null there.

    column: "*" in `count_all`; in `user`, "*" hands over all columns.
    args: (q,) of `approx_quantile`, 0 <= q <= 1; in `user`, the names of further columns that
    `update` gets, after `column`.
    """

    name: str
    column: str
    function: MeasureFunction
    args: tuple[object, ...] = ()
    order: tuple[SortKey, ...] = ()
    aggregate: UserAggregate | None = None  # of `user`, and of nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateCode:
    """One row per group: the keys, then the measures.

    Without keys there is one group, and one row even of no rows. With `deterministic`, the bits of
    float results do not depend on how the rows were divided. `var` and `std` then subtract sums of
    squares: with a mean of m deviations, they are right to about 1e-16 * m^2, relatively.
    """

    by: tuple[str, ...]
    measures: tuple[Measure, ...]
    deterministic: bool = False

    kind: Literal["aggregate"] = "aggregate"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMapCode:
    """Call a function with all rows of one group, keys included, and take what it returns.

    schema: declared by the author; what results are cast to. None: the first result's; the
    function is then called with an empty table, when there are no rows at all.
    order: of the rows within a group.
    """

    by: tuple[str, ...]
    function: Callable[..., object]
    takes: Convention = "arrow"
    schema: pa.Schema | None = None
    order: tuple[SortKey, ...] = ()

    kind: Literal["map_groups"] = "map_groups"


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinCode:
    """Rows of both sides whose keys are equal, pair by pair.

    The result has the left's columns, then the right's but for its keys; of `semi` and `anti`, the
    left's alone. Key columns appear once, under the left's names, in `right` and `full` coalesced.
    A right column whose name the left has gets the suffix.
    """

    how: JoinHow
    left_on: tuple[str, ...]
    right_on: tuple[str, ...]
    suffix: str = "_right"

    kind: Literal["join"] = "join"


@dataclass(frozen=True, slots=True, kw_only=True)
class AsofCode:
    """Every left row once, with the right row that is nearest in time, or nulls.

    backward: the last right row with right_on <= left_on; forward: the first with
    right_on >= left_on; nearest: the closer of both, backward when equally far. Of several right
    rows of one time, backward takes the last and forward the first in the order of the input.
    A row whose time is null, or any part of its key, matches nothing.

    The result has the left's columns, then the right's but for `right_by`; the right's time is
    among them. A right column whose name the left has gets the suffix.
    tolerance: how far apart a match may be, inclusive; a timedelta where the columns are times, a
    number in the columns' unit where they are numbers.
    """

    left_on: str
    right_on: str
    left_by: tuple[str, ...] = ()
    right_by: tuple[str, ...] = ()
    direction: AsofDirection = "backward"
    tolerance: timedelta | int | float | None = None
    suffix: str = "_right"

    kind: Literal["asof"] = "asof"


@dataclass(frozen=True, slots=True, kw_only=True)
class SortCode:
    """All rows in one order: within each task's result, and of the results by task.

    With `deterministic`, rows with equal keys stay in the order of the input.
    """

    keys: tuple[SortKey, ...]
    deterministic: bool = False

    kind: Literal["sort"] = "sort"


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupeCode:
    """One row per key: the first by `order`.

    by: nothing means all columns. Without an order it is any row of the key; with `deterministic`,
    it is the first in the order of the input, also among rows that `order` ties.
    """

    by: tuple[str, ...] = ()
    order: tuple[SortKey, ...] = ()
    deterministic: bool = False

    kind: Literal["dedupe"] = "dedupe"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepartitionCode:
    """The same rows, divided anew: rows of equal keys together, or by ranges, or by size alone.

    size_bytes: what a part should hold, measured uncompressed in memory. parts: how many parts
    there are to be; fewer when there are fewer rows or keys. Without both the planner decides.
    """

    by: tuple[str, ...] = ()
    ranges: bool = False  # parts hold ranges of `by`, in order of the parts
    size_bytes: int | None = None
    parts: int | None = None

    kind: Literal["repartition"] = "repartition"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowColumn:
    """A column made of a row and those before it in its group.

    The frame of sum, mean, min, max, count, first and last is every row from the group's first to
    this one. Types are those of `Measure`; ranks are int64.
    column: what is taken; "" in row_number, rank and dense_rank.
    args: (offset, default) of lag and lead; without them 1 and null.
    """

    name: str
    function: WindowFunction
    column: str = ""
    args: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCode:
    """Every row once, with further columns behind its own. Without keys, all rows are one group."""

    by: tuple[str, ...]
    order: tuple[SortKey, ...]
    columns: tuple[WindowColumn, ...]

    kind: Literal["window"] = "window"


OperatorCode = (
    AggregateCode
    | GroupMapCode
    | JoinCode
    | AsofCode
    | SortCode
    | DedupeCode
    | RepartitionCode
    | WindowCode
)


@dataclass(frozen=True, slots=True)
class HashKeys:
    """Rows whose keys are equal go to one bucket.

    columns: in the operator's order, the same of both sides. None: all columns of the side, in the
    schema's order. (): all rows go to one bucket.
    """

    columns: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class RangeKeys:
    """Rows go to the bucket whose range holds them; ranges are in the order of the buckets."""

    keys: tuple[SortKey, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """Rows may go anywhere: buckets are filled by size."""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Every reduce task takes all rows."""


Keying = HashKeys | RangeKeys | Spread | Broadcast


WIDE: Final = frozenset({"count_distinct", "approx_count_distinct", "approx_quantile", "user"})
"""Functions whose states of one group may be more than a few numbers."""


def merges_first(code: OperatorCode) -> bool:
    """Say whether states of a hot key may have to be merged before those that read all others."""
    return isinstance(code, AggregateCode) and any(m.function in WIDE for m in code.measures)


def sides_of(code: OperatorCode) -> int:
    """Return how many datasets the operator takes: 1 or 2."""
    return 2 if isinstance(code, JoinCode | AsofCode) else 1


def keying_of(code: OperatorCode, side: int = 0) -> Keying:
    """Return how the exchange divides the rows of a side (0: left, 1: right)."""
    assert 0 <= side < sides_of(code)
    match code:
        case AggregateCode() | GroupMapCode() | WindowCode():
            return HashKeys(code.by)
        case DedupeCode():
            return HashKeys(code.by or None)
        case JoinCode():
            return HashKeys(code.right_on if side else code.left_on)
        case AsofCode():
            return _asof_keying(code, side)
        case SortCode():
            return RangeKeys(code.keys)
        case RepartitionCode():
            return _repartition_keying(code)
    assert_never(code)


def _asof_keying(code: AsofCode, side: int) -> Keying:
    if code.left_by:
        return HashKeys(code.right_by if side else code.left_by)
    return Broadcast() if side else Spread()


def _repartition_keying(code: RepartitionCode) -> Keying:
    if not code.by:
        return Spread()
    if code.ranges:
        return RangeKeys(tuple(SortKey(column=name) for name in code.by))
    return HashKeys(code.by)
