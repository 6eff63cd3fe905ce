"""Loaded programs: a runner that stays warm loads each version of a run's program once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from connectors.range_cache import RangeCache
from connectors.schema import load_schema
from connectors.sink import Sink, open_sink
from connectors.source import open_reader
from connectors.splits import Discovery, Reader, Split
from connectors.store import Store
from rayorch.home import Home
from rayorch.ids import RunId
from rayorch.program import (
    ExchangeEdge,
    ExchangeProgram,
    Program,
    StageProgram,
    Step,
    StepId,
    load_program,
)
from rayorch.runner.apply import CodeLimits
from rayorch.runner.pieces import pieces_of

if TYPE_CHECKING:
    from rayorch.exchange import Fetched

PROGRAMS_MAX: Final = 8  # a runner serves a few runs at a time, and a program may hold a model
INLINE_BYTES_MAX: Final = 1 << 20
"""A local split of at most this size is read by the worker: to hand it over costs more."""
_LOCAL: Final = frozenset({"", "file", "memory"})


@dataclass(frozen=True, slots=True)
class Branches:
    """Where the rows of one step (or of the source) go."""

    steps: tuple[Step, ...]
    sinks: tuple[int, ...]
    edges: tuple[int, ...] = ()  # into exchanges, by their place in the stage


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedStage:
    """What it takes to execute attempts of one stage."""

    stage: StageProgram
    reader: Reader
    sinks: Mapping[int, Sink]  # by their index in the program
    sink_names: Mapping[int, str]
    branches: Mapping[StepId | None, Branches]
    limits: CodeLimits
    is_local: bool
    edges: tuple[tuple[ExchangeEdge, ExchangeProgram], ...] = ()
    operator: ExchangeProgram | None = None  # whose result its rows are
    scratch: Store  # of the home, where exchange files lie
    fetched: "Fetched | None" = None  # by who reads an exchange, of all attempts so far
    pieces: Callable[[Split], tuple[Split, ...]] = pieces_of  # between which a split may be cut

    def is_cheap(self, split: Split) -> bool:
        """Say whether reading the split inline is cheaper than another thread's doing it."""
        return not split.parts or (self.is_local and split.size_bytes <= INLINE_BYTES_MAX)


class LoadedProgram:
    """A program and the stages of it that were asked for so far."""

    def __init__(
        self,
        program: Program,
        discoveries: tuple[Discovery, ...],
        memory_bytes: int,
        home: Home,
        run: RunId,
        *,
        cache: RangeCache | None = None,
    ) -> None:
        self._home = home
        self._run = run
        self._cache = cache
        self._program = program
        self._discoveries = discoveries
        self._memory_bytes = memory_bytes
        self._sinks: dict[int, Sink] = {}
        self.stages: dict[int, LoadedStage] = {}

    def load_stage(self, index: int) -> LoadedStage:
        """Open the stage's reader and sinks. Raises: ConnectorError."""
        stage = self._program.stages[index]
        discovery = self._discoveries[index]
        limits = CodeLimits(
            transient_errors=frozenset(self._program.transient_errors),
            memory_bytes=min(self._memory_bytes, stage.resources.memory_bytes),
        )
        exchanges = self._program.exchanges
        reader = self._reader(stage, discovery, limits)
        loaded = LoadedStage(
            stage=stage,
            reader=reader,
            sinks={edge.sink: self._sink(edge.sink) for edge in stage.sinks},
            sink_names={edge.sink: self._program.sinks[edge.sink].name for edge in stage.sinks},
            branches=branches_of(stage),
            limits=limits,
            fetched=getattr(reader, "fetched", None),
            pieces=getattr(reader, "pieces", pieces_of),
            operator=None if stage.exchange is None else exchanges[stage.exchange],
            edges=tuple((edge, exchanges[edge.exchange]) for edge in stage.exchanges),
            scratch=self._home.scratch,
            is_local=all(urlsplit(root).scheme in _LOCAL for root in discovery.roots),
        )
        self.stages[index] = loaded
        return loaded

    def _reader(self, stage: StageProgram, discovery: Discovery, limits: CodeLimits) -> Reader:
        if stage.exchange is not None:
            # DuckDB and the planner's arrays take a moment to import: only who exchanges pays.
            from rayorch.runner.exchanging import ExchangeReader  # noqa: PLC0415

            exchange = self._program.exchanges[stage.exchange]
            return ExchangeReader(
                self._home, self._run, exchange, limits, self._files_of, merges=stage.merges
            )
        columns = stage.columns_of(load_schema(discovery.schema_ipc))
        return open_reader(stage.files, discovery, columns, stage.predicate, self._cache)

    def _files_of(self, index: int) -> tuple[StageProgram, Reader]:
        """Return a stage of files that another reads in its place."""
        stage = self._program.stages[index]
        assert stage.exchange is None
        return stage, self._reader(stage, self._discoveries[index], CodeLimits())

    def _sink(self, index: int) -> Sink:
        # Several stages may write to one sink: it is opened once.
        if index not in self._sinks:
            self._sinks[index] = open_sink(self._program.sinks[index])
        return self._sinks[index]


def branches_of(stage: StageProgram) -> dict[StepId | None, Branches]:
    """Return, for the source (None) and each step, the steps and sinks that come next."""
    points: tuple[StepId | None, ...] = (None, *(step.id for step in stage.steps))
    return {
        point: Branches(
            tuple(step for step in stage.steps if step.input == point),
            tuple(edge.sink for edge in stage.sinks if edge.step == point),
            tuple(i for i, edge in enumerate(stage.exchanges) if edge.step == point),
        )
        for point in points
    }


class Programs:
    """The programs of the runs that this runner works for; used by all its threads."""

    def __init__(self, home: Home, memory_bytes: int, cache: RangeCache | None = None) -> None:
        self._home = home
        self._memory_bytes = memory_bytes
        self._cache = cache
        self._lock = threading.Lock()
        self._loaded: OrderedDict[tuple[RunId, str], LoadedProgram] = OrderedDict()

    def known_stage(self, run: RunId, version: str, index: int) -> LoadedStage | None:
        """Return a stage if it is loaded; no I/O, no waiting."""
        program = self._loaded.get((run, version))
        return None if program is None else program.stages.get(index)

    def stage(self, run: RunId, version: str, index: int) -> LoadedStage:
        """Return a stage, loaded from the home at the first call.

        Raises: StoreError, ConnectorError, and whatever unpickling the user's code raises.
        """
        known = self.known_stage(run, version, index)
        if known is not None:
            return known
        # The lock is held during I/O: the other thread wants the same program.
        with self._lock:
            program = self._loaded.get((run, version))
            if program is None:
                program = self._load(run, version)
            return program.stages.get(index) or program.load_stage(index)

    def _load(self, run: RunId, version: str) -> LoadedProgram:
        code = load_program(self._home.get_program(run, version))
        plan = self._home.get_plan(run)
        discoveries = tuple(stage.discovery for stage in plan.stages)
        program = LoadedProgram(
            code, discoveries, self._memory_bytes, self._home, run, cache=self._cache
        )
        self._loaded[run, version] = program
        while len(self._loaded) > PROGRAMS_MAX:
            self._loaded.popitem(last=False)
        return program
