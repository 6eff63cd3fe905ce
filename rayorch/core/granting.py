"""What time brings: retries that are due, attempts that are overdue, and leases to hand out."""

import heapq
from collections import deque
from collections.abc import Iterable

from rayorch.core import leasing, settling
from rayorch.core.book import Book
from rayorch.core.commands import Command, Lease, SendLeases
from rayorch.core.facts import Event, Ticked
from rayorch.core.leasing import RunnerSlot
from rayorch.core.run import ACTIVE, Run, RunState
from rayorch.core.settling import settle
from rayorch.core.task import RetryDue, TaskLeased, TaskState, step
from rayorch.ids import TaskId


def tick(book: Book, _fact: Ticked, event: Event) -> Iterable[Command]:
    """Wake what is due, hand out leases, and take some back for idle runners."""
    active = [run for run in book.runs.values() if run.state in ACTIVE]
    for run in active:
        yield from _wake(book, run, event)
    for slot in book.runners.values():
        yield from settling.overdue(book, slot, event)
    running = [run for run in active if run.state is RunState.RUNNING]
    book.turn += 1
    for i in range(len(running)):
        yield from _grant(book, running[(book.turn + i) % len(running)], event)
    if running and not any(book.flows[run.id].ready for run in running):
        slots = list(book.runners.values())
        revoke = leasing.steal(slots, event.id, lambda slot, run: _runs_here(slot, book.runs[run]))
        if revoke is not None:
            yield revoke


def _wake(book: Book, run: Run, event: Event) -> Iterable[Command]:
    """Retry what is due and end what has had its time."""
    flow = book.flows[run.id]
    while flow.waiting and flow.waiting[0][0] <= event.at_s:
        _, task_id = heapq.heappop(flow.waiting)
        task = run.tasks[task_id]
        if task.state is TaskState.WAITING:
            after = step(task, RetryDue(), run.retry, event.at_s)
            book.put(run, after)
            book.offer(run, after)
    for sink, due_s in list(flow.publish_due_s.items()):
        if due_s <= event.at_s:
            del flow.publish_due_s[sink]
            flow.publishing.discard(sink)
    yield from settle(book, run, event.id, event.at_s)


def _grant(book: Book, run: Run, event: Event) -> Iterable[Command]:
    """Hand out the run's ready tasks, first to the runners that have least to do."""
    flow = book.flows[run.id]
    if not flow.ready and not flow.suspects:
        return
    slots = [s for s in book.runners.values() if not s.dying and _runs_here(s, run)]
    slots.sort(key=lambda slot: len(slot.queue))
    for slot in slots:
        if flow.suspects and not slot.queue:
            slot.alone = True
            leases = _take(book, run, slot, flow.suspects, 1, event)
            slot.alone = bool(leases)
        else:
            if not flow.ready:
                continue
            stage = run.tasks[flow.ready[0]].stage
            room = slot.room(flow.seconds.get(stage))
            count = leasing.share(room, len(flow.ready), len(slots)) if room else 0
            leases = _take(book, run, slot, flow.ready, count, event)
        if leases:
            yield SendLeases(event.id, slot.id, leases)


def _take(
    book: Book, run: Run, slot: RunnerSlot, queue: deque[TaskId], count: int, event: Event
) -> tuple[Lease, ...]:
    leases: list[Lease] = []
    while queue and len(leases) < count:
        task = run.tasks[queue.popleft()]
        if task.state is not TaskState.READY:
            continue
        leased = TaskLeased(run.id, task.id, task.attempt + 1, book.epoch, slot.id)
        after = step(task, leased, run.retry, event.at_s)
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
        leases.append(lease)
    return tuple(leases)


def _runs_here(slot: RunnerSlot, run: Run) -> bool:
    return all(leasing.fits(slot, stage.cores, stage.memory_bytes) for stage in run.stages)
