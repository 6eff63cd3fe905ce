"""A host on a home in memory, with runners that do what the test says and nothing else."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import pyarrow as pa

from connectors.outputs import OutputFile, SinkOutput, SinkSpec
from connectors.schema import dump_schema
from connectors.source import SourceSpec
from connectors.store import Created, Store
from connectors.stores.memory import MemoryStore
from rayorch.clock import Clock, SystemClock
from rayorch.core.commands import (
    AskNodes,
    CutTask,
    EnsureRunners,
    FindRunners,
    KillRunner,
    Lease,
    RevokeLeases,
    SendLeases,
)
from rayorch.core.facts import (
    AttemptFinished,
    Event,
    Fact,
    LeaseReturned,
    RunnerJoined,
    RunnerLost,
    RunSubmitted,
)
from rayorch.core.run import Run, RunState
from rayorch.core.values import AttemptOutput, SinkResult, StageShape
from rayorch.home import Home
from rayorch.host.executor import HostPort, RunnerCommand
from rayorch.host.host import ControlHost, Observer
from rayorch.host.leader import Leader, this_process
from rayorch.ids import RunId, RunnerId, TaskId
from rayorch.journal.log import Journal
from rayorch.program import Program, SinkEdge, StageProgram, StageResources, dump_program
from rayorch.sim.store import UnsureStore

if TYPE_CHECKING:
    from rayorch.core.sizes import Size

RUN = RunId("nightly-1")
RUNNER = RunnerId("r1")
VERSION = "v1"
WAIT_S = 30.0
IDS = pa.schema([("id", pa.int64())])
_names = itertools.count()
F = TypeVar("F", bound=Fact)


class WatchedStore(UnsureStore):
    """A store in memory that tells a test of each journal segment before it is stored."""

    def __init__(self, name: str) -> None:
        super().__init__(MemoryStore(name), lambda _: None)
        self.before_create: Callable[[str], None] = lambda _: None
        self.before_delete: Callable[[list[str]], None] = lambda _: None
        self.before_put: Callable[[str], None] = lambda _: None

    def put_if_absent(self, key: str, data: bytes) -> Created:
        self.before_create(key)
        return super().put_if_absent(key, data)

    def put(self, key: str, data: bytes) -> Any:
        self.before_put(key)
        return super().put(key, data)

    def delete(self, keys: Any) -> None:
        doomed = list(keys)
        self.before_delete(doomed)
        super().delete(doomed)


class ScriptedExecutor:
    """Runners that join when asked for, and otherwise do what the test tells them to."""

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self.pools = {"scripted": slots}
        self.machines: dict[str, tuple[Size, ...]] = {"scripted": ()}
        self.commands: list[RunnerCommand] = []
        self.leases: list[Lease] = []
        self.ends_at_once = True  # each lease, with rows of `schema_of` its task
        self.schema_of: Callable[[TaskId], pa.Schema] = lambda _: IDS
        self.closed = 0
        self.released = 0
        self._host: HostPort | None = None
        self._joined: set[RunnerId] = set()

    def why_fixed(self) -> str:
        return "what is scripted does not grow"

    def attach(self, host: HostPort) -> None:
        self._host = host

    def start(self, command: RunnerCommand) -> None:
        self.commands.append(command)
        match command:
            case EnsureRunners():
                self._ensure(command)
            case SendLeases(leases=leases):
                self.leases.extend(leases)
                if self.ends_at_once:
                    self._offer([self.finished(lease) for lease in leases])
            case AskNodes():
                pass  # It does not grow.
            case CutTask():
                pass  # What it runs cannot be cut.
            case RevokeLeases(runner=runner, leases=leases):
                self._offer(
                    [LeaseReturned(x.run, x.task, x.attempt, x.epoch, runner) for x in leases]
                )
            case FindRunners(runners=runners):
                gone = [each for each in runners if each not in self._joined]
                self._offer([RunnerLost(each, "lost", "it has ended") for each in gone])
            case KillRunner(runner=runner, reason=reason):
                self._joined.discard(runner)
                self._offer([RunnerLost(runner, "preempted", reason)])

    def check(self, now_s: float) -> None:
        """Nothing here dies alone."""

    def release(self) -> None:
        self.released += 1

    def close(self) -> None:
        self.closed += 1

    def finished(self, lease: Lease) -> AttemptFinished:
        """Return the report of an attempt that wrote one row."""
        schema = self.schema_of(lease.task)
        name = f"_data/{lease.run}/{lease.stage}-{lease.task:07d}-{lease.attempt}-{lease.epoch}"
        fingerprint = "/".join(f"{field.name}:{field.type}" for field in schema)
        output = SinkOutput(
            sink=0,
            rows=1,
            size_bytes=8,
            files=(OutputFile(key=f"{name}-00000.parquet", rows=1, size_bytes=8, checksum="0"),),
            schema_fp=fingerprint,
            schema_ipc=dump_schema(schema),
        )
        result = SinkResult(0, 1, 8, fingerprint, msgspec.json.encode(output).decode())
        about = (lease.run, lease.task, lease.attempt, lease.epoch)
        return AttemptFinished(*about, RUNNER, AttemptOutput(rows_in=1, results=(result,)))

    def _ensure(self, command: EnsureRunners) -> None:
        if RUNNER not in self._joined:
            self._joined.add(RUNNER)
            self._offer([RunnerJoined(RUNNER, "scripted", command.cores, command.memory_bytes)])

    def _offer(self, facts: Sequence[Fact]) -> None:
        assert self._host is not None
        self._host.offer(facts)


class Watch:
    """An observer that lets a test wait for what it has seen."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.states: dict[RunId, RunState] = {}
        self.runs: dict[RunId, Run] = {}
        self.flushes: list[int] = []
        self._changed = threading.Condition()

    def saw(self, events: Sequence[Event], machine: Any) -> None:
        with self._changed:
            self.events.extend(events)
            self.states = {run.id: run.state for run in machine.runs.values()}
            self.runs = dict(machine.runs)
            self._changed.notify_all()

    def flushed(self, duration_s: float, events: int) -> None:
        assert duration_s >= 0.0
        self.flushes.append(events)

    def wait_for(self, holds: Callable[[], Any]) -> None:
        with self._changed:
            assert self._changed.wait_for(holds, timeout=WAIT_S), (self.states, self.events)

    def wait_state(self, state: RunState, run: RunId = RUN) -> Run:
        self.wait_for(lambda: self.states.get(run) is state)
        return self.runs[run]

    def of(self, kind: type[F]) -> list[F]:
        return [event.fact for event in self.events if isinstance(event.fact, kind)]


class Rig:
    """A host with all that it needs."""

    def __init__(self, store: Store | None = None, clock: Clock | None = None) -> None:
        self.store = store or WatchedStore(f"host-{next(_names)}")
        self.home = Home(self.store)
        self.clock = clock or SystemClock()
        self.sink_url = f"memory://host-sink-{next(_names)}"
        self.executor = ScriptedExecutor()
        self.watch = Watch()
        self.host = self.made()

    @property
    def watched(self) -> WatchedStore:
        assert isinstance(self.store, WatchedStore)
        return self.store

    def made(self, leader: Leader | None = None, *observers: Observer) -> ControlHost:
        """Return a host that is not started yet."""
        journal = Journal(self.store, self.clock, lambda: f"nonce-{next(_names)}")
        return ControlHost(
            self.home,
            self.executor,
            journal,
            self.clock,
            (self.watch, *observers),
            leader=leader or this_process("in-process"),
        )

    def again(self) -> None:
        """Have another host take the place of this one, which stopped without a word."""
        self.executor = ScriptedExecutor()
        self.watch = Watch()
        self.host = self.made()

    def submission(self, tasks: int = 3, run: RunId = RUN) -> RunSubmitted:
        """Put a program for this many tasks into the home, and return the fact about it."""
        program = self.program(f"range://{max(tasks, 1) * 10}?splits={max(tasks, 1)}")
        self.home.put_program(run, VERSION, dump_program(program))
        stage = StageShape(name="lines", memory_bytes=1 << 20, sinks=(0,))
        return RunSubmitted(run, "nightly", VERSION, (stage,), (self.sink_url,))

    def program(self, source: str) -> Program:
        """Return a program that writes what it reads."""
        stage = StageProgram(
            index=0,
            name="lines",
            source=msgspec.convert({"name": "lines", "urls": (source,)}, SourceSpec),
            columns=None,
            predicate=None,
            steps=(),
            sinks=(SinkEdge(sink=0, step=None),),
            resources=StageResources(memory_bytes=1 << 20, cores=1.0),
        )
        sink = SinkSpec(name="out", url=self.sink_url, format="parquet")
        return Program(pipeline="nightly", stages=(stage,), sinks=(sink,))

    def submit(self, tasks: int = 3, run: RunId = RUN) -> None:
        """Begin a run."""
        self.host.offer([self.submission(tasks, run)]).wait(WAIT_S)

    def journaled(self) -> list[Event]:
        """Return what the journal holds."""
        events: list[Event] = []
        Journal(self.store, self.clock, lambda: "reader").replay(events.append)
        return events


@contextmanager
def leading(rig: Rig, **options: Any) -> Iterator[Rig]:
    """Start the rig's host, and stop it at the end."""
    rig.host.start(**options)
    try:
        yield rig
    finally:
        rig.host.stop()
