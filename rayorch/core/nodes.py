"""Machines that come, are taken away and die, and what becomes of the runners on them.

A machine that is going to be taken away is emptied while it is still there: leases that have not
started come back, what runs is cut at its next batch boundary and hands in what it has done, and a
runner that has nothing left is ended. Nobody is to blame for what is lost all the same.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from rayorch.core import metering, placing, straggling
from rayorch.core.book import Book
from rayorch.core.commands import Command, CutTask, KillRunner, Record, RevokeLeases
from rayorch.core.facts import Event, RunFailed
from rayorch.core.leasing import RunnerSlot
from rayorch.core.node_facts import NodeDraining, NodeJoined, NodeLost, NodeWithdrawn, RunnerRefused
from rayorch.core.run import RunState
from rayorch.core.values import ErrorInfo
from rayorch.core.wanting import ensure_runners
from rayorch.ids import EventId, RunId

OTHER_SIZE: Final = "a runner of another size needs its place"


def node_joined(book: Book, fact: NodeJoined, event: Event) -> Iterable[Command]:
    """Have runners on a machine that has come, for whoever works."""
    book.nodes[fact.node] = fact
    book.draining.pop(fact.node, None)
    metering.node_joined(book, fact, event.at_s)
    yield from _ensure_all(book, event)


def node_draining(book: Book, fact: NodeDraining, event: Event) -> Iterable[Command]:
    """Empty a machine that is going to be taken away, and look elsewhere for what it did."""
    if fact.node in book.draining:
        return  # Its runners know.
    book.draining[fact.node] = fact
    slots = [slot for slot in book.runners.values() if slot.node == fact.node]
    running: Counter[RunId] = Counter()
    for slot in slots:
        running.update({run: 0 for run, _ in slot.queue})
        running.update([slot.started.run] if slot.started is not None else [])
        yield from vacate(book, slot, event.id)
    for run, count in running.items():
        yield Record(event.id, NodeWithdrawn(run, fact.node, fact.pool, fact.reason, count))
    if slots:
        placing.pool_shrank(book, fact.pool, event.at_s)
        yield from _ensure_all(book, event)


def node_lost(book: Book, fact: NodeLost, event: Event) -> Iterable[Command]:
    """Forget a machine."""
    book.draining.pop(fact.node, None)
    metering.node_lost(book, fact, event.at_s)
    if book.nodes.pop(fact.node, None) is not None:
        placing.pool_shrank(book, fact.pool, event.at_s)
        yield from _ensure_all(book, event)


def runner_refused(book: Book, fact: RunnerRefused, event: Event) -> Iterable[Command]:
    """Look for another runner; where there can be none, end the runs that wait for it."""
    if fact.cores_left:
        placing.pool_shrank(book, fact.pool, event.at_s)
        yield from _ensure_all(book, event)
        return
    for run in book.runs.values():
        if run.state is RunState.RUNNING:
            error = ErrorInfo(
                message=f"no machine of the cluster can be used. the last runner: {fact.reason}",
                remedy="start all nodes from one image, with rayorch and libraries as on the head, "
                f"then `rayorch resume {run.id}`",
                kind="refused",
            )
            yield Record(event.id, RunFailed(run.id, error))


def node_withdrawn(book: Book, fact: NodeWithdrawn, _event: Event) -> Iterable[Command]:
    """Keep for the run's story why its work went elsewhere."""
    book.run(fact)
    return ()


def vacate(book: Book, slot: RunnerSlot, cause: EventId) -> Iterable[Command]:
    """Take back what a runner has not started, and have what runs end at its next boundary."""
    book.vacate(slot)
    unstarted = {
        key: lease
        for key, lease in slot.queue.items()
        if lease is not slot.started and key not in slot.revoking
    }
    if unstarted:
        slot.revoking.update(unstarted)
        yield RevokeLeases(cause, slot.id, tuple(unstarted.values()))
    yield from cut_short(book, slot, cause)


def cut_short(book: Book, slot: RunnerSlot, cause: EventId) -> Iterable[Command]:
    """Have what a runner is at end early, if its input can be cut."""
    lease = slot.started
    if lease is None or slot.dying:
        return
    run = book.runs[lease.run]
    if straggling.may_be_cut(run, run.tasks[lease.task]):
        yield CutTask(cause, slot.id, lease)


def depart(book: Book, cause: EventId) -> Iterable[Command]:
    """End the runners that were to leave and have nothing left: their machine may go."""
    for slot in book.leaving.values():
        if not slot.queue and not slot.dying:
            book.doom(slot)
            is_there = slot.node not in book.draining
            why = OTHER_SIZE if is_there else "its node is being taken away"
            yield KillRunner(cause, slot.id, why)


def _ensure_all(book: Book, event: Event) -> Iterable[Command]:
    for run in book.runs.values():
        if run.state is RunState.RUNNING:
            yield from ensure_runners(run, book.flows[run.id], event.id, event.at_s)
