"""A function called with all rows of one group: rows sorted by key, then cut where it changes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

import pyarrow as pa

from rayorch.errors import SpecError
from rayorch.operators.engine import Side
from rayorch.operators.grouping import cut_at_marks, marked_kernel
from rayorch.operators.kernel import Room, SqlKernel, bounded
from rayorch.relational import GroupMapCode


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupKernel:
    """Calls of a function that takes and returns tables.

    A group is held whole, in memory. One that is larger than the memory fails with MemoryError.
    """

    code: GroupMapCode
    rows: pa.Schema
    sorted_rows: SqlKernel
    room: Room

    @property
    def schema(self) -> pa.Schema:
        """The declared columns, else those of what the function makes of no rows."""
        if self.code.schema is not None:
            return self.code.schema
        return self._called(self.rows.empty_table()).schema

    def run(self, sides: Sequence[Side]) -> Iterator[pa.Table]:
        """Yield what the function returns, group by group.

        Raises: whatever the function raises, as it is; MemoryError.
        """
        schema, held, held_bytes, mark = self.code.schema, list[pa.Table](), 0, None
        with closing(self.sorted_rows.run(sides)) as rows:
            for table in rows:
                for part, own in _runs(table):
                    if held and own != mark:
                        made = self._result(held, schema)
                        schema, held, held_bytes = made.schema, [], 0
                        yield from bounded(made)
                    mark = own
                    held.append(part)
                    held_bytes += part.nbytes
                    if held_bytes > self.room.memory_bytes:
                        raise MemoryError(f"a group has more than {self.room.memory_bytes} bytes")
        if held:
            yield from bounded(self._result(held, schema))

    def _result(self, held: list[pa.Table], schema: pa.Schema | None) -> pa.Table:
        made = self._called(pa.concat_tables(held))
        return made if schema is None else made.cast(schema)

    def _called(self, table: pa.Table) -> pa.Table:
        function = cast("Callable[[pa.Table], Any]", self.code.function)
        made = function(table)
        if isinstance(made, pa.RecordBatch):
            made = pa.Table.from_batches([made])
        if not isinstance(made, pa.Table):
            raise TypeError(f"map_groups wants a pa.Table, not {type(made).__name__}")
        return made


def group_kernel(code: GroupMapCode, schema: pa.Schema, room: Room) -> GroupKernel:
    """Return the kernel that calls the function; it must take and return Arrow tables.

    Raises: SpecError, for another convention: whoever opens the kernel translates frames.
    """
    if code.takes != "arrow":
        raise SpecError("the group function has to take Arrow here", value=code.takes)
    # The engine holds half of the memory, the group at hand the other.
    half = replace(room, memory_bytes=max(room.memory_bytes // 2, 1))
    kernel = marked_kernel(code.by, schema, half, code.order)
    return GroupKernel(code=code, rows=schema, sorted_rows=kernel, room=room)


def _runs(table: pa.Table) -> Iterator[tuple[pa.Table, bytes]]:
    """Yield the runs of rows that have one mark, without it."""
    rows, starts, marks = cut_at_marks(table)
    bounds = pairwise([*starts.tolist(), rows.num_rows])
    for (start, end), mark in zip(bounds, marks.to_pylist(), strict=True):
        yield rows.slice(start, end - start), mark
