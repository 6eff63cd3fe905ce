"""Runners of the right size: those that are too small make room for larger ones.

A machine is full of the runners that were asked for first. Work that fits in none of them would
wait for ever; so those with nothing to do are ended for it, and where all are at work those of one
machine are emptied at their next batch boundary: nothing that runs is lost. That is done until the
run has a runner, and further while its tenant holds less than those who have to make way. Who is
left without a small runner may use the larger one.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from rayorch.core import nodes
from rayorch.core.book import Book
from rayorch.core.commands import Command, KillRunner
from rayorch.core.facts import Event
from rayorch.core.flow import Flow
from rayorch.core.leasing import Kind, RunnerSlot
from rayorch.core.run import Run

if TYPE_CHECKING:
    from rayorch.ids import NodeId

LOOK_S: Final = 1.0

Kinds = dict[Kind, list[RunnerSlot]]


def make_room(book: Book, running: Sequence[Run], event: Event) -> Iterable[Command]:
    """End or empty runners that are in the way of a run with something ready."""
    if event.at_s < book.room_due_s:
        return
    book.room_due_s = event.at_s + LOOK_S
    hungry = [run for run in running if _is_hungry(book.flows[run.id])]
    if not hungry:
        return
    kinds: Kinds = {}
    for slot in book.runners.values():
        if not slot.shut:
            kinds.setdefault(slot.kind, []).append(slot)
    for run in hungry:
        yield from _for_larger(book, run, kinds, event)


def _is_hungry(flow: Flow) -> bool:
    return bool(flow.open_count) and not flow.is_held


def _for_larger(book: Book, run: Run, kinds: Kinds, event: Event) -> Iterable[Command]:
    """Let a run have runners that it fits in."""
    flow = book.flows[run.id]
    own = [kind for kind in kinds if flow.routes.classes_for(kind[0])]
    small = [kind for kind in own if not _fits(kind, flow)]
    has = sum(len(kinds[kind]) for kind in own if kind not in small)
    if not small or has >= len(run.tasks) - run.committed:
        return
    slots = [slot for kind in small for slot in kinds[kind] if not slot.shut]
    idle = [slot for slot in slots if not slot.queue]
    for slot in idle:
        book.doom(slot)
        yield KillRunner(event.id, slot.id, "a larger runner needs its place")
    if idle or any(slot.pool in {kind[0] for kind in small} for slot in book.leaving.values()):
        return  # Room is being made.
    if has:
        slots = [slot for slot in slots if _may_take(book, run, slot)]
    for slot in _enough(slots, max(flow.cores, 1.0)):
        yield from nodes.vacate(book, slot, event.id)


def _fits(kind: Kind, flow: Flow) -> bool:
    return kind[1] >= flow.cores and kind[2] >= flow.memory_bytes


def _may_take(book: Book, run: Run, slot: RunnerSlot) -> bool:
    """Say whether a runner's holder has more of the cluster than a run's tenant."""
    if slot.holder is None or slot.holder == run.tenant:
        return False
    cluster = book.cluster
    return book.parties[slot.holder].share(cluster, without=slot) > book.party(run.tenant).share(
        cluster
    )


def _enough(slots: Sequence[RunnerSlot], cores: float) -> list[RunnerSlot]:
    """Return runners of one machine with so many cores together, those with the least to do."""
    machines: dict[NodeId, list[RunnerSlot]] = {}
    for slot in sorted(slots, key=lambda slot: len(slot.queue)):
        machines.setdefault(slot.node, []).append(slot)
    for some in machines.values():
        taken, sum_cores = [], 0.0
        for slot in some:
            taken.append(slot)
            sum_cores += max(slot.cores, 1.0)
            if sum_cores >= cores:
                return taken
    return []
