"""A run's placement: taken in, looked at again while the run goes, and asked for anew.

The core does not judge a plan. It says what it sees (`Observed`) and asks; the answer comes back
as an event, and leases follow it from then on.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from rayorch.core import accounts, elastic, ledger
from rayorch.core.book import Book
from rayorch.core.commands import Command, SolvePlacement
from rayorch.core.facts import (
    AttemptFinished,
    Event,
    PlacementFailed,
    PlacementKept,
    PlacementReady,
)
from rayorch.core.flow import Flow
from rayorch.core.node_facts import PoolIdled
from rayorch.core.placed import ClassSeen, Observed
from rayorch.core.queueing import done_of, requeue
from rayorch.core.queues import Routes
from rayorch.core.run import ENDED, Run, RunState
from rayorch.core.wanting import ensure_runners, wanted_at
from rayorch.ids import EventId

REVIEW_S: Final = 5.0
"""Between two looks at the placement of a run; the loss of a pool is looked at at once."""


def placement_ready(book: Book, fact: PlacementReady, event: Event) -> Iterable[Command]:
    """Let leases follow a newer plan."""
    run = book.run(fact)
    flow = book.flows[run.id]
    flow.solving = False
    known = run.placement.revision if run.placement is not None else 0
    if run.state in ENDED or fact.revision <= known:
        return
    run.placement = fact
    accounts.note_prices(book.accounts, fact.prices)
    flow.review_due_s = event.at_s + REVIEW_S
    flow.seen, flow.unserved, flow.stranded_due_s = {}, {}, 0.0
    flow.stranded, flow.rescuers = (), frozenset()
    _reroute(run, flow)
    if run.state is RunState.RUNNING and run.tasks:
        yield from ensure_runners(run, flow, event.id, event.at_s)
        if not fact.is_final:
            yield solve(book, run, event.id, event.at_s)


def placement_failed(book: Book, fact: PlacementFailed, _event: Event) -> Iterable[Command]:
    """Count a solver's failure; the plan before it serves on."""
    run = book.run(fact)
    book.flows[run.id].solving = False
    run.placement_failures += 1
    return ()


def placement_kept(book: Book, fact: PlacementKept, _event: Event) -> Iterable[Command]:
    """Note that a look at the plan is over."""
    book.flows[book.run(fact).id].solving = False
    return ()


def pool_idled(book: Book, fact: PoolIdled, _event: Event) -> Iterable[Command]:
    """Charge what a run's runners waited, as it was done before nodes were metered."""
    ledger.charge_idle(book, book.run(fact), fact)
    return ()


def solve(book: Book, run: Run, cause: EventId, at_s: float) -> SolvePlacement:
    """Ask for a newer plan of what is left."""
    flow = book.flows[run.id]
    flow.solving = True
    flow.review_due_s = at_s + REVIEW_S
    revision = (run.placement.revision if run.placement is not None else 0) + 1
    return SolvePlacement(cause, run.id, revision, observed(book, run, at_s))


def review(book: Book, run: Run, event: Event) -> Iterable[Command]:
    """Follow the plan's calendar, and look at the plan again when it is time."""
    placement, flow = run.placement, book.flows[run.id]
    if placement is None or not placement.classes or flow.is_held:
        return
    if placement.runners and wanted_at(placement, flow, event.at_s) != flow.wanted:
        yield from ensure_runners(run, flow, event.id, event.at_s)
    if placement.is_reviewed and not flow.solving and event.at_s >= flow.review_due_s:
        yield solve(book, run, event.id, event.at_s)


def observed(book: Book, run: Run, at_s: float) -> Observed:
    """Return what a run looks like now, for whoever plans it again."""
    flow = book.flows[run.id]
    classes = run.placement.classes if run.placement is not None else ()
    running: Counter[tuple[int, str]] = Counter()
    for slot in [book.runners[runner] for runner in flow.on]:
        if slot.started is not None and slot.started.run == run.id:
            running[flow.routes.class_of(slot.started.task), slot.pool] += 1
    by_class: dict[int, list[tuple[str, int]]] = {}
    for (number, pool), count in sorted(running.items()):
        by_class.setdefault(number, []).append((pool, count))
    runners = book.cluster.living
    wanted = {pool for (pool, _), count in flow.wanted.items() if count}
    seen = flow.seen
    return Observed(
        at_s=at_s,
        submitted_s=run.submitted_s,
        classes=tuple(
            ClassSeen(
                name=each.name,
                done=flow.done.get(number, 0),
                running=tuple(by_class.get(number, ())),
                timed=seen.get(number, (0, 0.0))[0],
                took=seen.get(number, (0, 0.0))[1],
            )
            for number, each in enumerate(classes)
        ),
        runners=tuple(sorted(runners.items())),
        lost=tuple(sorted(pool for pool in wanted if pool not in runners)),
        asked=tuple(
            (each.pool, each.count) for each in elastic.nodes_wanted(run, flow, at_s, dear=True)
        ),
        spent_usd=ledger.spent_usd(run),
    )


def note_seconds(run: Run, flow: Flow, fact: AttemptFinished, seen_s: float) -> None:
    """Compare what an attempt took with what was expected of it on its pool."""
    if run.placement is None:
        return
    number = flow.routes.class_of(fact.task)
    if number < 0:
        return
    placed = run.placement.classes[number]
    for pool, expected_s in zip(placed.pools, placed.expected_s, strict=False):
        if pool == fact.pool and expected_s > 0.0:
            timed, took = flow.seen.get(number, (0, 0.0))
            flow.seen[number] = (timed + 1, took + seen_s / expected_s)
            return


def pool_lost(book: Book, pool: str, at_s: float) -> None:
    """Look at every plan at once that wanted runners of a pool which has none left."""
    if pool not in book.cluster.living:
        pool_shrank(book, pool, at_s)


def pool_shrank(book: Book, pool: str, at_s: float) -> None:
    """Look at every plan at once that wants runners of a pool with fewer machines."""
    for flow in book.flows.values():
        if any(count and wanted == pool for (wanted, _), count in flow.wanted.items()):
            flow.review_due_s = min(flow.review_due_s, at_s)


def _reroute(run: Run, flow: Flow) -> None:
    """Queue again what is ready, under the classes of the new plan."""
    flow.routes = Routes(run.placement)
    requeue(run, flow)
    flow.done = done_of(run, flow.routes)
    flow.barren.clear()
    flow.peers.clear()
