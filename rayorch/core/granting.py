"""What time brings: retries that are due, attempts that are overdue, and leases to hand out."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from rayorch.core import leasing, placing, settling, straggling
from rayorch.core.book import Book
from rayorch.core.commands import Command, Lease, SendLeases
from rayorch.core.facts import Event, Ticked
from rayorch.core.leasing import RunnerSlot
from rayorch.core.queues import ReadyQueue
from rayorch.core.run import ACTIVE, Flow, Run, RunState
from rayorch.core.settling import settle
from rayorch.core.task import RetryDue, Task, TaskState, step

STRANDED_S: Final = 60.0
"""How long a class waits for a pool of its plan that has no runner, before any may serve it."""
IDLE_STEP_S_MAX: Final = 5.0
"""Nobody is charged for a pause of the control actor itself."""


def tick(book: Book, _fact: Ticked, event: Event) -> Iterable[Command]:
    """Wake what is due, hand out leases, and take some back for idle runners."""
    active = [run for run in book.runs.values() if run.state in ACTIVE]
    for run in active:
        yield from _wake(book, run, event)
    for slot in book.runners.values():
        yield from settling.overdue(book, slot, event)
    running = [run for run in active if run.state is RunState.RUNNING]
    _note_idle(book, running, event.at_s)
    book.turn += 1
    for i in range(len(running)):
        run = running[(book.turn + i) % len(running)]
        yield from placing.review(book, run, event)
        yield from _grant(book, run, event)
        yield from straggling.second_tries(book, run, event)
    if running:
        slots = list(book.runners.values())
        revoke = leasing.steal(slots, event.id, lambda slot, lease: _may_take(book, slot, lease))
        if revoke is not None:
            yield revoke


def _may_take(book: Book, slot: RunnerSlot, lease: Lease) -> bool:
    """Say whether a runner that has nothing to do could run a lease, and nothing else is ready."""
    run, flow = book.runs[lease.run], book.flows[lease.run]
    classes = flow.routes.classes_for(slot.pool)
    if not _runs_here(slot, run) or flow.ready.count(classes):
        return False
    return flow.routes.serves(slot.pool, lease.task)


def _note_idle(book: Book, running: list[Run], at_s: float) -> None:
    """Note for whom runners wait: those that are large enough for a run are kept for it."""
    passed_s = min(at_s - book.ticked_s, IDLE_STEP_S_MAX)
    book.ticked_s = at_s
    if passed_s <= 0.0:
        return
    for slot in book.runners.values():
        if slot.queue or slot.dying:
            continue
        kept_for = [run for run in running if run.tasks and _runs_here(slot, run)]
        for run in kept_for:
            idle = book.flows[run.id].idle
            core_s = slot.cores * passed_s / len(kept_for)
            idle[slot.pool] = idle.get(slot.pool, 0.0) + core_s


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
    stranded = _stranded(book, flow, event.at_s)
    served = {pool: (*flow.routes.classes_for(pool), *stranded) for pool in _pools(slots)}
    runners = Counter(slot.pool for slot in slots)
    peers_of = {
        pool: sum(count for other, count in runners.items() if served[other] == classes)
        for pool, classes in served.items()
    }
    for slot in slots:
        classes = served[slot.pool]
        if not slot.queue and flow.suspects.count(classes):
            slot.alone = True
            tasks = islice(_next(run, flow, flow.suspects, classes), 1)
            leases = tuple(book.lease(run, slot, each, event.at_s) for each in tasks)
            slot.alone = bool(leases)
        else:
            first = flow.ready.first(classes)
            if first is None:
                continue
            room = slot.room(flow.seconds.get(run.tasks[first].stage))
            ready = flow.ready.count(classes)
            peers = peers_of[slot.pool]
            count = leasing.share(room, ready, peers) if room else 0
            tasks = islice(_next(run, flow, flow.ready, classes), count)
            leases = tuple(book.lease(run, slot, each, event.at_s) for each in tasks)
        if leases:
            yield SendLeases(event.id, slot.id, leases)


def _pools(slots: list[RunnerSlot]) -> set[str]:
    return {slot.pool for slot in slots}


def _stranded(book: Book, flow: Flow, at_s: float) -> tuple[int, ...]:
    """Return the classes whose pools have had no runner for so long that any runner may serve.

    A plan is to save money, never to stop the work: pools that it counted on may not come.
    """
    alive = _pools([slot for slot in book.runners.values() if not slot.dying])
    found = []
    for number in {*flow.ready.classes(), *flow.suspects.classes()}:
        pools = flow.routes.pools_of(number)
        if not pools or pools & alive:
            flow.unserved.pop(number, None)
        elif at_s - flow.unserved.setdefault(number, at_s) > STRANDED_S:
            found.append(number)
    return tuple(sorted(found))


def _next(run: Run, flow: Flow, queue: ReadyQueue, classes: tuple[int, ...]) -> Iterator[Task]:
    """Take tasks from a queue, one after the other, as long as somebody wants them."""
    while (task_id := queue.pop(classes)) is not None:
        task = run.tasks[task_id]
        # One that was committed or cancelled since is queued for nothing.
        if task.state is not TaskState.READY:
            continue
        if task.stage in run.unplanned:
            flow.aside.setdefault(task.stage, []).append(task.id)  # What it reads was lost.
        else:
            yield task


def _runs_here(slot: RunnerSlot, run: Run) -> bool:
    return all(leasing.fits(slot, stage.cores, stage.memory_bytes) for stage in run.stages)
