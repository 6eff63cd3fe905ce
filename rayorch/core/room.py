"""Runners of the right size: those that do not serve make room for others that do.

A machine is full of the runners that were asked for first. Work that fits in none of them would
wait for ever; so those with nothing to do are ended for it, and where all are at work those of one
machine are emptied at their next batch boundary: nothing that runs is lost. That is done until the
run has a runner, and further while its tenant holds less than those who have to make way. Who is
left without a small runner may use the larger one. Runners that are at work for the same run make
no way: its stages take turns.
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
from rayorch.core.sizes import Size

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
        for size in dict.fromkeys(
            lane.size for lane in book.flows[run.id].lanes if lane.open_count
        ):
            yield from _for_size(book, run, size, kinds, event)


def _is_hungry(flow: Flow) -> bool:
    return bool(flow.open_count) and not flow.is_held


def _for_size(book: Book, run: Run, size: Size, kinds: Kinds, event: Event) -> Iterable[Command]:
    """Let a run have runners that its work of a size fits in."""
    flow = book.flows[run.id]
    pools = _pools(flow, size)
    own = [kind for kind in kinds if not pools or kind[0] in pools]
    unfit = [kind for kind in own if not kind[1].serves(size)]
    has = sum(len(kinds[kind]) for kind in own if kind not in unfit)
    if not unfit or has >= flow.left(size):
        return
    able = {node for node in book.nodes if book.size_of(node).holds(size)}
    slots = [slot for kind in unfit for slot in kinds[kind] if not slot.shut]
    # Of a machine that nobody knows it may be enough; of one that is known to be too small, never.
    slots = [slot for slot in slots if slot.node in able or slot.node not in book.nodes]
    idle = [slot for slot in slots if not slot.queue]
    for slot in idle:
        book.doom(slot)
        yield KillRunner(event.id, slot.id, nodes.OTHER_SIZE)
    if idle or any(slot.pool in {kind[0] for kind in unfit} for slot in book.leaving.values()):
        return  # Room is being made.
    slots = [slot for slot in slots if slot.id not in flow.on]
    if has:
        slots = [slot for slot in slots if _may_take(book, run, slot)]
    for slot in _enough(book, slots, size):
        yield from nodes.vacate(book, slot, event.id)


def _pools(flow: Flow, size: Size) -> frozenset[str]:
    """Return the pools of what is queued of a size; none: any of them."""
    numbers = {number for lane in flow.lanes if lane.size == size for number in lane.classes()}
    some = [flow.routes.pools_of(number) for number in numbers]
    return frozenset[str]().union(*some) if all(some) else frozenset()


def _may_take(book: Book, run: Run, slot: RunnerSlot) -> bool:
    """Say whether a runner's holder has more of the cluster than a run's tenant."""
    if slot.holder is None or slot.holder == run.tenant:
        return False
    cluster = book.cluster
    return book.parties[slot.holder].share(cluster, without=slot) > book.party(run.tenant).share(
        cluster
    )


def _enough(book: Book, slots: Sequence[RunnerSlot], size: Size) -> list[RunnerSlot]:
    """Return runners of one machine whose place is enough, those with the least to do."""
    machines: dict[NodeId, list[RunnerSlot]] = {}
    for slot in sorted(slots, key=lambda slot: len(slot.queue)):
        machines.setdefault(slot.node, []).append(slot)
    for node, some in machines.items():
        stays = {slot.id: slot.size for slot in book.runners.values() if slot.node == node}
        for count, slot in enumerate(some, 1):
            del stays[slot.id]
            cores = sum(each.cores for each in some[:count])
            if node not in book.nodes:
                is_enough = cores >= size.cores
            else:
                is_enough = book.size_of(node).without(stays.values()).holds(size) > 0
            if is_enough:
                return some[:count]
    return []
