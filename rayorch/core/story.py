"""Why a run or a task went as it did, told from the durable events alone.

The events are folded into a machine of their own, so that each line says not only what was
reported but what came of it: tried again, given up, dropped because another was first.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

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
    RunCancelRequested,
    RunFailed,
    RunResumed,
    RunStopRequested,
    RunSubmitted,
    RunSwept,
    SecondTry,
    SinkPublished,
    StagePlanned,
)
from rayorch.core.limit_facts import RunHeld
from rayorch.core.machine import Machine
from rayorch.core.node_facts import NodeWithdrawn, RunnerRefused
from rayorch.core.run import UNPLANNED, Run, RunState
from rayorch.core.task import Task, TaskState, backoff_s
from rayorch.ids import EventId, RunId, RunnerId, TaskId

Report = AttemptFinished | AttemptFailed | AttemptLost
_REPORTS: Final = (AttemptFinished, AttemptFailed, AttemptLost)


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened, and what came of it."""

    at_s: float
    what: str
    cause: EventId  # the event in the journal
    task: TaskId | None = None
    attempt: int | None = None
    runner: RunnerId | None = None
    kind: str = ""  # of the failure
    message: str = ""


def story(events: Iterable[Event], run: RunId, task: TaskId | None = None) -> list[Line]:
    """Return what happened to a run, or to one task of it, in order.

    A run's story leaves its successful attempts out, which are its millions; a task's has them.
    Events of other runs are passed over, so the whole journal may be given.
    """
    machine = Machine()
    lines: list[Line] = []
    for event in events:
        fact = event.fact
        if getattr(fact, "run", run) != run:
            continue
        before = machine.runs.get(run)
        state = before.state if before is not None else None
        old = _task_of(before, fact)
        machine.fold(event)
        after = machine.runs.get(run)
        if after is None:
            continue
        if isinstance(fact, _REPORTS):
            if fact.task == task or (task is None and not isinstance(fact, AttemptFinished)):
                lines.append(_attempt_line(event, fact, after, old))
        elif isinstance(fact, SecondTry) and task not in {None, fact.task}:
            continue  # Another task's.
        elif what := _said(fact, after, state):
            lines.append(Line(event.at_s, what, event.id, message=_message(fact)))
        lines.extend(_turns(event, after, state))
    return lines


def _task_of(run: Run | None, fact: Fact) -> Task | None:
    if run is None or not isinstance(fact, _REPORTS) or not 0 <= fact.task < len(run.tasks):
        return None
    return run.tasks[fact.task]


def _attempt_line(event: Event, fact: Report, run: Run, old: Task | None) -> Line:
    now = _task_of(run, fact)
    return Line(
        at_s=event.at_s,
        what=_outcome(fact, run, old, now),
        cause=event.id,
        task=fact.task,
        attempt=fact.attempt,
        runner=fact.runner,
        kind="" if isinstance(fact, AttemptFinished) else fact.kind,
        message=_message(fact),
    )


def _outcome(fact: Report, run: Run, old: Task | None, now: Task | None) -> str:
    if old is None or now is None:
        return "reported after its run was swept: dropped"
    verb = "finished" if isinstance(fact, AttemptFinished) else "failed"
    if now is old or (now.last == old.last and verb == "failed"):
        return f"{verb}, but the task was {old.state.value} already: dropped"
    if isinstance(fact, AttemptFinished):
        rest = len(fact.output.cut) - 1
        cut = f", cut short: the rest of its input became {_tasks_text(rest)}" if rest > 0 else ""
        return f"finished and committed: {fact.output.rows_in} rows in{cut}"
    ended = "lost with its runner" if isinstance(fact, AttemptLost) else "failed"
    return f"{ended}: {_next(run, old, now)}"


def _next(run: Run, old: Task, now: Task) -> str:
    """Return what a failure that was counted led to."""
    if now.state is TaskState.WAITING:
        pause_s = backoff_s(run.retry, now.failures)
        smaller = ", with smaller batches" if now.shrink > old.shrink else ""
        left = run.retry.attempts_max - now.failures
        return f"tried again after {pause_s:g} s{smaller} (attempts left: {left})"
    if now.state is TaskState.FAILED and now.strikes > old.strikes:
        return f"quarantined, it killed its runner {now.strikes} times"
    if now.state is TaskState.FAILED:
        return f"given up (counted failures: {now.failures})"
    if now.strikes > old.strikes:
        left = run.retry.strikes_max - now.strikes
        return f"tried again at once, alone on its runner (strikes left: {left})"
    return "tried again at once, it is not to blame"


_SAID: Final[Mapping[type[Fact], Callable[[Any, Run], str]]] = {
    RunSubmitted: lambda fact, _: (
        f"submitted by {fact.owner or 'somebody'}, version {fact.version}"
    ),
    PlanReady: lambda fact, _: (
        f"planned: {sum(fact.task_counts)} tasks in {len(fact.task_counts)} stages"
    ),
    PlanFailed: lambda _, __: "could not be planned",
    StagePlanned: lambda fact, run: (
        f"stage {run.stages[fact.stage].name!r} cut into {_tasks_text(fact.tasks)}"
        + (", again: some of its input was lost" if fact.revision > 1 else "")
        + "".join(f"; {note}" for note in fact.notes)
    ),
    SecondTry: lambda fact, _: (
        f"task {fact.task} tried a second time on {fact.runner}: the first had taken "
        f"{fact.taken_s:.1f} s, usual are {fact.usual_s:.1f} s"
    ),
    RunnerRefused: lambda fact, _: (
        f"a runner on node {fact.node[:8]} of pool {fact.pool} was not used: {fact.reason}"
    ),
    RunHeld: lambda fact, _: held_text(fact),
    NodeWithdrawn: lambda fact, _: (
        f"node {fact.node[:8]} of pool {fact.pool} was taken away ({fact.reason}): "
        f"{_tasks_text(fact.running)} ran there and ended early, what was left went elsewhere"
    ),
    PlacementReady: lambda fact, _: _placed(fact),
    PlacementFailed: lambda _, __: "placement failed: the plan before it serves on",
    RunStopRequested: lambda _, __: "asked to stop",
    RunCancelRequested: lambda _, __: "cancelled",
    RunResumed: lambda fact, _: f"resumed with version {fact.version}: what is committed stays",
    RunFailed: lambda _, __: "failed as a whole",
    SinkPublished: lambda fact, run: (
        f"{run.sinks[fact.sink]} became visible: {fact.rows} rows, {fact.files} files"
    ),
    RunSwept: lambda fact, _: f"swept: {fact.files} files that no commit names",
}
"""What a fact about a run means for it."""


def held_text(fact: RunHeld) -> str:
    """Say what a run waits for, or why it does so no more."""
    if not fact.held:
        return f"goes on: {fact.why}"
    if not fact.until_s:
        return f"waits for {fact.why}"
    until = datetime.fromtimestamp(fact.until_s, UTC)
    return f"waits for {fact.why}; it goes on at {until:%Y-%m-%d %H:%M} UTC at the latest"


def _tasks_text(count: int) -> str:
    return f"{count} task" if count == 1 else f"{count} tasks"


def _placed(fact: PlacementReady) -> str:
    pools = {pool: None for each in fact.classes for pool in each.pools[:1]}
    on = f" on {', '.join(pools)}" if pools else ""
    why = "; ".join(fact.reasons)
    if not why:
        return f"placed{on}"
    return f"placed{on}{', planned again' if fact.revision > 1 else ''}: {why}"


def _said(fact: Fact, run: Run, state: RunState | None) -> str:
    if isinstance(fact, Led):
        return _led(fact, run, state)
    if isinstance(fact, RunnerRefused) and state in _OVER:
        return ""
    say = _SAID.get(type(fact))
    return say(fact, run) if say is not None else ""


def _led(fact: Led, run: Run, state: RunState | None) -> str:
    if state in _OVER:
        return ""
    if state is not run.state:
        return f"its cluster was gone when epoch {fact.epoch} began"
    return f"epoch {fact.epoch} took over: attempts in flight began anew or were adopted"


_OVER: Final = frozenset(RunState) - UNPLANNED - {RunState.RUNNING, RunState.DRAINING}


def _turns(event: Event, run: Run, state: RunState | None) -> Iterator[Line]:
    """Say where the run went by itself because of this event."""
    if state is run.state or state is None:
        return
    match run.state:
        case RunState.PUBLISHING:
            yield Line(event.at_s, "all tasks are committed: publishing", event.id)
        case RunState.SUCCEEDED:
            yield Line(event.at_s, "succeeded: every output is visible", event.id)
        case RunState.FAILED:
            said = run.error.message if run.error is not None else ""
            yield Line(event.at_s, "the run failed", event.id, message=said)
        case _:
            return


def _message(fact: Fact) -> str:
    match fact:
        case AttemptFailed() | PlanFailed() | PlacementFailed() | RunFailed():
            return fact.error.message
        case AttemptLost() | RunStopRequested() | RunCancelRequested():
            return fact.reason
        case _:
            return ""
