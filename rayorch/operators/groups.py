"""A function called with all rows of one group: rows sorted by key, then cut where it changes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from rayorch.errors import SpecError
from rayorch.operators.engine import Side
from rayorch.operators.kernel import Room, SqlKernel, bounded
from rayorch.operators.rows import names, ordering
from rayorch.relational import GroupMapCode

_MARK = "group mark"


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
        for table in self.sorted_rows.run(sides):
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
    columns = names(schema)
    parts = [f"{_even(columns[n], schema.field(n).type)}, 'ASC NULLS LAST'" for n in code.by]
    mark = f"create_sort_key({', '.join(parts)})" if parts else "''::BLOB"
    terms = ", ".join(["m", *ordering(code.order, columns)])
    taken = ", ".join(columns.values())
    kernel = SqlKernel(
        sides=(schema,),
        schema=schema.append(pa.field(_MARK, pa.binary())),
        sql=f"SELECT {taken}, {mark} AS m FROM l ORDER BY {terms}",
        room=replace(room, memory_bytes=max(room.memory_bytes // 2, 1)),
    )
    return GroupKernel(code=code, rows=schema, sorted_rows=kernel, room=room)


def _even(column: str, type_: pa.DataType) -> str:
    """Return the key with -0.0 as 0.0: their sort keys differ."""
    if not pt.is_floating(type_):
        return column
    return f"CASE WHEN {column} = 0 THEN 0 ELSE {column} END"


def _runs(table: pa.Table) -> Iterator[tuple[pa.Table, bytes]]:
    """Yield the runs of rows that have one mark, without it."""
    marks = table[_MARK].combine_chunks()
    rows = table.drop([_MARK])
    changes = pc.not_equal(marks[1:], marks[:-1]).to_numpy(zero_copy_only=False)
    starts = [0, *(np.flatnonzero(changes) + 1).tolist()]
    for start, end in zip(starts, [*starts[1:], table.num_rows], strict=True):
        yield rows.slice(start, end - start), marks[start].as_py()
