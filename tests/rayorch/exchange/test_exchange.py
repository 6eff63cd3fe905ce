"""Whatever is exchanged arrives once: every operator, key, number of parts, buckets and tasks."""

import itertools
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from connectors.store import Store, open_store
from rayorch.exchange import (
    Apart,
    ExchangeIndex,
    ExchangePart,
    ExchangePlan,
    ExchangeWriter,
    PlanLimits,
    plan_exchange,
    plan_merges,
)
from rayorch.exchange.ordering import encoded_keys, sort_order
from rayorch.exchange.writer import Codec
from rayorch.relational import (
    AggregateCode,
    AsofCode,
    DedupeCode,
    JoinCode,
    JoinHow,
    OperatorCode,
    RepartitionCode,
    SortCode,
    SortKey,
    keying_of,
)
from tests.rayorch.exchange.rows import KINDS, bag, ids, odd_table, planned, read_back, written
from tests.thinned import thinned

ONE_SIDED: list[OperatorCode] = [
    *(DedupeCode(by=(name,)) for name in KINDS),
    DedupeCode(by=tuple(KINDS)),
    RepartitionCode(by=("text", "int"), parts=5),
    RepartitionCode(),
    RepartitionCode(size_bytes=20_000),
    *(RepartitionCode(by=(name,), ranges=True) for name in KINDS),
    *(SortCode(keys=(SortKey(column=name, descending=True),)) for name in KINDS),
    SortCode(keys=tuple(SortKey(column=name, nulls_first=True) for name in KINDS)),
    AggregateCode(by=("int", "text"), measures=()),
    AggregateCode(by=(), measures=()),
]


@pytest.fixture(params=thinned(["file", "memory"], 2))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(str(tmp_path) if request.param == "file" else f"memory://{tmp_path.name}")


def _index(parts: list[list[ExchangePart]]) -> ExchangeIndex:
    return ExchangeIndex.load(ExchangeIndex(parts).dump())


@pytest.mark.parametrize("code", ONE_SIDED, ids=str)
@pytest.mark.parametrize(
    ("buckets", "tasks", "codec"), thinned([(64, 7, "lz4"), (1, 3, "none")], 2, values=3)
)
def test_each_row_arrives_once(
    store: Store, code: OperatorCode, buckets: int, tasks: int, codec: Codec
) -> None:
    tables = [odd_table(seed, rows) for seed, rows in enumerate([0, 300, 1200, 1])]
    parts = written(store, code, [tables], buckets=buckets, codec=codec, memory_bytes=150_000)
    plan = planned(code, parts, tasks)
    index = _index(parts)

    found = [read_back(store, index, split) for split in plan.splits]

    assert bag([table for table in found if table is not None]) == bag(tables)
    rows = sum(split.rows[0] for split in plan.splits)
    assert rows == pytest.approx(1501, abs=2 * len(plan.splits))


@pytest.mark.parametrize("how", ["inner", "left", "right", "full", "semi", "anti"])
@pytest.mark.parametrize("seed", thinned(range(3), 3))
def test_rows_of_both_sides_meet_once(store: Store, how: JoinHow, seed: int) -> None:
    """Each pair of equal keys meets in one task, and each row of the kept side is in one.

    Half of the left's rows, and some of the right's, have one key, so that it is cut.
    """
    code = JoinCode(how=how, left_on=("k",), right_on=("r",))
    left = [_keyed("k", 3000, seed * 10 + part, 0.5) for part in range(4)]
    right = [_keyed("r", 700, seed * 10 + 5 + part, 0.02) for part in range(2)]
    if how == "right":
        left, right = [_renamed(t, "k") for t in right], [_renamed(t, "r") for t in left]
    parts = written(store, code, [left, right], buckets=64)
    plan = planned(code, parts, 6)
    index = _index(parts)

    met: Counter[tuple[int, int]] = Counter()
    kept: Counter[int] = Counter()
    for split in plan.splits:
        sides = [read_back(store, index, split, side) for side in (0, 1)]
        met += _pairs(sides[0], sides[1])
        kept += Counter(ids(sides[1 if how == "right" else 0]))

    assert met == _pairs(pa.concat_tables(left), pa.concat_tables(right))
    if how in {"left", "semi", "anti", "full", "right"}:
        assert set(kept.values()) == {1}
        assert len(kept) == sum(t.num_rows for t in (right if how == "right" else left))
    assert bool(plan.hot_keys) == (how != "full" and not any(plan.broadcast))


@pytest.mark.parametrize("by_value", [False, True])
@pytest.mark.parametrize("hot", [0.3, 0.9, 1.0])
def test_hot_groups_are_merged_in_pieces_and_then_with_the_rest(
    store: Store, hot: float, by_value: bool
) -> None:
    """Each group comes out of one task at the end, with all its rows counted.

    By value, no two tasks have rows of one value; rows without one go to all.
    """
    code = AggregateCode(by=("k",), measures=())
    values = [None if row % 5 == 0 else row % 700 for row in range(4000)]
    tables = [
        _keyed("k", 4000, part, hot if part else 0)
        .select(["k"])
        .append_column("n", pa.array([1] * 4000))
        .append_column("v", pa.array(values, pa.int64()))
        for part in range(5)
    ]
    apart = Apart(values=("v",)) if by_value else None
    parts = written(store, code, [tables], buckets=64, apart=apart)
    total = sum(part.raw_bytes for part in parts[0])
    limits = PlanLimits(slots=1, target_bytes=max(total // 6, 1))
    first = plan_merges(code, parts[0], limits)
    assert len(first.splits) > 1
    assert first.by_value == by_value

    merged = []
    seen: list[set[int | None]] = []
    for number, split in enumerate(first.splits):
        table = read_back(store, ExchangeIndex(parts), split)
        assert table is not None
        seen.append(set(table["v"].to_pylist()))
        states = _counted(table)
        writer = ExchangeWriter(
            store,
            f"before/{number}",
            states.schema,
            keying_of(code),
            buckets=64,
            apart=Apart(keys_max=0),
        )
        writer.add(states)
        merged.append(writer.close())
    both = [a & b for a, b in itertools.combinations(seen, 2)]
    assert all(each == ({None} if by_value else seen[0]) for each in both)
    plan = plan_exchange(code, [[*parts[0], *merged]], limits, first.merged)
    index = _index([[*parts[0], *merged]])
    found = [
        _counted(table)
        for split in plan.splits
        if (table := read_back(store, index, split)) is not None
    ]

    groups = Counter(key for table in found for key in table["k"].to_pylist())
    assert set(groups.values()) == {1}
    whole = _counted(pa.concat_tables(tables))
    assert plan.hot_keys == first.hot_keys == ("7",)
    assert pa.concat_tables(found).sort_by("k").equals(whole.sort_by("k"))


def test_a_small_side_goes_to_every_task(store: Store) -> None:
    code = JoinCode(how="left", left_on=("k",), right_on=("r",))
    left, right = [_keyed("k", 5000, part, 0.5) for part in range(4)], [_keyed("r", 40, 9, 0)]
    parts = written(store, code, [left, right])
    plan = planned(code, parts, 4)
    index = _index(parts)

    assert plan.broadcast == (False, True)
    assert "right broadcast" in str(plan.reasons)
    for split in plan.splits:
        assert sorted(ids(read_back(store, index, split, 1))) == ids(right[0])
    lefts = [i for split in plan.splits for i in ids(read_back(store, index, split))]
    assert sorted(lefts) == [i for table in left for i in ids(table)]


def test_asof_without_keys_divides_the_left_and_gives_all_of_the_right(store: Store) -> None:
    code = AsofCode(left_on="id", right_on="id")
    left, right = [_keyed("k", 5000, 1, 0)], [_keyed("r", 4000, 2, 0)]
    parts = written(store, code, [left, right])
    plan = planned(code, parts, 4)

    found = [ids(read_back(store, _index(parts), split)) for split in plan.splits]

    assert len(found) > 1
    assert list(itertools.chain(*found)) == ids(left[0])
    assert all(split.rows[1] == 4000 for split in plan.splits)


@pytest.mark.parametrize("name", [*KINDS, "all"])
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("nulls_first", [True, False])
def test_ranges_are_in_the_order_of_the_tasks(
    store: Store, name: str, *, descending: bool, nulls_first: bool
) -> None:
    """What is before in one task's keys is never in a later task; equal keys keep their order."""
    names = [*KINDS] if name == "all" else [name]
    keys = tuple(
        SortKey(column=item, descending=descending, nulls_first=nulls_first) for item in names
    )
    code = SortCode(keys=keys, deterministic=True)
    tables = [odd_table(seed, 300) for seed in range(5)]
    parts = written(store, code, [tables], memory_bytes=100_000)
    plan = planned(code, parts, 5)
    index = _index(parts)

    found = []
    for split in plan.splits:
        table = read_back(store, index, split)
        assert table is not None
        found.append(table.take(pa.array(sort_order(table, keys))))

    whole = pa.concat_tables(tables)
    expected = whole.take(pa.array(sort_order(whole, keys)))
    assert list(itertools.chain(*map(ids, found))) == ids(expected)
    encoded = encoded_keys(expected, keys)
    assert encoded == sorted(encoded)


def test_a_key_with_all_rows_is_cut_in_a_sort_and_not_in_a_repartition(store: Store) -> None:
    tables = [
        pa.table({"k": [5] * 40_000, "id": range(part * 40_000, (part + 1) * 40_000)})
        for part in range(3)
    ]
    sort = SortCode(keys=(SortKey(column="k"),))
    parts = written(store, sort, [tables], memory_bytes=64 << 20)

    cut = planned(sort, parts, 4)
    whole = planned(RepartitionCode(by=("k",), ranges=True), parts, 4)

    assert cut.slowest_over_mean < 1.2
    found = [ids(read_back(store, _index(parts), split)) for split in cut.splits]
    assert list(itertools.chain(*found)) == list(range(120_000))
    assert len(whole.splits) == 1
    assert "rows of equal keys stay together" in str(whole.reasons)


def test_nothing_exchanged_is_no_task(store: Store) -> None:
    for code in ONE_SIDED:
        parts = written(store, code, [[odd_table(0, 0), odd_table(1, 0)]])

        plan: ExchangePlan = planned(code, parts, 3)

        assert plan.splits == ()


def _keyed(name: str, rows: int, seed: int, hot: float) -> pa.Table:
    keys = [7 if i % 100 < hot * 100 else i * 31 % 997 for i in range(rows)]
    ids_ = range(seed * 1_000_000, seed * 1_000_000 + rows)
    return pa.table({name: pa.array(keys, pa.int64()), "id": pa.array(ids_, pa.int64())})


def _counted(table: pa.Table) -> pa.Table:
    counted = table.group_by("k").aggregate([("n", "sum")])
    return counted.select(["k", "n_sum"]).rename_columns(["k", "n"])


def _renamed(table: pa.Table, name: str) -> pa.Table:
    return table.rename_columns([name, "id"])


def _pairs(left: pa.Table | None, right: pa.Table | None) -> Counter[tuple[int, int]]:
    if left is None or right is None:
        return Counter()
    joined = left.rename_columns(["k", "left"]).join(
        right.rename_columns(["k", "right"]), "k", join_type="inner"
    )
    pairs = zip(joined["left"].to_pylist(), joined["right"].to_pylist(), strict=True)
    return Counter(pairs)
