"""What time brings: retries that are due, attempts that are overdue, and leases to hand out.

A tick costs what has changed since the one before, not what there is: it looks at the runners that
may take more (`Book.idle`, `Book.hungry`), kind by kind, and at the heaps of what is due.
"""

import heapq
from collections.abc import Iterable

from rayorch.core import (
    elastic,
    holding,
    leasing,
    limiting,
    metering,
    nodes,
    placing,
    room,
    settling,
    straggling,
)
from rayorch.core.book import Book
from rayorch.core.commands import Command
from rayorch.core.dealing import Dealer
from rayorch.core.facts import Event, Ticked
from rayorch.core.run import ACTIVE, RUNNING, Run
from rayorch.core.settling import settle
from rayorch.core.task import WAITING, RetryDue, step


def tick(book: Book, fact: Ticked, event: Event) -> Iterable[Command]:
    """Wake what is due, hand out leases, and take some back for those who wait."""
    book.window_s = leasing.window(fact.flush_s)
    active = [run for run in book.runs.values() if run.state in ACTIVE]
    for run in active:
        yield from _wake(book, run, event)
    yield from settling.overdue(book, event)
    yield from nodes.depart(book, event.id)
    running = [run for run in active if run.state is RUNNING]
    for run in running:
        yield from holding.look(book, run, event)
        yield from placing.review(book, run, event)
    yield from limiting.admit(book, event)
    yield from limiting.block_spent(book, event)
    dealer = Dealer(book, event)
    yield from dealer.deal()
    for run in running:
        yield from straggling.second_tries(book, run, event)
    yield from room.make_room(book, running, event)
    yield from dealer.make_way()
    yield from dealer.steal()
    yield from limiting.free_unused(book, event)
    yield from elastic.ask_nodes(book, event)
    # Last, so that a runner that went from one lease to the next was never free.
    yield from metering.tick(book, tuple(run.id for run in active), event)


def _wake(book: Book, run: Run, event: Event) -> Iterable[Command]:
    """Retry what is due and end what has had its time."""
    flow = book.flows[run.id]
    while flow.waiting and flow.waiting[0][0] <= event.at_s:
        _, task_id = heapq.heappop(flow.waiting)
        task = run.tasks[task_id]
        if task.state is WAITING:
            after = step(task, RetryDue(), run.retry, event.at_s)
            book.put(run, after)
            book.offer(run, after)
    for sink, due_s in list(flow.publish_due_s.items()):
        if due_s <= event.at_s:
            del flow.publish_due_s[sink]
            flow.publishing.discard(sink)
    yield from settling.end_drain(book, run, event)
    yield from settle(book, run, event.id, event.at_s)
