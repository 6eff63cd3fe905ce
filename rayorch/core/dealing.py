"""Leases dealt out: which run's tasks go to which runner, and who has to make way for whom."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from rayorch.core import elastic, leasing, limiting
from rayorch.core.book import Book
from rayorch.core.commands import Command, Lease, SendLeases
from rayorch.core.facts import Event
from rayorch.core.flow import Flow, Lane
from rayorch.core.leasing import RunnerSlot
from rayorch.core.placed import PoolPrice
from rayorch.core.queues import ReadyQueue
from rayorch.core.run import RUNNING, Run
from rayorch.core.sharing import Party, Ranked, entitled, urgency
from rayorch.core.sizes import Size
from rayorch.core.task import READY, Task
from rayorch.ids import CacheId, RunId, TenantId

STRANDED_S: Final = 60.0
"""How long a class waits for a pool of its plan that has no machine, before others may serve it."""
STARTING_S: Final = 600.0
"""How long for one whose machines are there: their runners are on their way, and another pool may
cost a thousand times as much. A deadline in danger leads to another plan long before."""
LOOK_S: Final = 1.0
"""Between two looks for such classes."""
FOLLOW_S: Final = 1e-5
"""After a look at new caches, for each key and point of their ring: while thousands of machines
come, there are other things to do."""
STEAL_S: Final = 0.25
"""After a look that found nothing to take back: the next one would find the same."""


class Dealer:
    """One tick's deal. What a tenant or a run holds changes as it goes, and the order with it."""

    def __init__(self, book: Book, event: Event) -> None:
        self._book = book
        self._event = event
        self._at_s = event.at_s
        self._runs: dict[TenantId, Ranked[Run]] = {}
        self._claims: list[Command] = []
        self._found: tuple[RunnerSlot, Run, Lane] | None = None  # the last choice, and its queues
        for party in book.parties.values():
            for run_id in [each for each in party.runs if not self._has_work(each)]:
                del party.runs[run_id]
            for run_id in party.runs:
                flow = book.flows[run_id]
                _note_stranded(book, flow, self._at_s)
                if flow.keys:
                    _follow_caches(book, flow, self._at_s)

    # --- giving ----------------------------------------------------------------------------------

    def deal(self) -> Iterable[Command]:
        """Hand out what is ready, kind of runner by kind of runner."""
        book = self._book
        takers = [party for party in book.parties.values() if party.runs]
        # Each lease makes a share larger, and none smaller: one order serves the whole deal.
        ranked = Ranked(takers, lambda party: party.share(book.cluster))
        for kind in list(dict.fromkeys((*book.idle, *book.hungry))) if takers else ():
            # Those that have nothing to do first. Runners of a kind are alike: one that nobody has
            # work for, or its holder has none for, speaks for the others.
            dry: set[TenantId | None] = set()
            for slots in (book.idle, book.hungry):
                some = slots.get(kind, {})
                # What holds units already goes before what would have to claim them.
                first = {runner: some[runner] for runner in book.units if runner in some}
                for slot in list({**first, **some}.values()):
                    if slot.alone or len(slot.queue) > slot.filled // 2:
                        book.fed(slot, is_full=True)
                    elif slot.holder in dry:
                        continue
                    elif leases := self._fill(slot, ranked):
                        yield SendLeases(self._event.id, slot.id, tuple(leases))
                    elif slot.filled == leasing.UNFILLED and slot.id not in book.claims:
                        dry.add(slot.holder)
        yield from self._claims

    def _fill(self, slot: RunnerSlot, ranked: Ranked[Party]) -> list[Lease]:
        """Give a runner as much as it has room for, of whoever's turn it is."""
        leases: list[Lease] = []
        is_done = False  # Nothing to look at again before it has ended something.
        while not is_done:
            run, is_done = self._turn(slot, ranked)
            if run is None:
                break
            flow = self._book.flows[run.id]
            some, room = self._leases(run, flow, slot)
            leases += some
            # Full by its own measure: whoever is next looks again when half of it is done.
            is_done = slot.alone or len(some) >= room
            if some and not is_done and self._lane(slot, run) is not None:
                break  # The last tasks of a run are spread, so that all its runners get some.
        slot.filled = len(slot.queue) if is_done else leasing.UNFILLED
        self._book.fed(slot, is_full=is_done)
        return leases

    def _turn(self, slot: RunnerSlot, ranked: Ranked[Party]) -> tuple[Run | None, bool]:
        """Return the run that a runner is to serve next, if any; and whether to leave it alone."""
        if slot.holder is None:
            for party in ranked:
                run = self.choice(party, slot)
                if run is not None or slot.id in self._book.claims:
                    return run, run is None  # Once what it claims is its own, it gets the task.
            return None, False
        holder = self._book.parties[slot.holder]
        is_only = len(ranked) == 1 and holder.runs  # It is all of `ranked`.
        if not is_only and self._is_for_others(ranked, holder, slot):
            return None, True  # Let it run dry: the other is to have it.
        return self.choice(holder, slot), False

    def _is_for_others(self, parties: Iterable[Party], holder: Party, slot: RunnerSlot) -> bool:
        """Say whether a tenant is to leave a runner to others, who hold less even then.

        `parties` are in the order of what they hold.
        """
        cluster = self._book.cluster
        share = holder.share(cluster, without=slot)
        for party in parties:
            if party.share(cluster) >= share:
                return False
            if party is not holder and self.choice(party, slot) is not None:
                return True
        return False

    def choice(self, party: Party, slot: RunnerSlot) -> Run | None:
        """Return which of a tenant's runs a runner would serve, if any has something for it."""
        order = self._runs.get(party.id)
        if order is None:
            runs = [self._book.runs[run_id] for run_id in party.runs]
            order = self._runs[party.id] = Ranked(runs, self._rank)
        if slot.holder != party.id and not limiting.may_grow(self._book, party, slot):
            return None
        for run in order:
            if (lane := self._lane(slot, run)) is not None:
                self._found = (slot, run, lane)
                return run
            if slot.id in self._book.claims:
                return None
        return None

    def _rank(self, run: Run) -> tuple[int, int]:
        flow = self._book.flows[run.id]
        return -urgency(run.priority, self._at_s - flow.served_s), len(flow.on)

    def _has_work(self, run_id: RunId) -> bool:
        run, flow = self._book.runs[run_id], self._book.flows[run_id]
        is_going = run.state is RUNNING and run_id not in self._book.blocking
        return is_going and flow.open_count > 0 and not flow.is_held

    def _lane(self, slot: RunnerSlot, run: Run) -> Lane | None:
        """Return the queues of a run from which a runner may take something now."""
        flow = self._book.flows[run.id]
        if run.state is not RUNNING or slot.kind in flow.barren or slot.pool in flow.dear:
            return None
        is_barren, classes = True, served(flow, slot.pool)
        for lane in flow.lanes:
            stage, size, ready, suspects = lane
            if not slot.size.serves(size):
                continue
            is_ready = ready.has(classes)
            if not is_ready and not suspects.has(classes):
                continue
            is_barren = False
            if slot.queue and not is_ready:
                continue  # A suspect runs alone.
            if stage < 0 or self._may_use(slot, run.stages[stage].uses):
                return lane
            if slot.id in self._book.claims:
                return None
        if is_barren:
            flow.barren.add(slot.kind)
        return None

    def _may_use(self, slot: RunnerSlot, uses: tuple[tuple[str, int], ...]) -> bool:
        """Say whether a runner holds what a task would use; one with nothing to do claims it."""
        book = self._book
        if slot.id in book.claims:
            return False
        if limiting.may_use(book, slot, uses):
            return True
        if slot.holder is None:
            self._claims += limiting.claim(book, slot, uses, self._event)
        return False

    def _leases(self, run: Run, flow: Flow, slot: RunnerSlot) -> tuple[list[Lease], int]:
        """Lease a runner what there is for it; return that, and how much it had room for."""
        book = self._book
        classes = served(flow, slot.pool)
        assert self._found is not None  # It has just been chosen.
        found_slot, found_run, (_, _, ready, suspects) = self._found
        assert found_slot is slot
        assert found_run is run
        if not slot.queue and suspects.has(classes):
            tasks = islice(_next(run, flow, suspects, classes, slot.cache), 1)
            leases = [book.lease(run, slot, each, self._at_s) for each in tasks]
            slot.alone = bool(leases)
            return leases, 1
        first = ready.first(classes, slot.cache)
        if first is None:
            return [], 0
        room = slot.room(flow.seconds.get(run.tasks[first].stage), book.window_s)
        if not room:
            return [], 0
        wanted = _whole_groups(run, run.tasks[first], room)
        count = self._spread(flow, slot, classes, wanted, ready.count(classes))
        leases = []
        for task in islice(_next(run, flow, ready, classes, slot.cache), count):
            if (run.id, task.id) in slot.queue:
                book.take_up(run, slot, task)  # It is at it: who was at it, too, was lost.
            else:
                leases.append(book.lease(run, slot, task, self._at_s))
        return leases, room

    def _spread(
        self, flow: Flow, slot: RunnerSlot, classes: tuple[int, ...], room: int, ready: int
    ) -> int:
        """Return how many leases one runner gets, so that the last ones go to all its peers."""
        cluster = self._book.cluster
        if ready >= room * cluster.slots:
            return room
        known = flow.peers.get(slot.pool)
        if known is None or known[0] != cluster.pools_changed:
            alike = tuple(pool for pool in cluster.living if served(flow, pool) == classes)
            known = flow.peers[slot.pool] = (cluster.pools_changed, alike)
        peers = sum(cluster.living[pool] for pool in known[1])
        return leasing.share(room, ready, max(1, peers))

    # --- taking back -----------------------------------------------------------------------------

    def make_way(self) -> Iterable[Command]:
        """Take unstarted leases back from tenants that hold more than their part, for others.

        Their runners take nothing new then (`_turn`), and are free when what runs on them ends.
        """
        book = self._book
        hungry = [party for party in book.parties.values() if party.runs]
        rich = [party for party in book.parties.values() if party.deep]
        if not hungry or not rich or (hungry == rich and len(rich) == 1):
            return
        demands = {party: self._demand(party) for party in book.parties.values()}
        parts = entitled(
            book.cluster.slots,
            {party.id: (demand, party.weight) for party, demand in demands.items() if demand},
        )
        poor = [party for party in hungry if party.slots < parts.get(party.id, 0)]
        poor.sort(key=lambda party: party.share(book.cluster))
        if not poor:
            return
        for party in rich:
            giving = party.slots - parts.get(party.id, 0)
            if giving <= 0:
                continue  # To count ten thousand runners for nothing takes a while.
            clear = party.slots - sum(not slot.revoking for slot in party.deep.values())
            for slot in list(party.deep.values()) if giving > clear else ():
                if clear >= giving:
                    break
                if slot.revoking or slot.dying:
                    continue
                if self._is_for_others(poor, party, slot):
                    clear += 1
                    yield leasing.take_back(slot, len(slot.queue) - 1, self._event.id)

    def _demand(self, party: Party) -> int:
        flows = [self._book.flows[run_id] for run_id in party.runs]
        return party.slots + sum(flow.open_count for flow in flows)

    def steal(self) -> Iterable[Command]:
        """Take back what waits behind others, for a runner that has nothing to do."""
        book = self._book
        if not book.idle or self._at_s < book.steal_due_s:
            return
        # One of a kind speaks for the others.
        idle = [next(iter(slots.values())) for slots in book.idle.values()]
        deep = [slot for party in book.parties.values() for slot in party.deep.values()]
        if not deep:
            return
        revoke = leasing.steal(idle, deep, self._event.id, self._may_take)
        if revoke is not None:
            yield revoke
        else:
            book.steal_due_s = self._at_s + STEAL_S

    def _may_take(self, slot: RunnerSlot, lease: Lease) -> bool:
        """Say whether a runner that has nothing to do could run a lease, and nothing else."""
        flow = self._book.flows[lease.run]
        if lease.stage in flow.limited:
            return False  # It would have to hold what the other holds.
        tenant = self._book.runs[lease.run].tenant
        if not limiting.may_grow(self._book, self._book.party(tenant), slot):
            return False  # It would go back to where it came from.
        if not slot.size.serves(flow.sizes[lease.stage]):
            return False
        classes = flow.routes.classes_for(slot.pool)
        if any(
            lane.stage < 0 and slot.size.serves(lane.size) and lane.ready.has(classes)
            for lane in flow.lanes
        ):
            return False
        return flow.routes.serves(slot.pool, lease.task)


def served(flow: Flow, pool: str) -> tuple[int, ...]:
    """Return the classes of a run that runners of a pool may serve now, first to serve first."""
    classes = flow.routes.classes_for(pool)
    return (*classes, *flow.stranded) if pool in flow.rescuers else classes


def _whole_groups(run: Run, first: Task, count: int) -> int:
    """Return as many tasks or some more, so that those that share what they read go together."""
    together = run.together.get(first.stage, 1)
    if together == 1:
        return count
    before = (first.id - run.first_tasks[first.stage]) % together
    return min(-(-(before + count) // together) * together - before, leasing.QUEUE_MAX)


def _note_stranded(book: Book, flow: Flow, at_s: float) -> None:
    """Note the classes whose pools have had no runner for so long that any runner may serve.

    A plan is to save money, never to stop the work: pools that it counted on may not come.
    """
    if at_s < flow.stranded_due_s:
        return
    flow.stranded_due_s = at_s + LOOK_S
    found = []
    numbers = {n for lane in flow.lanes for n in lane.classes()}
    for number in numbers:
        pools = flow.routes.pools_of(number)
        # Of machines that were asked for and do not come, the plan is made anew without them.
        comes = elastic.is_coming(flow, pools)
        if not pools or comes or not pools.isdisjoint(book.cluster.living):
            flow.unserved.pop(number, None)
        elif (waited_s := at_s - flow.unserved.setdefault(number, at_s)) > STRANDED_S:
            is_there = any(
                node.pool in pools and node.node not in book.draining
                for node in book.nodes.values()
            )
            if waited_s > (STARTING_S if is_there else STRANDED_S):
                found.append(number)
    stranded = tuple(sorted(found))
    needs = {lane.size for lane in flow.lanes if not lane.classes().isdisjoint(stranded)}
    rescuers = frozenset(pool for need in needs for pool in _cheapest(book, need))
    if stranded != flow.stranded or rescuers != flow.rescuers:
        flow.stranded, flow.rescuers = stranded, rescuers
        flow.barren.clear()
        flow.peers.clear()


def _follow_caches(book: Book, flow: Flow, at_s: float) -> None:
    """Let what is ready belong to the caches that there are now."""
    if at_s < flow.near_due_s:
        return
    looked_at = 0
    for lane in flow.lanes:
        for number, near in lane.ready.near.items():
            ring = book.cluster.caches.ring(flow.routes.pools_of(number))
            if near.ring is not ring:
                near.follow(ring)
                looked_at += near.keys + len(ring)
    flow.near_due_s = at_s + FOLLOW_S * looked_at


def _cheapest(book: Book, need: Size) -> frozenset[str]:
    """Return the living pools with runners that serve, and of these the cheapest where all say."""
    fitting = {
        slot.pool for slot in book.runners.values() if not slot.shut and slot.size.serves(need)
    }
    prices = {pool: book.accounts.prices.get(pool, PoolPrice(pool)).usd_core_h for pool in fitting}
    known = [usd for usd in prices.values() if usd is not None]
    if len(known) < len(prices):
        return frozenset(fitting)
    return frozenset(pool for pool, usd in prices.items() if usd == min(known))


def _next(
    run: Run, flow: Flow, queue: ReadyQueue, classes: tuple[int, ...], cache: CacheId
) -> Iterator[Task]:
    """Take tasks from a queue, one after the other, as long as somebody wants them.

    cache: that of the runner that is to have them.
    """
    while (task_id := queue.pop(classes, cache)) is not None:
        task = run.tasks[task_id]
        # One that was committed or cancelled since is queued for nothing.
        if task.state is not READY:
            continue
        if task.stage in run.unplanned:
            flow.aside.setdefault(task.stage, []).append(task.id)  # What it reads was lost.
        else:
            yield task
