"""A trial: one run on the real scheduler, and machines that are what somebody says they are.

Where a campaign (`campaign.py`) looks for what breaks, a trial asks how long a run takes and what
it costs. So there is no journal and no oracle here, and nothing goes wrong but what the machines
are said to do: start late, be slow, be taken away. What the run is made of, and what its planner
answers, is a `Workload`.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final

import msgspec

from rayorch.core.accounts import NANO, NodeAccount, whole
from rayorch.core.commands import (
    AskNodes,
    Command,
    CutTask,
    EnsureRunners,
    KillRunner,
    Lease,
    MakePlan,
    PlanStage,
    PublishSink,
    Record,
    RevokeLeases,
    SendLeases,
    SolvePlacement,
    SweepRun,
)
from rayorch.core.facts import (
    AttemptFinished,
    AttemptStarted,
    Event,
    Fact,
    LeaseReturned,
    Led,
    PlacementKept,
    RunnerJoined,
    RunSwept,
    SinkPublished,
    Ticked,
)
from rayorch.core.machine import Machine
from rayorch.core.placed import Paid
from rayorch.core.run import ACTIVE, Run, RunState
from rayorch.ids import Epoch, EventId, NodeId, RunId, RunnerId, TaskId
from rayorch.sim.agenda import Action, Agenda
from rayorch.sim.fleet import Fleet, TrialPool, TrialRunner
from rayorch.sim.turns import ControlCpu, Told
from rayorch.sim.workload import Answer, Workload

DONE: Final = b"done"
"""In the place of what a task that was cut has read: nobody reads it again."""
WAIT_S_MIN: Final = 1e-6
"""Less than a clock of the epoch can tell is no time."""
STEPS_MAX: Final = 5_000_000
"""Nothing that ends takes so many."""


class TrialOutcome(msgspec.Struct, frozen=True):
    """What came of a trial, by pool. `nodes` has the most that each had; `usd` is None if unknown.

    `standing` has from when on a pool had how many: seconds since the submission, pool, machines.
    """

    finished: bool
    whole_s: float
    usd: dict[str, float] | None
    core_hours: dict[str, float]
    nodes: dict[str, int]
    committed: int
    events: int
    placements: int
    lost_nodes: int
    state: str
    standing: tuple[tuple[float, str, int], ...] = ()


class Trial:
    """One run, from its submission to its end."""

    def __init__(self, workload: Workload, pools: Sequence[TrialPool], seed: int) -> None:
        self.agenda = Agenda()
        self.machine = Machine()
        self.events = 0
        self.placements = 0
        self._work = workload
        self._inbox: list[Fact] = []
        self._turn_due = False
        self._cpu = ControlCpu()
        self._run = RunId("")
        self._pending: SolvePlacement | None = None
        self._stands: set[str] = set()  # pools
        self.fleet = Fleet(self, pools, seed)

    @property
    def at_s(self) -> float:
        """Seconds since the submission."""
        return self.agenda.elapsed_s

    @property
    def run(self) -> Run:
        """The run."""
        return self.machine.runs[self._run]

    def go(self) -> TrialOutcome:
        """Let the run go to its end."""
        submitted = self._work.submitted()
        self._run = submitted.run
        # It leads on: machines that are there are known.
        self.offer(Led(Epoch(1), interrupts=False), submitted)
        self.fleet.begin()
        self._tick()
        for _ in range(STEPS_MAX):
            if not self.agenda.step() or self.at_s > self._work.patience_s:
                break
            if self._is_over():
                break
        return self._outcome()

    def offer(self, *facts: Fact) -> None:
        """Queue facts for the scheduler's next turn."""
        self._inbox.extend(facts)
        if not self._turn_due:
            self._turn_due = True
            self.agenda.after(self._work.turn_s, self._turn)

    def _is_over(self) -> bool:
        run = self.machine.runs.get(self._run)
        if run is None:
            return False
        return run.state not in ACTIVE or (self.fleet.is_less and self._is_hopeless(run))

    def _is_hopeless(self, run: Run) -> bool:
        """Say whether something is left of a run for which there can be no machines any more."""
        flow = self.machine.flows[run.id]
        sizes = {size for size in flow.sizes if flow.left(size)}
        sizes.update(flow.sizes[stage] for stage in run.unplanned)
        return not all(self.fleet.can_have(size) for size in sizes)

    def _outcome(self) -> TrialOutcome:
        run = self.run
        whole_s = (run.finished_s or self.agenda.now_s()) - run.submitted_s
        self.fleet.close()
        self._handle(self._taken())
        billed = {pool: self._cost(pool) for pool in self.machine.accounts.billed}
        usd = {pool: each.nano_usd / NANO for pool, each in billed.items()}
        for pools in run.ledger.values():
            for pool, spent in pools.items():
                usd[pool] = usd.get(pool, 0.0) + spent.egress_usd + spent.request_usd
        is_priced = not any(each.unpriced_core_s for each in billed.values())
        return TrialOutcome(
            finished=run.state is RunState.SUCCEEDED,
            whole_s=whole_s,
            usd=usd if is_priced else None,
            core_hours={pool: each.core_s / 3600.0 for pool, each in billed.items()},
            nodes=dict(self.fleet.most),
            committed=run.committed,
            events=self.events,
            placements=self.placements,
            lost_nodes=self.fleet.lost,
            state=run.state.value,
            standing=tuple(self.fleet.standing),
        )

    def _cost(self, pool: str) -> Paid:
        """Return what the run costs of a pool: all of its machines, if they came for the run.

        Those that stand cost it what it pays for them: while they wait for it, or for others, that
        is nobody's.
        """
        if pool in self._stands:
            return whole(self.run.paid.get(pool, {}))
        return self.machine.accounts.billed[pool]

    # --- the scheduler's turn -------------------------------------------------------------------

    def _tick(self) -> None:
        self.offer()
        self.agenda.after(self._work.tick_s, self._tick)

    def _turn(self) -> None:
        """Handle what has come, once there was the time for it; what comes meanwhile waits."""
        facts, now_s = self._taken(), self.agenda.now_s()
        wait_s = self._cpu.through_s(now_s, self._told(facts)) - now_s
        if wait_s > WAIT_S_MIN:
            self._turn_due = True
            self.agenda.after(wait_s, partial(self._handle, facts))
        else:
            self._handle(facts)

    def _taken(self) -> list[Fact]:
        facts, self._inbox = self._inbox, []
        return facts

    def _told(self, facts: Iterable[Fact]) -> Iterator[Told]:
        for fact in facts:
            if isinstance(fact, AttemptFinished):
                stage = self.run.tasks[fact.task].stage
                yield Told(self._work.tasks_each(stage), fact.output.seconds.total_s)

    def _handle(self, facts: list[Fact]) -> None:
        self._turn_due = False
        while facts:
            facts = self._fed(facts)
        if facts := self._fed([Ticked()]):
            self._inbox = [*facts, *self._inbox]
            self._turn()
        elif self._inbox:
            self.offer()

    def _fed(self, facts: Iterable[Fact]) -> list[Fact]:
        """Stamp and handle facts, carry out what is asked; return what is to be recorded."""
        now_s = self.agenda.now_s()
        recorded: list[Fact] = []
        for fact in facts:
            self.events += 1
            event = Event(EventId(self.events), now_s, self.machine.admitted(fact))
            for command in self.machine.handle(event):
                if isinstance(command, Record):
                    recorded.append(command.fact)
                else:
                    self._execute(command)
        return recorded

    def _execute(self, command: Command) -> None:  # noqa: C901 - one case a command.
        match command:
            case SendLeases():
                self._enqueue(self.fleet.runners.get(command.runner), command)
            case RevokeLeases():
                self._revoke(self.fleet.runners.get(command.runner), command)
            case CutTask():
                self._cut(self.fleet.runners.get(command.runner), command.lease)
            case KillRunner():
                self.fleet.end(command)
            case AskNodes():
                self.fleet.ask({each.pool: each.count for each in command.nodes})
            case EnsureRunners():
                self.fleet.ensure(command)
            case MakePlan():
                self._later(self._work.planned(self.agenda.now_s()))
            case PlanStage():
                self._later(self._work.divided(command))
            case SolvePlacement():
                self._look(command)
            case PublishSink(run=run, sink=sink):
                published = SinkPublished(run, sink, "1", 0, 0, 0)
                self._later((self._work.publish_s(), (published,)))
            case SweepRun(run=run):
                self.offer(RunSwept(run, 0))
            case _:
                pass  # Exchange files and schemas are nobody's here.

    def _later(self, answer: Answer) -> None:
        after_s, facts = answer
        self.agenda.after(after_s, partial(self.offer, *facts))

    # --- the placement --------------------------------------------------------------------------

    def _look(self, command: SolvePlacement) -> None:
        """Look at the placement; until the answer is told, nobody looks at it again."""
        after_s, facts = self._work.placed(command, self.fleet.there())
        self._pending = command

        def told() -> None:
            if self._pending is command:
                self._pending = None
                self.placements += any(not isinstance(fact, PlacementKept) for fact in facts)
                self.offer(*facts)

        self.agenda.after(after_s, told)

    def look_anew(self) -> None:
        """Have the placement looked at now: a pool has changed, whatever was to be answered."""
        if self._pending is not None:
            self.offer(PlacementKept(self._pending.run))
            self._pending = None

    # --- machines and runners ------------------------------------------------------------------

    def after(self, delay_s: float, action: Action) -> None:
        """Do something later."""
        self.agenda.after(delay_s, action)

    def joined(self, runner: TrialRunner) -> None:
        """Let the scheduler know of a runner."""
        cores, memory_bytes, gpus = runner.size
        joined = RunnerJoined(
            runner.id, runner.pool.name, cores, memory_bytes, node=runner.node, gpus=gpus
        )
        self.offer(joined)

    def stands(self, node: NodeId, pool: TrialPool) -> None:
        """Begin the account of a machine that was there before the run, as a host has it."""
        self._stands.add(pool.name)
        began_s = self.agenda.now_s() - (pool.stood_s or 0.0)
        used = {self._run: 0.0} if pool.stood_s is None else {}
        account = NodeAccount(pool.name, pool.size.cores, began_s, began_s, used)
        self.machine.accounts.nodes[node] = account

    def _enqueue(self, runner: TrialRunner | None, command: SendLeases) -> None:
        if runner is None:
            return
        runner.queue.extend(command.leases)
        if runner.running is None and not runner.is_busy:
            self._begin(runner)

    def _revoke(self, runner: TrialRunner | None, command: RevokeLeases) -> None:
        if runner is None:
            return
        back = [lease for lease in runner.queue if lease in command.leases]
        runner.queue = [lease for lease in runner.queue if lease not in command.leases]
        if command.halt and runner.running in command.leases:
            assert runner.running is not None
            back.append(runner.running)
            runner.running = None
            self._begin(runner)
        self.offer(*(LeaseReturned(*_about(lease, runner)) for lease in back))

    def _begin(self, runner: TrialRunner) -> None:
        if not runner.queue or not runner.alive:
            return
        lease = runner.running = runner.queue.pop(0)
        self.offer(AttemptStarted(*_about(lease, runner)))
        run, is_first = self.run, lease.stage not in runner.seen
        runner.seen.add(lease.stage)
        rest = run.splits.get(lease.task, b"")
        first = run.first_tasks.get(lease.stage)
        duration_s = self._work.attempt_s(
            lease, first, b"" if rest == DONE else rest, is_first=is_first
        )
        duration_s *= runner.pool.slowness / self._work.speed(lease, runner.pool.name)
        runner.begun_s = self.agenda.now_s()
        runner.ends_s = runner.begun_s + duration_s
        self.agenda.after(duration_s, partial(self._end, runner, lease))

    def _cut(self, runner: TrialRunner | None, lease: Lease) -> None:
        """End a running attempt at the next place where its input can be cut."""
        if runner is None or runner.running is not lease:
            return
        now_s = self.agenda.now_s()
        left_s = runner.ends_s - now_s
        after_s, rests = self._work.cut(lease, now_s - runner.begun_s, left_s)
        if rests:
            runner.ends_s = now_s + after_s
            self.agenda.after(after_s, partial(self._end, runner, lease, rests))

    def _end(self, runner: TrialRunner, lease: Lease, rests: tuple[bytes, ...] = ()) -> None:
        if not runner.alive or runner.running is not lease:
            return
        runner.running = None
        output = self._work.output(lease, self.agenda.now_s() - runner.begun_s)
        if rests:
            output = msgspec.structs.replace(output, cut=(DONE, *rests))
        self.offer(AttemptFinished(*_about(lease, runner), output, runner.pool.name, lease.revived))
        runner.is_busy = True
        self.agenda.after(self._work.overhead_s(lease), partial(self._next, runner))

    def _next(self, runner: TrialRunner) -> None:
        runner.is_busy = False
        if runner.running is None:
            self._begin(runner)


def _about(lease: Lease, runner: TrialRunner) -> tuple[RunId, TaskId, int, Epoch, RunnerId]:
    return (lease.run, lease.task, lease.attempt, lease.epoch, runner.id)
