"""Aggregates over rows, over partial states and over states of states, however they are divided."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rayorch.operators import open_partial
from rayorch.operators.engine import Feed, query
from rayorch.relational import AggregateCode, Measure, MeasureFunction, SortKey
from tests.rayorch.operators.oracle import MEMORY_BYTES, cut, kernel, result, rows_of, wanted
from tests.thinned import thinned

BY_TIME = (SortKey(column="t"), SortKey(column="s"))


def measure(function: MeasureFunction, column: str, *args: object) -> Measure:
    order = BY_TIME if function in {"first", "last"} else ()
    return Measure(
        name=f"{function}_{column}", column=column, function=function, args=args, order=order
    )


PLAIN = (
    measure("count_all", "*"),
    *(measure("sum", c) for c in ("x", "i", "small", "d")),
    *(measure(f, "x") for f in ("count", "mean", "min", "max", "var", "std")),
    *(measure(f, "s") for f in ("min", "max", "first", "last")),
)
LANES = (measure("count_distinct", "s"), measure("count_distinct", "x"))
SQL = (
    "count(*), sum(x), sum(i)::BIGINT, sum(small)::BIGINT, sum(d), count(x), avg(x), min(x), "
    "max(x), var_samp(x), stddev_samp(x), min(s), max(s), first(s ORDER BY t, s NULLS LAST), "
    "last(s ORDER BY t, s NULLS LAST)"
)


def make(seed: int, rows: int = 1500, keys: int = 20) -> pa.Table:
    random = np.random.default_rng(seed)
    key = np.minimum(random.zipf(1.3, rows), keys)
    scaled = random.normal(size=rows) * 10.0 ** random.integers(-8, 9, rows)
    words = pa.array([["", "a", "b", None][i] for i in random.integers(0, 4, rows)], pa.string())
    return pa.table(
        {
            "k": pa.array(key, mask=random.random(rows) < 0.05),
            "f": pa.array(random.choice([0.0, -0.0, np.nan], rows)),
            "x": pa.array(scaled, mask=random.random(rows) < 0.1),
            "i": random.integers(-(2**50), 2**50, rows),
            "small": pa.array(random.integers(-100, 100, rows), pa.int8()),
            "d": pa.array(random.integers(0, 10**6, rows)).cast(pa.decimal128(24, 3)),
            "s": words.dictionary_encode(),
            "t": pa.array(random.integers(0, 10**6, rows)).cast(pa.timestamp("ns", "UTC")),
        }
    )


def in_two_levels(code: AggregateCode, table: pa.Table, seed: int, spill: Path) -> pa.Table:
    """Aggregate rows in random pieces by map tasks, their states in two halves, then all."""
    random = np.random.default_rng(seed)
    states: list[pa.Table] = []
    for piece in cut(table.take(random.permutation(table.num_rows)), random):
        partial = open_partial(code, table.schema, MEMORY_BYTES)
        assert partial is not None
        for batch in cut(piece, random):
            states += partial.add(batch)
        states += partial.finish()
    schema = open_partial(code, table.schema, MEMORY_BYTES).schema  # type: ignore[union-attr]
    middle = kernel(code, schema, spill=spill, rows=table.schema, final=False)
    halves = [result(middle, states[::2]), result(middle, states[1::2])]
    return result(kernel(code, schema, spill=spill, rows=table.schema), halves)


@pytest.mark.parametrize("by", [(), ("k",), ("k", "f"), ("s",)])
@pytest.mark.parametrize("seed", thinned(range(4), 3))
def test_an_aggregate_equals_the_query(by: tuple[str, ...], seed: int, tmp_path: Path) -> None:
    table = make(seed, rows=0 if seed == 3 else 1500)
    code = AggregateCode(by=by, measures=PLAIN)

    opened = kernel(code, table.schema, spill=tmp_path)
    whole = result(opened, cut(table, np.random.default_rng(seed)))
    merged = in_two_levels(code, table, seed, tmp_path)

    group = f" GROUP BY {', '.join(by)}" if by else ""
    plain = table.set_column(7, "t", table["t"].cast(pa.int64()))
    expected = rows_of(wanted(f"SELECT {', '.join([*by, SQL])} FROM t{group}", t=plain))
    assert rows_of(whole) == expected
    assert rows_of(merged) == expected
    assert whole.schema.equals(merged.schema)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("by", [(), ("k",)])
@pytest.mark.parametrize("rows", [0, 1500])
def test_distinct_values_are_counted_once_over_all_states(
    by: tuple[str, ...], rows: int, tmp_path: Path
) -> None:
    table = make(5, rows)
    code = AggregateCode(by=by, measures=(*LANES, measure("count_all", "*")))

    whole = result(kernel(code, table.schema, spill=tmp_path), [table])
    merged = in_two_levels(code, table, 0, tmp_path)

    group = f" GROUP BY {', '.join(by)}" if by else ""
    counts = "count(DISTINCT s), count(DISTINCT x), count(*)"
    expected = wanted(f"SELECT {', '.join([*by, counts])} FROM t{group}", t=table.drop(["t"]))
    assert rows_of(whole) == rows_of(merged) == rows_of(expected)


@pytest.mark.parametrize("q", [0, 0.25, 0.5, 0.99, 1])
def test_sketches_are_near_the_truth_and_do_not_depend_on_the_division(
    q: float, tmp_path: Path
) -> None:
    table = make(7, 20_000)
    made = (measure("approx_quantile", "x", q), measure("approx_count_distinct", "i"))
    code = AggregateCode(by=(), measures=made)

    whole = result(kernel(code, table.schema, spill=tmp_path), [table])

    assert whole.equals(in_two_levels(code, table, 1, tmp_path))
    true = wanted(f"SELECT quantile_disc(x, {q}), count(DISTINCT i) FROM t", t=table.drop(["t"]))
    assert whole[0][0].as_py() == pytest.approx(true[0][0].as_py(), rel=0.006)
    assert whole[1][0].as_py() == pytest.approx(true[1][0].as_py(), rel=0.06)


@pytest.mark.parametrize("seed", thinned(range(3), 3))
def test_deterministic_floats_have_the_same_bits_however_rows_are_divided(
    seed: int, tmp_path: Path
) -> None:
    """Plain sums of these values differ: they span 17 decimal orders."""
    table = make(seed, 3000, keys=3).drop(["f"])
    functions: tuple[MeasureFunction, ...] = ("sum", "mean", "var", "std")
    made = tuple(measure(function, "x") for function in functions)
    code = AggregateCode(by=("k",), measures=made, deterministic=True)

    whole = result(kernel(code, table.schema, spill=tmp_path), [table])

    for division in range(4):
        merged = in_two_levels(code, table, division, tmp_path)
        assert rows_of(merged, 17) == rows_of(whole, 17)
    expected = wanted(
        "SELECT k, fsum(x), fsum(x) / count(x), var_samp(x), stddev_samp(x) FROM t GROUP BY k",
        t=table.drop(["t"]),
    )
    assert rows_of(whole) == rows_of(expected)


@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4, 1e6])
def test_a_deterministic_variance_loses_digits_as_documented(mean: float, tmp_path: Path) -> None:
    """About the square of mean over deviation, of 16 digits; the other variance loses none."""
    values = np.random.default_rng(0).normal(mean, 1.0, 20_000)
    table = pa.table({"x": values})
    off = []
    for exact in (True, False):
        code = AggregateCode(by=(), measures=(measure("var", "x"),), deterministic=exact)
        found = in_two_levels(code, table, 0, tmp_path)[0][0].as_py()
        off.append(abs(found / np.var(values - mean, ddof=1) - 1))

    assert off[0] <= 1e-15 * max(mean, 10.0) ** 2
    assert off[1] <= 1e-9


def test_exact_sums_take_every_double(tmp_path: Path) -> None:
    values = [1e300, 5e-324, -1e300, 1.5, -5e-324, 2.0**-1000, None]
    table = pa.table({"x": values})
    code = AggregateCode(by=(), measures=(measure("sum", "x"),), deterministic=True)
    opened = kernel(code, table.schema, spill=tmp_path)

    assert result(opened, [table])[0].to_pylist() == [1.5]
    odd = pa.table({"x": [1.0, np.inf]})
    assert result(opened, [odd])[0].to_pylist() == [np.inf]
    nan = result(opened, [odd, pa.table({"x": [-np.inf]})])[0][0].as_py()
    assert np.isnan(nan)


def test_rows_become_states_one_for_one_when_grouping_does_not_pay(tmp_path: Path) -> None:
    table = pa.table({"k": np.arange(200_000), "x": np.ones(200_000)})
    code = AggregateCode(by=("k",), measures=(measure("sum", "x"), measure("var", "x")))
    partial = open_partial(code, table.schema, MEMORY_BYTES)
    assert partial is not None

    states = [s for at in range(0, 200_000, 50_000) for s in partial.add(table.slice(at, 50_000))]
    states += partial.finish()

    assert partial.paid == {"rows_in": 200_000, "rows_out": 200_000}
    merged = result(kernel(code, partial.schema, spill=tmp_path, rows=table.schema), states)
    assert merged.num_rows == 200_000


def test_a_bulk_is_grouped_once_however_many_groups_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows come in small batches, more groups than fit in one batch of the engine's."""
    table = pa.table({"k": np.arange(400_000) % 100_000, "x": np.ones(400_000)})
    code = AggregateCode(by=("k",), measures=(measure("sum", "x"),))
    partial = open_partial(code, table.schema, MEMORY_BYTES)
    assert partial is not None
    queries = []

    def counted(engine: object, sql: str, feeds: dict[str, Feed]) -> Iterator[pa.Table]:
        queries.append(sql)
        return query(engine, sql, feeds)  # type: ignore[arg-type]  # the engine as it came

    monkeypatch.setattr("rayorch.operators.partial.query", counted)
    # Every key four times in a row, so that a sample of the first rows shrinks too.
    table = table.take(np.arange(400_000) // 4 + np.tile(np.arange(4) * 100_000, 100_000))
    states = [s for at in range(0, 400_000, 20_000) for s in partial.add(table.slice(at, 20_000))]
    states += partial.finish()

    assert sum(state.num_rows for state in states) == 100_000
    assert queries == [partial.plan.rows_grouped] * 2  # a sample, then all


def test_a_sum_that_does_not_fit_fails(tmp_path: Path) -> None:
    table = pa.table({"i": pa.array([2**62, 2**62], pa.int64())})
    code = AggregateCode(by=(), measures=(measure("sum", "i"),))

    with pytest.raises(Exception, match="Failed to cast"):
        result(kernel(code, table.schema, spill=tmp_path), [table])
