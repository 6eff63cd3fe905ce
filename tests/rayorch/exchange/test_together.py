"""Small tasks that are read together get the very rows that each would have read alone."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from connectors.store import Store, open_store
from rayorch.exchange import (
    ExchangeIndex,
    ExchangeLostError,
    Fetched,
    PlanLimits,
    TogetherReader,
    dump_split,
    plan_exchange,
)
from rayorch.exchange.sharing import tasks_together
from rayorch.exchange.splits import ReduceSplit
from rayorch.relational import JoinCode, OperatorCode, RepartitionCode
from tests.rayorch.exchange.rows import ids, odd_table, read_back, written

CODE = RepartitionCode(by=("id",), parts=40)
JOIN = JoinCode(how="inner", left_on=("id",), right_on=("id",))


class CountingStore:
    """A store that counts its reads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reads = 0
        self.size_bytes = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a range."""
        self.reads += 1
        data = self._store.get_range(key, start, length)
        self.size_bytes += len(data)
        return data


def divided(
    store: Store, code: OperatorCode, sides: Sequence[Sequence[pa.Table]], tasks: int
) -> tuple[ExchangeIndex, tuple[ReduceSplit, ...]]:
    parts = written(store, code, sides, buckets=1024)
    total = sum(part.raw_bytes for side in parts for part in side)
    plan = plan_exchange(code, parts, PlanLimits(slots=1, target_bytes=total // tasks))
    return ExchangeIndex(parts), plan.splits


def together_reader(
    store: Store,
    index: ExchangeIndex,
    splits: Sequence[ReduceSplit],
    memory_bytes: int = 1 << 30,
    fetched: Fetched | None = None,
) -> TogetherReader:
    together = tasks_together(splits, [len(side.runs) for side in index.sides], memory_bytes)
    dumped = [dump_split(split) for split in splits]
    return TogetherReader(store, index, dumped, memory_bytes, together, fetched or Fetched())


@pytest.mark.parametrize("memory_bytes", [1 << 30, 4 << 20, 1])
@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_every_task_has_its_rows_in_their_order(
    scheme: str, memory_bytes: int, tmp_path: Path
) -> None:
    store = open_store(str(tmp_path) if scheme == "file" else f"memory://{tmp_path.name}")
    tables = [odd_table(seed, rows) for seed, rows in enumerate((3000, 40, 0, 2000))]
    index, splits = divided(store, CODE, [tables], 40)
    assert len(splits) == 40

    reader = together_reader(store, index, splits, memory_bytes)

    for number in (*range(40), 7, 7):  # one is tried again
        found = list(reader.open_side(number, 0))
        assert ids(pa.concat_tables(found)) == ids(read_back(store, index, splits[number]))


def test_both_sides_of_a_join_are_read_together(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    sides = [[odd_table(seed, 900) for seed in range(3)], [odd_table(7, 700)]]
    index, splits = divided(store, JOIN, sides, 12)

    reader = together_reader(store, index, splits)

    for number, split in enumerate(splits):
        for side in (0, 1):
            found = [row for table in reader.open_side(number, side) for row in ids(table)]
            assert found == ids(read_back(store, index, split, side))


def test_blocks_are_read_once_for_all_tasks_that_share_them(tmp_path: Path) -> None:
    counting = CountingStore(open_store(str(tmp_path)))
    store: Store = counting  # type: ignore[assignment]
    index, splits = divided(store, CODE, [[odd_table(seed, 400) for seed in range(5)]], 40)
    counting.reads = 0

    fetched = Fetched()
    reader = together_reader(store, index, splits, fetched=fetched)
    rows = sum(table.num_rows for n in range(40) for table in reader.open_side(n, 0))

    assert rows == 2000
    assert counting.reads < 5 * 40 / 4
    assert fetched.requests == counting.reads
    assert fetched.size_bytes == counting.size_bytes


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    index, splits = divided(store, CODE, [[odd_table(seed, 400) for seed in range(5)]], 40)
    store.delete([index.sides[0].parts[3].key])

    reader = together_reader(store, index, splits)

    with pytest.raises(ExchangeLostError) as caught:
        list(reader.open_side(0, 0))
    assert caught.value.parts == (3,)
