"""The scheduler: events in, commands out.

`handle` is the only mutator. It does no I/O, reads no clock (`event.at_s`), draws no luck and calls
nobody back, so the Ray host, the in-process host, the simulator and a replay of the journal drive
the same code and get the same answers.

What is durable lives in `Run`, and only durable facts change it; leases, runners and back-offs
live in `RunnerSlot` and `Flow` and die with the process.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from rayorch.core import (
    attempts,
    granting,
    holding,
    lifecycle,
    limiting,
    metering,
    nodes,
    placing,
    settling,
)
from rayorch.core.accounts import Accounts
from rayorch.core.book import Book
from rayorch.core.commands import Command, FindRunners, MakePlan
from rayorch.core.facts import (
    AttemptFailed,
    AttemptFinished,
    AttemptLost,
    AttemptProgressed,
    AttemptStarted,
    Event,
    Fact,
    LeaseReturned,
    Led,
    PlacementFailed,
    PlacementKept,
    PlacementReady,
    PlanFailed,
    PlanReady,
    PublishFailed,
    RunCancelRequested,
    RunFailed,
    RunnerJoined,
    RunnerLost,
    RunResumed,
    RunStopRequested,
    RunSubmitted,
    RunSwept,
    SecondTry,
    SinkPublished,
    StagePlanned,
    Ticked,
)
from rayorch.core.flow import Flow
from rayorch.core.leasing import RunnerSlot
from rayorch.core.limit_facts import (
    PolicyApplied,
    RunAdmitted,
    RunBlocked,
    RunHeld,
    UnitsFreed,
    UnitsTaken,
)
from rayorch.core.node_facts import (
    NodeDraining,
    NodeJoined,
    NodeLost,
    NodesMetered,
    NodeWithdrawn,
    PoolIdled,
    RunnerRefused,
)
from rayorch.core.queueing import flow_of
from rayorch.core.run import Run, RunState, Snapshot
from rayorch.core.task import HELD
from rayorch.core.wanting import ensure_runners
from rayorch.errors import InvalidTransitionError, UnknownRunError
from rayorch.ids import Epoch, EventId, RunId, RunnerId

Commands = tuple[Command, ...]

HANDLERS: Final[Mapping[type[Fact], Callable[[Book, Any, Event], Iterable[Command]]]] = {
    Ticked: granting.tick,
    RunSubmitted: lifecycle.submit,
    PlanReady: lifecycle.plan_ready,
    PlanFailed: lifecycle.plan_failed,
    SecondTry: lifecycle.second_try,
    StagePlanned: lifecycle.stage_planned,
    NodeWithdrawn: nodes.node_withdrawn,
    PlacementReady: placing.placement_ready,
    PlacementFailed: placing.placement_failed,
    PlacementKept: placing.placement_kept,
    PoolIdled: placing.pool_idled,
    PolicyApplied: limiting.policy_applied,
    RunAdmitted: limiting.run_admitted,
    RunBlocked: limiting.run_blocked,
    RunHeld: holding.run_held,
    UnitsTaken: limiting.units_taken,
    UnitsFreed: limiting.units_freed,
    NodesMetered: metering.nodes_metered,
    RunStopRequested: lifecycle.stop,
    RunCancelRequested: lifecycle.cancel,
    RunResumed: lifecycle.resume,
    RunFailed: lifecycle.run_failed,
    SinkPublished: lifecycle.sink_published,
    PublishFailed: lifecycle.publish_failed,
    RunSwept: lifecycle.swept,
    Led: lifecycle.lead,
    AttemptFinished: attempts.attempt_finished,
    AttemptFailed: attempts.attempt_failed,
    AttemptLost: attempts.attempt_failed,
    AttemptStarted: attempts.attempt_started,
    AttemptProgressed: attempts.attempt_progressed,
    LeaseReturned: attempts.lease_returned,
    NodeJoined: nodes.node_joined,
    NodeDraining: nodes.node_draining,
    NodeLost: nodes.node_lost,
    RunnerRefused: nodes.runner_refused,
    RunnerJoined: attempts.runner_joined,
    RunnerLost: attempts.runner_lost,
}
"""The function that each kind of fact goes to."""


class Machine:
    """The state of one home: its runs and, while somebody leads, the runners."""

    def __init__(self) -> None:
        self.book = Book()
        self.through = EventId(0)
        self.at_s = 0.0  # of the latest event

    @property
    def runs(self) -> Mapping[RunId, Run]:
        """All runs of the home, oldest first."""
        return self.book.runs

    @property
    def flows(self) -> Mapping[RunId, Flow]:
        """The volatile side of each run."""
        return self.book.flows

    @property
    def runners(self) -> Mapping[RunnerId, RunnerSlot]:
        """The runners that are known to live."""
        return self.book.runners

    @property
    def accounts(self) -> Accounts:
        """What nodes cost, and what of it nobody paid for."""
        return self.book.accounts

    @property
    def epoch(self) -> Epoch:
        """The epoch of the newest leader."""
        return self.book.epoch

    def handle(self, event: Event) -> Commands:
        """Apply one event and return what is to be done about it.

        Raises: UnknownRunError, InvalidTransitionError; nothing has changed then.
        """
        fact = event.fact
        self.book.now_s = event.at_s
        commands = tuple(HANDLERS[type(fact)](self.book, fact, event))
        self._passed(event)
        return commands

    def fold(self, event: Event) -> None:
        """Apply an event of the journal again.

        The live machine refused some events only after they were journaled: a report about a run
        that this home does not know, an impossible pair. They change nothing this time either.
        """
        try:
            self.handle(event)
        except (UnknownRunError, InvalidTransitionError):
            # It was answered when the event was new (its run was failed, by a later event).
            self._passed(event)

    def _passed(self, event: Event) -> None:
        self.through = event.id
        self.at_s = max(self.at_s, event.at_s)

    def admitted(self, fact: Fact) -> Fact:
        """Return what the host is to stamp in a fact's place: nearly always the fact itself.

        A failure that is no news only says that its runner is done with a lease, and that is
        asked again when its turn comes: the same batch may hold, before it, the news that the
        runner joined with that lease.
        """
        if not isinstance(fact, AttemptFailed | AttemptLost) or self.admits(fact):
            return fact
        run = self.runs.get(fact.run)
        if run is None or not 0 <= fact.task < len(run.tasks):
            return Ticked()
        return LeaseReturned(fact.run, fact.task, fact.attempt, fact.epoch, fact.runner)

    def admits(self, fact: Fact) -> bool:
        """Say whether a fact is news; see `admitted`.

        A failure that a runner reports for a lease which it no longer holds says nothing about
        the attempt that holds it now. (Finished work is always welcome.) One that it does hold
        ends, also when its task was committed by another or cancelled meanwhile.
        """
        if not isinstance(fact, AttemptFailed | AttemptLost):
            return True
        run = self.runs.get(fact.run)
        if run is None or not 0 <= fact.task < len(run.tasks):
            return False
        reported = (fact.attempt, fact.epoch)
        slot = self.runners.get(fact.runner)
        lease = slot.queue.get((fact.run, fact.task)) if slot is not None else None
        if lease is not None and (lease.attempt, lease.epoch) == reported:
            return True
        task = run.tasks[fact.task]
        return task.state in HELD and (task.attempt, task.epoch) == reported

    def outstanding(self, cause: EventId, at_s: float) -> Commands:
        """Return what a new leader has to ask for again: plans, publications, sweeps, runners."""
        commands: list[Command] = []
        for run in self.runs.values():
            flow = self.flows[run.id]
            flow.publishing.clear()
            flow.planning.clear()
            flow.sweeping = False
            if run.state is RunState.PLANNING:
                commands.append(MakePlan(cause, run.id))
            elif run.state is RunState.RUNNING:
                commands.extend(ensure_runners(run, flow, cause, at_s))
                placement = run.placement
                if placement is not None and not placement.is_final:
                    commands.append(placing.solve(self.book, run, cause, at_s))
            commands.extend(settling.settle(self.book, run, cause, at_s))
        if self.book.units:
            commands.append(FindRunners(cause, tuple(self.book.units)))
        return tuple(commands)

    def snapshot(self) -> Snapshot:
        """Return the durable state, for the journal to keep."""
        book, runs = self.book, list(self.runs.values())
        return Snapshot(self.through, runs, self.at_s, book.policy, book.units, book.accounts)

    def restore(self, snapshot: Snapshot) -> None:
        """Start from a snapshot instead of from nothing."""
        assert not self.book.runs
        self.through = snapshot.through
        self.at_s = snapshot.at_s
        self.book.policy, self.book.units = snapshot.policy, snapshot.units
        for held in snapshot.units.values():
            self.book.used.update(held)
        self.book.accounts = snapshot.accounts
        for run in snapshot.runs:
            self.book.runs[run.id] = run
            self.book.flows[run.id] = flow_of(run)
