"""What can happen: the facts that the host stamps with an id and a time and hands to the machine.

A fact is *durable* when the journal keeps it: recovery folds the durable facts alone, so what a
durable fact does to a task may depend only on what earlier durable facts did. *Volatile* facts
(leases, starts, progress, runners coming and going) shape the work in flight and are forgotten by
a restart.

Facts are `msgspec` structs: they cross process borders and go into the journal as tagged JSON, a
hundred thousand of them a second.
"""

from typing import Final, Literal, get_args

import msgspec

from rayorch.ids import Epoch, EventId, RunId, RunnerId, TaskId

FailureKind = Literal[
    "user",  # the function raised: never retried blindly
    "transient",  # I/O, throttling: retried with back-off
    "lost",  # the machine went: retried at once, no budget used
    "preempted",  # the machine was taken back: as lost, and no suspicion of the task
    "oom",  # out of memory: retried with smaller batches
    "timeout",  # ran longer than the transform allows
    "refused",  # policy, contract, input that cannot be right: never retried
    "poison",  # killed its runner again and again: quarantined
]
FAILURE_KINDS: Final[tuple[FailureKind, ...]] = get_args(FailureKind)


class Wire(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, gc=False):
    """Base of all that crosses a process border."""


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An error as a person should read it, without the frames of this library."""

    message: str
    error_type: str = ""
    transform: str = ""
    where: str = ""  # the user's file:line
    source: str = ""  # the input file that was being read
    remedy: str = ""
    traceback: str = ""
    kind: FailureKind | None = None  # of what ended the run or its task; exit codes rest on it


class StepSeconds(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where the seconds of one attempt went."""

    read_s: float = 0.0
    compute_s: float = 0.0
    write_s: float = 0.0
    wait_s: float = 0.0  # for the reader to hand over the first batch
    cpu_s: float = 0.0

    @property
    def total_s(self) -> float:
        """Wall seconds of the attempt on its runner."""
        return self.wait_s + self.compute_s + self.write_s


class SinkResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What one attempt staged for one sink. The core reads the numbers and keeps the rest shut."""

    sink: int
    rows: int = 0
    size_bytes: int = 0
    schema_fp: str = ""
    payload: str = ""  # JSON of connectors' SinkOutput


class AttemptOutput(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The small record with which an attempt ends."""

    rows_in: int = 0
    bytes_in: int = 0
    results: tuple[SinkResult, ...] = ()
    seconds: StepSeconds = StepSeconds()
    memory_bytes: int = 0  # high-water mark of the attempt


class StageShape(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """All that the core knows of a stage."""

    name: str
    cores: float = 1.0
    memory_bytes: int = 1 << 30
    timeout_s: float = 0.0  # 0: no limit
    sinks: tuple[int, ...] = ()


class RetryLimits(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How often an attempt may fail before its task does."""

    attempts_max: int = 4
    backoff_s: float = 1.0
    backoff_s_max: float = 60.0
    strikes_max: int = 3  # runners that one task may kill before it is poison


class Held(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A lease that a runner says it holds, first to run first."""

    run: RunId
    task: TaskId
    attempt: int
    epoch: Epoch
    started: bool = False


# --- about runs -----------------------------------------------------------------------------


class RunSubmitted(Wire, frozen=True):
    """A client asks for a run; spec and program lie under the home already."""

    run: RunId
    pipeline: str
    version: str
    stages: tuple[StageShape, ...]
    sinks: tuple[str, ...]
    owner: str = ""
    retry: RetryLimits = RetryLimits()


class PlanReady(Wire, frozen=True):
    """The planner cut the sources into splits: tasks per stage, in stage order."""

    run: RunId
    task_counts: tuple[int, ...]
    size_bytes: int = 0
    files: int = 0


class PlanFailed(Wire, frozen=True):
    """The sources cannot be planned (nothing there, a corrupt file, schemas that conflict)."""

    run: RunId
    error: ErrorInfo


class RunStopRequested(Wire, frozen=True):
    """A person (Ctrl-C) wants the run to stop so that it can be resumed."""

    run: RunId
    reason: str = ""


class RunCancelRequested(Wire, frozen=True):
    """A person wants the run to end for good; what it staged is swept."""

    run: RunId
    reason: str = ""


class RunResumed(Wire, frozen=True):
    """A stopped, failed or interrupted run goes on, perhaps with mended functions."""

    run: RunId
    version: str


class RunFailed(Wire, frozen=True):
    """A run cannot go on for a reason that is no single task's (schemas of outputs that differ)."""

    run: RunId
    error: ErrorInfo


class SinkPublished(Wire, frozen=True):
    """A sink's committed output is visible to readers."""

    run: RunId
    sink: int
    version: str
    rows: int
    files: int
    size_bytes: int
    how_to_read: str = ""


class PublishFailed(Wire, frozen=True):
    """Publishing raised; `retry_at_s` says when to try again, 0 that it is of no use."""

    run: RunId
    sink: int
    error: ErrorInfo
    retry_at_s: float = 0.0


class RunSwept(Wire, frozen=True):
    """Files that no commit names are gone."""

    run: RunId
    files: int


class Led(Wire, frozen=True):
    """A control actor took the lead. `interrupts` the runs unless it is the same cluster's."""

    epoch: Epoch
    interrupts: bool = True


# --- about attempts -------------------------------------------------------------------------


class AttemptFinished(Wire, frozen=True):
    """An attempt staged its output. The journal record of the first one is the commit."""

    run: RunId
    task: TaskId
    attempt: int
    epoch: Epoch
    runner: RunnerId
    output: AttemptOutput


class AttemptFailed(Wire, frozen=True):
    """An attempt ended with an error, its runner lives."""

    run: RunId
    task: TaskId
    attempt: int
    epoch: Epoch
    runner: RunnerId
    kind: FailureKind
    error: ErrorInfo


class AttemptLost(Wire, frozen=True):
    """An attempt was running on a runner that went away. Made by the machine, of `RunnerLost`."""

    run: RunId
    task: TaskId
    attempt: int
    epoch: Epoch
    runner: RunnerId
    kind: FailureKind
    reason: str = ""


class AttemptStarted(Wire, frozen=True):
    """A runner began to compute."""

    run: RunId
    task: TaskId
    attempt: int
    epoch: Epoch
    runner: RunnerId


class AttemptProgressed(Wire, frozen=True):
    """A runner is alive and this far. Rows and bytes are totals of the attempt."""

    run: RunId
    task: TaskId
    attempt: int
    epoch: Epoch
    runner: RunnerId
    rows: int = 0
    size_bytes: int = 0


class LeaseReturned(Wire, frozen=True):
    """A runner gives back a lease that it had not started."""

    run: RunId
    task: TaskId
    attempt: int
    epoch: Epoch
    runner: RunnerId


# --- about runners and time -----------------------------------------------------------------


class RunnerJoined(Wire, frozen=True):
    """A runner is ready for work, and may hold leases of an earlier epoch."""

    runner: RunnerId
    pool: str
    cores: float
    memory_bytes: int
    held: tuple[Held, ...] = ()


class RunnerLost(Wire, frozen=True):
    """A runner is gone, or silent for so long that its leases are given away.

    A silent one may still write; said again, it says that its process has ended after all.
    """

    runner: RunnerId
    kind: FailureKind
    reason: str = ""
    silent: bool = False


class Ticked(Wire, frozen=True):
    """Time passed or there is news: retry what is due, hand out leases."""


Fact = (
    RunSubmitted
    | PlanReady
    | PlanFailed
    | RunStopRequested
    | RunCancelRequested
    | RunResumed
    | RunFailed
    | SinkPublished
    | PublishFailed
    | RunSwept
    | Led
    | AttemptFinished
    | AttemptFailed
    | AttemptLost
    | AttemptStarted
    | AttemptProgressed
    | LeaseReturned
    | RunnerJoined
    | RunnerLost
    | Ticked
)
FACT_KINDS: Final[tuple[type[Fact], ...]] = get_args(Fact)

VOLATILE: Final[frozenset[type[Fact]]] = frozenset(
    {
        AttemptStarted,
        AttemptProgressed,
        LeaseReturned,
        RunnerJoined,
        RunnerLost,
        PublishFailed,
        Ticked,
    }
)
"""Facts that the journal does not keep."""


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A fact with the id and the time that the host gave it, once."""

    id: EventId
    at_s: float
    fact: Fact


def is_durable(fact: Fact) -> bool:
    """Say whether the journal keeps this fact."""
    return type(fact) not in VOLATILE
