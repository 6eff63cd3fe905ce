"""Aggregates of the author's own: over rows, over partial states and over states of states."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from rayorch.operators import open_partial
from rayorch.relational import AggregateCode, Measure, UserAggregate
from tests.rayorch.operators.oracle import MEMORY_BYTES, cut, kernel, result, rows_of, wanted
from tests.rayorch.operators.test_aggregate import in_two_levels, make, measure


def own(name: str, column: str, *more: str, **changed: Any) -> Measure:
    """Return a sum of the rows' first column and their number, as text of both."""
    functions: dict[str, Any] = {
        "create": lambda: (0, 0),
        "update": _updated,
        "merge": lambda a, b: (a[0] + b[0], a[1] + b[1]),
        "finish": lambda state: f"{state[0]} of {state[1]}" if state[1] else None,
        "returns": pa.string(),
    }
    aggregate = UserAggregate(**functions | changed)
    return Measure(name=name, column=column, function="user", args=more, aggregate=aggregate)


def _updated(state: tuple[int, int], rows: pa.Table) -> tuple[int, int]:
    assert rows.num_rows
    return state[0] + (pc.sum(rows.column(0)).as_py() or 0), state[1] + rows.num_rows


MIXED = (
    measure("count_distinct", "x"),
    own("small", "small", "s"),
    measure("sum", "i"),
    measure("var", "x"),
    own("days", "i", returns=pa.int64(), finish=lambda state: pa.scalar(state[1], pa.int32())),
    measure("first", "s"),
)


@pytest.mark.parametrize("measures", [MIXED, (own("small", "small"), own("i", "i"))])
@pytest.mark.parametrize("by", [(), ("k", "f"), ("s",), ("t", "d")])
@pytest.mark.parametrize("rows", [0, 1500])
def test_an_own_aggregate_sees_each_row_once(
    measures: tuple[Measure, ...], by: tuple[str, ...], rows: int, tmp_path: Path
) -> None:
    table = make(3, rows)
    code = AggregateCode(by=by, measures=measures)

    opened = kernel(code, table.schema, spill=tmp_path)
    whole = result(opened, cut(table, np.random.default_rng(1)))
    merged = in_two_levels(code, table, 2, tmp_path)

    group = f" GROUP BY {', '.join(by)}" if by else ""
    both = "CASE WHEN count(*) > 0 THEN coalesce(sum({0}), 0) || ' of ' || count(*) END"
    made = ", ".join(both.format(c) for c in ("small", "i"))
    if measures is MIXED:
        first = "first(s ORDER BY t, s NULLS LAST)"
        var = "var_samp(x)"
        made = (
            f"count(DISTINCT x), {both.format('small')}, sum(i)::BIGINT, {var}, count(*), {first}"
        )
    plain = table.set_column(7, "t", table["t"].cast(pa.int64()))
    expected = wanted(f"SELECT {', '.join([*by, made])} FROM t{group}", t=plain)
    if "t" in by:
        whole, merged = (
            each.set_column(0, "t", each["t"].cast(pa.int64())) for each in (whole, merged)
        )
    if rows or not by:
        assert rows_of(whole) == rows_of(expected)
    assert rows_of(merged) == rows_of(whole)
    assert whole.schema.equals(merged.schema)
    assert not list(tmp_path.iterdir())


def test_states_may_be_of_a_class_that_no_other_process_knows(tmp_path: Path) -> None:
    class Local:
        rows = 0

    def updated(state: Local, rows: pa.Table) -> Local:
        state.rows += rows.num_rows
        assert rows.column_names == ["k", "x"]
        return state

    def merged(one: Local, other: Local) -> Local:
        one.rows += other.rows
        return one

    counted = own(
        "n",
        "*",
        create=Local,
        update=updated,
        merge=merged,
        finish=lambda state: state.rows,
        returns=pa.int64(),
    )
    table = pa.table({"k": [1, 2, 1], "x": [1, 2, 3]})
    code = AggregateCode(by=("k",), measures=(counted,))

    found = in_two_levels(code, table, 0, tmp_path)

    assert rows_of(found) == [("1", "2"), ("2", "1")]


@pytest.mark.parametrize("broken", ["create", "update", "merge", "finish"])
def test_what_an_own_aggregate_raises_comes_through(broken: str, tmp_path: Path) -> None:
    def fail(*given: object) -> object:
        raise KeyError("mine")

    table = pa.table({"k": np.arange(99), "x": np.arange(99)})
    mixed = (own("o", "x", **{broken: fail}), measure("sum", "x"))
    code = AggregateCode(by=(), measures=mixed)

    with pytest.raises(KeyError, match="mine"):
        in_two_levels(code, table, 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_states_merge_before_they_leave_and_large_ones_do_not_pile_up(tmp_path: Path) -> None:
    """A map task sends one state per group as long as states fit, however many rows there were."""
    table = pa.table({"k": np.arange(200_000) % 10, "x": np.ones(200_000, np.int64)})
    code = AggregateCode(by=("k",), measures=(own("o", "x"),))
    partial = open_partial(code, table.schema, MEMORY_BYTES)
    assert partial is not None

    states = [s for at in range(0, 200_000, 20_000) for s in partial.add(table.slice(at, 20_000))]
    states += partial.finish()

    assert partial.paid == {"rows_in": 200_000, "rows_out": 10}
    held = pa.concat_tables(states).column("state0").to_pylist()
    assert list(map(pickle.loads, held)) == [(20_000, 20_000)] * 10
    merged = result(kernel(code, partial.schema, spill=tmp_path, rows=table.schema), states * 3)
    assert set(merged["o"].to_pylist()) == {"60000 of 60000"}
