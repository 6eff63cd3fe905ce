"""What each event says in the log of its run. Pure: an event in, a line out."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from rayorch.core.facts import (
    AttemptFailed,
    AttemptFinished,
    AttemptLost,
    Event,
    Fact,
    Led,
    PlacementFailed,
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
)
from rayorch.core.limit_facts import RunAdmitted, RunBlocked, RunHeld
from rayorch.core.node_facts import (
    NodeDraining,
    NodeJoined,
    NodeLost,
    NodeWithdrawn,
    PoolIdled,
    RunnerRefused,
)
from rayorch.core.run import Run, RunState
from rayorch.core.story import held_text
from rayorch.core.values import ErrorInfo, StepSeconds
from rayorch.ids import EventId, RunId, RunnerId, TaskId

Level = Literal["info", "warning", "error"]
Said = tuple[Level, str]


class Line(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One line of a run's log; its fields are the keys of the JSON object."""

    at_s: float
    level: Level
    run: RunId
    event: str  # the kind of fact, or `printed`, `state`, `dropped`
    message: str
    stage: str = ""
    task: TaskId | None = None
    attempt: int | None = None
    cause: EventId = EventId(0)  # the journal's number of the event; 0: of none
    runner: RunnerId = RunnerId("")
    kind: str = ""  # of a failure; the stream of a printed line
    error: ErrorInfo | None = None
    seconds: StepSeconds | None = None  # of a finished attempt
    dropped: int = 0  # lines that are missing before this one

    @property
    def about_bytes(self) -> int:
        """Roughly what it takes in memory and on the store."""
        error = self.error
        text = len(error.message) + len(error.traceback) if error is not None else 0
        return _FRAME_BYTES + len(self.message) + text


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A finished attempt that is to be made a line, later and elsewhere."""

    event: Event
    run: RunId
    stage: str

    @property
    def about_bytes(self) -> int:
        """Roughly what it takes in memory."""
        return _SEEN_BYTES


_FRAME_BYTES: Final = 200
_SEEN_BYTES: Final = 400


def line_of(event: Event, run: RunId, stage: str = "") -> Line:
    """Return the line for an event of a kind in SAYINGS."""
    fact: Any = event.fact
    level, message = SAYINGS[type(fact)](fact)
    return Line(
        at_s=event.at_s,
        level=level,
        run=run,
        event=type(fact).__name__,
        message=message,
        stage=stage,
        task=getattr(fact, "task", None),
        attempt=getattr(fact, "attempt", None),
        cause=event.id,
        runner=getattr(fact, "runner", RunnerId("")),
        kind=getattr(fact, "kind", ""),
        error=getattr(fact, "error", None),
        seconds=fact.output.seconds if isinstance(fact, AttemptFinished) else None,
    )


def state_line(run: Run, before: RunState, cause: EventId, at_s: float) -> Line:
    """Return the line that says where a run went, with its sums when it settled there."""
    message = f"{before.value} -> {run.state.value}"
    totals = run.totals
    if run.finished_s:
        message += (
            f": {run.committed} of {sum(run.task_counts)} tasks committed, {run.failed} failed, "
            f"{sum(totals.failures.values())} attempts failed or lost, "
            f"{totals.rows_in} rows in, {totals.rows_out} rows out, "
            f"{run.finished_s - run.submitted_s:.1f} s since submission"
        )
    failed = run.state is RunState.FAILED
    return Line(
        at_s=at_s,
        level="error" if failed else "info",
        run=run.id,
        event="state",
        message=message,
        cause=cause,
        error=run.error if failed else None,
    )


def _submitted(fact: RunSubmitted) -> Said:
    by = f" by {fact.owner}" if fact.owner else ""
    return "info", f"pipeline {fact.pipeline}, version {fact.version}, submitted{by}"


def _planned(fact: PlanReady) -> Said:
    count = sum(fact.task_counts)
    return "info", f"{count} tasks of {fact.files} files, {fact.size_bytes} bytes"


def _finished(fact: AttemptFinished) -> Said:
    rows_out = sum(result.rows for result in fact.output.results)
    return "info", f"{fact.output.rows_in} rows in, {rows_out} rows out"


def _published(fact: SinkPublished) -> Said:
    return "info", (
        f"sink {fact.sink} published as {fact.version}: {fact.rows} rows, {fact.files} files, "
        f"{fact.size_bytes} bytes"
    )


def _publish_failed(fact: PublishFailed) -> Said:
    if fact.retry_at_s:
        return "warning", f"sink {fact.sink} will be published later: {fact.error.message}"
    return "error", f"sink {fact.sink} cannot be published: {fact.error.message}"


def _joined(fact: RunnerJoined) -> Said:
    gib = fact.memory_bytes / 2**30
    return "info", f"runner joined pool {fact.pool} with {fact.cores:g} cores and {gib:.1f} GiB"


def _node_joined(fact: NodeJoined) -> Said:
    gpus = f", {fact.gpus:g} GPUs" if fact.gpus else ""
    return "info", f"node {fact.node[:8]} of pool {fact.pool} is there: {fact.cores:g} cores{gpus}"


def _node_draining(fact: NodeDraining) -> Said:
    return "warning", (
        f"node {fact.node[:8]} of pool {fact.pool} is being taken away. reason={fact.reason}"
    )


def _withdrawn(fact: NodeWithdrawn) -> Said:
    return "warning", (
        f"node {fact.node[:8]} of pool {fact.pool} is emptied, {fact.running} tasks run there. "
        f"reason={fact.reason}"
    )


def _placed(fact: PlacementReady) -> Said:
    pools = {pool: None for each in fact.classes for pool in each.pools[:1]}
    reasons = f". reasons={'; '.join(fact.reasons)}" if fact.reasons else ""
    on = f" on {', '.join(pools)}" if pools else ""
    return "info", f"placement {fact.revision} by {fact.method or 'the planner'}{on}{reasons}"


def _placement_failed(fact: PlacementFailed) -> Said:
    return "warning", f"the placement before stays: {fact.error.message}"


SAYINGS: Final[Mapping[type[Fact], Callable[[Any], Said]]] = {
    RunSubmitted: _submitted,
    PlanReady: _planned,
    PlanFailed: lambda fact: ("error", fact.error.message),
    SecondTry: lambda fact: (
        "info",
        f"second try on {fact.runner}: {fact.taken_s:.1f} s so far, usual {fact.usual_s:.1f} s",
    ),
    StagePlanned: lambda fact: ("info", f"stage {fact.stage} has {fact.tasks} tasks"),
    PlacementReady: _placed,
    PlacementFailed: _placement_failed,
    PoolIdled: lambda fact: ("info", f"runners of {fact.pool} waited {fact.core_s:.0f} core s"),
    RunStopRequested: lambda fact: ("info", f"asked to stop. reason={fact.reason}"),
    RunCancelRequested: lambda fact: ("info", f"asked to cancel. reason={fact.reason}"),
    RunResumed: lambda fact: ("info", f"asked to resume with version {fact.version}"),
    RunFailed: lambda fact: ("error", fact.error.message),
    RunAdmitted: lambda _: ("info", "admitted: it is planned now"),
    RunBlocked: lambda fact: ("warning", f"blocked ({fact.cause}): {fact.error.message}"),
    RunHeld: lambda fact: ("info", held_text(fact)),
    SinkPublished: _published,
    PublishFailed: _publish_failed,
    RunSwept: lambda fact: ("info", f"{fact.files} files that no commit names were deleted"),
    Led: lambda fact: ("info", f"a control actor took the lead. epoch={fact.epoch}"),
    AttemptFinished: _finished,
    AttemptFailed: lambda fact: ("warning", fact.error.message),
    AttemptLost: lambda fact: ("warning", f"the runner went away. reason={fact.reason}"),
    NodeWithdrawn: _withdrawn,
    NodeJoined: _node_joined,
    NodeDraining: _node_draining,
    NodeLost: lambda fact: (
        "warning",
        f"node {fact.node[:8]} of pool {fact.pool} is gone. reason={fact.reason}",
    ),
    RunnerRefused: lambda fact: (
        "warning",
        f"runner on node {fact.node[:8]} of pool {fact.pool} is not used. reason={fact.reason}",
    ),
    RunnerJoined: _joined,
    RunnerLost: lambda fact: ("warning", f"runner lost ({fact.kind}). reason={fact.reason}"),
}
"""What is logged. Starts, progress, returned leases and ticks are not: too many, too dull."""
EVERYBODYS: Final = frozenset(
    {Led, NodeJoined, NodeDraining, NodeLost, RunnerJoined, RunnerRefused, RunnerLost}
)
"""Facts that name no run: every active run logs them."""
