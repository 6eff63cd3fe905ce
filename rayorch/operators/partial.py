"""Partial aggregation before the exchange: as long as it pays."""

from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from rayorch.operators.aggregate import Plan
from rayorch.operators.columns import carried, carried_schema, restored
from rayorch.operators.engine import Feed, query, this_threads_engine
from rayorch.operators.kernel import SqlKernel, bounded
from rayorch.operators.own_states import OwnStates

# A group of two rows saves half of the exchange; below a quarter it costs more than it saves.
_PAYS_MAX: Final = 0.75
_SAMPLE_ROWS: Final = 50_000
_BUFFER_SHARE: Final = 8  # the buffer, as a part of the memory


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialPlan:
    """What is done to rows, and to what was made of them."""

    states: pa.Schema
    rows_to_states: str | None  # None: rows are their own states
    rows_grouped: str
    states_grouped: str
    numbered: bool = False  # the queries ask for the column `sequence`
    own: OwnStates | None = None
    calls_only: bool = False  # nothing is the engine's


def of_aggregate(plan: Plan) -> PartialPlan:
    """Return how states are made of rows."""
    return PartialPlan(
        states=plan.states,
        rows_to_states=plan.rows_to_states,
        rows_grouped=plan.rows_grouped,
        states_grouped=plan.states_grouped,
        own=plan.own,
        calls_only=plan.calls_only,
    )


def of_dedupe(kernel: SqlKernel) -> PartialPlan:
    """Return how rows give way to better ones of their key: those that come earlier stay first."""
    return PartialPlan(
        states=kernel.schema,
        rows_to_states=None,
        rows_grouped=kernel.sql,
        states_grouped=kernel.sql,
        numbered=kernel.numbered,
    )


@dataclass(slots=True)
class Paid:
    """What went in and what came out."""

    rows_in: int = 0
    rows_out: int = 0


@dataclass(slots=True, kw_only=True)
class Partial:
    """Rows of a map task on their way to states.

    Rows are gathered, grouped in bulk, and the states of several bulks grouped again. When a bulk
    shrinks too little, rows become states one for one from then on.
    """

    rows: pa.Schema
    plan: PartialPlan
    memory_bytes: int
    counts: Paid = field(default_factory=Paid)
    _buffer: list[pa.Table] = field(default_factory=list)
    _buffered_bytes: int = 0
    _states: list[pa.Table] = field(default_factory=list)
    _bulks: int = 0  # whose states are in `_states`
    _pays: bool | None = None  # not known before there was a sample

    @property
    def schema(self) -> pa.Schema:
        """The columns of the states: of an aggregate, its keys first, under names of their own."""
        return self.plan.states

    @property
    def paid(self) -> dict[str, int]:
        """How many rows came in, and how many have left."""
        return {"rows_in": self.counts.rows_in, "rows_out": self.counts.rows_out}

    @property
    def pays(self) -> bool:
        """Whether rows are merged; False once so few were of one key that it was given up."""
        return self._pays is not False

    def add(self, table: pa.Table) -> list[pa.Table]:
        """Take rows; return states that must leave now."""
        self.counts.rows_in += table.num_rows
        if self._pays is False:
            if self.plan.rows_to_states is None:
                return self._leaving([table])
            made = self._engines(self.plan.rows_to_states, [table], self.rows)
            return self._leaving(made + self._called([table]))
        self._buffer.append(table)
        self._buffered_bytes += table.nbytes
        gathered = sum(t.num_rows for t in self._buffer)
        if self._pays is None and gathered >= _SAMPLE_ROWS:
            self._pays = self._seems_to_pay()
            if not self._pays:
                return self._grouped()
        if self._buffered_bytes >= self.memory_bytes // _BUFFER_SHARE:
            return self._grouped()
        return []

    def finish(self) -> list[pa.Table]:
        """Return the states of all that has not left yet."""
        leaving = self._grouped() if self._buffer else []
        return leaving + self._merged(last=True)

    def _seems_to_pay(self) -> bool:
        """Say whether some rows shrink. They stay: once more costs less than to merge states."""
        if self.plan.calls_only:
            return True
        sample = pa.concat_tables(self._buffer).slice(0, _SAMPLE_ROWS)
        states = self._engines(self.plan.rows_grouped, [sample], self.rows)
        return _shrinks(sample.num_rows, states)

    def _grouped(self) -> list[pa.Table]:
        rows = sum(table.num_rows for table in self._buffer)
        states = self._engines(self.plan.rows_grouped, self._buffer, self.rows)
        states += self._called(self._buffer)
        self._buffer, self._buffered_bytes = [], 0
        self._states += states
        self._bulks += 1
        self._pays = self._pays is not False and _shrinks(rows, states)
        held = sum(table.nbytes for table in self._states)
        if not self._pays or held >= self.memory_bytes // _BUFFER_SHARE:
            return self._merged(last=not self._pays)
        return []

    def _merged(self, *, last: bool) -> list[pa.Table]:
        """Group the states again; keep what has shrunk by half, unless it is the last time."""
        if not self._states:
            return []
        held = self._states
        if self._bulks > 1:
            held = self._merged_once(held)
        small = sum(t.nbytes for t in held) * 2 < self.memory_bytes // _BUFFER_SHARE
        self._states = held if small and not last else []
        self._bulks = 1 if self._states else 0
        return [] if small and not last else self._leaving(held)

    def _merged_once(self, states: list[pa.Table]) -> list[pa.Table]:
        own = self.plan.own
        if own is None:
            return self._engines(self.plan.states_grouped, states, self.plan.states)
        table = pa.concat_tables(states)
        rest = [own.without(table, final=False)]
        made = self._engines(self.plan.states_grouped, rest, self.plan.states)
        return [*made, own.merged(table)]

    def _called(self, rows: list[pa.Table]) -> list[pa.Table]:
        """Return the states of the author's own aggregates of rows."""
        own, table = self.plan.own, pa.concat_tables(rows)
        return [own.of_rows(table)] if own is not None and table.num_rows else []

    def _engines(self, sql: str, tables: list[pa.Table], schema: pa.Schema) -> list[pa.Table]:
        if self.plan.calls_only:
            return []
        target = carried_schema(schema, "c")
        feed = Feed(
            (carried(table, target) for table in tables), target, numbered=self.plan.numbered
        )
        engine = this_threads_engine(self.memory_bytes)
        return [
            restored(table.columns, self.plan.states) for table in query(engine, sql, {"l": feed})
        ]

    def _leaving(self, tables: list[pa.Table]) -> list[pa.Table]:
        self.counts.rows_out += sum(table.num_rows for table in tables)
        return [part for table in tables for part in bounded(table)]


def _shrinks(rows: int, states: list[pa.Table]) -> bool:
    made: int = sum(table.num_rows for table in states)
    return made <= rows * _PAYS_MAX
