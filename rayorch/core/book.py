"""The machine's books: runs, their volatile sides, runners, and who holds what.

Handlers change state through these methods alone, so that a task, the queue it is in and the count
of what its run holds never disagree.
"""

import heapq
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from rayorch.core.accounts import Accounts
from rayorch.core.commands import Lease
from rayorch.core.facts import AttemptStarted, Event
from rayorch.core.leasing import WINDOW_S, Key, Kind, RunnerSlot
from rayorch.core.meters import Meters
from rayorch.core.policy import Policy
from rayorch.core.queueing import flow_of, queue
from rayorch.core.run import ACTIVE, RUN_KINDS, RUN_TRANSITIONS, Run, RunState
from rayorch.core.sharing import Cluster, Party
from rayorch.core.sizes import Size
from rayorch.core.task import COMMITTED, Task, TaskLeased, step
from rayorch.errors import InvalidTransitionError, UnknownRunError
from rayorch.ids import Epoch, NodeId, RunId, RunnerId, TaskId, TenantId

if TYPE_CHECKING:
    from rayorch.core.flow import Flow
    from rayorch.core.node_facts import NodeDraining, NodeJoined


class AboutRun(Protocol):
    """A fact that names a run."""

    @property
    def run(self) -> RunId:
        """The run."""
        ...


class AboutAttempt(AboutRun, Protocol):
    """A fact that names an attempt."""

    @property
    def task(self) -> TaskId:
        """The task, by its index in the run."""
        ...

    @property
    def attempt(self) -> int:
        """Which try of it."""
        ...

    @property
    def epoch(self) -> Epoch:
        """Under which leader it was leased."""
        ...


class Book:
    """All state. `runs` and `accounts` are durable; the rest dies with the process."""

    def __init__(self) -> None:
        self.epoch = Epoch(0)
        self.runs: dict[RunId, Run] = {}
        self.flows: dict[RunId, Flow] = {}
        self.runners: dict[RunnerId, RunnerSlot] = {}
        self.policy = Policy()  # durable, as is what runners hold of outside resources
        self.units: dict[RunnerId, dict[str, int]] = {}
        self.used: Counter[str] = Counter()  # sums of that, and of what is being journaled
        self.claims: dict[RunnerId, tuple[tuple[str, int], ...]] = {}
        self.unused_s: dict[RunnerId, float] = {}  # since when what they hold is of no use
        self.ended: set[RunnerId] = set()  # runners that hold some, and are known to have ended
        self.admitting: set[RunId] = set()
        self.blocking: set[RunId] = set()  # runs whose block is being journaled
        self.quota_due_s = 0.0
        self.cluster = Cluster()
        self.parties: dict[TenantId, Party] = {}
        # Runners that may take more, so that nobody has to look at all of them: those with nothing
        # to do, and those that have come closer to it since they were looked at last.
        self.idle: dict[Kind, dict[RunnerId, RunnerSlot]] = {}
        self.hungry: dict[Kind, dict[RunnerId, RunnerSlot]] = {}
        self.deadlines: list[tuple[float, int, RunnerId, Lease]] = []  # heap of time-outs
        self.timed = 0
        self.strange: dict[RunnerId, RunnerSlot] = {}  # at work on what was given to others
        self.steal_due_s = 0.0
        self.window_s = WINDOW_S  # the work that a runner is to have
        # Runners that lost their leases but may still write, and the runs that they wrote for.
        self.zombies: dict[RunnerId, frozenset[RunId]] = {}
        # Attempts whose `AttemptLost` is being journaled: run, task, attempt, epoch.
        self.losing: set[tuple[RunId, TaskId, int, Epoch]] = set()
        self.nodes: dict[NodeId, NodeJoined] = {}
        self.draining: dict[NodeId, NodeDraining] = {}
        self.elastic: set[str] = set()  # pools of which machines have been asked for
        self.surplus_due_s = 0.0
        self.room_due_s = 0.0
        self.leaving: dict[RunnerId, RunnerSlot] = {}  # their node, or their place, is taken away
        self.now_s = 0.0
        self.accounts = Accounts()
        self.meters = Meters()

    def size_of(self, node: NodeId) -> Size:
        """Return how large a machine that is there is."""
        there = self.nodes[node]
        return Size(there.cores, there.memory_bytes, there.gpus)

    def run(self, fact: AboutRun) -> Run:
        """Return the run that a fact is about.

        Raises: UnknownRunError; InvalidTransitionError for a fact that the run's state rules out.
        """
        run = self.runs.get(fact.run)
        if run is None:
            raise UnknownRunError(fact.run, tuple(self.runs))
        kind = type(fact)
        if kind in RUN_KINDS and (run.state, kind) not in RUN_TRANSITIONS:
            raise InvalidTransitionError(run.id, run.state.value, kind.__name__)
        return run

    @staticmethod
    def task(run: Run, fact: AboutAttempt) -> Task:
        """Return the task that a fact is about. Raises: InvalidTransitionError, if none is."""
        if not 0 <= fact.task < len(run.tasks):
            raise InvalidTransitionError(
                f"{run.id}, which has {len(run.tasks)} tasks", run.state.value, str(fact)
            )
        return run.tasks[fact.task]

    def enter(self, run: Run, state: RunState, event: Event) -> None:
        """Move a run to a state."""
        run.state = state
        if state not in ACTIVE:
            run.finished_s = event.at_s

    def put(self, run: Run, task: Task) -> None:
        """Replace a task."""
        before = run.tasks[task.id]
        run.tasks[task.id] = task
        if (task.epoch, task.attempt) < (before.epoch, before.attempt):
            # Overtaken, perhaps by what a leader before this one gave: the number stays its own.
            given = self.flows[run.id].given
            given[task.id] = max(before.attempt, given.get(task.id, 0))
        if before.state is task.state:
            return
        flow = self.flows[run.id]
        counts = flow.counts[task.stage]
        counts[before.state] -= 1
        counts[task.state] += 1
        change = (task.state is COMMITTED) - (before.state is COMMITTED)
        if change:
            number = flow.routes.class_of(task.id)
            flow.done[number] = flow.done.get(number, 0) + change

    def _next_attempt(self, run: Run, task: Task) -> int:
        """Return a number that no attempt has had under this leader: files are staged under it."""
        return max(task.attempt, self.flows[run.id].given.get(task.id, -1)) + 1

    def lease(self, run: Run, slot: RunnerSlot, task: Task, at_s: float) -> Lease:
        """Give a runner the next attempt of a task."""
        leased = TaskLeased(run.id, task.id, self._next_attempt(run, task), self.epoch, slot.id)
        after = step(task, leased, run.retry, at_s)
        lease = Lease(
            run=run.id,
            task=task.id,
            attempt=after.attempt,
            epoch=after.epoch,
            stage=task.stage,
            version=run.version,
            shrink=task.shrink,
            revived=task.revived,
        )
        self.hold(run, slot, lease, after)
        return lease

    def take_up(self, run: Run, slot: RunnerSlot, task: Task) -> None:
        """Expect a task of the attempt that a runner is at, or has queued, though it was lost."""
        lease = slot.queue[run.id, task.id]
        about = (run.id, task.id, lease.attempt, lease.epoch, slot.id)
        self.put(run, step(task, TaskLeased(*about), run.retry, self.now_s))
        if slot.started is lease:
            begun = step(run.tasks[task.id], AttemptStarted(*about), run.retry, self.now_s)
            self.put(run, begun)

    def note_other(self, run: Run, held: Task) -> None:
        """Note who is at a task still that it was held by, and is no more."""
        slot = self.runners.get(held.runner) if held.runner is not None else None
        if slot is not None and slot.holds((run.id, held.id), held.attempt, held.epoch):
            self.flows[run.id].others.setdefault(held.id, []).append(slot.id)

    # --- who holds what ------------------------------------------------------------------------

    def hold(self, run: Run, slot: RunnerSlot, lease: Lease, task: Task) -> None:
        """Queue a lease on a runner."""
        self.put(run, task)
        key = (lease.run, lease.task)
        assert key not in slot.queue, lease  # It would be taken up (`take_up`).
        if slot.strange_s is not None and not slot.queue:
            slot.strange_s = self.now_s  # It had nothing to begin until now.
        flow = self.flows[run.id]
        flow.held += 1
        flow.on[slot.id] = flow.on.get(slot.id, 0) + 1
        flow.served_s = self.now_s
        if slot.holder is None:
            self.party(run.tenant).take(slot)
            _leave(self.idle, slot)
        slot.queue[key] = lease
        self.meters.touched[slot.id] = None
        if len(slot.queue) == 2:  # noqa: PLR2004 - one that runs, and one behind it.
            self.parties[slot.holder or run.tenant].deep[slot.id] = slot

    def let_go(self, slot: RunnerSlot, key: Key) -> None:
        """Take a lease from a runner's queue."""
        lease = slot.queue.pop(key)
        self.meters.touched[slot.id] = None
        slot.revoking.discard(key)
        if lease is slot.started:
            slot.started = None
            if slot.strange_s is not None:
                slot.strange_s = self.now_s  # Until now it was at this one, as far as we know.
        flow = self.flows[lease.run]
        flow.held -= 1
        flow.on[slot.id] -= 1
        if not flow.on[slot.id]:
            del flow.on[slot.id]
        assert slot.holder is not None
        party = self.parties[slot.holder]
        if len(slot.queue) == 1:
            party.deep.pop(slot.id, None)
        if not slot.queue:
            party.leave(slot)
            slot.alone = False
        if not slot.shut:
            _enter(self.hungry if slot.queue else self.idle, slot)
            if not slot.queue:
                _leave(self.hungry, slot)

    def forget(self, runner: RunnerId, fact: AboutAttempt) -> None:
        """Take the lease that a runner speaks of from its queue: it is done with it."""
        slot = self.runners.get(runner)
        if slot is None:
            return
        key = (fact.run, fact.task)
        lease = slot.queue.get(key)
        if lease is not None and (lease.attempt, lease.epoch) == (fact.attempt, fact.epoch):
            self.let_go(slot, key)
        slot.revoking.discard(key)

    def begin(self, slot: RunnerSlot, fact: AboutAttempt, timeout_s: float) -> bool:
        """Note that a runner began a lease, if it holds it, and when it will be too late to end."""
        lease = slot.begin((fact.run, fact.task), fact.attempt, fact.epoch, self.now_s)
        if lease is not None and timeout_s:
            self.timed += 1
            due_s = self.now_s + timeout_s
            heapq.heappush(self.deadlines, (due_s, self.timed, slot.id, lease))
        return lease is not None

    def fed(self, slot: RunnerSlot, *, is_full: bool) -> None:
        """Note that a runner was looked at: a full one is not, before it has ended something."""
        if is_full:
            _leave(self.hungry, slot)
        elif slot.queue and not slot.shut:
            _enter(self.hungry, slot)

    def begin_strange(self, slot: RunnerSlot) -> None:
        """Note that a runner works on what was given to others."""
        slot.strange_s = self.now_s
        self.strange[slot.id] = slot

    # --- runners that come and go --------------------------------------------------------------

    def join(self, slot: RunnerSlot) -> None:
        """Take in a runner that holds nothing yet."""
        self.runners[slot.id] = slot
        self.cluster.count(slot, 1)
        _enter(self.idle, slot)

    def doom(self, slot: RunnerSlot) -> None:
        """Give a runner nothing more: it is being ended, or gone."""
        slot.dying = True
        self._shut(slot)

    def vacate(self, slot: RunnerSlot) -> None:
        """Give a runner nothing more: its node is being taken away, or others need its place."""
        slot.leaving = True
        self.leaving[slot.id] = slot
        self._shut(slot)

    def _shut(self, slot: RunnerSlot) -> None:
        if slot.shut:
            return
        slot.shut = True
        self.cluster.count(slot, -1)
        _leave(self.idle, slot)
        _leave(self.hungry, slot)

    def part(self, runner: RunnerId) -> RunnerSlot | None:
        """Take a runner out, with its queue as it is: `let_go` of each lease is to follow."""
        slot = self.runners.pop(runner, None)
        self.strange.pop(runner, None)
        self.leaving.pop(runner, None)
        if slot is not None:
            self.doom(slot)
        return slot

    def clear_runners(self) -> None:
        """Forget all runners: nobody holds anything."""
        self.runners.clear()
        self.zombies.clear()
        self.losing.clear()
        self.nodes.clear()
        self.draining.clear()
        self.leaving.clear()
        self.cluster = Cluster()
        self.parties.clear()
        self.idle.clear()
        self.hungry.clear()
        self.deadlines.clear()
        self.claims.clear()
        self.unused_s.clear()
        self.ended.clear()
        self.admitting.clear()
        self.blocking.clear()
        self.used = Counter()
        for held in self.units.values():
            self.used.update(held)
        self.strange.clear()

    # --- whose turn it is ----------------------------------------------------------------------

    def party(self, tenant: TenantId) -> Party:
        """Return what is known of a tenant."""
        found = self.parties.get(tenant)
        if found is None:
            found = self.parties[tenant] = Party(tenant, self.policy.of(tenant).weight)
        return found

    def enlist(self, run: Run) -> None:
        """Let a run have its turns: something of it may be ready."""
        self.party(run.tenant).runs[run.id] = None

    def offer(self, run: Run, task: Task, *, alone: bool = False) -> None:
        """Queue a ready task for the next leases; a suspect gets a runner to itself."""
        flow = self.flows[run.id]
        flow.offered(self.now_s)
        # What is given anew may be asked to be cut, or tried a second time, anew.
        flow.second.discard(task.id)
        flow.cutting.pop(task.id, None)
        queue(run, flow, task, alone=bool(task.strikes) or alone)
        self.enlist(run)

    def refill(self, run: Run) -> None:
        """Queue all of a run's open tasks afresh."""
        before = self.flows[run.id]
        after = self.flows[run.id] = flow_of(run)
        after.held, after.solving = before.held, before.solving
        after.given, after.others = before.given, before.others
        after.on = before.on
        after.asked = before.asked  # Or nobody would know that it is to be let go of.
        after.served_s = self.now_s
        self.quota_due_s = 0.0  # It is looked at before it is given anything.
        self.enlist(run)


def _enter(kinds: dict[Kind, dict[RunnerId, RunnerSlot]], slot: RunnerSlot) -> None:
    kinds.setdefault(slot.kind, {})[slot.id] = slot


def _leave(kinds: dict[Kind, dict[RunnerId, RunnerSlot]], slot: RunnerSlot) -> None:
    some = kinds.get(slot.kind)
    if some is not None and some.pop(slot.id, None) is not None and not some:
        del kinds[slot.kind]
