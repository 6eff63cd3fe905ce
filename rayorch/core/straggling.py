"""A task that keeps its run waiting is cut, or gets a second try on a runner that is idle.

Cut, it commits what it has done, and the rest of its input becomes tasks of its stage. That is
cheap, so it is asked of a task that is far behind, and of one that has much left at the pace of
its runner: a slow machine is known by the tasks that it had before. One that is far behind and
whose input cannot be cut is tried a second time: the first of the two to commit wins; the other is
told to let go at its next batch boundary. Only when nothing else is ready: both cost something.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from rayorch.core import limiting
from rayorch.core.book import Book
from rayorch.core.commands import Command, CutTask, Record, RevokeLeases, SendLeases
from rayorch.core.facts import AttemptFinished, Event, SecondTry
from rayorch.core.flow import Flow
from rayorch.core.leasing import RunnerSlot
from rayorch.core.run import Run
from rayorch.core.task import Task, TaskState
from rayorch.ids import EventId, RunnerId, TaskId

BEHIND: Final = 2.0
"""A task is far behind when it has taken so many times as long as its stage's usually do."""
CUT_S: Final = 3.0
"""How long a task that was asked to be cut may take to come to such a place."""
LOOK_S: Final = 0.5
"""Between two looks for stragglers."""
BEHIND_S_MIN: Final = 2.0
"""And at least so long: starting again costs, too."""
LEFT_S_MIN: Final = 1.0
"""With less left at its runner's pace, a task is not worth cutting."""


class _Late(NamedTuple):
    """A task for which idle runners wait."""

    slot: RunnerSlot
    task: Task
    left_s: float  # at its runner's pace
    is_behind: bool


def second_tries(book: Book, run: Run, event: Event) -> Iterable[Command]:
    """Lease stragglers of a run once more, the furthest behind first, one to each idle runner."""
    flow = book.flows[run.id]
    if not book.idle or flow.open_count or flow.waiting:
        return
    if event.at_s < flow.straggle_due_s:
        return
    flow.straggle_due_s = event.at_s + LOOK_S
    # One of a kind speaks for the others.
    kinds = [next(iter(slots.values())) for slots in book.idle.values()]
    late = [
        each
        for each in _late(book, run, event.at_s)
        if any(_may_run(book, run, slot, each.task) for slot in kinds)
    ]
    idle_count = sum(len(slots) for slots in book.idle.values())
    yield from _asked_to_be_cut(run, flow, late[:idle_count], event)
    for slot, task, _, is_behind in late:
        # Nobody waits for what cannot be cut.
        wait_s = CUT_S if may_be_cut(run, task) else 0.0
        asked_s = flow.cutting.get(task.id, event.at_s)
        if not is_behind or event.at_s - asked_s < wait_s:
            continue
        idle = (next(iter(slots.values())) for slots in book.idle.values())
        target = next((each for each in idle if _may_run(book, run, each, task)), None)
        if target is None:
            continue
        lease = book.lease(run, target, task, event.at_s)
        flow.second.add(task.id)
        flow.others.setdefault(task.id, []).append(slot.id)
        taken_s = event.at_s - slot.started_s
        yield Record(
            event.id,
            SecondTry(run.id, task.id, lease.attempt, target.id, taken_s, flow.seconds[task.stage]),
        )
        yield SendLeases(event.id, target.id, (lease,))


def _asked_to_be_cut(
    run: Run, flow: Flow, late: Iterable[_Late], event: Event
) -> Iterable[CutTask]:
    """Ask tasks to be cut, once each."""
    for slot, task, _, _ in late:
        if task.id in flow.cutting:
            continue
        flow.cutting[task.id] = event.at_s
        if slot.started is not None and may_be_cut(run, task):
            yield CutTask(event.id, slot.id, slot.started)


def may_be_cut(run: Run, task: Task) -> bool:
    """Say whether the rest of a task could become tasks."""
    # One that is made again for its exchange files has committed the rest of its output.
    if task.revived:
        return False
    return not run.stages[task.stage].after or task.stage in run.parted


def note_pace(flow: Flow, stage: int, runner: RunnerId, seconds: float, smoothing: float) -> None:
    """Learn how long attempts of a stage take, everywhere and on a runner."""
    usual_s = flow.seconds.get(stage, seconds)
    flow.seconds[stage] = usual_s + smoothing * (seconds - usual_s)
    own_s = flow.paces.get((stage, runner), seconds)
    flow.paces[stage, runner] = own_s + smoothing * (seconds - own_s)


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


def let_go(book: Book, run: Run, task: TaskId, cause: EventId) -> Iterable[Command]:
    """Tell the others that are at a task which is committed to stop."""
    flow = book.flows[run.id]
    flow.second.discard(task)
    for runner in flow.others.pop(task, ()):
        slot = book.runners.get(runner)
        lease = slot.queue.get((run.id, task)) if slot is not None else None
        if slot is None or lease is None or (run.id, task) in slot.revoking:
            continue
        slot.revoking.add((run.id, task))
        yield RevokeLeases(cause, runner, (lease,), halt=True)


def _late(book: Book, run: Run, at_s: float) -> list[_Late]:
    """Return the tasks that are far behind, or have much left, once each: the worst first."""
    flow = book.flows[run.id]
    found = []
    for slot in [book.runners[runner] for runner in flow.on]:
        lease = slot.started
        if lease is None or lease.run != run.id or slot.dying or lease.task in flow.second:
            continue
        task = run.tasks[lease.task]
        # Who was silent may be back, at what another has begun meanwhile: that one counts.
        if task.runner != slot.id:
            continue
        usual_s = flow.seconds.get(task.stage)
        # A suspect runs alone and once: it may be what kills runners.
        if usual_s is None or task.strikes or task.state is not TaskState.RUNNING:
            continue
        took_s = at_s - slot.started_s
        left_s = flow.paces.get((task.stage, slot.id), usual_s) - took_s
        is_behind = took_s > max(BEHIND_S_MIN, BEHIND * usual_s)
        if is_behind or left_s > LEFT_S_MIN:
            found.append(_Late(slot, task, left_s, is_behind))
    return sorted(found, key=lambda each: (not each.is_behind, each.slot.started_s, -each.left_s))


def _may_run(book: Book, run: Run, slot: RunnerSlot, task: Task) -> bool:
    flow = book.flows[run.id]
    if not limiting.may_grow(book, book.party(run.tenant), slot):
        return False
    # A second try would hold what is outside twice.
    fits = slot.size.serves(flow.sizes[task.stage]) and not run.stages[task.stage].uses
    return fits and flow.routes.serves(slot.pool, task.id)
