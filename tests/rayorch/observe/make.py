"""Facts with every field that a test is not about filled in, and a machine that is looked at."""

from collections.abc import Sequence
from typing import Protocol

from rayorch.core.commands import Command
from rayorch.core.facts import (
    AttemptFailed,
    AttemptFinished,
    AttemptLost,
    AttemptStarted,
    Event,
    Fact,
    Led,
    PlanReady,
    RunnerJoined,
    RunSubmitted,
    SinkPublished,
)
from rayorch.core.machine import Machine
from rayorch.core.values import (
    AttemptOutput,
    ErrorInfo,
    FailureKind,
    SinkResult,
    StageShape,
    StepSeconds,
)
from rayorch.ids import Epoch, EventId, RunId, RunnerId, TaskId

RUN = RunId("run-1")
RUNNER = RunnerId("runner-1")
EPOCH = Epoch(1)


class Observer(Protocol):
    def saw(self, events: Sequence[Event], machine: Machine) -> None: ...


class World:
    """A machine as the host drives it: stamp, apply, show."""

    def __init__(self, *observers: Observer, at_s: float = 1_000.0) -> None:
        self.machine = Machine()
        self.observers = observers
        self.at_s = at_s

    def apply(self, *facts: Fact) -> list[Command]:
        first = self.machine.through + 1
        events = [Event(EventId(first + i), self.at_s, fact) for i, fact in enumerate(facts)]
        commands = [command for event in events for command in self.machine.handle(event)]
        for observer in self.observers:
            observer.saw(events, self.machine)
        return commands

    def begin(self, tasks: int = 4) -> None:
        """Lead, submit and plan a run."""
        self.apply(Led(epoch=EPOCH))
        self.submit(tasks)

    def submit(
        self, tasks: int = 4, run: str = RUN, pipeline: str = "nightly", stage: str = "orders"
    ) -> None:
        shape = StageShape(name=stage, sinks=(0,))
        submitted = RunSubmitted(
            run=RunId(run), pipeline=pipeline, version="v1", stages=(shape,), sinks=("out",)
        )
        self.apply(submitted)
        self.apply(PlanReady(run=RunId(run), task_counts=(tasks,), files=tasks, size_bytes=100))


def joined(pool: str = "default", runner: str = RUNNER) -> RunnerJoined:
    return RunnerJoined(runner=RunnerId(runner), pool=pool, cores=4.0, memory_bytes=8 << 30)


def started(task: int, attempt: int = 0) -> AttemptStarted:
    return AttemptStarted(run=RUN, task=TaskId(task), attempt=attempt, epoch=EPOCH, runner=RUNNER)


def finished(task: int, *, run: str = RUN, seconds: StepSeconds | None = None) -> AttemptFinished:
    output = AttemptOutput(
        rows_in=10,
        bytes_in=1000,
        results=(SinkResult(sink=0, rows=3, size_bytes=200),),
        seconds=seconds or StepSeconds(read_s=0.01, compute_s=0.3, write_s=0.02, wait_s=0.0),
    )
    return AttemptFinished(
        run=RunId(run), task=TaskId(task), attempt=0, epoch=EPOCH, runner=RUNNER, output=output
    )


def failed(
    task: int, kind: FailureKind = "user", *, message: str = "no such column"
) -> AttemptFailed:
    return AttemptFailed(
        run=RUN,
        task=TaskId(task),
        attempt=0,
        epoch=EPOCH,
        runner=RUNNER,
        kind=kind,
        error=ErrorInfo(message=message, error_type="KeyError"),
    )


def lost(task: int, kind: FailureKind = "preempted") -> AttemptLost:
    return AttemptLost(
        run=RUN, task=TaskId(task), attempt=0, epoch=EPOCH, runner=RUNNER, kind=kind, reason="spot"
    )


def published(run: str = RUN) -> SinkPublished:
    return SinkPublished(run=RunId(run), sink=0, version="1", rows=12, files=4, size_bytes=800)
