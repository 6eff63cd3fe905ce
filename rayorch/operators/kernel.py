"""What a kernel is, and the kernel that is one query."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import pyarrow as pa

from rayorch.operators.columns import carried, carried_schema, restored
from rayorch.operators.engine import BATCH_ROWS, Feed, Side, query, spilling_engine

ENGINE_SHARE: Final = 0.7  # of the memory: the rest holds batches on their way in and out
BATCH_BYTES: Final = 64 << 20


class Kernel(Protocol):
    """An operator at work on the rows of one reduce task."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of the result, known before any row."""

    def run(self, sides: Sequence[Side]) -> Iterator[pa.Table]:
        """Yield the result in batches; each side yields its tables anew at every call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What one kernel may use."""

    memory_bytes: int
    spill_dir: str
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlKernel:
    """One query over the sides, which it calls `l` (columns c0, c1, ...) and `r` (d0, d1, ...)."""

    sides: tuple[pa.Schema, ...]
    schema: pa.Schema
    sql: str
    room: Room
    numbered: bool = False  # each side also has the column `sequence`
    # The query when the left side is the smaller one: it then comes second.
    sql_left_small: str | None = None
    batch_rows: int = BATCH_ROWS

    def run(self, sides: Sequence[Side]) -> Generator[pa.Table, None, None]:
        """Yield the rows of the query."""
        assert len(sides) == len(self.sides)
        sql, inputs = self.sql, [side() for side in sides]
        if self.sql_left_small is not None:
            left_small, inputs = _measured(inputs, self.room.memory_bytes // 4)
            sql = self.sql_left_small if left_small else self.sql
        feeds = {
            name: self._feed(tables, schema, prefix)
            for tables, schema, name, prefix in zip(inputs, self.sides, "lr", "cd", strict=False)
        }
        memory_bytes = int(self.room.memory_bytes * ENGINE_SHARE)
        with spilling_engine(memory_bytes, self.room.spill_dir, self.room.threads) as engine:
            for table in query(engine, sql, feeds, self.batch_rows):
                yield from bounded(restored(table.columns, self.schema))

    def _feed(self, tables: Iterator[pa.Table], schema: pa.Schema, prefix: str) -> Feed:
        target = carried_schema(schema, prefix)
        return Feed((carried(t, target) for t in tables), target, numbered=self.numbered)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassKernel:
    """The rows as they come: where the exchange has done all the work."""

    schema: pa.Schema

    def run(self, sides: Sequence[Side]) -> Iterator[pa.Table]:
        """Yield the rows of the only side."""
        for table in sides[0]():
            yield from bounded(table)


def bounded(table: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows in slices of at most about 64 MB."""
    rows = table.num_rows
    if not rows:
        return
    step = max(1, rows * BATCH_BYTES // max(table.nbytes, BATCH_BYTES))
    for start in range(0, rows, step):
        yield table.slice(start, step)


def _measured(
    inputs: list[Iterator[pa.Table]], buffer_bytes: int
) -> tuple[bool, list[Iterator[pa.Table]]]:
    """Read two sides in step until one ends: whether it was the left, and the sides from the start.

    When neither ends within the buffer, the right is taken for the smaller one.
    """
    kept: list[list[pa.Table]] = [[], []]
    sizes = [0, 0]
    left_small = False
    while sum(sizes) < buffer_bytes:
        side = 0 if sizes[0] <= sizes[1] else 1
        table = next(inputs[side], None)
        if table is None:
            left_small = side == 0
            break
        kept[side].append(table)
        sizes[side] += table.nbytes
    return left_small, [_chained(kept[0], inputs[0]), _chained(kept[1], inputs[1])]


def _chained(kept: list[pa.Table], rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    while kept:
        yield kept.pop(0)
    yield from rest
