"""The queries of an aggregate: rows to states, states to states, states to values."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from rayorch.operators.measures import Lane, Shape, State, settled_shape, shape_of
from rayorch.operators.own_states import OwnStates, own_states
from rayorch.operators.rows import names, ordering
from rayorch.relational import AggregateCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An aggregate over one schema, as SQL.

    Tables of states have columns in the order of `states`; the engine calls them c0, c1, ...
    """

    schema: pa.Schema  # of the result
    states: pa.Schema
    rows_to_states: str  # one state row per row (and lane), nothing grouped
    rows_grouped: str
    states_grouped: str
    rows_to_values: str
    states_to_values: str
    own: OwnStates | None = None
    calls_only: bool = False  # no measure is the engine's


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """How states are merged by who has all rows of the values in them: those are counted for good.

    What comes out has a further state for each count of distinct values, and no row for a value.
    """

    sql: str
    schema: pa.Schema


@dataclass(frozen=True, slots=True)
class _Column:
    """A state column at work: the lane (0: none), its name in state tables, its neighbour's."""

    state: State
    lane: int
    name: str
    next: str


@dataclass(frozen=True, slots=True)
class _Layout:
    keys: list[str]  # names in state tables; in the input, keys_in
    keys_in: list[str]
    lane: str | None
    lanes: list[Lane]
    bins: list[str]
    columns: list[_Column]
    measures: list[tuple[Shape, list[int], list[int]]]  # shape, its columns, its lanes


def plan_of(code: AggregateCode, schema: pa.Schema, *, settled: bool = False) -> Plan:
    """Return the queries of the aggregate over rows of a schema.

    settled: states are, or may be, what `settling_of` makes of them.
    Raises: SpecError, when a function cannot take its column.
    """
    layout = _layout_of(code, schema, settled=settled)
    shapes = [shape for shape, _, _ in layout.measures]
    keys = [schema.field(name) for name in code.by]
    fields = [pa.field(f"key{i}", field.type) for i, field in enumerate(keys)]
    if layout.lane:
        fields.append(pa.field("lane", pa.int8()))
        fields += [pa.field(f"bin{i}", lane.bin_type) for i, lane in enumerate(layout.lanes)]
    fields += [pa.field(f"state{i}", c.state.type) for i, c in enumerate(layout.columns)]
    measured = zip(code.measures, shapes, strict=True)
    result = [*keys, *(pa.field(m.name, shape.type) for m, shape in measured)]
    rows, states = _from_rows(layout), _from_states(layout)
    held = pa.schema(fields)
    first = len(held) - len(layout.columns)
    called = zip(code.measures, layout.measures, strict=True)
    at = [first + columns[0] for m, (_, columns, _) in called if m.aggregate is not None]
    return Plan(
        schema=pa.schema(result),
        states=held,
        rows_to_states=_from_rows(layout, grouped=False),
        rows_grouped=rows,
        states_grouped=states,
        rows_to_values=_values(layout, rows),
        states_to_values=_values(layout, states),
        own=own_states(code, schema, held, at),
        calls_only=len(at) == len(code.measures),
    )


def value_columns(code: AggregateCode, schema: pa.Schema) -> tuple[str, ...]:
    """Return the columns of states that tell values apart, if distinct values are counted."""
    if not any(measure.function == "count_distinct" for measure in code.measures):
        return ()
    lanes = _layout_of(code, schema, settled=False).lanes
    return tuple(f"bin{i}" for i in range(len(lanes)))


def settling_of(code: AggregateCode, schema: pa.Schema) -> Settling:
    """Return how states are merged where no other task has rows of the same values.

    schema: of the rows that they are states of.
    """
    layout = _layout_of(code, schema, settled=False)
    assert layout.lane is not None, "no values are counted"
    counted = [
        lanes[0] + 1
        for measure, (_, _, lanes) in zip(code.measures, layout.measures, strict=True)
        if measure.function == "count_distinct"
    ]
    numbers = ", ".join(map(str, counted))
    heads = [*layout.keys, f"CASE WHEN {layout.lane} IN ({numbers}) THEN 0 ELSE {layout.lane} END"]
    heads += [
        f"CASE WHEN {layout.lane} IN ({numbers}) THEN NULL ELSE {name} END" for name in layout.bins
    ]
    # Of what is grouped again, one row has a state of each, and those of values have none.
    values = [f"any_value({column.name})" for column in layout.columns]
    values += [f"count(*) FILTER ({layout.lane} = {number})" for number in counted]
    select = ", ".join(f"{sql} AS c{i}" for i, sql in enumerate([*heads, *values]))
    group = ", ".join(map(str, range(1, len(heads) + 1)))
    sql = f"SELECT {select} FROM ({_from_states(layout)}) GROUP BY {group}"
    return Settling(sql=sql, schema=plan_of(code, schema, settled=True).states)


def _layout_of(code: AggregateCode, schema: pa.Schema, *, settled: bool) -> _Layout:
    columns = names(schema)
    shapes = [
        shape_of(m, schema, ordering(m.order, columns), code.deterministic) for m in code.measures
    ]
    if settled:
        shapes = [
            settled_shape(shape) if m.function == "count_distinct" else shape
            for m, shape in zip(code.measures, shapes, strict=True)
        ]
    return _layout(code, columns, shapes)


def _layout(code: AggregateCode, columns: dict[str, str], shapes: Sequence[Shape]) -> _Layout:
    lanes = [lane for shape in shapes for lane in shape.lanes]
    first = len(code.by) + (1 + len(lanes) if lanes else 0)
    made: list[_Column] = []
    measures: list[tuple[Shape, list[int], list[int]]] = []
    lane_at = 0
    for shape in shapes:
        start, own = len(made), list(range(lane_at, lane_at + len(shape.lanes)))
        lane_at += len(shape.lanes)
        held = [(state, 0) for state in shape.states]
        held += [(s, at + 1) for at in own for s in lanes[at].states]
        for state, lane in held:
            at = first + len(made)
            made.append(_Column(state, lane, f"c{at}", f"c{at + 1}"))
        measures.append((shape, list(range(start, len(made))), own))
    for shape, columns_of, _ in measures:
        if shape.counted is not None:
            at = first + len(made)
            columns_of.append(len(made))
            made.append(_Column(shape.counted, 0, f"c{at}", f"c{at + 1}"))
    by = len(code.by)
    return _Layout(
        keys=[f"c{i}" for i in range(by)],
        keys_in=[columns[name] for name in code.by],
        lane=f"c{by}" if lanes else None,
        lanes=lanes,
        bins=[f"c{by + 1 + i}" for i in range(len(lanes))],
        columns=made,
        measures=measures,
    )


def _from_rows(layout: _Layout, *, grouped: bool = True) -> str:
    """Return the query from rows to states."""
    source, where = "l", ""
    heads = [*layout.keys_in]
    if layout.lane:
        numbers = ", ".join(f"({i}::TINYINT)" for i in range(len(layout.lanes) + 1))
        source = f"l CROSS JOIN (VALUES {numbers}) v(lane)"
        heads.append("lane")
        heads += [f"CASE WHEN lane = {i} THEN {lane.bin} END" for i, lane in _numbered(layout)]
        taken = [f"(lane = {i} AND ({lane.bin}) IS NOT NULL)" for i, lane in _numbered(layout)]
        where = f" WHERE lane = 0 OR {' OR '.join(taken)}"
    values = [_of_rows(column, layout, grouped=grouped) for column in layout.columns]
    select = ", ".join(f"{sql} AS c{i}" for i, sql in enumerate([*heads, *values]))
    group = f" GROUP BY {', '.join(heads)}" if grouped and heads else ""
    return f"SELECT {select} FROM {source}{where}{group}"


def _numbered(layout: _Layout) -> list[tuple[int, Lane]]:
    return list(enumerate(layout.lanes, 1))


def _of_rows(column: _Column, layout: _Layout, *, grouped: bool) -> str:
    sql = column.state.raw if grouped else column.state.row
    if not layout.lane:
        return sql
    if not grouped:
        return f"CASE WHEN lane = {column.lane} THEN {sql} END"
    return f"CASE WHEN lane = {column.lane} THEN {sql} END"


def _from_states(layout: _Layout) -> str:
    """Return the query from states to fewer states."""
    heads = [*layout.keys, *([layout.lane] if layout.lane else []), *layout.bins]
    source = "l"
    spread = [
        columns for shape, columns, _ in layout.measures if "{spread}" in str(shape.states[2:])
    ]
    if spread:
        over = f"(PARTITION BY {', '.join(heads)})" if heads else "()"
        means = []
        for at in spread:
            n, s = (layout.columns[i].name for i in at[:2])
            means.append(f"sum({s}) OVER {over} / nullif(sum({n}) OVER {over}, 0) AS m{at[2]}")
        source = f"(SELECT *, {', '.join(means)} FROM l)"
    values = [_of_states(column, i, layout) for i, column in enumerate(layout.columns)]
    select = ", ".join(f"{sql} AS c{i}" for i, sql in enumerate([*heads, *values]))
    group = f" GROUP BY {', '.join(heads)}" if heads else ""
    return f"SELECT {select} FROM {source}{group}"


def _of_states(column: _Column, index: int, layout: _Layout) -> str:
    apart = ""
    if "{spread}" in column.state.merge:
        n, s = (layout.columns[index - 2 + i].name for i in range(2))
        apart = f"{n} * pow({s} / nullif({n}, 0) - m{index}, 2)"
    return column.state.merge.format(column.name, key=column.next, spread=apart)


def _values(layout: _Layout, states: str) -> str:
    """Return the query from merged states to the result."""
    finals = []
    for shape, columns, lanes in layout.measures:
        held = [layout.columns[i].name for i in columns]
        if layout.lane and not lanes:
            held = [f"any_value({name}) FILTER (lane = 0)" for name in held]
        marks = {f"x{i}": layout.bins[at] for i, at in enumerate(lanes)}
        marks |= {f"on{i}": f"lane = {at + 1}" for i, at in enumerate(lanes)}
        marks |= {"x": marks.get("x0", ""), "on": marks.get("on0", "")}
        quantile = "{sofar}" in shape.final
        marks |= {"sofar": f"t{columns[0]}", "all": f"u{columns[0]}"} if quantile else {}
        finals.append(shape.final.format(*held, **marks))
    if not layout.lane:
        select = ", ".join([*layout.keys, *finals])
        return f"SELECT {select} FROM ({states})"
    sums = _cumulated(layout)
    select = ", ".join([*layout.keys, *finals])
    group = f" GROUP BY {', '.join(layout.keys)}" if layout.keys else ""
    return f"SELECT {select} FROM (SELECT *, {layout.lane} AS lane{sums} FROM ({states})){group}"


def _cumulated(layout: _Layout) -> str:
    """Return the columns that quantiles need: how many values up to a bin, and in all."""
    found = ""
    for shape, columns, lanes in layout.measures:
        if "{sofar}" in shape.final:
            name, bin_ = layout.columns[columns[0]].name, layout.bins[lanes[0]]
            over = f"PARTITION BY {', '.join([*layout.keys, str(layout.lane)])}"
            found += f", sum({name}) OVER ({over} ORDER BY {bin_}) AS t{columns[0]}"
            found += f", sum({name}) OVER ({over}) AS u{columns[0]}"
    return found
