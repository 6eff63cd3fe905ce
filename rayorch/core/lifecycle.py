"""What happens to a run: submitted, planned, stopped, cancelled, resumed, published."""

from collections.abc import Iterable
from itertools import accumulate

from rayorch.core import limiting, metering, staging
from rayorch.core.book import Book
from rayorch.core.commands import Command, KillRunner, Record, RevokeLeases
from rayorch.core.facts import (
    Event,
    Led,
    PlanFailed,
    PlanReady,
    PublishFailed,
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
from rayorch.core.flow import Flow
from rayorch.core.queueing import flow_of
from rayorch.core.run import ACTIVE, ENDED, RESUMABLE, UNPLANNED, Run, RunState
from rayorch.core.settling import drain, settle
from rayorch.core.task import HELD, RunnerGone, Task, TaskCancelled, TaskReopened, step
from rayorch.core.wanting import ensure_runners
from rayorch.errors import InvalidTransitionError
from rayorch.ids import TaskId


def submit(book: Book, fact: RunSubmitted, event: Event) -> Iterable[Command]:
    """Begin a run."""
    if fact.run in book.runs:
        return  # A client that asks twice gets one run.
    book.runs[fact.run] = Run(
        id=fact.run,
        pipeline=fact.pipeline,
        version=fact.version,
        owner=fact.owner,
        stages=fact.stages,
        sinks=fact.sinks,
        retry=fact.retry,
        submitted_s=event.at_s,
        tenant=fact.tenant,
        priority=fact.priority,
        deadline_s=fact.deadline_s,
        cheap=fact.cheap,
    )
    book.flows[fact.run] = Flow(fact.stages)
    yield from limiting.begin(book, book.runs[fact.run], event)


def plan_ready(book: Book, fact: PlanReady, event: Event) -> Iterable[Command]:
    """Make the tasks of a planned run."""
    run = book.run(fact)
    if run.planned or run.state is RunState.CANCELLED:
        return
    run.planned, run.held_by = True, None
    run.task_counts, run.size_bytes, run.files = fact.task_counts, fact.size_bytes, fact.files
    run.tasks = [
        Task(id=TaskId(i), stage=stage)
        for i, stage in enumerate(s for s, n in enumerate(fact.task_counts) for _ in range(n))
    ]
    firsts = accumulate(fact.task_counts, initial=0)
    run.first_tasks = {s: TaskId(f) for s, f in enumerate(firsts) if s < len(run.stages)}
    run.waits, run.keys = dict(fact.waits), dict(fact.keys)
    run.unplanned = [stage for stage in range(len(run.stages)) if run.before(stage)]
    book.refill(run)
    if run.state in UNPLANNED:
        book.enter(run, RunState.RUNNING, event)
        if run.tasks:
            yield from ensure_runners(run, book.flows[run.id], event.id, event.at_s)
        yield from settle(book, run, event.id, event.at_s)


def stage_planned(book: Book, fact: StagePlanned, event: Event) -> Iterable[Command]:
    """Go on with a run once one more of its stages is planned, or is planned again."""
    yield from staging.open_stage(book, fact, event)
    # It may have no tasks, or none that is left: then no task's end leads further.
    yield from settle(book, book.run(fact), event.id, event.at_s)


def plan_failed(book: Book, fact: PlanFailed, event: Event) -> Iterable[Command]:
    """End a run that has no plan."""
    run = book.run(fact)
    if run.planned or run.state in ENDED:
        return ()
    run.error = fact.error
    if run.state in UNPLANNED:
        book.enter(run, RunState.FAILED, event)
    return ()


def stop(book: Book, fact: RunStopRequested, event: Event) -> Iterable[Command]:
    """Hand out no more of a run, so that it can be resumed."""
    run = book.run(fact)
    if run.state in UNPLANNED:
        book.enter(run, RunState.STOPPED, event)
    elif run.state is RunState.RUNNING:
        yield from drain(book, run, RunState.STOPPED, event)


def run_failed(book: Book, fact: RunFailed, event: Event) -> Iterable[Command]:
    """Fail a run for a reason that is no single task's."""
    run = book.run(fact)
    if run.state in ENDED:
        return
    run.error = fact.error
    if run.state is RunState.RUNNING:
        yield from drain(book, run, RunState.FAILED, event)
    elif run.state is RunState.DRAINING:
        run.target = RunState.FAILED
    elif run.state is not RunState.FAILED:
        # Stopped, too: to a replay, a run that drains towards its stop has stopped already.
        book.enter(run, RunState.FAILED, event)


def cancel(book: Book, fact: RunCancelRequested, event: Event) -> Iterable[Command]:
    """End a run for good."""
    run = book.run(fact)
    # Once a sink may be visible the run is finished, not torn: `resume` does it.
    if run.state in ENDED or run.generation:
        return
    for slot in [book.runners[runner] for runner in book.flows[run.id].on]:
        mine = [lease for key, lease in slot.queue.items() if key[0] == run.id]
        if mine and slot.head is mine[0]:
            book.doom(slot)
            yield KillRunner(event.id, slot.id, f"run {run.id} was cancelled")
        elif mine:
            yield RevokeLeases(event.id, slot.id, tuple(mine))
    for task in run.tasks:
        book.put(run, step(task, TaskCancelled(), run.retry, event.at_s))
    run.failed, run.target = 0, None
    run.outputs = {}  # Nobody can see them, and now nobody will: the sweep takes them all.
    book.enter(run, RunState.CANCELLED, event)
    yield from settle(book, run, event.id, event.at_s)


def resume(book: Book, fact: RunResumed, event: Event) -> Iterable[Command]:
    """Go on with what is open, and try again what had failed."""
    run = book.run(fact)
    if run.state not in RESUMABLE and run.state is not RunState.DRAINING:
        return
    run.version, run.error, run.target, run.held_by = fact.version, None, None, None
    run.failed = 0
    run.resumed += 1
    run.finished_s = 0.0
    run.failures = []
    if not run.planned:
        yield from limiting.begin(book, run, event)
        return
    for task in run.tasks:
        book.put(run, step(task, TaskReopened(), run.retry, event.at_s))
    book.refill(run)
    book.enter(run, RunState.RUNNING, event)
    if run.committed < len(run.tasks):
        yield from ensure_runners(run, book.flows[run.id], event.id, event.at_s)
    yield from settle(book, run, event.id, event.at_s)


def second_try(book: Book, fact: SecondTry, _event: Event) -> Iterable[Command]:
    """Count a second try, and let its story be told."""
    book.run(fact).totals.second_tries += 1
    return ()


def sink_published(book: Book, fact: SinkPublished, event: Event) -> Iterable[Command]:
    """Note that a sink is visible."""
    run = book.run(fact)
    if not run.generation:
        raise InvalidTransitionError(
            f"{run.id}, which publishes nothing", run.state.value, str(fact)
        )
    run.published.setdefault(fact.sink, fact)
    book.flows[run.id].publishing.discard(fact.sink)
    yield from settle(book, run, event.id, event.at_s)


def publish_failed(book: Book, fact: PublishFailed, event: Event) -> Iterable[Command]:
    """Publish again later, or fail the run."""
    run = book.run(fact)
    flow = book.flows[run.id]
    if run.state is RunState.PUBLISHING and fact.retry_at_s > 0.0:
        flow.publish_due_s[fact.sink] = fact.retry_at_s
        return
    flow.publishing.discard(fact.sink)
    if run.state in ENDED:
        yield from settle(book, run, event.id, event.at_s)
    if run.state is RunState.PUBLISHING and fact.sink not in run.published:
        yield Record(event.id, RunFailed(run=run.id, error=fact.error))


def swept(book: Book, fact: RunSwept, _event: Event) -> Iterable[Command]:
    """Let go of a run that has ended and left nothing behind."""
    run = book.run(fact)
    run.swept = True
    run.charged, run.parts = {}, {}
    run.outputs = {}  # They are in the manifest or the Delta log by now, or deleted.
    return ()


def lead(book: Book, fact: Led, event: Event) -> Iterable[Command]:
    """Begin an epoch: nobody holds anything, and runs of another cluster are interrupted."""
    book.epoch = fact.epoch
    # Leases of an earlier epoch come back as `RunnerJoined.held`, or not at all.
    for run in book.runs.values():
        for task in run.tasks:
            if task.state in HELD:
                book.put(run, step(task, RunnerGone(), run.retry, event.at_s))
        if run.target is not None:
            # It drained: nobody holds anything now, so it is where it was going.
            run.state, run.target = run.target, None
        elif fact.interrupts and run.state in ACTIVE - {RunState.PUBLISHING}:
            run.state = RunState.INTERRUPTED
    book.clear_runners()
    if fact.interrupts:
        book.ended.update(book.units)  # Of the cluster that is gone.
    for run in book.runs.values():
        book.flows[run.id] = flow_of(run)
        book.enlist(run)
    metering.lead(book, event.at_s, interrupts=fact.interrupts)
    return ()
