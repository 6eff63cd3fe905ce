"""Where a run goes by itself: publish when all is committed, end when all is visible, sweep."""

import heapq
from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from rayorch.core import metering, staging
from rayorch.core.book import Book
from rayorch.core.commands import (
    Command,
    KillRunner,
    PublishSink,
    Record,
    RevokeLeases,
    SweepRun,
)
from rayorch.core.facts import AttemptFailed, AttemptFinished, AttemptLost, Event
from rayorch.core.flow import Flow
from rayorch.core.leasing import RunnerSlot
from rayorch.core.run import ENDED, RUNNING, Run, RunState
from rayorch.core.task import FAILED, Task
from rayorch.core.values import ErrorInfo
from rayorch.ids import EventId

STRANGE_S: Final = 30.0
"""How long a runner may work on what was given to others while it has leases to begin."""
DRAIN_S: Final = {RunState.STOPPED: 5.0, RunState.FAILED: 60.0, RunState.BLOCKED: 60.0}
"""How long running attempts may go on after a stop or a failure before their runner is ended."""

_MAY_PUBLISH: Final = frozenset({RunState.PUBLISHING, RunState.INTERRUPTED, RunState.FAILED})


def settle(book: Book, run: Run, cause: EventId, at_s: float) -> Iterable[Command]:
    """Take the steps that need no further event."""
    flow = book.flows[run.id]
    if run.state is RunState.DRAINING and flow.held == 0:
        assert run.target is not None
        run.state, run.target, run.finished_s = run.target, None, at_s
        yield from metering.settle(book, run, cause, at_s)
    if run.state is RUNNING and run.planned:
        yield from staging.advance(run, flow, cause)
    if run.state is RUNNING and run.is_complete:
        run.state = RunState.PUBLISHING
        run.generation = run.generation or int(cause)
        yield from metering.settle(book, run, cause, at_s)
    if run.state in _MAY_PUBLISH:
        yield from _publish(run, flow, cause, at_s)
    is_left = run.state in ENDED and not run.swept and not flow.sweeping
    if is_left and _is_quiet(book, run, flow):
        flow.sweeping = True
        yield SweepRun(cause, run.id)


def _is_quiet(book: Book, run: Run, flow: Flow) -> bool:
    """Say whether nobody writes any more, or is about to make something visible.

    What they do must not be swept under their feet.
    """
    if flow.held or not flow.publishing <= flow.publish_due_s.keys():
        return False
    return not any(run.id in runs for runs in book.zombies.values())


def _publish(run: Run, flow: Flow, cause: EventId, at_s: float) -> Iterable[Command]:
    if run.generation == 0:
        return
    missing = [sink for sink in range(len(run.sinks)) if sink not in run.published]
    if not missing:
        run.state, run.error, run.finished_s = RunState.SUCCEEDED, None, at_s
        return
    if run.state is not RunState.PUBLISHING:
        return
    for sink in missing:
        if sink not in flow.publishing:
            flow.publishing.add(sink)
            yield PublishSink(cause, run.id, sink, run.generation)


def drain(book: Book, run: Run, target: RunState, event: Event) -> Iterable[Command]:
    """Hand out no more leases of a run, take back those that have not started, and wait."""
    run.state, run.target = RunState.DRAINING, target
    flow = book.flows[run.id]
    flow.draining_since_s = event.at_s
    for slot in [book.runners[runner] for runner in flow.on]:
        unstarted = [key for key in list(slot.queue)[1:] if key[0] == run.id]
        leases = tuple(slot.queue[key] for key in unstarted if key not in slot.revoking)
        if leases:
            slot.revoking.update(unstarted)
            yield RevokeLeases(event.id, slot.id, leases)
    yield from settle(book, run, event.id, event.at_s)


def overdue(book: Book, event: Event) -> Iterable[Command]:
    """End the runners whose task has run past its time-out."""
    while book.deadlines and book.deadlines[0][0] < event.at_s:
        _, _, runner, lease = heapq.heappop(book.deadlines)
        slot = book.runners.get(runner)
        # Only what the runner said it started: a lease that waits for its input is not late. Its
        # task may be committed by another meanwhile: work without a use must end, too.
        if slot is None or slot.dying:
            continue
        # Its start may have been said before those of others that ended: it is at what is left.
        is_left = slot.started is None and slot.head is lease
        if slot.started is not lease and not is_left:
            continue
        run = book.runs[lease.run]
        timeout_s = run.stages[lease.stage].timeout_s
        # Else it said so twice: the later counts.
        if is_left or event.at_s - slot.started_s > timeout_s:
            book.doom(slot)
            yield Record(event.id, _timed_out(run, slot, timeout_s))
            yield KillRunner(
                event.id, slot.id, f"task {lease.task} ran longer than {timeout_s:g} s"
            )
    for slot in list(book.strange.values()):
        if slot.strange_s is None:
            del book.strange[slot.id]  # It began what it holds.
        elif _keeps_others(book, slot) and not slot.dying and _is_strange(slot, event.at_s):
            book.doom(slot)
            yield KillRunner(event.id, slot.id, "it hangs in work that was given to others")


def end_drain(book: Book, run: Run, event: Event) -> Iterable[Command]:
    """End the runners that still work for a run which has drained for long enough."""
    flow = book.flows[run.id]
    if run.target is None or event.at_s - flow.draining_since_s <= DRAIN_S[run.target]:
        return
    for slot in [book.runners[runner] for runner in flow.on]:
        if not slot.dying and slot.head is not None and slot.head.run == run.id:
            book.doom(slot)
            yield KillRunner(event.id, slot.id, f"run {run.id} is being stopped")


def _keeps_others(book: Book, slot: RunnerSlot) -> bool:
    """Say whether somebody waits for a runner: what is queued on it, or for units that it holds."""
    return bool(slot.queue) or slot.id in book.units


def _is_strange(slot: RunnerSlot, at_s: float) -> bool:
    """Say whether a runner has worked on what was given to others for too long."""
    begun_s = slot.strange_s
    return begun_s is not None and slot.started is None and at_s - begun_s > STRANGE_S


def _timed_out(run: Run, slot: RunnerSlot, timeout_s: float) -> AttemptFailed:
    head = slot.head
    assert head is not None
    return AttemptFailed(
        run=head.run,
        task=head.task,
        attempt=head.attempt,
        epoch=head.epoch,
        runner=slot.id,
        kind="timeout",
        error=ErrorInfo(
            message=f"the attempt ran longer than the transform allows. timeout_s={timeout_s:g}",
            transform=run.stages[head.stage].name,
            remedy="raise retry=Retry(timeout_s=...), or split the input more finely",
        ),
    )


def add_output(run: Run, before: Task, fact: AttemptFinished, began_s: float) -> None:
    """Add a task that was committed, and what it did, to the run's sums."""
    run.committed += 1
    if before.state is FAILED:
        run.failed -= 1
    if not run.first_start_s:
        run.first_start_s = began_s  # One that began and ended within one report says so once.
    output, totals = fact.output, run.totals
    if output.parts:
        run.parts[fact.task] = output.parts
    if before.revived:
        return  # Made again for its exchange files: its rows count once, its first files stay.
    if output.results:
        run.outputs[fact.task] = output.results
    seconds = output.seconds
    totals.rows_in += output.rows_in
    totals.bytes_in += output.bytes_in
    totals.read_s += seconds.read_s
    totals.compute_s += seconds.compute_s
    totals.write_s += seconds.write_s
    totals.wait_s += seconds.wait_s
    totals.cpu_s += seconds.cpu_s
    totals.memory_bytes_max = max(totals.memory_bytes_max, output.memory_bytes)
    for result in output.results:
        totals.rows_out += result.rows
        totals.bytes_out += result.size_bytes


def task_error(run: Run, task: Task, fact: AttemptFailed | AttemptLost) -> ErrorInfo:
    """Return why a task was given up, for the run to say."""
    if task.failed_kind == "poison":
        return ErrorInfo(
            message=(
                f"task {task.id} of stage {run.stages[task.stage].name!r} killed its runner "
                f"{task.strikes} times and is quarantined as poison. last={fact_reason(fact)}"
            ),
            transform=run.stages[task.stage].name,
            remedy=f"run `rayorch explain {run.id} {task.id}` for its input, mend, then resume",
            kind="poison",
        )
    if isinstance(fact, AttemptLost):
        return ErrorInfo(message=fact.reason, kind=fact.kind)
    said = fact.error.message
    if task.failures > 1:
        said = f"{said} (attempt {task.failures} of {run.retry.attempts_max})"
    return replace(fact.error, message=said, kind=fact.kind)


def fact_reason(fact: AttemptFailed | AttemptLost) -> str:
    """Return the one line that a failed attempt left."""
    return fact.error.message if isinstance(fact, AttemptFailed) else fact.reason
