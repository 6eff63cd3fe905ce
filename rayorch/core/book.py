"""The machine's books: runs, their volatile sides, runners, and who holds what.

Handlers change state through these methods alone, so that a task, the queue it is in and the count
of what its run holds never disagree.
"""

import heapq
from collections.abc import Iterable
from typing import Protocol

from rayorch.core.commands import EnsureRunners, Lease
from rayorch.core.facts import Event, PlacementReady
from rayorch.core.leasing import RunnerSlot
from rayorch.core.run import ACTIVE, RUN_KINDS, RUN_TRANSITIONS, Flow, Run, RunState
from rayorch.core.task import Task, TaskLeased, TaskState, step
from rayorch.errors import InvalidTransitionError, UnknownRunError
from rayorch.ids import Epoch, EventId, RunId, RunnerId, TaskId


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
    """All state of the machine. `runs` is durable; the rest dies with the process."""

    def __init__(self) -> None:
        self.epoch = Epoch(0)
        self.runs: dict[RunId, Run] = {}
        self.flows: dict[RunId, Flow] = {}
        self.runners: dict[RunnerId, RunnerSlot] = {}
        # Runners that lost their leases but may still write, and the runs that they wrote for.
        self.zombies: dict[RunnerId, frozenset[RunId]] = {}
        self.turn = 0
        self.ticked_s = 0.0

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
        if task.attempt < before.attempt and task.epoch == before.epoch:
            given = self.flows[run.id].given
            given[task.id] = max(before.attempt, given.get(task.id, 0))
        if before.state is not task.state:
            counts = self.flows[run.id].counts[task.stage]
            counts[before.state] -= 1
            counts[task.state] += 1

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
        )
        self.hold(run, slot, lease, after, at_s)
        return lease

    def hold(self, run: Run, slot: RunnerSlot, lease: Lease, task: Task, at_s: float) -> None:
        """Queue a lease on a runner."""
        self.put(run, task)
        key = (lease.run, lease.task)
        if slot.strange_s is not None and not slot.queue:
            slot.strange_s = at_s  # It had nothing to begin until now.
        # Counted once: a runner may get a task again before it has let go of it.
        self.flows[run.id].held += key not in slot.queue
        slot.queue[key] = lease

    def forget(self, runner: RunnerId, fact: AboutAttempt) -> None:
        """Take the lease that a runner speaks of from its queue: it is done with it."""
        slot = self.runners.get(runner)
        if slot is None:
            return
        key = (fact.run, fact.task)
        lease = slot.queue.get(key)
        if lease is not None and (lease.attempt, lease.epoch) == (fact.attempt, fact.epoch):
            del slot.queue[key]
            if lease is slot.started:
                slot.started = None
            self.flows[fact.run].held -= 1
            slot.alone = slot.alone and bool(slot.queue)
        slot.revoking.discard(key)

    def offer(self, run: Run, task: Task, *, alone: bool = False) -> None:
        """Queue a ready task for the next leases; a suspect gets a runner to itself."""
        flow = self.flows[run.id]
        _queue(run, flow, task, alone=bool(task.strikes) or alone)

    def refill(self, run: Run) -> None:
        """Queue all of a run's open tasks afresh."""
        before = self.flows[run.id]
        after = self.flows[run.id] = flow_of(run)
        after.held, after.idle, after.solving = before.held, before.idle, before.solving
        after.given = before.given


def _queue(run: Run, flow: Flow, task: Task, *, alone: bool) -> None:
    if task.stage in run.unplanned:
        flow.aside.setdefault(task.stage, []).append(task.id)
        return
    queue = flow.suspects if alone else flow.ready
    queue.add(task.id, flow.routes.class_of(task.id))


def flow_of(run: Run) -> Flow:
    """Return the volatile side of a run that nobody works on: what is open is ready or waits."""
    flow = Flow(len(run.stages), run.placement)
    for task in run.tasks:
        flow.counts[task.stage][task.state] += 1
        if task.state is TaskState.READY:
            _queue(run, flow, task, alone=task.strikes > 0)
        elif task.state is TaskState.WAITING:
            heapq.heappush(flow.waiting, (task.since_s, task.id))
    return flow


def ensure_runners(run: Run, flow: Flow, cause: EventId, at_s: float) -> Iterable[EnsureRunners]:
    """Ask for runners that fit every stage of a run, where its placement wants them now."""
    cores = max(stage.cores for stage in run.stages)
    memory_bytes = max(stage.memory_bytes for stage in run.stages)
    count_max = len(run.tasks) - run.committed
    placement = run.placement
    if placement is None or not placement.runners:
        yield EnsureRunners(cause, run.id, cores, memory_bytes, count_max)
        return
    flow.wanted = wanted_at(placement, at_s)
    for pool, count in flow.wanted.items():
        if count:
            least = min(count, count_max)
            yield EnsureRunners(cause, run.id, cores, memory_bytes, least, pool)


def wanted_at(placement: PlacementReady, at_s: float) -> dict[str, int]:
    """Return how many runners of each pool a placement wants at a time."""
    wanted: dict[str, int] = {}
    for each in placement.runners:
        if each.at_s <= at_s:
            wanted[each.pool] = each.count
    return wanted
