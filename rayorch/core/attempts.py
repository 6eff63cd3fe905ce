"""What happens to attempts and to the runners that hold them."""

import heapq
from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from rayorch.core import ledger, metering, nodes, placing, settling, staging, straggling
from rayorch.core.book import Book
from rayorch.core.commands import (
    Command,
    CompareSchemas,
    KillRunner,
    Lease,
    Record,
    RevokeLeases,
)
from rayorch.core.facts import (
    AttemptFailed,
    AttemptFinished,
    AttemptLost,
    AttemptProgressed,
    AttemptStarted,
    Event,
    LeaseReturned,
    RunnerJoined,
    RunnerLost,
)
from rayorch.core.leasing import RunnerSlot
from rayorch.core.run import ACTIVE, ENDED, RUNNING, Run, RunState
from rayorch.core.settling import drain, settle
from rayorch.core.task import (
    COMMITTED,
    FAILED,
    HELD,
    READY,
    WAITING,
    RunnerGone,
    Task,
    TaskLeased,
    step,
)
from rayorch.core.values import Held
from rayorch.core.wanting import ensure_runners
from rayorch.ids import RunnerId, TaskId

SUSPECTS_MAX: Final = 8
"""Leases behind the head of a runner that died that are not trusted with company."""
SMOOTHING: Final = 0.2
"""Weight of the newest attempt in the moving average of a stage's seconds."""


def attempt_finished(book: Book, fact: AttemptFinished, event: Event) -> Iterable[Command]:
    """Commit the first report of a task; count and drop the others."""
    run = book.run(fact)
    if run.swept:
        return ()  # Its tasks are gone.
    task = book.task(run, fact)
    after = step(task, fact, run.retry, event.at_s)
    book.forget(fact.runner, fact)
    if after.state is not COMMITTED or after is task:
        return _of_no_use(book, run, after, fact, event)
    flow, seen_s = book.flows[run.id], fact.output.seconds.total_s
    # A list, and no generator: a replay does this a million times, and hardly ever adds to it.
    commands: list[Command] = []
    if task.id in flow.others:
        commands += straggling.let_go(book, run, task.id, event.id)
    if task.runner is not None:
        commands += _recall(book, run, task, task.runner, event)
    book.put(run, after)
    settling.add_output(run, task, fact, event.at_s - seen_s)
    ledger.charge(book, run, fact, event.at_s, useful=True)
    placing.note_seconds(run, flow, fact, seen_s)
    if fact.output.cut:
        straggling.take_rest(book, run, fact)
    straggling.note_pace(flow, task.stage, fact.runner, seen_s, SMOOTHING)
    if not task.revived:
        commands += _new_schemas(run, fact, event)
    if staging.is_complete(run, flow, task.stage) or run.state is not RUNNING:
        commands += settle(book, run, event.id, event.at_s)
    return commands


def _of_no_use(
    book: Book, run: Run, task: Task, fact: AttemptFinished, event: Event
) -> Iterable[Command]:
    """Count a report that commits nothing; `task` is as it is after it."""
    run.totals.duplicates += 1
    if task is not run.tasks[task.id]:
        book.put(run, task)  # It was held by the attempt, which was of before its files were lost.
        book.offer(run, task)
    # Its own commit reported again is free; of other tasks only the journal may be asked.
    own = (task.attempt, task.epoch) == (fact.attempt, fact.epoch)
    if task.state is not COMMITTED or not own:
        ledger.charge(book, run, fact, event.at_s, useful=False)
    return settle(book, run, event.id, event.at_s)


def _new_schemas(run: Run, fact: AttemptFinished, event: Event) -> list[Command]:
    """Have the schemas compared that a run has not seen before."""
    asked: list[Command] = []
    for result in fact.output.results:
        schemas = run.schemas.setdefault(result.sink, {})
        # What no row stands behind says nothing: an empty pandas frame has the types it likes.
        if result.rows and result.schema_fp and result.schema_fp not in schemas:
            schemas[result.schema_fp] = fact.task
            if len(schemas) > 1:
                seen = tuple(schemas.values())
                asked.append(CompareSchemas(event.id, run.id, result.sink, seen))
    return asked


def attempt_failed(
    book: Book, fact: AttemptFailed | AttemptLost, event: Event
) -> Iterable[Command]:
    """Treat a failure by its kind: again, later, smaller, or not any more."""
    run = book.run(fact)
    book.losing.discard((fact.run, fact.task, fact.attempt, fact.epoch))
    if run.swept:
        return  # Its tasks are gone.
    task = book.task(run, fact)
    after = step(task, fact, run.retry, event.at_s)
    if isinstance(fact, AttemptFailed):  # Who was taken for lost may be back by now, still at it.
        book.forget(fact.runner, fact)
    is_news = after.last != task.last
    if is_news:
        run.note_failure(fact, event.at_s)
        ledger.charge_failed(book, run, fact)
    if after is task:
        yield from settle(book, run, event.id, event.at_s)
        return
    book.put(run, after)
    book.note_other(run, task)
    if is_news and isinstance(fact, AttemptFailed) and fact.lost:
        yield from staging.revoke(book, run, fact, event)
    yield from _treated(book, run, after, fact, event)
    yield from settle(book, run, event.id, event.at_s)


def _treated(
    book: Book, run: Run, task: Task, fact: AttemptFailed | AttemptLost, event: Event
) -> Iterable[Command]:
    """Do what the state calls for that a failure has left its task in."""
    if task.state is READY:
        book.offer(run, task)
    elif task.state is WAITING:
        heapq.heappush(book.flows[run.id].waiting, (task.since_s, task.id))
    elif task.state is FAILED:
        run.failed += 1
        if run.error is None:
            run.error = settling.task_error(run, task, fact)
        if run.state is RUNNING:
            yield from drain(book, run, RunState.FAILED, event)


def attempt_started(book: Book, fact: AttemptStarted, event: Event) -> Iterable[Command]:
    """Note that a runner computes."""
    run = book.run(fact)
    stage = 0
    if not run.swept:  # Its tasks are gone.
        task = book.task(run, fact)
        stage = task.stage
        book.put(run, step(task, fact, run.retry, event.at_s))
        if not run.first_start_s:
            run.first_start_s = event.at_s
    slot = book.runners.get(fact.runner)
    if slot is None:
        return ()
    if book.begin(slot, fact, run.stages[stage].timeout_s):
        return nodes.cut_short(book, slot, event.id) if slot.leaving else ()
    # A lease that reached it after it was given away, or old news. It is to let go of it; one
    # that hangs in it is ended (`settling.overdue`), for what is queued behind it waits. What
    # it was at before may have ended without a word of that yet.
    book.begin_strange(slot)
    lease = Lease(fact.run, fact.task, fact.attempt, fact.epoch, stage)
    return (RevokeLeases(event.id, slot.id, (lease,), halt=True),)


def attempt_progressed(book: Book, _fact: AttemptProgressed, _event: Event) -> Iterable[Command]:
    """Note nothing: observers show progress, no decision rests on it."""
    return ()  # Observers show it; the machine decides nothing by it yet.


def lease_returned(book: Book, fact: LeaseReturned, event: Event) -> Iterable[Command]:
    """Make a task that a runner gave back ready again."""
    run = book.run(fact)
    if run.swept:
        return  # Its tasks are gone.
    task = book.task(run, fact)
    after = step(task, fact, run.retry, event.at_s)
    book.forget(fact.runner, fact)
    if after is not task:
        book.put(run, after)
        book.offer(run, after)
    yield from settle(book, run, event.id, event.at_s)


def runner_joined(book: Book, fact: RunnerJoined, event: Event) -> Iterable[Command]:
    """Take in a runner, with what it holds from an earlier epoch."""
    zombie_of = book.zombies.pop(fact.runner, ())
    # If it says so twice, what it holds now is what counts.
    before = book.part(fact.runner)
    leases = list(before.queue.values()) if before is not None else []
    if before is not None:
        metering.lost(book, before, event.at_s)
        _release(book, before, leases, event)
    slot = RunnerSlot(fact)
    book.join(slot)
    metering.joined(book, slot, event.at_s)
    stale = [lease for held in _helds(fact) if (lease := _adopted(book, slot, held, event))]
    if slot.dying:
        yield KillRunner(event.id, fact.runner, "it works for a run that is over")
    elif stale:
        yield RevokeLeases(event.id, fact.runner, tuple(stale))
    yield from _halted(book, slot, event)
    if fact.node in book.draining:
        yield from nodes.vacate(book, slot, event.id)
    # What it does not hold any more, nobody writes for.
    for run_id in dict.fromkeys((*(lease.run for lease in leases), *sorted(zombie_of))):
        yield from settle(book, book.runs[run_id], event.id, event.at_s)


def _helds(fact: RunnerJoined) -> list[Held]:
    """Return what a runner holds: first what it is at, which says whose it is for good.

    Of two attempts of a task that it has begun one has ended, and is told of soon.
    """
    begun = {(held.run, held.task): held for held in fact.held if held.started}
    return [*begun.values(), *(held for held in fact.held if not held.started)]


def _halted(book: Book, slot: RunnerSlot, event: Event) -> Iterable[Command]:
    """Tell a runner to let go of what others have committed meanwhile."""
    leases = tuple(
        lease
        for lease in slot.queue.values()
        if book.runs[lease.run].tasks[lease.task].state is COMMITTED
    )
    if leases and not slot.dying:
        slot.revoking.update((lease.run, lease.task) for lease in leases)
        yield RevokeLeases(event.id, slot.id, leases, halt=True)


def _adopted(book: Book, slot: RunnerSlot, held: Held, event: Event) -> Lease | None:
    """Let a runner keep a lease that it holds; return the lease if it must give it back."""
    run = book.runs.get(held.run)
    task = run.tasks[held.task] if run and held.task < len(run.tasks) else None
    lease = Lease(held.run, held.task, held.attempt, held.epoch, task.stage if task else 0)
    if run is None or task is None or run.swept or book.flows[run.id].sweeping:
        # Nobody waits for the end of an attempt whose files are being swept.
        if held.started:
            book.doom(slot)
        return lease
    if (held.run, held.task) in slot.queue:
        return lease  # It is at another attempt of it.
    if _adoptable(book, run, task, held, slot):
        leased = TaskLeased(held.run, held.task, held.attempt, held.epoch, slot.id)
        task = step(task, leased, run.retry, event.at_s)
    elif not held.started:
        return lease
    elif task.state is not COMMITTED:
        book.flows[run.id].others.setdefault(task.id, []).append(slot.id)
    # What has started cannot be taken back: it is queued even if its task has moved on, so
    # that its runner is not taken for idle, and the run's files are not swept under its feet.
    book.hold(run, slot, lease, task)
    if held.started:
        begun = AttemptStarted(held.run, held.task, held.attempt, held.epoch, slot.id)
        book.put(run, step(task, begun, run.retry, event.at_s))
        book.begin(slot, held, _timeout_s(run, held.task))
    return None


def _adoptable(book: Book, run: Run, task: Task, held: Held, slot: RunnerSlot) -> bool:
    """Say whether a runner may keep a lease that this machine did not give it."""
    if task.state is not READY:
        return False
    if run.state is not RUNNING and not held.started:
        return False  # Nothing new begins while the run is stopped.
    if slot.holder not in {None, run.tenant} and not held.started:
        return False  # An order of before it was lost, which came late: it is another's now.
    # A task's attempts are counted afresh in each epoch. To go back to an older lease after one of
    # this epoch was given would use a number twice, and with it the names of an attempt's files.
    return task.epoch != book.epoch or (task.attempt, task.epoch) == (held.attempt, held.epoch)


def runner_lost(book: Book, fact: RunnerLost, event: Event) -> Iterable[Command]:
    """Give away what a runner held; blame its death on what it was running."""
    if not fact.silent and fact.runner in book.units:
        book.ended.add(fact.runner)  # One that is only silent may still be at work.
    known = book.runners.get(fact.runner)
    is_ours = known is not None and known.dying  # We ended it.
    slot = book.part(fact.runner)
    if slot is None:
        for run_id in book.zombies.pop(fact.runner, ()):
            yield from settle(book, book.runs[run_id], event.id, event.at_s)
        return
    metering.lost(book, slot, event.at_s)
    # Whoever saw the runner die may not know yet that its machine was being taken away.
    kind = "preempted" if slot.leaving and fact.kind == "lost" else fact.kind
    if fact.silent:
        book.zombies[fact.runner] = frozenset(run_id for run_id, _ in slot.queue)
    head = slot.head
    leases = list(slot.queue.values())
    # Only the head can be to blame, and not for a death that we brought about.
    if head is not None and not is_ours and _is_held(book, slot, head):
        # Its death is a decision to be journaled: it counts against the task.
        yield Record(event.id, _lost(head, replace(fact, kind=kind), slot, event.at_s))
        book.losing.add((head.run, head.task, head.attempt, head.epoch))
        book.let_go(slot, (head.run, head.task))
        leases.remove(head)
        # It may have ended without a word and one behind it been at work: those run alone, too, so
        # that the next death has one cause.
        if kind != "preempted":
            _release(book, slot, leases[:SUSPECTS_MAX], event, alone=True)
            leases = leases[SUSPECTS_MAX:]
    _release(book, slot, leases, event)
    placing.pool_lost(book, slot.pool, event.at_s)
    for run in book.runs.values():
        if run.state is RUNNING:
            yield from ensure_runners(run, book.flows[run.id], event.id, event.at_s)
        elif run.state in ACTIVE or run.state in ENDED:
            yield from settle(book, run, event.id, event.at_s)


def _is_held(book: Book, slot: RunnerSlot, lease: Lease) -> bool:
    task = book.runs[lease.run].tasks[lease.task]
    held = (task.attempt, task.epoch, task.runner)
    return task.state in HELD and held == (lease.attempt, lease.epoch, slot.id)


def _release(
    book: Book, slot: RunnerSlot, leases: list[Lease], event: Event, *, alone: bool = False
) -> None:
    """Make the tasks of a runner that is gone ready for others."""
    for lease in leases:
        run = book.runs[lease.run]
        book.let_go(slot, (lease.run, lease.task))
        if _is_held(book, slot, lease):
            after = step(run.tasks[lease.task], RunnerGone(), run.retry, event.at_s)
            book.put(run, after)
            book.offer(run, after, alone=alone)


def _timeout_s(run: Run, task: TaskId) -> float:
    return run.stages[run.tasks[task].stage].timeout_s


def _recall(book: Book, run: Run, task: Task, runner: RunnerId, event: Event) -> Iterable[Command]:
    """Take back the lease of another runner on work that is done."""
    slot = book.runners.get(runner)
    lease = slot.queue.get((run.id, task.id)) if slot is not None else None
    if slot is not None and lease is not None and (run.id, task.id) not in slot.revoking:
        slot.revoking.add((run.id, task.id))
        yield RevokeLeases(event.id, slot.id, (lease,), halt=True)


def _lost(lease: Lease, fact: RunnerLost, slot: RunnerSlot, at_s: float) -> AttemptLost:
    return AttemptLost(
        run=lease.run,
        task=lease.task,
        attempt=lease.attempt,
        epoch=lease.epoch,
        runner=fact.runner,
        kind=fact.kind,
        reason=fact.reason,
        pool=slot.pool,
        duration_s=at_s - slot.started_s if slot.started is lease else 0.0,
    )
