"""Machines that are not there: asked for as the plan wants them, and let go of when it does not.

What is asked for stands until something else is: a plan that wants less, or work that is nearly
done, asks for less, and a run that is over for nothing. A machine leaves when no runner is on it,
so that of those beyond what is asked the runners are ended as soon as none of them has work.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from rayorch.core.book import Book
from rayorch.core.commands import AskNodes, Command, KillRunner
from rayorch.core.facts import Event
from rayorch.core.flow import Flow
from rayorch.core.leasing import RunnerSlot
from rayorch.core.placed import NodesWanted, RunnersWanted
from rayorch.core.run import RUNNING, Run
from rayorch.core.sizes import Size
from rayorch.ids import NodeId

LOOK_S: Final = 1.0
"""Between two looks at which machines are not needed any more."""


def ask_nodes(book: Book, event: Event) -> Iterable[Command]:
    """Ask for what each run's plan wants now, where that has changed."""
    for run in book.runs.values():
        flow = book.flows[run.id]
        if run.state is not RUNNING and not flow.asked:
            continue
        wanted = nodes_wanted(run, flow, event.at_s)
        if wanted != flow.asked:
            flow.asked = wanted
            book.elastic.update(each.pool for each in wanted)
            yield AskNodes(event.id, run.id, wanted)
    if book.elastic and event.at_s >= book.surplus_due_s:
        book.surplus_due_s = event.at_s + LOOK_S
        yield from _let_go(book, event)


def is_coming(flow: Flow, pools: frozenset[str]) -> bool:
    """Say whether machines of one of these pools have been asked for."""
    return any(each.pool in pools for each in flow.asked)


def nodes_wanted(
    run: Run, flow: Flow, at_s: float, *, dear: bool = False
) -> tuple[NodesWanted, ...]:
    """Return the machines that a run is to ask for: as its plan wants, if there is work left.

    dear: those of pools that are too dear now as well. Nothing comes of them, as of one that cannot
    be had, and whoever makes the plan is to see it.
    """
    placement = run.placement
    if run.state is not RUNNING or placement is None or flow.is_held:
        return ()
    now: dict[str, dict[Size, RunnersWanted]] = {}
    for each in placement.runners:
        if each.at_s <= at_s and (dear or each.pool not in flow.dear):
            now.setdefault(each.pool, {}).update(dict.fromkeys(flow.sizes_of(each), each))
    found = [_nodes_of(run, flow, pool, sizes) for pool, sizes in sorted(now.items())]
    return tuple(each for each in found if each.count)


def _nodes_of(run: Run, flow: Flow, pool: str, sizes: Mapping[Size, RunnersWanted]) -> NodesWanted:
    """Return the machines of a pool on which runners of some sizes take turns."""
    most, needed, cores, gpus = 0, 0, 0.0, 0.0
    for size, each in sizes.items():
        if not each.nodes:
            continue
        per_node = max(1, each.count // each.nodes)
        most = max(most, each.nodes)
        # A machine with a GPU waits for nobody, and the last tasks fill fewer machines.
        is_to_come = not size.gpus and any(flow.sizes[each] == size for each in run.unplanned)
        needed += each.nodes if is_to_come else math.ceil(flow.left(size) / per_node)
        cores = max(cores, per_node * size.cores)
        gpus = max(gpus, per_node * size.gpus)
    return NodesWanted(pool, min(most, needed), cores, gpus)


def _let_go(book: Book, event: Event) -> Iterable[Command]:
    """End the runners on machines that have no work, and that nobody asks for."""
    wanted: dict[str, int] = {}
    for run in book.runs.values():
        if run.state is not RUNNING:
            continue
        if run.placement is None or not any(each.nodes for each in run.placement.runners):
            return  # It takes the machines as they are, and may take any of them.
        for each in book.flows[run.id].asked:
            wanted[each.pool] = wanted.get(each.pool, 0) + each.count
    for pool, nodes in _elastic_nodes(book).items():
        surplus = max(0, len(nodes) - wanted.get(pool, 0))
        idle = [slots for _, slots in sorted(nodes.items()) if all(map(_is_idle, slots))]
        for slot in [slot for slots in idle[:surplus] for slot in slots]:
            book.doom(slot)
            yield KillRunner(event.id, slot.id, "the plan needs its machine no more")


def _elastic_nodes(book: Book) -> Mapping[str, Mapping[NodeId, list[RunnerSlot]]]:
    """Return the runners of each machine, of the pools that were ever asked for more."""
    pools: dict[str, dict[NodeId, list[RunnerSlot]]] = {}
    for slot in book.runners.values():
        if slot.pool in book.elastic and slot.node:
            pools.setdefault(slot.pool, {}).setdefault(slot.node, []).append(slot)
    return pools


def _is_idle(slot: RunnerSlot) -> bool:
    return not slot.queue and not slot.dying
