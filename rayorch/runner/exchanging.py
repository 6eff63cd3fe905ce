"""The two ends of an exchange within attempts: files written for it, and operators that read it.

    step ── table ──► EdgeWriter ── partial aggregation ──► ExchangeWriter ──► one file, one report
    Split(lo=revision, hi=number) ──► ExchangeReader ── sides ──► kernel ──► tables

Kernels hand on what our readers and the author's functions raise, as it was: so these raise
`AttemptError`s, which say at once what becomes of the attempt.
"""

import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import pyarrow as pa

from connectors.splits import Reader, Split
from connectors.store import Store
from rayorch.core.commands import Lease
from rayorch.core.values import ErrorInfo, ExchangeResult, WrittenBy
from rayorch.exchange import (
    Apart,
    ExchangeIndex,
    ExchangeLostError,
    ExchangeWriter,
    Fetched,
    TogetherReader,
    bucket_ids,
    carried_schema,
    check_side,
    codec_for,
    dump_part,
    dump_split,
    load_split,
    pieces_of_task,
)
from rayorch.exchange.kept import (
    BUCKETS,
    Direct,
    ReduceInput,
    ReducePlan,
    load_input,
    load_plan,
)
from rayorch.exchange.parts import carried
from rayorch.home import Home, decode_split, exchange_key
from rayorch.ids import Epoch, RunId, TaskId
from rayorch.operators import Kernel, columns_apart, open_kernel, open_partial
from rayorch.program import (
    ExchangeEdge,
    ExchangeProgram,
    StageProgram,
)
from rayorch.relational import (
    AggregateCode,
    HashKeys,
    OperatorCode,
    keying_of,
    merges_first,
)
from rayorch.runner.apply import CodeLimits, StepRun
from rayorch.runner.batches import batch_bytes_of
from rayorch.runner.conform import conformed, learnt
from rayorch.runner.errors import AttemptError
from rayorch.runner.guarding import guarded
from rayorch.runner.merging import Merging

WRITER_SHARE: Final = 4
"""The part of its memory that an attempt gives to each of partial aggregation and its file."""
KERNEL_SHARE: Final = 2
PASSES_MAX: Final = 32
"""Buckets are cut so much finer that the rows of one can be dealt out to several passes."""
PARTED_MAX: Final = 32
"""Heavy keys whose rows are parted by value: what is said of each is journaled."""
FIRST_ROWS: Final = "the schema of the first rows"


class EdgeWriter:
    """What one attempt writes for one side of an exchange."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        number: int,
        edge: ExchangeEdge,
        exchange: ExchangeProgram,
        limits: CodeLimits,
    ) -> None:
        self._store = store
        self._edge = edge
        self._code = guarded(exchange, limits)
        self._name = exchange.name
        # The steps after a union may lead to one side twice: each has a file of its own.
        name = f"{lease.task:07d}-{lease.attempt}-{lease.epoch}-{number}"
        self._key = exchange_key(lease.run, exchange.consumer, name)
        self._task = lease.task
        self._memory_bytes = limits.memory_bytes // WRITER_SHARE
        self._schema: pa.Schema | None = None
        self._partial: Merging | None = None
        self._writer: ExchangeWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Take rows. Raises: ResultError, MissingColumnError, KeyRefusedError, StoreError."""
        if self._writer is None:
            self._open(table.schema)
        assert self._schema is not None
        if not table.schema.equals(self._schema):
            table = conformed(table, learnt(self._schema, table.schema), FIRST_ROWS)
        self._add([table] if self._partial is None else self._partial.add(table))

    def close(self) -> ExchangeResult | None:
        """Make the file visible and return the report of it; nothing, if nothing ever came."""
        if self._writer is None:
            return None
        assert self._schema is not None
        if self._partial is not None:
            self._add(self._partial.finish())
        part = self._writer.close()
        return ExchangeResult(
            exchange=self._edge.exchange,
            side=self._edge.side,
            rows=part.rows,
            size_bytes=part.size_bytes,
            rows_in=0 if self._partial is None else self._partial.rows_in,
            paid=self._partial is None or self._partial.pays,
            heavy=(0, 0) if self._partial is None else self._partial.heavy_rows,
            rows_schema=b""
            if not isinstance(self._code, AggregateCode) or self._edge.is_merged
            else _rows_of(self._schema),
            payload=dump_part(part),
        )

    def abort(self) -> None:
        """Forget the file."""
        if self._writer is not None:
            self._writer.abort()

    def _open(self, schema: pa.Schema) -> None:
        self._schema = schema
        keying = keying_of(self._code, self._edge.side)
        # What comes back into an exchange is read whole: no key of it stands apart.
        apart = Apart(keys_max=0) if self._edge.is_merged else self._apart(schema)
        if not self._edge.is_merged:
            check_side(self._name, self._code, self._edge.side, schema)
            partial = open_partial(self._code, schema, self._memory_bytes)
            if partial is not None:
                assert isinstance(keying, HashKeys)
                self._partial = Merging(self._code, keying, schema, self._memory_bytes, partial)
                schema = partial.schema
        if isinstance(self._code, AggregateCode):
            assert isinstance(keying, HashKeys)
            # States have their keys first, under names of their own.
            keying = HashKeys(tuple(schema.names[: len(keying.columns or ())]))
        self._writer = ExchangeWriter(
            self._store,
            self._key,
            schema,
            keying,
            buckets=BUCKETS,
            codec=codec_for(self._store),
            memory_bytes=self._memory_bytes,
            apart=apart,
        )

    def _apart(self, schema: pa.Schema) -> Apart:
        """Return how rows of heavy keys stand apart; of an aggregate, states of such rows."""
        if not merges_first(self._code):
            return Apart()
        values, large = columns_apart(self._code, schema)
        if not values:
            return Apart(weighed=large)
        return Apart(keys_max=PARTED_MAX, values=values, first=self._task, weighed=large)

    def _add(self, tables: list[pa.Table]) -> None:
        assert self._writer is not None
        for table in tables:
            self._writer.add(table)


class ExchangeReader:
    """Reads a stage's tasks from an exchange: what the operator makes of what they take of it."""

    def __init__(
        self,
        home: Home,
        run: RunId,
        exchange: ExchangeProgram,
        limits: CodeLimits,
        files_of: Callable[[int], tuple[StageProgram, Reader]],
        *,
        merges: bool = False,
    ) -> None:
        """Read for the stage that executes an operator, or for that which merges hot keys first."""
        self._files_of = files_of
        self._merges = merges
        stage = exchange.merger if merges else exchange.consumer
        assert stage is not None
        self._stage = stage
        self._home = home
        self._run = run
        self._exchange = exchange
        self._limits = limits
        self._lock = threading.Lock()
        self.fetched: Final = Fetched()
        self._plan: ReducePlan | None = None
        self._inputs: dict[int, tuple[ReduceInput, TogetherReader]] = {}

    @property
    def schema(self) -> pa.Schema:
        """The columns that the operator makes. Raises: AttemptError `user`, of a function."""
        code = guarded(self._exchange, self._limits)
        return self._kernel(code, self._limits.memory_bytes // KERNEL_SHARE).schema

    def batches(self, split: Split, batch_bytes: int) -> Iterator[pa.Table]:
        """Yield what the operator makes of one task's rows.

        Raises: AttemptError `upstream`, naming whose files cannot be read; `user`, of a function.
        """
        code = guarded(self._exchange, self._limits)
        # Batches are halved for each time that memory ran out; a kernel works as many parts of its
        # keys instead, one after the other.
        shrunk = max(1, batch_bytes_of(self._limits.memory_bytes) // batch_bytes)
        keying = keying_of(code)
        # Without keys, every part would have a row of its own: the totals of its rows.
        passes = shrunk if isinstance(keying, HashKeys) and keying.columns != () else 1
        kernel_bytes = self._limits.memory_bytes // KERNEL_SHARE
        if passes == 1:
            # What has no parts has less memory instead, and spills sooner.
            kernel_bytes //= shrunk
        for number in range(passes):
            sides = [
                self._side(split, side, (number, passes), batch_bytes)
                for side in range(self._exchange.sides)
            ]
            yield from self._kernel(code, kernel_bytes).run(sides)

    def pieces(self, split: Split) -> tuple[Split, ...]:
        """Return the pieces of a task after which it may be cut; itself, when it cannot be."""
        plan = self._known_plan()
        if plan.direct is not None:
            return (split,)
        task = load_split(split.taken) if split.taken else plan.split(split.hi)
        found = pieces_of_task(self._exchange.code, task)
        if len(found) == 1:
            return (split,)
        return tuple(msgspec.structs.replace(split, taken=dump_split(piece)) for piece in found)

    def describe(self, split: Split) -> str:
        """Say what a task reads."""
        what = "hot keys of the exchange" if self._merges else "exchange"
        return f"task {split.hi} of the {what} before {self._exchange.name!r}"

    def _kernel(self, code: OperatorCode, memory_bytes: int) -> Kernel:
        plan = self._known_plan()
        return open_kernel(
            code,
            tuple(_loaded(data) for data in plan.schemas),
            memory_bytes=memory_bytes,
            spill_dir=tempfile.gettempdir(),
            rows=_loaded(plan.rows_schema) if plan.rows_schema else None,
            final=not self._merges,
            settles=plan.settles,
        )

    def _side(
        self, split: Split, side: int, part: tuple[int, int], batch_bytes: int
    ) -> Callable[[], Iterator[pa.Table]]:
        plan = self._known_plan()
        number, passes = part
        found, reader = self._known_input(split.lo)
        wanted = _loaded(plan.schemas[side])
        keys = self._keys(side, wanted)

        def opened() -> Iterator[pa.Table]:
            if plan.direct is not None and plan.direct.side == side:
                return self._rows_of_files(plan.direct, split.hi, wanted, batch_bytes)
            if split.taken:
                return reader.open_taken(load_split(split.taken), side)
            return reader.open_side(split.hi, side)

        def tables() -> Iterator[pa.Table]:
            try:
                for table in opened():
                    own = table if passes == 1 else _part(table, keys, number, passes)
                    yield own if own.schema.equals(wanted) else _as(own, wanted)
            except ExchangeLostError as error:
                lost = tuple(_writer(*found.writers[side][part]) for part in error.parts)
                raise AttemptError("upstream", _lost_info(error, self._exchange), lost) from error

        return tables

    def _rows_of_files(
        self, direct: Direct, number: int, wanted: pa.Schema, batch_bytes: int
    ) -> Iterator[pa.Table]:
        """Yield rows of the side that goes through no exchange, as its own tasks would send them.

        Raises: AttemptError, of a function; ConnectorError.
        """
        stage, reader = self._files_of(direct.stage)
        steps = [StepRun(step, self._limits) for step in stage.steps]
        for data in direct.splits[number]:
            for read in reader.batches(decode_split(data), batch_bytes):
                table = read
                for step in steps:
                    table = step.apply(table)
                yield carried(table, wanted)

    def _keys(self, side: int, schema: pa.Schema) -> HashKeys:
        """Return the columns by which a side's rows are of one key."""
        keying = keying_of(self._exchange.code, side)
        if not isinstance(keying, HashKeys):
            return HashKeys(())
        if self._known_plan().rows_schema:
            return HashKeys(tuple(schema.names[: len(keying.columns or ())]))
        return keying

    def _known_plan(self) -> ReducePlan:
        with self._lock:
            if self._plan is None:
                self._plan = load_plan(self._home, self._run, self._stage)
            return self._plan

    def _known_input(self, revision: int) -> tuple[ReduceInput, TogetherReader]:
        plan = self._known_plan()
        with self._lock:
            if revision not in self._inputs:
                # Of older revisions nobody will ask again but who is about to fail.
                found = load_input(self._home, self._run, self._stage, revision)
                index = ExchangeIndex.load(found.index)
                store, memory_bytes = self._home.store, self._limits.memory_bytes
                reader = TogetherReader(
                    store, index, plan.splits, memory_bytes, plan.together, self.fetched
                )
                self._inputs = {revision: (found, reader)}
            return self._inputs[revision]


def _writer(task: int, attempt: int, epoch: int) -> WrittenBy:
    return WrittenBy(TaskId(task), attempt, Epoch(epoch))


def _lost_info(error: ExchangeLostError, exchange: ExchangeProgram) -> ErrorInfo:
    return ErrorInfo(
        message=str(error), error_type=type(error).__qualname__, transform=exchange.name
    )


def _part(table: pa.Table, keys: HashKeys, number: int, passes: int) -> pa.Table:
    """Return the rows whose keys belong to one of several parts: finer buckets, dealt out."""
    ids = bucket_ids(table, keys, BUCKETS * PASSES_MAX)
    return table.filter(pa.array(ids % passes == number))


def _as(table: pa.Table, wanted: pa.Schema) -> pa.Table:
    """Return the rows in the columns that all parts of a side share."""
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.schema.names
        else pa.nulls(table.num_rows, field.type)
        for field in wanted
    ]
    return pa.table(columns, schema=wanted)


def _rows_of(schema: pa.Schema) -> bytes:
    """Return the columns of rows that states are made of: the same of all that can be merged.

    Without dictionaries, as the file holds them; in whatever order a union's inputs have them.
    """
    fields = sorted(carried_schema(schema), key=lambda field: str(field.name))
    plain = pa.schema([pa.field(field.name, field.type) for field in fields])
    data: bytes = plain.serialize().to_pybytes()
    return data


def _loaded(data: bytes) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(data))
