"""When nodes are metered, and what of: at the end of a run, when they go, and now and then.

The meters are volatile (`meters`); each reading is journaled (`NodesMetered`) and entered into the
accounts (`accounts`), so that a replay gives the same bill. A leader that dies takes with it what
its meters ran since their last reading; the next one goes on from that reading, and lets those pay
who paid then.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec.structs import replace

from rayorch.core import accounts
from rayorch.core.book import Book
from rayorch.core.commands import Command, Record
from rayorch.core.facts import Event
from rayorch.core.leasing import RunnerSlot
from rayorch.core.meters import NodeMeter
from rayorch.core.node_facts import NodeJoined, NodeLost, NodesMetered
from rayorch.core.placed import NodeWindow, PoolPrice
from rayorch.core.run import ACTIVE, Run
from rayorch.ids import EventId, NodeId, RunId

METER_S: Final = 60.0
"""Between two readings of a node: what a crash of the control actor may attribute by guess."""
OPENED_S: Final = 5.0
"""When a node is read first: a short run ends before, and is not held up by it."""
QUIET_S: Final = 600.0
"""The same, while no run is active: then there is nobody to pay."""
READINGS_S_MAX: Final = 20.0
"""Readings a second: with more nodes than these allow, each is read less often."""
WINDOWS_MAX: Final = 500
"""Readings in one event."""
EMPTY_S_MAX: Final = 60.0
"""How long a node without a runner is waited for: a runner may be replaced by a larger one."""
UNCLAIMED_S: Final = 120.0
"""After a change of leaders, how long its nodes may take to be heard of."""


def nodes_metered(book: Book, fact: NodesMetered, _event: Event) -> Iterable[Command]:
    """Enter readings into the accounts."""
    paid = _paid_by(book, fact.windows)
    for window in fact.windows:
        accounts.enter(book.accounts, paid, window)
    return ()


def lead(book: Book, at_s: float, *, interrupts: bool) -> None:
    """Begin an epoch: the nodes of a cluster that is gone are gone, others are waited for."""
    meters = book.meters
    meters.nodes.clear()
    meters.touched.clear()
    meters.opened.clear()
    meters.gone.clear()
    meters.active.clear()
    meters.unclaimed_s = None if interrupts else at_s + UNCLAIMED_S
    if interrupts:
        accounts.close_all(book.accounts, {run.id: run.paid for run in book.runs.values()})


def node_joined(book: Book, fact: NodeJoined, at_s: float) -> None:
    """Meter a machine that has come, from now on."""
    meter = _opened(book, fact.node, fact.pool, fact.cores, at_s)
    meter.is_told, meter.empty_s, meter.usd_h = True, None, fact.usd_h
    meter.advance(at_s, book.meters.active)


def node_lost(book: Book, fact: NodeLost, at_s: float) -> None:
    """Meter a machine for the last time."""
    meters = book.meters
    meter = meters.nodes.pop(fact.node, None)
    if meter is not None:
        meter.advance(at_s, meters.active)
        meters.opened.pop(fact.node, None)
        meters.gone.append(meter)


def joined(book: Book, slot: RunnerSlot, at_s: float) -> None:
    """Count a runner to its node."""
    meter = _opened(book, _node_of(slot), slot.pool, slot.cores, at_s)
    meter.empty_s = None
    meter.advance(at_s, book.meters.active)
    meter.hold(slot.id, None)
    book.meters.touched[slot.id] = None


def lost(book: Book, slot: RunnerSlot, at_s: float) -> None:
    """Take a runner from its node."""
    meter = book.meters.nodes.get(_node_of(slot))
    if meter is not None:
        _catch_up(book, at_s)
        meter.advance(at_s, book.meters.active)
        meter.drop(slot.id, at_s)


def _node_of(slot: RunnerSlot) -> NodeId:
    """Return the node of a runner; one of which nobody says where it is stands for a node."""
    return slot.node or NodeId(slot.id)


def _opened(book: Book, node: NodeId, pool: str, cores: float, at_s: float) -> NodeMeter:
    """Return the meter of a node, where need be a new one that goes on from the last reading."""
    meters, account = book.meters, book.accounts.nodes.get(node)
    meter = meters.nodes.get(node)
    if meter is not None:
        return meter
    from_s = at_s if account is None else min(account.through_s, at_s)
    meter = meters.nodes[node] = NodeMeter(node, pool, cores, from_s)
    if account is None:
        meters.opened[node] = at_s
    else:
        # Nobody looked since: who paid at the last reading goes on paying.
        meter.payers = dict.fromkeys(account.payers, 1.0)
        meter.advance(at_s, _runs_active(book, account.payers))
    return meter


def tick(book: Book, active: tuple[RunId, ...], event: Event) -> Iterator[Record]:
    """Follow who holds what, and read the meters that are due."""
    meters, at_s = book.meters, event.at_s
    _catch_up(book, at_s)
    due: dict[NodeMeter, None] = {}
    for node, since_s in meters.opened.items():
        if at_s - since_s < OPENED_S:
            break
        due[meters.nodes[node]] = None
    if active != tuple(meters.active):
        ended = [run for run in meters.active if run not in active]
        for meter in meters.nodes.values():
            meter.advance(at_s, meters.active)
            if any(run in meter.seconds for run in ended):
                due[meter] = None
        meters.active = dict.fromkeys(active)
    period_s = max(METER_S if active else QUIET_S, len(meters.nodes) / READINGS_S_MAX)
    for meter in meters.nodes.values():
        if at_s - meter.from_s < period_s:
            break  # Those behind it were read later.
        due[meter] = None
    windows = [_read(book, meter, at_s) for meter in due]
    windows += [_read(book, meter, at_s, is_gone=True) for meter in meters.gone]
    meters.gone.clear()
    windows += _unclaimed(book, at_s)
    yield from _records(event.id, windows)


def settle(book: Book, run: Run, cause: EventId, at_s: float) -> Iterator[Record]:
    """Read the meters of a run whose work is done, so that its bill is whole when it ends."""
    due = []
    for meter in book.meters.nodes.values():
        if run.id in meter.payers or run.id in meter.seconds:
            meter.advance(at_s, book.meters.active)
            if meter.seconds.get(run.id):
                due.append(meter)
    yield from _records(cause, [_read(book, meter, at_s) for meter in due])


def _catch_up(book: Book, at_s: float) -> None:
    """Look again at the runners whose queues changed."""
    meters = book.meters
    for runner in meters.touched:
        slot = book.runners.get(runner)
        if slot is None:
            continue
        meter, head = meters.nodes.get(_node_of(slot)), slot.head
        if meter is None:
            continue  # Its machine is gone, and it goes with it.
        holder = None if head is None else (head.run, slot.cores)
        if meter.runners.get(runner) != holder:
            meter.advance(at_s, meters.active)
            meter.hold(runner, holder)
    meters.touched.clear()


def _read(book: Book, meter: NodeMeter, at_s: float, *, is_gone: bool = False) -> NodeWindow:
    """Return what a node did since its last reading, and begin anew."""
    meters = book.meters
    if not is_gone:
        is_gone = meter.empty_s is not None and at_s - meter.empty_s > EMPTY_S_MAX
        meter.advance(at_s, meters.active)
    window = NodeWindow(
        node=meter.node,
        pool=meter.pool,
        cores=meter.cores,
        from_s=meter.from_s,
        to_s=meter.at_s,
        used=tuple(meter.seconds.items()),
        closed=is_gone,
    )
    window = accounts.priced(window, _price(book, meter.pool))
    if meter.usd_h is not None:
        window = replace(window, usd_h=meter.usd_h)
    meter.from_s, meter.seconds = meter.at_s, {}
    meters.opened.pop(meter.node, None)
    # To the end of the line, or out of it.
    meters.nodes.pop(meter.node, None)
    if not is_gone:
        meters.nodes[meter.node] = meter
    return window


def _unclaimed(book: Book, at_s: float) -> Iterator[NodeWindow]:
    """Close the accounts of nodes that an earlier leader knew and that nobody heard of since."""
    meters = book.meters
    if meters.unclaimed_s is None or at_s < meters.unclaimed_s:
        return
    meters.unclaimed_s = None
    for node, account in book.accounts.nodes.items():
        if node not in meters.nodes:
            yield accounts.closing(node, account, _price(book, account.pool))


def _price(book: Book, pool: str) -> PoolPrice:
    return book.accounts.prices.get(pool, PoolPrice(pool))


def _records(cause: EventId, windows: list[NodeWindow]) -> Iterator[Record]:
    for at in range(0, len(windows), WINDOWS_MAX):
        yield Record(cause, NodesMetered(tuple(windows[at : at + WINDOWS_MAX])))


def _runs_active(book: Book, runs: Iterable[RunId]) -> dict[RunId, None]:
    return {run: None for run in runs if run in book.runs and book.runs[run].state in ACTIVE}


def _paid_by(book: Book, windows: Iterable[NodeWindow]) -> dict[RunId, dict[str, accounts.ByDay]]:
    """Return where the runs that windows may charge keep what they paid for."""
    named: dict[RunId, None] = {}
    for window in windows:
        named |= dict.fromkeys(run for run, _ in window.used)
        account = book.accounts.nodes.get(window.node)
        if account is not None:
            named |= dict.fromkeys(account.used)
    return {run: book.runs[run].paid for run in named if run in book.runs}
