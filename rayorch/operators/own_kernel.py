"""The kernel of an aggregate with calls in it: states in order, folded, then among the engine's."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from rayorch.operators.aggregate import Plan, Settling
from rayorch.operators.engine import Side
from rayorch.operators.grouping import marked_kernel
from rayorch.operators.kernel import Room, SqlKernel
from rayorch.operators.own_states import OwnStates
from rayorch.operators.partial import Partial, of_aggregate

# States may be large, and a batch of them is in memory together with what is made of it.
_BATCH_ROWS: Final = 2_048
# The part of the memory for the engine's measures: a few numbers per group, states may be large.
_AMONG_SHARE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKernel:
    """An aggregate that reads its side twice: for the calls, and for the engine's measures."""

    schema: pa.Schema
    plan: Plan
    own: OwnStates
    final: bool
    room: Room
    rows: pa.Schema | None  # of the side's rows; None: the side brings states
    settling: Settling | None = None

    def run(self, sides: Sequence[Side]) -> Iterator[pa.Table]:
        """Yield a row per group. Raises: what the author's functions raise, as it was."""
        (side,) = sides
        if self.rows is not None:
            side = _states_of(side, self.plan, self.rows, self.room.memory_bytes // 4)
        among_bytes = 0 if self.plan.calls_only else self.room.memory_bytes // _AMONG_SHARE
        room = replace(self.room, memory_bytes=self.room.memory_bytes - among_bytes)
        states = self.own.held_schema
        kernel = marked_kernel(states.names[: len(self.own.by)], states, room)
        kernel = replace(kernel, batch_rows=_BATCH_ROWS)
        # Closed at once also when a call raises: its files would stay as long as the traceback.
        with closing(kernel.run([lambda: map(self._calls, side())])) as marked:
            folded = self.own.folded(marked, final=self.final)
            if self.plan.calls_only:
                for table in folded:
                    yield table.rename_columns(self.schema.names)
            else:
                yield from self._among(side, folded, replace(room, memory_bytes=among_bytes))

    def _among(self, side: Side, folded: Iterator[pa.Table], room: Room) -> Iterator[pa.Table]:
        """Yield the rows with the engine's measures in them."""

        def tables() -> Iterator[pa.Table]:
            yield from folded
            for table in side():
                yield self.own.without(table, final=self.final)

        grouped = self.plan.states_grouped if self.settling is None else self.settling.sql
        sql = self.plan.states_to_values if self.final else grouped
        columns = self.own.valued if self.final else self.plan.states
        kernel = SqlKernel(sides=(columns,), schema=self.schema, sql=sql, room=room)
        yield from kernel.run([tables])

    def _calls(self, table: pa.Table) -> pa.Table:
        return self.own.held(table).select(self.own.held_schema.names)


def _states_of(side: Side, plan: Plan, rows: pa.Schema, memory_bytes: int) -> Side:
    """Return the side's rows as states."""

    def tables() -> Iterator[pa.Table]:
        partial = Partial(rows=rows, plan=of_aggregate(plan), memory_bytes=memory_bytes)
        for table in side():
            yield from partial.add(table)
        yield from partial.finish()

    return tables
