"""Programs, homes and runners, with every field defaulted: a test names only what it is about."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.outputs import SinkOutput
from connectors.sink import SinkSpec
from connectors.source import SourceSpec, discover
from connectors.splits import Split
from connectors.stores.memory import MemoryStore
from rayorch.clock import SystemClock
from rayorch.core.commands import Lease
from rayorch.core.facts import AttemptFailed, AttemptFinished, Fact
from rayorch.core.values import AttemptOutput, ErrorInfo, SinkResult
from rayorch.home import Home, RunPlan, StagePlan, encode_split
from rayorch.ids import Epoch, RunId, RunnerId, TaskId
from rayorch.program import (
    MapCode,
    Program,
    SinkEdge,
    StageProgram,
    StageResources,
    Step,
    StepCode,
    StepId,
    dump_program,
)
from rayorch.runner.capture import LogLine
from rayorch.runner.engine import RunnerEngine, RunnerSettings
from rayorch.runner.reporter import ReportSettings

RUN = RunId("nightly-1")
RUNNER = RunnerId("r1")
VERSION = "v1"
MIB = 1 << 20
_names = itertools.count()


def step(code: StepCode | Callable[..., object], *, at: int = 0, after: int | None = -1) -> Step:
    """A step of a stage; by default, each comes after the one before it."""
    after = at - 1 if after == -1 else after
    return Step(
        id=StepId(at),
        name=f"step{at}",
        input=None if after is None or after < 0 else StepId(after),
        code=MapCode(function=code) if callable(code) else code,
        where="pipeline.py:7",
    )


def chain(*codes: StepCode | Callable[..., object]) -> tuple[Step, ...]:
    """Steps, each after the one before it."""
    return tuple(step(code, at=index) for index, code in enumerate(codes))


def stage(
    url: str,
    steps: tuple[Step, ...] = (),
    *,
    edges: tuple[SinkEdge, ...] | None = None,
    memory_bytes: int = 1 << 30,
    split: str = "auto",
) -> StageProgram:
    """A stage that reads one URL and sends its last step's rows to sink 0."""
    last = StepId(len(steps) - 1) if steps else None
    return StageProgram(
        index=0,
        name="lines",
        source=msgspec.convert({"name": "lines", "urls": (url,), "split": split}, SourceSpec),
        columns=None,
        predicate=None,
        steps=steps,
        sinks=edges if edges is not None else (SinkEdge(sink=0, step=last),),
        resources=StageResources(memory_bytes=memory_bytes, cores=1.0),
    )


@dataclass
class Planned:
    """A run whose program and plan lie in a home of its own."""

    home: Home
    splits: list[Split]
    sink_urls: list[str]
    version: str = VERSION

    def lease(self, task: int, *, attempt: int = 0, shrink: int = 0) -> tuple[Lease, bytes]:
        """The lease of one task, with its split."""
        lease = Lease(
            run=RUN,
            task=TaskId(task),
            attempt=attempt,
            epoch=Epoch(1),
            stage=0,
            version=self.version,
            shrink=shrink,
        )
        return lease, encode_split(self.splits[task])

    def leases(self) -> list[tuple[Lease, bytes]]:
        """The leases of all tasks."""
        return [self.lease(task) for task in range(len(self.splits))]

    def publish_program(self, program: Program, version: str) -> None:
        """Put another version of the program beside the first."""
        self.home.put_program(RUN, version, dump_program(program))
        self.version = version


def planned(
    stage_program: StageProgram,
    *,
    sink_urls: Sequence[str] | None = None,
    transient_errors: tuple[str, ...] = (),
    slots: int = 2,
) -> Planned:
    """Discover, cut, and put program and plan into a new home in memory."""
    count = 1 + max((edge.sink for edge in stage_program.sinks), default=-1)
    urls = list(sink_urls or (f"memory://sink-{next(_names)}/" for _ in range(count)))
    program = program_of(stage_program, urls, transient_errors)
    home = Home(MemoryStore(f"home-{next(_names)}"))
    discovery, splits = discover(stage_program.files, slots)
    home.put_program(RUN, VERSION, dump_program(program))
    encoded = tuple(encode_split(split) for split in splits)
    home.put_plan(RUN, RunPlan((StagePlan(discovery, encoded),)))
    return Planned(home, splits, urls)


def program_of(
    stage_program: StageProgram, urls: Sequence[str], transient_errors: tuple[str, ...] = ()
) -> Program:
    """A program of one stage."""
    return Program(
        pipeline="nightly",
        stages=(stage_program,),
        sinks=tuple(
            SinkSpec(name=f"sink{index}", url=url, format="parquet", index=index)
            for index, url in enumerate(urls)
        ),
        transient_errors=transient_errors,
    )


@dataclass
class Control:
    """The other end of a runner: takes facts, and lets a test wait for them."""

    facts: list[Fact] = field(default_factory=list)
    lines: list[LogLine] = field(default_factory=list)
    offers: list[list[Fact]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def offer(self, facts: list[Fact]) -> None:
        """Take facts."""
        with self.changed:
            self.facts += facts
            self.offers.append(list(facts))
            self.changed.notify_all()

    def log(self, lines: list[LogLine]) -> None:
        """Take printed lines."""
        self.lines += lines

    def wait_for(self, is_true: Callable[[list[Fact]], bool]) -> list[Fact]:
        """Wait until it is true of all facts so far."""
        with self.changed:
            assert self.changed.wait_for(lambda: is_true(self.facts), timeout=30), self.facts
            return list(self.facts)

    def ends(self, count: int) -> list[AttemptFinished | AttemptFailed]:
        """Wait for so many attempts to end; return how they did."""
        facts = self.wait_for(lambda facts: len(_ends(facts)) >= count)
        return _ends(facts)


def _ends(facts: Sequence[Fact]) -> list[AttemptFinished | AttemptFailed]:
    return [fact for fact in facts if isinstance(fact, AttemptFinished | AttemptFailed)]


@contextmanager
def engine(
    plan: Planned, control: Control, *, memory_bytes: int = 1 << 30, logged: bool = False
) -> Iterator[RunnerEngine]:
    """A runner that works for the plan and reports to the control."""
    made = RunnerEngine(
        RUNNER,
        plan.home,
        control.offer,
        clock=SystemClock(),
        settings=RunnerSettings(
            memory_bytes=memory_bytes,
            report=ReportSettings(heartbeat_s=0.02, progress_s=0.02, retry_s=0.001),
        ),
        log=control.log if logged else None,
    )
    try:
        yield made
    finally:
        made.close()


def executed(
    plan: Planned, *, memory_bytes: int = 1 << 30
) -> list[AttemptFinished | AttemptFailed]:
    """Run all tasks to their end; return how each ended, by task."""
    control = Control()
    with engine(plan, control, memory_bytes=memory_bytes) as runner:
        runner.enqueue(plan.leases())
        ends = control.ends(len(plan.splits))
    return sorted(ends, key=lambda end: end.task)


def output_of(end: AttemptFinished | AttemptFailed) -> AttemptOutput:
    """The output of an attempt that must have one."""
    assert isinstance(end, AttemptFinished), end
    return end.output


def error_of(end: AttemptFinished | AttemptFailed) -> ErrorInfo:
    """The error of an attempt that must have one."""
    assert isinstance(end, AttemptFailed), end
    return end.error


def staged(plan: Planned, results: Sequence[SinkResult]) -> pa.Table:
    """The rows that these results staged, in their order; a column of nulls is not in its file."""
    tables = []
    for result in results:
        store = MemoryStore(plan.sink_urls[result.sink].removeprefix("memory://").strip("/"))
        tables += [
            pq.read_table(pa.BufferReader(store.get(file.key)))
            for file in sink_output(result).files
        ]
    return pa.concat_tables(tables, promote_options="default")


def sink_output(result: SinkResult) -> SinkOutput:
    """What the connector said of a result."""
    return msgspec.json.decode(result.payload, type=SinkOutput)


def parquet_files(folder: Path, tables: Sequence[pa.Table], row_group_rows: int = 1 << 20) -> str:
    """Write the tables as the files of a source; return its URL."""
    for index, table in enumerate(tables):
        pq.write_table(table, folder / f"part-{index:03d}.parquet", row_group_size=row_group_rows)
    return folder.as_uri()
