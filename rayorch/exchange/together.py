"""Read small neighbouring tasks of a hash exchange together, a few at a time.

A thousand files by a thousand tasks are a million ranges of a kilobyte. A block, the least that
can be read and checked, has rows of many tasks: so the tasks that share blocks are read at once,
and their rows told apart in one pass over all of them.

    files, rows by bucket   t1 t1 t2 t3 | t1 t2 t2 t3 | ...   one range of each file
    put in order of tasks   t1 t1 t1 .. | t2 t2 t2 .. | t3    a task's as its own read has them
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from rayorch.exchange.reader import TABLE_BYTES, open_side
from rayorch.exchange.splits import Buckets, ReduceSplit, load_split
from rayorch.exchange.writer import BLOCK_BYTES_MIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from connectors.store import Store
    from rayorch.exchange.index import ExchangeIndex

TOGETHER_BYTES: Final = 32 << 20
TOGETHER_SHARE: Final = 16
"""The part of a task's memory that rows of others may have."""
GROUPS_MAX: Final = 2
"""Of each side: tasks come nearly in order."""

Group = tuple[int, int]
"""Tasks, from the first to one behind the last."""


class TogetherReader:
    """Reads the tasks of one exchange for one runner; used by one thread at a time."""

    def __init__(
        self, store: Store, index: ExchangeIndex, splits: Sequence[bytes], memory_bytes: int
    ) -> None:
        self._store = store
        self._index = index
        self._splits = splits
        self._bytes_max = min(TOGETHER_BYTES, memory_bytes // TOGETHER_SHARE)
        self._groups: dict[int, dict[int, Group]] = {}
        self._read: OrderedDict[tuple[int, Group], dict[int, pa.Table]] = OrderedDict()

    def open_side(self, number: int, side: int) -> Iterator[pa.Table]:
        """Yield the rows that a task takes of a side, as `reader.open_side` does.

        Raises: ExchangeLostError, StoreError.
        """
        if side not in self._groups:
            self._groups[side] = self._grouped(side)
        group = self._groups[side].get(number)
        table = None if group is None else self._taken(number, side, group)
        if table is None:  # It has rows enough of its own, or this is another try.
            split = load_split(self._splits[number])
            yield from open_side(self._store, self._index, split, side)
            return
        rows = max(1, table.num_rows * TABLE_BYTES // max(table.nbytes, TABLE_BYTES))
        for start in range(0, table.num_rows, rows):
            yield table.slice(start, rows)

    def _grouped(self, side: int) -> dict[int, Group]:
        """Return which tasks are read together: neighbours that have a block of each file or so."""
        runs = len(self._index.sides[side].runs)
        bytes_max = min(BLOCK_BYTES_MIN * runs, self._bytes_max)
        groups: list[list[int]] = []
        held_bytes, end = 0, -1
        for number, data in enumerate(self._splits):
            split = load_split(data)
            taken = _bucket_range(split, side)
            if taken is None:
                end = -1
                continue
            held_bytes += split.raw_bytes[side]
            if taken[0] != end or held_bytes > bytes_max:
                groups.append([])
                held_bytes = split.raw_bytes[side]
            groups[-1].append(number)
            end = taken[1]
        several = [(group[0], group[-1] + 1) for group in groups if len(group) > 1]
        return {number: group for group in several for number in range(*group)}

    def _taken(self, number: int, side: int, group: Group) -> pa.Table | None:
        key = (side, group)
        if key not in self._read:
            self._read[key] = self._read_group(side, group)
            while len(self._read) > GROUPS_MAX * len(self._index.sides):
                self._read.popitem(last=False)
        return self._read[key].pop(number, None)

    def _read_group(self, side: int, group: Group) -> dict[int, pa.Table]:
        splits = [load_split(self._splits[number]) for number in range(*group)]
        ranges = [found for split in splits if (found := _bucket_range(split, side)) is not None]
        assert len(ranges) == len(splits)
        bounds = [ranges[0][0], *(last for _, last in ranges)]
        takes: list[tuple[Buckets, ...]] = [()] * len(self._index.sides)
        takes[side] = (Buckets(bounds[0], bounds[-1]),)
        whole = ReduceSplit(index=group[0], sides=tuple(takes), rows=(), raw_bytes=(), requests=0)
        tables = list(open_side(self._store, self._index, whole, side))
        if not tables:
            return {}
        table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
        # Rows come run by run, in each bucket by bucket.
        starts = np.stack([run.bucket_starts[bounds] for run in self._index.sides[side].runs])
        counts = np.diff(starts, axis=1)
        tasks = np.tile(np.arange(len(splits), dtype=np.uint16), len(counts))
        order = np.argsort(np.repeat(tasks, counts.ravel()), kind="stable")
        assert len(order) == table.num_rows
        table = table.take(pa.array(order))
        ends = np.cumsum(counts.sum(axis=0))
        return {
            group[0] + place: table.slice(end - rows, rows)
            for place, (end, rows) in enumerate(
                zip(ends.tolist(), counts.sum(axis=0).tolist(), strict=True)
            )
        }


def _bucket_range(split: ReduceSplit, side: int) -> tuple[int, int] | None:
    """Return the buckets that a task takes of a side, if that is all that it takes."""
    takes = split.sides[side]
    if len(takes) != 1 or not isinstance(takes[0], Buckets) or takes[0].without:
        return None
    return takes[0].first, takes[0].last
