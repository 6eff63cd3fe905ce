"""Measures as SQL: what a row, many rows, and many states give, and what the final value is.

Most measures keep a few numbers per group. Those that count values, not rows, keep a row per group
and value (or hash, or bin): a *lane*. Lanes share one table of states with the others:

    keys | lane | x0 (bin of lane 1) | x1 (bin of lane 2) | s0 s1 ... (states; null off their lane)

Exact float sums (Demmel and Nguyen 2013, in spirit): a value is cut, by its exponent alone, into
three integers of one bin; integers add up the same in any order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
import pyarrow.types as pt

from rayorch.errors import SpecError
from rayorch.operators.rows import sort_key, sql_type, sum_type
from rayorch.relational import Measure

_WIDE: Final = pa.decimal128(38, 0)
_WIDEST_BITS: Final = 64  # of integers: their sums need more digits than they have
_REGISTERS: Final = 4096  # HyperLogLog of 2^12: a standard error of 1.6 %
_ALPHA: Final = 0.005  # relative error of approximate quantiles (DDSketch, Masson et al. 2019)
_GAMMA: Final = (1 + _ALPHA) / (1 - _ALPHA)
_SPECIAL: Final = 99  # the bin of NaN and infinities


@dataclass(frozen=True, slots=True)
class State:
    """One state column: of one row, of many rows, of many states ({} is the state)."""

    row: str
    raw: str
    merge: str
    type: pa.DataType


@dataclass(frozen=True, slots=True)
class Lane:
    """Rows of states per group and bin; rows whose bin is null do not take part."""

    bin: str
    bin_type: pa.DataType
    states: tuple[State, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """A measure: its states or lanes, and its value.

    final: {0}, {1} ... are the states; in a lane {x} and {on} too, the bin and the lane's filter.
    """

    type: pa.DataType
    final: str
    states: tuple[State, ...] = ()
    lanes: tuple[Lane, ...] = ()
    counted: State | None = None  # stands behind all other states of the table


def settled_shape(shape: Shape) -> Shape:
    """Return a count of distinct values some of which were counted for good: in a state of it."""
    counted = State("NULL::BIGINT", "NULL::BIGINT", "sum({})::BIGINT", pa.int64())
    final = f"coalesce(max({{0}}) FILTER (lane = 0), 0) + {shape.final}"
    return replace(shape, counted=counted, final=final)


def shape_of(measure: Measure, schema: pa.Schema, terms: Sequence[str], exact: bool) -> Shape:
    """Return how a measure is computed; terms are its order as the engine sorts.

    Raises: SpecError, when the function cannot take the column.
    """
    try:
        return _shape(measure, schema, terms, exact)
    except SpecError as error:
        field = f"{measure.name} = ({measure.column!r}, {measure.function!r})"
        raise SpecError(error.problem, field=field, value=error.value, fix=error.fix) from error


def _shape(measure: Measure, schema: pa.Schema, terms: Sequence[str], exact: bool) -> Shape:
    if measure.function in {"count_all", "user"}:
        return _columnless_shape(measure)
    index = schema.get_field_index(measure.column)
    x, type_ = f"c{index}", schema.field(index).type
    match measure.function:
        case "count":
            state = _summed(f"({x} IS NOT NULL)::BIGINT", f"count({x})", pa.int64())
            return Shape(pa.int64(), "coalesce({0}, 0)", (state,))
        case "min" | "max":
            call = measure.function
            return Shape(type_, "{0}", (State(x, f"{call}({x})", f"{call}({{}})", type_),))
        case "sum" | "mean" | "var" | "std":
            return _number_shape(measure.function, x, type_, exact=exact)
        case "first" | "last":
            return _edge_shape(measure.function, x, type_, terms)
        case _:
            return _lane_shape(measure, x, type_)


def _columnless_shape(measure: Measure) -> Shape:
    if measure.aggregate is None:
        return Shape(pa.int64(), "coalesce({0}, 0)", (_summed("1", "count(*)", pa.int64()),))
    # The engine only carries what calls make: pickled states, at last values.
    nothing = State("NULL::BLOB", "NULL::BLOB", "any_value({})", pa.binary())
    return Shape(measure.aggregate.returns, "{0}", (nothing,))


def _summed(row: str, raw: str, type_: pa.DataType) -> State:
    name = sql_type(type_)
    return State(f"({row})::{name}", f"({raw})::{name}", f"sum({{}})::{name}", type_)


def _number_shape(function: str, x: str, type_: pa.DataType, *, exact: bool) -> Shape:
    total = sum_type(type_)
    if exact and (pt.is_floating(type_) or function in {"var", "std"}):
        return _exact_shape(function, f"{x}::DOUBLE")
    number = _summed(f"({x} IS NOT NULL)::BIGINT", f"count({x})", pa.int64())
    if function in {"var", "std"}:
        return _spread_shape(function, f"{x}::DOUBLE", number)
    held = total
    if pt.is_integer(type_) or pt.is_boolean(type_) or pt.is_duration(type_):
        held = _WIDE if type_.bit_width == _WIDEST_BITS else pa.int64()
    value = f"{x}::{sql_type(held)}"
    state = _summed(value, f"sum({x})", held)
    if function == "sum":
        return Shape(total, f"{{0}}::{sql_type(total)}", (state,))
    return Shape(pa.float64(), "{0}::DOUBLE / nullif({1}, 0)", (state, number))


def _spread_shape(function: str, x: str, number: State) -> Shape:
    """Variance by pairwise updates (Chan, Golub and LeVeque 1983): {mean} is the whole group's."""
    sums = _summed(x, f"sum({x})", pa.float64())
    raw = f"var_pop({x}) * count({x})"
    apart = State(
        f"CASE WHEN {x} IS NOT NULL THEN 0::DOUBLE END", raw, "sum({} + {spread})", pa.float64()
    )
    value = "CASE WHEN {0} > 1 THEN {2} / ({0} - 1) END"
    return Shape(pa.float64(), _root(function, value), (number, sums, apart))


def _root(function: str, value: str) -> str:
    return f"sqrt({value})" if function == "std" else value


def _edge_shape(function: str, x: str, type_: pa.DataType, terms: Sequence[str]) -> Shape:
    """Keep the value and a binary sort key; of rows that the order ties, the value decides."""
    key = sort_key([*terms, f"{x} ASC NULLS LAST"])
    end = "min" if function == "first" else "max"
    # {key} is the state behind it: values and keys merge together.
    value = State(x, f"arg_{end}_null({x}, {key})", f"arg_{end}_null({{}}, {{key}})", type_)
    return Shape(type_, "{0}", (value, State(key, f"{end}({key})", f"{end}({{}})", pa.binary())))


def _lane_shape(measure: Measure, x: str, type_: pa.DataType) -> Shape:
    if measure.function == "count_distinct":
        return Shape(pa.int64(), "count({x}) FILTER ({on})", lanes=(Lane(x, type_),))
    if measure.function == "approx_count_distinct":
        return _sketched_count(x)
    if measure.function == "approx_quantile":
        sum_type(type_)
        return _sketched_quantile(x, measure.args)
    raise SpecError("unknown function of a measure", field=measure.name, value=measure.function)


def _sketched_count(x: str) -> Shape:
    """HyperLogLog (Flajolet et al. 2007) with linear counting where few registers are used."""
    m = _REGISTERS
    rest = f"(hash({x}) >> 12)"
    rank = f"CASE WHEN {rest} = 0 THEN 53 ELSE 52 - floor(log2({rest}::DOUBLE)) END::SMALLINT"
    state = State(rank, f"max({rank})", "max({})", pa.int16())
    bin_ = f"CASE WHEN {x} IS NOT NULL THEN (hash({x}) & {m - 1})::SMALLINT END"
    used = "count({x}) FILTER ({on})"
    weight = f"(coalesce(sum(pow(2.0, -{{0}})) FILTER ({{on}}), 0) + {m} - {used})"
    estimate = f"({0.7213 / (1 + 1.079 / m) * m * m} / {weight})"
    small = f"{estimate} <= {2.5 * m} AND {used} < {m}"
    linear = f"{m} * ln({m} / ({m} - {used}))"
    final = f"round(CASE WHEN {small} THEN {linear} ELSE {estimate} END)::BIGINT"
    return Shape(pa.int64(), final, lanes=(Lane(bin_, pa.int16(), (state,)),))


def _sketched_quantile(x: str, args: tuple[object, ...]) -> Shape:
    """Count values in bins whose borders grow by a factor: each value within 0.5 % of its bin."""
    if len(args) != 1 or not isinstance(args[0], int | float) or not 0 <= args[0] <= 1:
        raise SpecError("approx_quantile takes one number from 0 to 1", value=str(args))
    v, offset = f"{x}::DOUBLE", 100_000
    size = f"(ceil(ln(abs({v})) / ln({_GAMMA!r})) + {offset})"
    far = f"CASE WHEN isinf({v}) THEN {2 * offset} ELSE {size} END"
    bin_ = (
        f"CASE WHEN isnan({v}) THEN {3 * offset} WHEN {v} = 0 THEN 0 "
        f"WHEN {v} IS NOT NULL THEN sign({v}) * {far} END::INTEGER"
    )
    state = _summed("1", "count(*)", pa.int64())
    middle = f"2 * pow({_GAMMA!r}, abs({{x}}) - {offset}) / ({_GAMMA!r} + 1)"
    value = (
        f"CASE WHEN {{x}} = {3 * offset} THEN 'nan'::DOUBLE WHEN {{x}} = 0 THEN 0 "
        f"WHEN abs({{x}}) = {2 * offset} THEN sign({{x}}) * 'inf'::DOUBLE "
        f"ELSE sign({{x}}) * {middle} END"
    )
    reached = f"{{sofar}} >= greatest(1, ceil({args[0]!r} * {{all}}))"
    final = f"arg_min({value}, {{x}}) FILTER ({{on}} AND {reached})"
    return Shape(pa.float64(), final, lanes=(Lane(bin_, pa.int32(), (state,)),))


def exact_lane(v: str) -> Lane:
    """Return the lane that sums doubles exactly: 2^32-wide bins, three integers in each."""
    finite = f"isfinite({v})"
    k = f"CASE WHEN {v} = 0 THEN 0 ELSE floor(log2(abs({v})) / 32) END"
    # In two steps, each exact: 2^1088 is no double.
    y = f"({v} * pow(2.0, -16 * ({k})) * pow(2.0, -16 * ({k})))"
    middle = f"(({y} - trunc({y})) * 4294967296.0)"
    low = f"(({middle} - trunc({middle})) * 4294967296.0)"
    bin_ = f"CASE WHEN {v} IS NULL THEN NULL WHEN {finite} THEN {k} ELSE {_SPECIAL} END::SMALLINT"
    specials = (f"isnan({v})", f"{v} = 'inf'::DOUBLE", f"{v} = '-inf'::DOUBLE")
    states = []
    for part, special in zip((y, middle, low), specials, strict=True):
        piece = f"CASE WHEN {finite} THEN trunc({part})::BIGINT ELSE ({special})::BIGINT END"
        states.append(_summed(piece, f"sum({piece})", _WIDE))
    return Lane(bin_, pa.int16(), tuple(states))


def _exact_shape(function: str, v: str) -> Shape:
    lanes = [exact_lane(v)]
    total = _exact_total(0, 0)
    if function == "sum":
        return Shape(pa.float64(), total, lanes=tuple(lanes))
    number = State(f"({v} IS NOT NULL)::BIGINT", f"count({v})", "sum({})::BIGINT", pa.int64())
    ones = "max({0}) FILTER (lane = 0)"
    total = _exact_total(0, 1)
    if function == "mean":
        return Shape(pa.float64(), f"({total}) / nullif({ones}, 0)", (number,), tuple(lanes))
    lanes.append(exact_lane(f"({v} * {v})"))
    square = _exact_total(1, 4)
    value = (
        f"CASE WHEN {ones} > 1 THEN greatest(({square}) - ({total}) * ({total}) / {ones}, 0)"
        f" / ({ones} - 1) END"
    )
    return Shape(pa.float64(), _root(function, value), (number,), tuple(lanes))


def _exact_total(lane: int, at: int) -> str:
    """Return the sum of a lane's bins, from the lowest: the same for the same rows, always."""
    x, on = f"{{x{lane}}}", f"{{on{lane}}}"
    hi, mid, low = (f"{{{at + i}}}" for i in range(3))
    value = f"({hi}::DOUBLE + ({mid}::DOUBLE + {low}::DOUBLE / 4294967296.0) / 4294967296.0)"
    scaled = f"({value} * pow(2.0, 16 * {x}) * pow(2.0, 16 * {x}))"
    special = [
        f"coalesce(max({s}) FILTER ({on} AND {x} = {_SPECIAL}), 0) > 0" for s in (hi, mid, low)
    ]
    finite = f"sum({scaled} ORDER BY {x}) FILTER ({on} AND {x} <> {_SPECIAL})"
    return (
        f"CASE WHEN {special[0]} OR ({special[1]} AND {special[2]}) THEN 'nan'::DOUBLE "
        f"WHEN {special[1]} THEN 'inf'::DOUBLE WHEN {special[2]} THEN '-inf'::DOUBLE "
        f"ELSE {finite} END"
    )
