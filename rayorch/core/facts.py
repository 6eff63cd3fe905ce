"""What can happen: the facts that the host stamps with an id and a time and hands to the machine.

A fact is *durable* when the journal keeps it: recovery folds the durable facts alone, so what a
durable fact does to a task may depend only on what earlier durable facts did. *Volatile* facts
(leases, starts, progress, runners that come) shape the work in flight; a restart forgets them.
They are `msgspec` structs: they go into the journal as tagged JSON, 100,000 of them a second.
"""

from typing import Final, get_args

import msgspec

from rayorch.core.cheap import Cheap
from rayorch.core.limit_facts import (
    PolicyApplied,
    RunAdmitted,
    RunBlocked,
    RunHeld,
    UnitsFreed,
    UnitsTaken,
)
from rayorch.core.node_facts import (
    NodeDraining,
    NodeJoined,
    NodeLost,
    NodesMetered,
    NodeWithdrawn,
    PoolIdled,
    RunnerRefused,
)
from rayorch.core.placed import ClassPlacement, Forecast, PoolPrice, RunnersWanted
from rayorch.core.values import (
    AttemptOutput,
    ErrorInfo,
    FailureKind,
    Held,
    RetryLimits,
    StageShape,
    WrittenBy,
)
from rayorch.core.wire import Wire
from rayorch.ids import (
    DEFAULT_TENANT,
    NO_CACHE,
    CacheId,
    Epoch,
    EventId,
    NodeId,
    RunId,
    RunnerId,
    TaskId,
    TenantId,
)


class RunSubmitted(Wire, frozen=True):
    """A client asks for a run; spec and program lie under the home already."""

    run: RunId
    pipeline: str
    version: str
    stages: tuple[StageShape, ...]
    sinks: tuple[str, ...]
    owner: str = ""
    retry: RetryLimits = RetryLimits()
    tenant: TenantId = DEFAULT_TENANT
    priority: int = 0  # among the tenant's runs; the highest is served first
    deadline_s: float = 0.0  # after the submission; 0: none
    cheap: Cheap | None = None  # what it waits for, but not past its deadline


class PlanReady(Wire, frozen=True):
    """The planner cut the sources into splits: tasks per stage, in stage order.

    `waits`: stages of files without tasks before these others are measured; `keys`: see `near`.
    """

    run: RunId
    task_counts: tuple[int, ...]
    size_bytes: int = 0
    files: int = 0
    waits: dict[int, tuple[int, ...]] = msgspec.field(default_factory=dict)
    keys: dict[int, bytes] = msgspec.field(default_factory=dict)


class StagePlanned(Wire, frozen=True):
    """What a stage reads is measured and cut: its tasks. Planned again, there are as many.

    `revision` counts from 1; `notes` are the decisions and the numbers that led to them. So many
    neighbours as `together` says share what they read: they are best leased to one runner.
    """

    run: RunId
    stage: int
    revision: int
    tasks: int
    size_bytes: int = 0
    notes: tuple[str, ...] = ()
    together: int = 1
    parted: bool = False  # some of its tasks can be cut while they run
    keys: bytes = b""  # as in `PlanReady`


class SecondTry(Wire, frozen=True):
    """A task far behind its estimate was leased once more, to another runner."""

    run: RunId
    task: TaskId
    attempt: int
    runner: RunnerId
    taken_s: float  # so far, by the first
    usual_s: float  # of the stage's attempts


class PlacementReady(Wire, frozen=True):
    """Where the run's tasks go from now on. `revision` counts from 1; only a newer one is news.

    `class_of` has the class of each task (see `placed.pack_classes`); tasks that it does not
    cover go anywhere. `is_final` says that no better plan is being looked for.
    """

    run: RunId
    revision: int
    classes: tuple[ClassPlacement, ...] = ()
    class_of: bytes = b""
    runners: tuple[RunnersWanted, ...] = ()
    prices: tuple[PoolPrice, ...] = ()
    forecast: Forecast = Forecast()
    method: str = ""
    reasons: tuple[str, ...] = ()  # what led to it
    is_final: bool = True
    is_reviewed: bool = False  # there is a choice: the plan is looked at again as the run goes


class PlacementFailed(Wire, frozen=True):
    """A solver crashed or took too long: the plan before it serves on."""

    run: RunId
    revision: int  # that it was to have
    error: ErrorInfo


class PlacementKept(Wire, frozen=True):
    """The plan was looked at again, and there was no reason to change it."""

    run: RunId


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
    pool: str = ""
    revived: int = -1  # as of its lease; less than 0: journaled before anybody said so


class AttemptFailed(Wire, frozen=True):
    """An attempt ended with an error, its runner lives."""

    run: RunId
    task: TaskId
    attempt: int
    epoch: Epoch
    runner: RunnerId
    kind: FailureKind
    error: ErrorInfo
    pool: str = ""
    duration_s: float = 0.0
    lost: tuple[WrittenBy, ...] = ()  # whose exchange files cannot be read (kind `upstream`)


class AttemptLost(Wire, frozen=True):
    """An attempt was running on a runner that went away. Made by the machine, of `RunnerLost`."""

    run: RunId
    task: TaskId
    attempt: int
    epoch: Epoch
    runner: RunnerId
    kind: FailureKind
    reason: str = ""
    pool: str = ""
    duration_s: float = 0.0


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
    node: NodeId = NodeId("")  # nobody knows
    gpus: float = 0.0
    cache: CacheId = NO_CACHE  # that it reads remote files through


class RunnerLost(Wire, frozen=True):
    """A runner is gone, or silent for so long that its leases are given away.

    A silent one may still write; said again, it says that its process has ended after all.
    """

    runner: RunnerId
    kind: FailureKind
    reason: str = ""
    silent: bool = False


class Ticked(Wire, frozen=True):
    """Time passed or there is news. `flush_s`: what it takes of late to store facts, in seconds."""

    flush_s: float = 0.0


Fact = (
    RunSubmitted
    | PlanReady
    | PlanFailed
    | StagePlanned
    | SecondTry
    | NodeWithdrawn
    | PlacementReady
    | PlacementFailed
    | PlacementKept
    | PoolIdled
    | PolicyApplied
    | RunAdmitted
    | RunBlocked
    | RunHeld
    | UnitsTaken
    | UnitsFreed
    | RunStopRequested
    | RunCancelRequested
    | RunResumed
    | RunFailed
    | SinkPublished
    | PublishFailed
    | RunSwept
    | NodesMetered
    | Led
    | AttemptFinished
    | AttemptFailed
    | AttemptLost
    | AttemptStarted
    | AttemptProgressed
    | LeaseReturned
    | NodeJoined
    | NodeDraining
    | NodeLost
    | RunnerRefused
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
        NodeJoined,
        NodeDraining,
        NodeLost,
        RunnerJoined,
        RunnerLost,
        PublishFailed,
        PlacementKept,
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
