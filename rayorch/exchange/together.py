"""Read small neighbouring tasks of a hash exchange together, a few at a time.

A thousand files by a thousand tasks are a million ranges of a kilobyte. A block, the least that
can be read and checked, has rows of many tasks: so the tasks that share blocks are read at once,
and their rows told apart in one pass over all of them.

    files, rows by bucket   t1 t1 t2 t3 | t1 t2 t2 t3 | ...   one range of each file
    put in order of tasks   t1 t1 t1 .. | t2 t2 t2 .. | t3    a task's as its own read has them
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rayorch.exchange.ordering import in_order
from rayorch.exchange.reader import TABLE_BYTES, Fetched, open_side, rows_of_runs
from rayorch.exchange.sharing import Group, bucket_range, groups, together_bytes
from rayorch.exchange.splits import load_split

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from connectors.store import Store
    from rayorch.exchange.index import ExchangeIndex
    from rayorch.exchange.splits import ReduceSplit


class TogetherReader:
    """Reads the tasks of one exchange for one runner; used by one thread at a time."""

    def __init__(
        self,
        store: Store,
        index: ExchangeIndex,
        splits: Sequence[bytes],
        memory_bytes: int,
        together: int,
        fetched: Fetched,
    ) -> None:
        """Take the division of an exchange.

        together: as the planner said; groups of tasks end where their numbers are multiples of it.
        fetched: is added to, of a group by its first task.
        """
        self._store = store
        self._index = index
        self._splits = splits
        self._memory_bytes = memory_bytes
        self._together = together
        self._groups: dict[int, dict[int, Group]] = {}
        # By side, what was read last: tasks come in order, and one that comes back reads its own.
        self._read: dict[int, tuple[Group, dict[int, pa.Table]]] = {}
        self._done: set[tuple[int, Group]] = set()
        self._fetched = fetched

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
            yield from open_side(self._store, self._index, split, side, fetched=self._fetched)
            return
        rows = max(1, table.num_rows * TABLE_BYTES // max(table.nbytes, TABLE_BYTES))
        for start in range(0, table.num_rows, rows):
            yield table.slice(start, rows)

    def open_taken(self, task: ReduceSplit, side: int) -> Iterator[pa.Table]:
        """Yield the rows that a piece of a task takes of a side.

        Raises: ExchangeLostError, StoreError.
        """
        yield from open_side(self._store, self._index, task, side, fetched=self._fetched)

    def _grouped(self, side: int) -> dict[int, Group]:
        sides = self._index.sides
        bytes_max = together_bytes(self._memory_bytes, len(sides), len(sides[side].runs))
        splits = [load_split(data) for data in self._splits]
        found = groups(splits, side, self._together, bytes_max)
        return {number: group for group in found for number in range(*group)}

    def _taken(self, number: int, side: int, group: Group) -> pa.Table | None:
        if (side, group) not in self._done:
            self._done.add((side, group))
            self._read.pop(side, None)  # Two at once would be twice the memory.
            self._read[side] = (group, self._read_group(side, group))
        held, tables = self._read.get(side, (None, {}))
        return tables.pop(number, None) if held == group else None

    def _read_group(self, side: int, group: Group) -> dict[int, pa.Table]:
        splits = [load_split(self._splits[number]) for number in range(*group)]
        ranges = [found for split in splits if (found := bucket_range(split, side)) is not None]
        assert len(ranges) == len(splits)
        bounds = [ranges[0][0], *(last for _, last in ranges)]
        runs = self._index.sides[side].runs
        if not runs:
            return {}  # Nobody wrote a row of this side.
        # Rows come run by run, in each bucket by bucket.
        starts = np.stack([run.bucket_starts[bounds] for run in runs])
        ends_of = (starts[:, 0], starts[:, -1])
        table = rows_of_runs(self._store, self._index, side, ends_of, self._fetched)
        if table is None:
            return {}
        counts = np.diff(starts, axis=1)
        tasks = np.tile(np.arange(len(splits), dtype=np.uint16), len(counts))
        order = np.argsort(np.repeat(tasks, counts.ravel()), kind="stable")
        assert len(order) == table.num_rows
        table = pa.Table.from_batches([in_order(table, order)])
        ends = np.cumsum(counts.sum(axis=0))
        return {
            group[0] + place: table.slice(end - rows, rows)
            for place, (end, rows) in enumerate(
                zip(ends.tolist(), counts.sum(axis=0).tolist(), strict=True)
            )
        }
