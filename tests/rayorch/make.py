"""Builders of what the core's and the journal's tests need, every field defaulted."""

from typing import Any, Final

from rayorch.core import commands, facts
from rayorch.core.facts import (
    AttemptFailed,
    AttemptFinished,
    AttemptLost,
    AttemptProgressed,
    AttemptStarted,
    Event,
    Fact,
    LeaseReturned,
    Led,
    PlacementFailed,
    PlacementKept,
    PlacementReady,
    PlanFailed,
    PlanReady,
    PublishFailed,
    RunCancelRequested,
    RunFailed,
    RunnerJoined,
    RunnerLost,
    RunResumed,
    RunStopRequested,
    RunSubmitted,
    RunSwept,
    SecondTry,
    SinkPublished,
    StagePlanned,
    Ticked,
)
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
from rayorch.core.placed import ClassPlacement, NodeWindow, pack_classes
from rayorch.core.policy import Limit, Policy
from rayorch.core.task import (
    OutputLost,
    RetryDue,
    RunnerGone,
    Task,
    TaskCancelled,
    TaskEvent,
    TaskLeased,
    TaskReopened,
    TaskState,
)
from rayorch.core.values import (
    AttemptOutput,
    ErrorInfo,
    FailureKind,
    Held,
    RetryLimits,
    SinkResult,
    StageShape,
    StepSeconds,
)
from rayorch.ids import Epoch, EventId, NodeId, RunId, RunnerId, TaskId

RUN: Final = RunId("nightly-1")
RUNNER: Final = RunnerId("runner-1")
NODE: Final = NodeId("node-1")
EPOCH: Final = Epoch(1)
GIB: Final = 1 << 30
RETRY: Final = RetryLimits(attempts_max=3, backoff_s=1.0, backoff_s_max=8.0, strikes_max=3)


def task(state: TaskState = TaskState.READY, **fields: Any) -> Task:
    """A task in a state, leased to RUNNER as attempt 0 when the state says so."""
    if state in {TaskState.LEASED, TaskState.RUNNING, TaskState.COMMITTED}:
        fields = {"attempt": 0, "epoch": EPOCH, "runner": RUNNER, **fields}
    return Task(id=TaskId(fields.pop("id", 0)), stage=fields.pop("stage", 0), state=state, **fields)


def output(rows: int = 10, *, sink: int = 0, schema: str = "s1", seconds: float = 0.1) -> Any:
    return AttemptOutput(
        rows_in=rows,
        bytes_in=rows * 8,
        results=(SinkResult(sink=sink, rows=rows, size_bytes=rows * 4, schema_fp=schema),),
        seconds=StepSeconds(compute_s=seconds),
        memory_bytes=1 << 20,
    )


def submitted(run: RunId = RUN, **fields: Any) -> RunSubmitted:
    plain: dict[str, Any] = {
        "pipeline": "nightly",
        "version": "v1",
        "stages": (StageShape(name="lines", sinks=(0,)),),
        "sinks": ("out",),
        "retry": RETRY,
    }
    return RunSubmitted(run=run, **{**plain, **fields})


def planned(*counts: int, run: RunId = RUN) -> PlanReady:
    return PlanReady(run=run, task_counts=counts or (4,))


def placed(
    *pools: tuple[str, ...], revision: int = 1, class_of: tuple[int, ...] = (), **fields: Any
) -> PlacementReady:
    """A placement: a class for each tuple of pools; its tasks are 0, 1, ... unless said."""
    return PlacementReady(
        run=RUN,
        revision=revision,
        classes=tuple(
            ClassPlacement(name=f"lines/{i}", stage=0, tasks=1, pools=each, expected_s=(1.0,))
            for i, each in enumerate(pools)
        ),
        class_of=pack_classes(class_of or tuple(range(len(pools)))),
        **fields,
    )


def joined(
    runner: str = RUNNER,
    *held: Held,
    cores: float = 4.0,
    gib: float = 8,
    pool: str = "local",
    node: NodeId = NODE,
    gpus: float = 0.0,
) -> RunnerJoined:
    return RunnerJoined(
        runner=RunnerId(runner),
        pool=pool,
        cores=cores,
        memory_bytes=int(gib * GIB),
        held=held,
        node=node,
        gpus=gpus,
    )


def draining(node: str = NODE, pool: str = "local") -> NodeDraining:
    return NodeDraining(NodeId(node), pool, "spot notice", until_s=120.0)


def metered(
    pool: str, node_s: float, usd_h: float | None = None, node: str = "node", run: RunId = RUN
) -> NodesMetered:
    """A node of one core that was up for some seconds, all of them for one run, and then went."""
    return NodesMetered(
        (
            NodeWindow(
                node=NodeId(node),
                pool=pool,
                cores=1.0,
                from_s=0.0,
                to_s=node_s,
                usd_h=usd_h,
                used=((run, node_s),),
                closed=True,
            ),
        )
    )


def gone(runner: str = RUNNER, kind: FailureKind = "lost") -> RunnerLost:
    return RunnerLost(runner=RunnerId(runner), kind=kind, reason="it went away")


def _about(lease: Any, runner: str) -> dict[str, Any]:
    names = ("run", "task", "attempt", "epoch")
    return {**{name: getattr(lease, name) for name in names}, "runner": RunnerId(runner)}


class Lease:
    """What names an attempt, with defaults; the core's own leases serve as well."""

    def __init__(self, task: int = 0, attempt: int = 0, epoch: int = EPOCH, run: str = RUN) -> None:
        self.run = RunId(run)
        self.task = TaskId(task)
        self.attempt = attempt
        self.epoch = Epoch(epoch)


def held(lease: Any, *, started: bool = False) -> Held:
    return Held(lease.run, lease.task, lease.attempt, lease.epoch, started)


def started(lease: Any, runner: str = RUNNER) -> AttemptStarted:
    return AttemptStarted(**_about(lease, runner))


def finished(lease: Any, runner: str = RUNNER, **fields: Any) -> AttemptFinished:
    revived = lease.revived if isinstance(lease, commands.Lease) else -1
    return AttemptFinished(**_about(lease, runner), output=output(**fields), revived=revived)


def failed(
    lease: Any, runner: str = RUNNER, kind: FailureKind = "transient", message: str = "it broke"
) -> AttemptFailed:
    return AttemptFailed(**_about(lease, runner), kind=kind, error=ErrorInfo(message=message))


def lost(lease: Any, runner: str = RUNNER, kind: FailureKind = "lost") -> AttemptLost:
    return AttemptLost(**_about(lease, runner), kind=kind, reason="its runner went")


def returned(lease: Any, runner: str = RUNNER) -> LeaseReturned:
    return LeaseReturned(**_about(lease, runner))


def published(sink: int = 0, run: RunId = RUN) -> SinkPublished:
    return SinkPublished(run=run, sink=sink, version="1", rows=1, files=1, size_bytes=1)


def publish_failed(sink: int = 0, retry_at_s: float = 0.0) -> PublishFailed:
    return PublishFailed(
        run=RUN, sink=sink, error=ErrorInfo(message="the table is gone"), retry_at_s=retry_at_s
    )


def run_failed(run: RunId = RUN) -> RunFailed:
    return RunFailed(run=run, error=ErrorInfo(message="schemas differ"))


def resumed(version: str = "v2", run: RunId = RUN) -> RunResumed:
    return RunResumed(run=run, version=version)


def fact(kind: type[Fact]) -> Fact:
    """A fact of a kind, about RUN, RUNNER and attempt 0 of task 0."""
    lease = Lease()
    facts_: dict[type[Fact], Fact] = {
        RunSubmitted: submitted(),
        PlanReady: planned(),
        SecondTry: SecondTry(RUN, TaskId(0), 1, RUNNER, 9.0, 3.0),
        NodeWithdrawn: NodeWithdrawn(RUN, NODE, "local", "spot notice", 1),
        NodeJoined: NodeJoined(NODE, "local", 8.0, 16 * GIB),
        NodeDraining: draining(),
        NodeLost: NodeLost(NODE, "local", "its raylet died"),
        RunnerRefused: RunnerRefused(RUNNER, NODE, "local", "it has ray 1 and not 2", 4),
        StagePlanned: StagePlanned(run=RUN, stage=1, revision=1, tasks=2),
        PlacementReady: placed(),
        PlacementFailed: PlacementFailed(run=RUN, revision=2, error=ErrorInfo(message="crashed")),
        PlacementKept: PlacementKept(run=RUN),
        PoolIdled: PoolIdled(run=RUN, pool="local", core_s=1.0),
        PolicyApplied: PolicyApplied(Policy(limits=(Limit("orders-db", 8),))),
        RunAdmitted: RunAdmitted(run=RUN),
        RunHeld: RunHeld(run=RUN, cause="cheap", why="its hours, 22:00-06:00 UTC", until_s=60.0),
        RunBlocked: RunBlocked(run=RUN, cause="quota", error=ErrorInfo(message="spent")),
        UnitsTaken: UnitsTaken(RUNNER, (("orders-db", 1),)),
        UnitsFreed: UnitsFreed(RUNNER),
        NodesMetered: metered("local", 1.0),
        PlanFailed: PlanFailed(run=RUN, error=ErrorInfo(message="no such file")),
        RunStopRequested: RunStopRequested(run=RUN),
        RunCancelRequested: RunCancelRequested(run=RUN),
        RunResumed: resumed(),
        RunFailed: run_failed(),
        SinkPublished: published(),
        PublishFailed: publish_failed(),
        RunSwept: RunSwept(run=RUN, files=0),
        Led: Led(epoch=EPOCH),
        AttemptFinished: finished(lease),
        AttemptFailed: failed(lease),
        AttemptLost: lost(lease),
        AttemptStarted: started(lease),
        AttemptProgressed: AttemptProgressed(**_about(lease, RUNNER)),
        LeaseReturned: returned(lease),
        RunnerJoined: joined(),
        RunnerLost: gone(),
        Ticked: Ticked(),
    }
    assert facts_.keys() == set(facts.FACT_KINDS)
    return facts_[kind]


def task_event(kind: type[TaskEvent]) -> TaskEvent:
    """What may happen to a task, about RUNNER and attempt 0."""
    own: dict[type[TaskEvent], TaskEvent] = {
        TaskLeased: TaskLeased(RUN, TaskId(0), 0, EPOCH, RUNNER),
        RetryDue: RetryDue(),
        RunnerGone: RunnerGone(),
        TaskCancelled: TaskCancelled(),
        TaskReopened: TaskReopened(),
        OutputLost: OutputLost(),
    }
    found = own.get(kind)
    return found if found is not None else fact(kind)  # type: ignore[arg-type,return-value]


def event(of: Fact, id_: int = 1, at_s: float = 0.0) -> Event:
    return Event(EventId(id_), at_s, of)
