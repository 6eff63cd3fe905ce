"""Pieces of a reduce task take together what the task takes, and rows of one key meet in one."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from connectors.store import Store, open_store
from rayorch.exchange import (
    ExchangeIndex,
    ReduceSplit,
    dump_split,
    joined_pieces,
    load_split,
    pieces_of_task,
)
from rayorch.exchange import pieces as pieces_module
from rayorch.exchange.splits import Buckets, HotParts, HotRows, KeyRange, RowRange, Take
from rayorch.relational import (
    AggregateCode,
    AsofCode,
    DedupeCode,
    GroupMapCode,
    JoinCode,
    JoinHow,
    OperatorCode,
    RepartitionCode,
    SortCode,
    SortKey,
)
from tests.rayorch.exchange.rows import bag, planned, read_back, written
from tests.thinned import thinned

BY_KEY = AggregateCode(by=("k",), measures=())


@pytest.fixture
def store() -> Store:
    return open_store("memory://pieces")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces_module, "PIECE_BYTES_MIN", 2_000)
    monkeypatch.setattr(pieces_module, "COPIES_MAX", 99.0)


def table(seed: int, rows: int, hot: float) -> pa.Table:
    random = np.random.default_rng(seed)
    keys = np.where(random.random(rows) < hot, 7, random.integers(0, 400, rows))
    return pa.table({"k": keys, "id": np.arange(rows) + seed * 100_000})


def task(*takes: Take, rows: int = 1000, size_bytes: int = 10_000) -> ReduceSplit:
    return ReduceSplit(index=0, sides=(takes,), rows=(rows,), raw_bytes=(size_bytes,), requests=1)


HOWS: tuple[JoinHow, ...] = ("inner", "left", "right", "full", "semi", "anti")
CODES: list[OperatorCode] = [
    BY_KEY,
    DedupeCode(by=("k",)),
    GroupMapCode(by=("k",), function=len),
]


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.kind)
def test_each_row_of_a_task_is_in_one_piece_and_each_key(code: OperatorCode, store: Store) -> None:
    parts = written(store, code, [[table(seed, 3000, 0.3) for seed in range(3)]], buckets=64)
    index = ExchangeIndex(parts)
    for split in planned(code, parts, 3).splits:
        found = pieces_of_task(code, split)
        assert len(found) > 1
        read = [read_back(store, index, piece) for piece in found]

        tables = [each for each in read if each is not None]
        whole = read_back(store, index, split)
        assert whole is not None
        assert bag(tables) == bag([whole])
        keys = [set(each["k"].to_pylist()) for each in tables]
        assert all(not a & b for a, b in itertools.combinations(keys, 2))


@pytest.mark.parametrize(
    ("how", "is_broadcast"), thinned(itertools.product(HOWS, [False, True]), 3, values=2)
)
def test_rows_of_both_sides_meet_in_one_piece(
    how: JoinHow, is_broadcast: bool, store: Store
) -> None:
    """As in the task: each pair once, and each row of the kept side once; cut anywhere."""
    code = JoinCode(how=how, left_on=("k",), right_on=("k",))
    large = [table(seed, 3000, 0.5) for seed in range(3)]
    small = [table(9, 40 if is_broadcast else 900, 0.02)]
    sides = [small, large] if how == "right" else [large, small]
    parts = written(store, code, sides, buckets=64)
    index = ExchangeIndex(parts)
    kept = 1 if how == "right" else 0

    counts = []
    for split in planned(code, parts, 4).splits:
        found = pieces_of_task(code, split)
        counts.append(len(found))
        for cut in range(1, len(found)):
            some = [joined_pieces(found[:cut]), *found[cut:]]
            met = itertools.chain(*(pairs(store, index, each) for each in some))
            assert sorted(met) == sorted(pairs(store, index, split))
            rows = itertools.chain(*(ids(store, index, each, kept) for each in some))
            assert sorted(rows) == sorted(ids(store, index, split, kept))
    assert max(counts) > 1


def ids(store: Store, index: ExchangeIndex, split: ReduceSplit, side: int) -> list[int]:
    found = read_back(store, index, split, side)
    return [] if found is None else found["id"].to_pylist()


def pairs(store: Store, index: ExchangeIndex, split: ReduceSplit) -> list[tuple[int, int]]:
    left, right = (read_back(store, index, split, side) for side in (0, 1))
    if left is None or right is None:
        return []
    met = left.join(right, "k", right_suffix="_right", join_type="inner")
    return list(zip(met["id"].to_pylist(), met["id_right"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("code", "split"),
    [
        (SortCode(keys=(SortKey(column="k"),)), task(KeyRange((SortKey(column="k"),), None, None))),
        (RepartitionCode(by=("k",), parts=2), task(Buckets(0, 64))),
        (RepartitionCode(parts=2), task(RowRange(0, 1000))),
        (AggregateCode(by=(), measures=()), task(Buckets(0, 64))),
        (BY_KEY, task(Buckets(3, 4))),
        (BY_KEY, task(Buckets(0, 64), size_bytes=3_999)),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_what_has_to_stay_together_is_one_piece(code: OperatorCode, split: ReduceSplit) -> None:
    assert pieces_of_task(code, split) == (split,)


@pytest.mark.parametrize("take", [HotRows(3, 9, 100, 900), HotParts(3, 9, 8, 40)])
@pytest.mark.parametrize("by", [("k",), ()])
def test_states_of_a_hot_key_are_cut_wherever_they_are_merged(
    take: HotRows | HotParts, by: tuple[str, ...]
) -> None:
    found = pieces_of_task(AggregateCode(by=by, measures=()), task(take, rows=800))

    assert len(found) == 5
    assert [load_split(dump_split(piece)) for piece in found] == list(found)
    assert joined_pieces(found).sides == ((take,),)
    assert joined_pieces(found).raw_bytes == (10_000,)


def test_a_side_that_would_be_read_again_and_again_keeps_its_task_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces_module, "COPIES_MAX", 0.2)
    for other_bytes, count in ((100, 5), (1_000, 3), (3_000, 1)):
        split = ReduceSplit(
            index=0,
            sides=((RowRange(0, 1000),), (RowRange(0, 50),)),
            rows=(1000, 50),
            raw_bytes=(10_000, other_bytes),
            requests=2,
        )
        assert len(pieces_of_task(AsofCode(left_on="t", right_on="t"), split)) == count
