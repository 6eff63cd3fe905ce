"""What the machine asks of the world. Each names the event that caused it.

A command is idempotent by what it names: the host may have carried it out before it died, and the
next host asks for it again (`Machine.outstanding`).
"""

import msgspec

from rayorch.core.facts import Fact
from rayorch.core.placed import NodesWanted, Observed
from rayorch.core.sizes import Size
from rayorch.ids import Epoch, EventId, RunId, RunnerId, TaskId


class Lease(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The right, and the order, to run one attempt of one task."""

    run: RunId
    task: TaskId
    attempt: int
    epoch: Epoch
    stage: int
    version: str = ""  # of the program to run
    shrink: int = 0  # halve the batches so many times: the attempt before ran out of memory
    revived: int = 0  # as of its task: what an attempt of before reads may have been cut since


class Command(msgspec.Struct, frozen=True, gc=False):
    """Base: what was asked, and which event is to blame."""

    cause: EventId


class MakePlan(Command, frozen=True):
    """Cut the run's sources into splits; answer `PlanReady` or `PlanFailed`."""

    run: RunId


class PlanStage(Command, frozen=True):
    """Cut what a stage reads, now that it is measured; answer `StagePlanned` or `RunFailed`."""

    run: RunId
    stage: int
    revision: int


class CollectExchange(Command, frozen=True):
    """Delete the exchange files that a stage has read: its tasks are committed. No answer."""

    run: RunId
    stage: int


class SolvePlacement(Command, frozen=True):
    """Look where the run's open tasks should go; answer `PlacementReady` with this revision.

    `PlacementKept` when nothing calls for a change, `PlacementFailed` when no answer was found.
    """

    run: RunId
    revision: int
    observed: Observed


class EnsureRunners(Command, frozen=True):
    """Have runners of this size for the run, as many as fit and at most `count_max`.

    In one pool, where the placement names it; "" leaves it to the executor.
    """

    run: RunId
    cores: float
    memory_bytes: int
    count_max: int
    pool: str = ""
    gpus: float = 0.0

    @property
    def size(self) -> Size:
        """How large they are to be."""
        return Size(self.cores, self.memory_bytes, self.gpus)


class AskNodes(Command, frozen=True):
    """Have these machines for the run, instead of those that were asked for it before.

    Nothing says that they are needed no more: none, when the run is over.
    """

    run: RunId
    nodes: tuple[NodesWanted, ...]


class SendLeases(Command, frozen=True):
    """Queue leases on a runner, first to run first."""

    runner: RunnerId
    leases: tuple[Lease, ...]


class RevokeLeases(Command, frozen=True):
    """Take back leases that have not started; answer `LeaseReturned` for each that comes back.

    With `halt`, one that has started comes back, too, at its next batch boundary.
    """

    runner: RunnerId
    leases: tuple[Lease, ...]
    halt: bool = False


class CutTask(Command, frozen=True):
    """Let a running attempt end after what it is reading now, if its input can be cut there.

    It answers `AttemptFinished` with `output.cut`; or goes on to its end, when it cannot be.
    """

    runner: RunnerId
    lease: Lease


class FindRunners(Command, frozen=True):
    """Say `RunnerLost` of these runners if they have ended: others wait for what they hold."""

    runners: tuple[RunnerId, ...]


class KillRunner(Command, frozen=True):
    """End a runner at once; answer `RunnerLost`."""

    runner: RunnerId
    reason: str


class Record(Command, frozen=True):
    """Stamp and journal this decision of the machine, and hand it back as an event."""

    fact: Fact


class CompareSchemas(Command, frozen=True):
    """A sink has seen one more output schema; answer `RunFailed` if they cannot be one."""

    run: RunId
    sink: int
    tasks: tuple[TaskId, ...]  # one task for each distinct schema, in order of commit


class PublishSink(Command, frozen=True):
    """Make a sink's committed output visible; answer `SinkPublished` or `PublishFailed`."""

    run: RunId
    sink: int
    generation: int


class SweepRun(Command, frozen=True):
    """Delete what the run staged and no commit names; answer `RunSwept`."""

    run: RunId
