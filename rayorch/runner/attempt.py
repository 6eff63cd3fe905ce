"""One attempt of one task: batches in, through the tree of steps, into the writers of its sinks.

    reader ── batch ──┬── step ── step ──► writer of sink 0
                      └── step ──────────► writer of sink 1

Each batch goes all the way before the next one is asked for, so that memory holds one batch and
what is made of it. Nothing that an attempt writes is visible: it ends with a small record of its
files, and the journal decides whether they count.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import pyarrow as pa

from connectors.outputs import SinkOutput, SinkWriter
from connectors.splits import Split
from rayorch.clock import Clock
from rayorch.core.commands import Lease
from rayorch.core.values import (
    AttemptOutput,
    ErrorInfo,
    ExchangeResult,
    SinkResult,
    StepSeconds,
)
from rayorch.errors import SpecError
from rayorch.failpoints import failpoint
from rayorch.program import MapCode, Step, StepId
from rayorch.runner.apply import StepRun
from rayorch.runner.errors import AttemptError, AttemptHaltedError
from rayorch.runner.failures import BUG, LOAD, Origin, failure_of
from rayorch.runner.programs import LoadedStage
from rayorch.runner.sources import split_of_rows
from rayorch.runner.tracebacks import message_of, traceback_of, where_of

if TYPE_CHECKING:
    from rayorch.runner.exchanging import EdgeWriter

WITH_TRACEBACK: Final = (BUG, LOAD)
"""Of these a person needs the frames; all other errors name their place by themselves."""

_ENCODER: Final = msgspec.json.Encoder()


def token_of(lease: Lease) -> str:
    """Return what the names of all files of the attempt begin with."""
    return f"{lease.stage}-{lease.task:07d}-{lease.attempt}-{lease.epoch}"


@dataclass(slots=True)
class Progress:
    """How far an attempt is. One thread writes it, the reporter reads it."""

    rows: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class Spent:
    """Seconds and memory of an attempt, as they are spent."""

    read_s: float = 0.0
    wait_s: float = 0.0
    write_s: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0
    puts: int = 0
    # Of an exchange; of files, the split says it.
    gets: int = 0
    moved_bytes: int = 0


class Attempt:
    """The execution of one lease, used once, by one thread."""

    def __init__(
        self,
        lease: Lease,
        split: Split,
        loaded: LoadedStage,
        clock: Clock,
        spent: Spent,
        halted: Callable[[], bool],
    ) -> None:
        self._lease = lease
        self._split = split
        self._loaded = loaded
        self._clock = clock
        self._spent = spent
        self._halted = halted
        self._runs: dict[StepId, StepRun] = {}
        self._writers: dict[int, SinkWriter] = {}
        self._edges: dict[int, EdgeWriter] = {}
        # Steps that have been given no row so far, with the empty table that they would get.
        self._untried: dict[StepId, tuple[Step, pa.Table]] = {}
        self._doing = ("read", loaded.stage.name)
        self._batch_rows = 0
        self.progress = Progress()

    def execute(self, batches: Iterator[pa.Table]) -> AttemptOutput:
        """Stage the attempt's output and return the record of it.

        Raises: AttemptError, AttemptHaltedError; what was written is aborted then.
        """
        began_s, cpu_s = self._clock.monotonic_s(), time.thread_time()
        try:
            self._open_writers()
            self._flow_all(batches)
            results = self._close_writers()
            parts = self._close_edges()
            failpoint("runner.after_stage")
        except (AttemptError, AttemptHaltedError):
            self._abort_writers()
            raise
        # Readers and writers raise what their libraries raise, the panics of Rust included. The
        # table of failures sorts it: a runner that reports a bug is better than one that dies of
        # it.
        except BaseException as error:
            self._abort_writers()
            doing, what = self._doing
            raise engine_failure(
                f"cannot {doing} {what!r}",
                error,
                transform=what,
                source=self._source(doing),
                where=self._where(what),
            ) from error
        total_s = self._clock.monotonic_s() - began_s
        spent = self._spent
        return AttemptOutput(
            rows_in=self.progress.rows,
            bytes_in=self.progress.size_bytes,
            results=results,
            seconds=StepSeconds(
                read_s=spent.read_s,
                compute_s=max(0.0, total_s - spent.wait_s - spent.write_s),
                write_s=spent.write_s,
                wait_s=spent.wait_s,
                cpu_s=spent.cpu_s + time.thread_time() - cpu_s,
            ),
            memory_bytes=spent.memory_bytes,
            moved_bytes=self._split.size_bytes + spent.moved_bytes,
            gets=len(self._split.parts) + spent.gets,
            puts=spent.puts,
            parts=parts,
        )

    def _flow_all(self, batches: Iterator[pa.Table]) -> None:
        failpoint("runner.before_read")
        clock = self._clock
        while True:
            asked_s = clock.monotonic_s()
            self._doing = "read", self._loaded.stage.name
            table = next(batches, None)
            self._spent.wait_s += clock.monotonic_s() - asked_s
            if self._halted():
                raise AttemptHaltedError
            if table is None:
                break
            failpoint("runner.computing")
            self._batch_rows = table.num_rows
            self._flow(None, table)
            self.progress.rows += table.num_rows
            self.progress.size_bytes += table.nbytes
            # Or it would be alive beside the next one while that is read.
            self._batch_rows = 0
            del table
        if not self.progress.rows:
            self._flow_nothing()
        while self._untried:
            self._try_on_no_rows(*self._untried.popitem()[1])

    def _flow_nothing(self) -> None:
        """Let everybody below know the columns of the rows that there are none of."""
        try:
            schema = self._loaded.reader.schema
        except AttemptError:
            # A group's function made nothing of nothing, and nothing is missing but a schema.
            return
        self._flow(None, schema.empty_table())

    def _flow(self, point: StepId | None, table: pa.Table) -> None:
        """Write one batch to the sinks at this point of the tree, and send it down its branches."""
        # Here a batch and what was made of it are alive: the high-water mark is near.
        self._spent.memory_bytes = max(self._spent.memory_bytes, pa.total_allocated_bytes())
        branches = self._loaded.branches[point]
        for sink in branches.sinks:
            self._write(sink, table)
        for edge in branches.edges:
            self._exchange(edge, table)
        for step in branches.steps:
            run = self._runs.get(step.id)
            if run is None:
                if table.num_rows == 0 and isinstance(step.code, MapCode):
                    # Many functions trip over an empty frame: they see one only when the schema
                    # of their result would stay unknown without it.
                    self._untried[step.id] = step, table
                    continue
                run = self._begin(step)
            elif table.num_rows == 0:
                continue
            self._flow(step.id, self._apply(run, table))

    def _begin(self, step: Step) -> StepRun:
        self._untried.pop(step.id, None)
        run = StepRun(step, self._loaded.limits)
        self._runs[step.id] = run
        return run

    def _try_on_no_rows(self, step: Step, table: pa.Table) -> None:
        """Learn the schema of a function's result when the attempt has not one row for it."""
        assert isinstance(step.code, MapCode)
        if step.code.schema is not None:
            self._flow(step.id, step.code.schema.empty_table())
            return
        try:
            made = self._begin(step).apply(table)
        except AttemptError:
            # It made nothing of nothing, and nothing is missing but a schema.
            return
        self._flow(step.id, made)

    def _apply(self, run: StepRun, table: pa.Table) -> pa.Table:
        self._doing = "hand rows to", run.step.name
        try:
            return run.apply(table)
        except AttemptError as error:
            info = msgspec.structs.replace(error.info, source=self._source("apply"))
            raise AttemptError(error.kind, info) from error.__cause__

    def _open_writers(self) -> None:
        token = token_of(self._lease)
        for index, sink in self._loaded.sinks.items():
            self._doing = "write", self._loaded.sink_names[index]
            self._writers[index] = sink.open_writer(token, run=self._lease.run)
        if self._loaded.edges:
            # It takes a moment to import: only who exchanges pays.
            from rayorch.runner.exchanging import EdgeWriter  # noqa: PLC0415

            for index, (edge, exchange) in enumerate(self._loaded.edges):
                self._edges[index] = EdgeWriter(
                    self._loaded.scratch, self._lease, index, edge, exchange, self._loaded.limits
                )

    def _exchange(self, index: int, table: pa.Table) -> None:
        self._doing = "hand rows to", self._loaded.edges[index][1].name
        began_s = self._clock.monotonic_s()
        self._edges[index].write(table)
        self._spent.write_s += self._clock.monotonic_s() - began_s

    def _close_edges(self) -> tuple[ExchangeResult, ...]:
        began_s = self._clock.monotonic_s()
        results = []
        for index, writer in self._edges.items():
            self._doing = "hand rows to", self._loaded.edges[index][1].name
            result = writer.close()
            if result is not None:
                self._spent.puts += 1
                results.append(result)
        self._spent.write_s += self._clock.monotonic_s() - began_s
        return tuple(results)

    def _write(self, sink: int, table: pa.Table) -> None:
        self._doing = "write", self._loaded.sink_names[sink]
        began_s = self._clock.monotonic_s()
        self._writers[sink].write(table)
        self._spent.write_s += self._clock.monotonic_s() - began_s

    def _close_writers(self) -> tuple[SinkResult, ...]:
        began_s = self._clock.monotonic_s()
        results = []
        for index, writer in self._writers.items():
            self._doing = "write", self._loaded.sink_names[index]
            output = writer.close()
            self._spent.puts += len(output.files)
            results.append(result_of(output, index))
        self._spent.write_s += self._clock.monotonic_s() - began_s
        return tuple(results)

    def _abort_writers(self) -> None:
        for writer in self._writers.values():
            writer.abort()
        for edge in self._edges.values():
            edge.abort()

    def _where(self, what: str) -> str:
        """Return the user's file:line of an operator."""
        operators = [exchange for _, exchange in self._loaded.edges]
        if self._loaded.operator is not None:
            operators.append(self._loaded.operator)
        return next((each.where for each in operators if each.name == what), "")

    def _source(self, doing: str) -> str:
        """Say which input was being read, or computed with, as exactly as is known."""
        if doing == "write":
            return ""
        split = self._split
        if self._loaded.stage.predicate is None:
            split = split_of_rows(split, self.progress.rows, self._batch_rows)
        return self._loaded.reader.describe(split)


def engine_failure(
    doing: str,
    error: BaseException,
    *,
    origin: Origin = "engine",
    transform: str = "",
    source: str = "",
    where: str = "",
) -> AttemptError:
    """Return what an exception outside of user code means for its attempt."""
    row = failure_of(error, origin)
    return AttemptError(
        row.kind,
        ErrorInfo(
            message=f"{doing}: {message_of(error)}",
            error_type=type(error).__qualname__,
            transform=transform,
            where=where_of(error) if origin == "load" else where,
            source=source,
            # A SpecError says in its text what to do.
            remedy=row.advice
            or ("" if isinstance(error, SpecError) else getattr(error, "fix", "")),
            traceback=traceback_of(error, ours=row is BUG) if row in WITH_TRACEBACK else "",
        ),
    )


def result_of(output: SinkOutput, sink: int) -> SinkResult:
    """Return a sink's output as the core keeps it."""
    return SinkResult(
        sink=sink,
        rows=output.rows,
        size_bytes=output.size_bytes,
        schema_fp=output.schema_fp,
        payload=_ENCODER.encode(output).decode(),
    )
