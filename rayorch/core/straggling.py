"""A task far behind its estimate is cut, or gets a second try on a runner that has nothing to do.

Cut, it commits what it has done, and the rest of its input becomes tasks of its stage. One whose
input cannot be cut is tried a second time: the first of the two to commit wins; the other is told
to let go at its next batch boundary. Only when nothing else is ready: both cost something.
"""

from collections.abc import Iterable
from typing import Final

from rayorch.core import leasing
from rayorch.core.book import Book
from rayorch.core.commands import Command, CutTask, Lease, Record, RevokeLeases, SendLeases
from rayorch.core.facts import AttemptFinished, Event, SecondTry
from rayorch.core.leasing import RunnerSlot
from rayorch.core.run import Run
from rayorch.core.task import Task, TaskLeased, TaskState, step
from rayorch.ids import EventId, RunnerId, TaskId

BEHIND: Final = 2.0
"""A task is far behind when it has taken so many times as long as its stage's usually do."""
CUT_S: Final = 3.0
"""How long a task that was asked to be cut may take to come to such a place."""
BEHIND_S_MIN: Final = 2.0
"""And at least so long: starting again costs, too."""


def second_tries(book: Book, run: Run, event: Event) -> Iterable[Command]:
    """Lease stragglers of a run once more, the furthest behind first, one to each idle runner."""
    flow = book.flows[run.id]
    if flow.ready or flow.suspects or flow.waiting:
        return
    idle = [slot for slot in book.runners.values() if not slot.queue and not slot.dying]
    if not idle:
        return
    for slot, task in _behind(book, run, event.at_s):
        asked_s = flow.cutting.setdefault(task.id, event.at_s)
        # One that is made again for its exchange files has committed the rest of its output.
        if asked_s == event.at_s and slot.started is not None and not task.revived:
            yield CutTask(event.id, slot.id, slot.started)
        if event.at_s - asked_s < CUT_S:
            continue
        target = next((each for each in idle if _may_run(book, run, each, task)), None)
        if target is None:
            continue
        idle.remove(target)
        lease = _leased(book, run, target, task, event.at_s)
        flow.second[task.id] = (slot.id, target.id)
        taken_s = event.at_s - slot.started_s
        yield Record(
            event.id,
            SecondTry(run.id, task.id, lease.attempt, target.id, taken_s, flow.seconds[task.stage]),
        )
        yield SendLeases(event.id, target.id, (lease,))


def take_rest(book: Book, run: Run, fact: AttemptFinished) -> None:
    """Make tasks of what a task that was cut has left."""
    done, *rest = fact.output.cut
    stage = run.tasks[fact.task].stage
    run.splits[fact.task] = done
    run.totals.cuts += 1
    counts = list(run.task_counts)
    counts[stage] += len(rest)
    run.task_counts = tuple(counts)
    for data in rest:
        task = Task(id=TaskId(len(run.tasks)), stage=stage)
        run.tasks.append(task)
        run.splits[task.id] = data
        book.flows[run.id].counts[stage][task.state] += 1
        book.offer(run, task)


def let_go(
    book: Book, run: Run, task: TaskId, winner: RunnerId, cause: EventId
) -> Iterable[Command]:
    """Tell the other of two tries, whose task is committed, to stop."""
    for runner in book.flows[run.id].second.pop(task, ()):
        slot = book.runners.get(runner)
        lease = slot.queue.get((run.id, task)) if slot is not None else None
        if slot is None or lease is None or runner == winner or (run.id, task) in slot.revoking:
            continue
        slot.revoking.add((run.id, task))
        yield RevokeLeases(cause, runner, (lease,), halt=True)


def _behind(book: Book, run: Run, at_s: float) -> list[tuple[RunnerSlot, Task]]:
    """Return the tasks that are far behind and run once, the furthest first."""
    flow = book.flows[run.id]
    found = []
    for slot in book.runners.values():
        lease = slot.started
        if lease is None or lease.run != run.id or slot.dying or lease.task in flow.second:
            continue
        task = run.tasks[lease.task]
        usual_s = flow.seconds.get(task.stage)
        # A suspect runs alone and once: it may be what kills runners.
        if usual_s is None or task.strikes or task.state is not TaskState.RUNNING:
            continue
        if at_s - slot.started_s > max(BEHIND_S_MIN, BEHIND * usual_s):
            found.append((slot, task))
    return sorted(found, key=lambda each: each[0].started_s)


def _may_run(book: Book, run: Run, slot: RunnerSlot, task: Task) -> bool:
    fits = all(leasing.fits(slot, each.cores, each.memory_bytes) for each in run.stages)
    return fits and book.flows[run.id].routes.serves(slot.pool, task.id)


def _leased(book: Book, run: Run, slot: RunnerSlot, task: Task, at_s: float) -> Lease:
    leased = TaskLeased(run.id, task.id, task.attempt + 1, book.epoch, slot.id)
    after = step(task, leased, run.retry, at_s)
    lease = Lease(
        run=run.id,
        task=task.id,
        attempt=after.attempt,
        epoch=after.epoch,
        stage=task.stage,
        version=run.version,
        shrink=task.shrink,
    )
    book.hold(run, slot, lease, after)
    return lease
