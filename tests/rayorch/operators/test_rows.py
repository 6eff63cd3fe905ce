"""Joins, sorts, de-duplication and windows, against one DuckDB query over whole tables."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rayorch.operators import open_partial
from rayorch.relational import (
    AsofCode,
    DedupeCode,
    JoinCode,
    JoinHow,
    SortCode,
    SortKey,
    WindowCode,
    WindowColumn,
)
from tests.rayorch.operators.oracle import MEMORY_BYTES, cut, kernel, result, rows_of, wanted
from tests.thinned import thinned

HOWS: tuple[JoinHow, ...] = ("inner", "left", "right", "full", "semi", "anti")
SHAPES = ["plain", "one_key", "distinct", "left_empty", "right_empty"]


def make(random: np.random.Generator, rows: int, keys: int) -> pa.Table:
    absent = random.random(rows) < 0.1
    floats = random.choice([1.5, -0.0, 0.0, np.nan, 7.25], rows)
    return pa.table(
        {
            "k": pa.array(random.integers(0, max(keys, 1), rows), mask=absent),
            "f": pa.array(floats, mask=random.random(rows) < 0.1),
            "id": pa.array(np.arange(rows)),
            "at": pa.array(random.integers(0, 40, rows), pa.timestamp("us", "UTC")),
            "nested": pa.array(
                [{"a": [i, None]} for i in range(rows)], pa.struct({"a": pa.list_(pa.int64())})
            ),
        }
    )


def two_sides(shape: str, random: np.random.Generator) -> tuple[pa.Table, pa.Table]:
    keys = {"one_key": 1, "distinct": 10**9}.get(shape, 12)
    left = make(random, 0 if shape == "left_empty" else 90, keys)
    right = make(random, 0 if shape == "right_empty" else 60, keys)
    return left, right.rename_columns(["k2", "f2", "id", "at", "nested"])


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", thinned(range(3), 3))
def test_a_join_equals_the_query(how: JoinHow, shape: str, seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    left, right = two_sides(shape, random)
    code = JoinCode(how=how, left_on=("k", "f"), right_on=("k2", "f2"))

    opened = kernel(code, left.schema, right.schema, spill=tmp_path)
    found = result(opened, cut(left, random), cut(right, random))

    on = "l.k = r.k2 AND l.f = r.f2"
    key = "coalesce(l.k, r.k2) k, coalesce(l.f, r.f2) f" if how in {"right", "full"} else "l.k, l.f"
    both = f"{key}, l.id, l.at, l.nested, r.id, r.at, r.nested"
    taken = "l.*" if how in {"semi", "anti"} else both
    expected = wanted(f"SELECT {taken} FROM l {how} JOIN r ON {on}", l=left, r=right)
    assert rows_of(found) == rows_of(expected)
    assert found.schema.types == opened.schema.types
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", thinned(range(3), 3))
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("nulls_first", [False, True])
def test_a_sort_equals_the_query(
    seed: int, descending: bool, nulls_first: bool, tmp_path: Path
) -> None:
    random = np.random.default_rng(seed)
    table = make(random, 200, 9)
    keys = (
        SortKey(column="f", descending=descending, nulls_first=nulls_first),
        SortKey(column="k", nulls_first=nulls_first),
    )
    code = SortCode(keys=keys, deterministic=True)

    found = result(kernel(code, table.schema, spill=tmp_path), cut(table, random))

    nulls = "NULLS FIRST" if nulls_first else "NULLS LAST"
    order = f"f {'DESC' if descending else 'ASC'} {nulls}, k {nulls}, id"
    expected = wanted(f"SELECT * FROM t ORDER BY {order}", t=table)
    assert found["id"].equals(expected["id"])
    assert found.schema.equals(table.schema)


@pytest.mark.parametrize("seed", range(3))
def test_dedupe_keeps_the_first_by_order_then_of_the_input(seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    table = make(random, 200, 9)
    code = DedupeCode(by=("k", "f"), order=(SortKey(column="at"),), deterministic=True)

    found = result(kernel(code, table.schema, spill=tmp_path), cut(table, random))

    expected = wanted('SELECT DISTINCT ON (k, f) * FROM t ORDER BY "at", id', t=table)
    assert rows_of(found) == rows_of(expected)


@pytest.mark.parametrize("memory_bytes", [1 << 14, MEMORY_BYTES])
@pytest.mark.parametrize("order", [(), (SortKey(column="at"),)])
def test_dedupe_before_the_exchange_changes_no_result(
    order: tuple[SortKey, ...], memory_bytes: int, tmp_path: Path
) -> None:
    """Pieces of the input come one after another, as files of an exchange do."""
    random = np.random.default_rng(1)
    table = make(random, 2_000, 300)
    code = DedupeCode(by=("k", "f"), order=order, deterministic=True)
    sent: list[pa.Table] = []
    for piece in cut(table, random):
        partial = open_partial(code, table.schema, memory_bytes)
        assert partial is not None
        assert partial.schema.equals(table.schema)
        for batch in cut(piece, random):
            sent += partial.add(batch)
        sent += partial.finish()

    found = result(kernel(code, table.schema, spill=tmp_path), sent)

    assert rows_of(found) == rows_of(result(kernel(code, table.schema, spill=tmp_path), [table]))


def test_dedupe_sends_a_key_once_or_rows_as_they_are(tmp_path: Path) -> None:
    few = pa.table({"k": np.arange(200_000) % 10, "x": np.arange(200_000)})
    none = pa.table({"k": np.arange(200_000), "x": np.arange(200_000)})

    for table, sent in ((few, 10), (none, 200_000)):
        code = DedupeCode(by=("k",), order=(SortKey(column="x", descending=True),))
        partial = open_partial(code, table.schema, MEMORY_BYTES)
        assert partial is not None
        left = [s for at in range(0, 200_000, 20_000) for s in partial.add(table.slice(at, 20_000))]
        left += partial.finish()

        assert partial.paid == {"rows_in": 200_000, "rows_out": sent}
        rows = pa.concat_tables(left)
        assert min(rows["x"].to_pylist()) == (199_990 if table is few else 0)


@pytest.mark.parametrize("direction", ["backward", "forward", "nearest"])
@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("seed", thinned(range(3), 3))
def test_an_asof_join_takes_the_nearest(
    direction: str, keyed: bool, seed: int, tmp_path: Path
) -> None:
    random = np.random.default_rng(seed)
    left, right = two_sides("plain", random)
    code = AsofCode(
        left_on="at",
        right_on="at",
        left_by=("k",) if keyed else (),
        right_by=("k2",) if keyed else (),
        direction=direction,  # type: ignore[arg-type]
        tolerance=timedelta(microseconds=3),
    )

    opened = kernel(code, left.schema, right.schema, spill=tmp_path)
    found = result(opened, cut(left, random), cut(right, random))

    by = {row["id"]: row for row in found.to_pylist()}
    states = right.to_pylist()
    assert found.num_rows == left.num_rows
    for row in left.to_pylist():
        gaps = [
            ((row["at"] - s["at"]) / timedelta(microseconds=1), s["id"])
            for s in states
            if not keyed or (row["k"] is not None and row["k"] == s["k2"])
        ]
        assert by[row["id"]]["id_right"] == _nearest(gaps, direction)


def _nearest(gaps: list[tuple[float, int]], direction: str) -> int | None:
    back = [(gap, -i) for gap, i in gaps if 0 <= gap <= 3]
    ahead = [(-gap, i) for gap, i in gaps if -3 <= gap <= 0]
    if direction != "forward" and back and (direction == "backward" or not ahead):
        return -min(back)[1]
    if direction == "backward" or not ahead:
        return None
    if direction == "nearest" and back and min(back)[0] <= min(ahead)[0]:
        return -min(back)[1]
    return min(ahead)[1]


def test_a_window_equals_the_query(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = make(random, 200, 9)
    columns = (
        WindowColumn(name="n", function="row_number"),
        WindowColumn(name="r", function="rank"),
        WindowColumn(name="s", function="sum", column="id"),
        WindowColumn(name="p", function="lag", column="id", args=(2, -1)),
        WindowColumn(name="m", function="max", column="at"),
    )
    order = (SortKey(column="at"), SortKey(column="id"))
    code = WindowCode(by=("k",), order=order, columns=columns)

    found = result(kernel(code, table.schema, spill=tmp_path), cut(table, random))

    expected = wanted(
        "SELECT *, row_number() OVER w, rank() OVER w, (sum(id) OVER w)::BIGINT, "
        'lag(id, 2, -1) OVER w, max("at") OVER w FROM t '
        'WINDOW w AS (PARTITION BY k ORDER BY "at", id ROWS UNBOUNDED PRECEDING)',
        t=table.set_column(3, "at", table["at"].cast(pa.timestamp("us"))),
    )
    plain = [pa.timestamp("us") if pa.types.is_timestamp(t) else t for t in found.schema.types]
    cast = [c.cast(t) for c, t in zip(found.columns, plain, strict=True)]
    assert rows_of(pa.table(cast, names=found.column_names)) == rows_of(expected)


def test_what_a_source_raises_comes_through_and_the_spill_folder_is_empty(tmp_path: Path) -> None:
    table = make(np.random.default_rng(0), 10, 3)
    opened = kernel(SortCode(keys=(SortKey(column="k"),)), table.schema, spill=tmp_path)

    class LostError(Exception):
        pass

    def broken() -> Iterator[pa.Table]:
        yield table
        raise LostError

    with pytest.raises(LostError):
        list(opened.run([broken]))
    assert not list(tmp_path.iterdir())


@pytest.mark.timeout(30)
def test_an_asof_join_without_keys_sorts_both_sides_and_merges(tmp_path: Path) -> None:
    """In nested loops, which DuckDB takes for streams when it may, this takes over 30 seconds."""
    random = np.random.default_rng(0)
    lefts, rights = random.permutation(2_000_000), np.sort(random.permutation(2_000_000)[:200_000])
    left, right = pa.table({"at": lefts}), pa.table({"at": rights})
    code = AsofCode(left_on="at", right_on="at")

    found = result(kernel(code, left.schema, right.schema, spill=tmp_path), [left], [right])

    places = np.searchsorted(rights, found["at"].to_numpy(), side="right") - 1
    expected = pa.array(rights[places], mask=places < 0)
    assert found["at_right"].combine_chunks().equals(expected)
    assert found.num_rows == len(lefts)
