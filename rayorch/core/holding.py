"""Why a run is given nothing: it waits until it is cheap, for a limit, a quota, or its turn.

A run with a rule (`Cheap`) is planned like any other, and then given nothing while its hours are
over or no pool is cheap enough. It begins at the latest when what its plan takes is what is left
until the deadline, with some room; from then on no rule holds it back.

What else holds a run back is seen where leases are given, and only told of here: journaled once it
has lasted for a while, so that whoever reads the home sees it, too.
"""

from collections.abc import Iterable
from typing import Final

from rayorch.core import placing
from rayorch.core.book import Book
from rayorch.core.cheap import Cheap
from rayorch.core.commands import Command, Record
from rayorch.core.facts import Event
from rayorch.core.flow import Flow
from rayorch.core.limit_facts import RunHeld
from rayorch.core.run import RUNNING, Run
from rayorch.core.wanting import ensure_runners

MARGIN: Final = 1.25
SLACK_S: Final = 60.0
"""A plan's time is a guess: work that has waited begins with this much more until its deadline."""
LOOK_S: Final = 1.0
CHEAP: Final = "cheap"
"""The cause of a wait that may last for hours, and costs nothing meanwhile."""
TOLD_S: Final = 15.0
"""How long a run with something ready is given nothing before that is told: most waits end."""

Why = tuple[str, str, float]
"""A cause, in words, and until when at the latest (0: nobody knows); no cause: it is not held."""
_FREE: Final[Why] = ("", "", 0.0)


def due_s(run: Run) -> float | None:
    """Return when a run is to begin at the latest; None: it has no deadline."""
    if not run.deadline_s:
        return None
    forecast = run.placement.forecast if run.placement is not None else None
    takes_s = forecast.p95_s - forecast.from_s if forecast is not None else 0.0
    return run.submitted_s + run.deadline_s - MARGIN * takes_s - SLACK_S


def look(book: Book, run: Run, event: Event) -> Iterable[Command]:
    """Hold a run back, or let it go on, where its rule says so now; tell what holds it."""
    flow = book.flows[run.id]
    if event.at_s < flow.held_due_s or run.state is not RUNNING:
        return
    flow.held_due_s = event.at_s + LOOK_S
    why = _by_rule(book, run, flow, event.at_s) if run.cheap is not None else _FREE
    held, flow.is_held = flow.is_held, bool(why[0])
    if flow.is_held:
        flow.wanted = {}  # A pool that is let go of is not one that was lost.
    elif held:
        yield from _let_go_on(book, run, flow, event)
    else:
        why = _by_others(book, run, flow, event.at_s)
    known = run.held_by
    if why[0] and (known is None or known.why != why[1]):
        yield Record(event.id, RunHeld(run.id, *why))
    elif known is not None and not why[0]:
        reason = "its deadline is near" if flow.is_due else f"{known.why}: no more"
        yield Record(event.id, RunHeld(run.id, known.cause, reason, held=False))


def run_held(book: Book, fact: RunHeld, _event: Event) -> Iterable[Command]:
    """Keep what a run waits for."""
    book.run(fact).held_by = fact if fact.held else None
    return ()


# --- until it is cheap -----------------------------------------------------------------------


def _by_rule(book: Book, run: Run, flow: Flow, at_s: float) -> Why:
    assert run.cheap is not None
    latest_s = due_s(run)
    # Once it is late it stays so: what is done meanwhile is no reason to wait again.
    flow.is_due = flow.is_due or (latest_s is not None and at_s >= latest_s)
    dear = frozenset[str]() if flow.is_due else _dear(book, run.cheap)
    if dear != flow.dear:
        flow.dear = dear
        flow.barren.clear()
    if flow.is_due:
        return _FREE
    opens_s = run.cheap.opens_s(at_s)
    if opens_s > at_s:
        until_s = opens_s if latest_s is None else min(opens_s, latest_s)
        return CHEAP, f"its hours, {run.cheap.hours}", until_s
    if dear and dear >= _pools(book, run):
        price = f"a core for {run.cheap.usd_core_h_max:g} USD an hour"
        return CHEAP, price, latest_s or 0.0
    return _FREE


def _let_go_on(book: Book, run: Run, flow: Flow, event: Event) -> Iterable[Command]:
    book.enlist(run)
    yield from ensure_runners(run, flow, event.id, event.at_s)
    if run.placement is not None and run.placement.is_reviewed and not flow.solving:
        # Its plan is of the time before it waited.
        yield placing.solve(book, run, event.id, event.at_s)


def _pools(book: Book, run: Run) -> frozenset[str]:
    """Return the pools that a run is worked on: those of its plan, else those that there are."""
    if run.placement is not None and all(each.pools for each in run.placement.classes):
        return frozenset(pool for each in run.placement.classes for pool in each.pools)
    return frozenset({*book.cluster.living, *(node.pool for node in book.nodes.values())})


def _dear(book: Book, rule: Cheap) -> frozenset[str]:
    """Return the pools whose core costs more than the rule allows, or nobody knows what."""
    if rule.usd_core_h_max is None:
        return frozenset()
    prices = book.accounts.prices
    nodes: dict[str, float] = {}
    for node in book.nodes.values():
        if node.usd_h is not None and node.cores:
            nodes[node.pool] = max(nodes.get(node.pool, 0.0), node.usd_h / node.cores)
    found = []
    for pool in {*prices, *book.cluster.living, *nodes}:
        # What a living machine says of itself is newer than what a file said.
        usd = nodes.get(pool, prices[pool].usd_core_h if pool in prices else None)
        if usd is None or usd > rule.usd_core_h_max:
            found.append(pool)
    return frozenset(found)


# --- for others ------------------------------------------------------------------------------


def _by_others(book: Book, run: Run, flow: Flow, at_s: float) -> Why:
    """Return why a run with something ready has been given nothing for a while."""
    if flow.held or not flow.open_count or at_s - flow.served_s < TOLD_S:
        return _FREE
    if why := _limit(book, run, flow):
        return "limit", why, 0.0
    if why := _quota(book, run):
        return "quota", why, 0.0
    pools = _pools(book, run)
    if pools.isdisjoint(book.cluster.living):
        return "machines", f"a runner of {', '.join(sorted(pools)) or 'any pool'}", 0.0
    return "share", "its turn: the runners work for others", 0.0


def _quota(book: Book, run: Run) -> str:
    policy, party = book.policy.of(run.tenant), book.party(run.tenant)
    if policy.slots and party.slots >= policy.slots:
        return f"a runner: {run.tenant} holds all {policy.slots} that it may"
    least = min(size.memory_bytes for size in book.flows[run.id].sizes)
    if policy.memory_bytes and party.memory_bytes + least > policy.memory_bytes:
        return f"memory: {run.tenant} holds {party.memory_bytes >> 20} MiB"
    return ""


def _limit(book: Book, run: Run, flow: Flow) -> str:
    """Return which outside resource a run waits for, if nothing else of it is ready."""
    some = [lane.stage for lane in flow.lanes if lane.open_count]
    if -1 in some:
        return ""
    for stage in some:
        for name, units in run.stages[stage].uses:
            limit = book.policy.limit_of(name)
            if limit is not None and book.used[name] + units > limit:
                return f"{name}: {book.used[name]} of {limit} are held"
    return ""
