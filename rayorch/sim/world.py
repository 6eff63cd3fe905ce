"""The simulated world: one seed decides every duration, every fault and every order."""

import random
from collections.abc import Callable
from functools import partial
from typing import Final

from connectors.errors import StoreError
from connectors.store import Store
from rayorch.core.commands import Lease
from rayorch.core.facts import Fact, RunCancelRequested, RunResumed, RunStopRequested, RunSubmitted
from rayorch.core.limit_facts import PolicyApplied
from rayorch.core.policy import Limit, Policy
from rayorch.core.run import ENDED, RESUMABLE, Run, RunState
from rayorch.core.values import ExchangeResult, RetryLimits, StageShape, WrittenBy
from rayorch.errors import FencedError, InvariantError, JournalDamagedError, JournalStuckError
from rayorch.ids import RunId, TenantId
from rayorch.sim.agenda import Agenda, MachineClock
from rayorch.sim.cluster import SimCluster
from rayorch.sim.config import Fate, SimConfig, SimFaults, SimPool
from rayorch.sim.control import CrashedError, SimControl
from rayorch.sim.exchange import SimExchange, Sources, Writers
from rayorch.sim.oracle import Oracle, Token
from rayorch.sim.ports import ControlPort
from rayorch.sim.store import FlakyStore, Hazard, Mishap

DATABASE: Final = "database"
"""An outside resource that the first stage of each run uses."""
DATABASE_STAGE: Final = 0
LONG_S: Final = 3 * 3600.0
"""Longer than the journal's retention."""
WATCH_S: Final = 1.0
"""How often the simulated person looks at the runs while something is left to do."""

MISHAPS: Final[tuple[Mishap, ...]] = ("request lost", "reply lost", "late")


class World:
    """Everything but the control plane under test, and the seed that moves it."""

    def __init__(
        self,
        seed: int,
        config: SimConfig,
        store: Callable[[Agenda], Store],
        tell: Callable[[float, str], None] | None = None,
    ) -> None:
        self._tell = tell
        self.config = config
        self.faults: SimFaults = config.faults
        self.luck = random.Random(seed)  # noqa: S311 - luck that can be had again.
        self.agenda = Agenda()
        self.over = False  # somebody looks at what is left, and nothing may happen to it
        self.store = FlakyStore(store(self.agenda), self._mishap, self._hazard, self.agenda)
        self.oracle = Oracle()
        self.exchange = SimExchange()
        self.exchanged: set[RunId] = set()
        self.cluster = SimCluster(self)
        self.leader = SimControl(self)
        self.frozen: list[SimControl] = []
        self.events = 0
        self.work_s = 0.0
        self.asleep_until_s = 0.0
        self.task_counts: dict[RunId, tuple[int, ...]] = {}
        self._versions: dict[RunId, int] = {}
        self._flawed: dict[tuple[RunId, int], Fate] = {}
        self._asked: dict[RunId, float] = {}

    def tell(self, what: str, *about: object) -> None:
        """Tell what happens to whoever wants to hear it."""
        if self._tell is not None:
            self._tell(self.agenda.elapsed_s, " ".join([what, *map(str, about)]))

    # --- luck --------------------------------------------------------------------------------

    @property
    def faulty(self) -> bool:
        """Whether things still go wrong."""
        return not self.over and self.agenda.elapsed_s < self.faults.until_s

    def happens(self, chance: float) -> bool:
        """Say whether a fault of this chance happens now."""
        return self.faulty and self.luck.random() < chance

    def coin(self, chance: float) -> bool:
        """Toss a coin that is no fault: an order, a choice that both are right."""
        return self.luck.random() < chance

    def new_nonce(self) -> str:
        """Return what makes a segment unlike any other."""
        return f"{self.luck.getrandbits(64):016x}"

    def latency_s(self) -> float:
        """Return how long a message takes."""
        return self.luck.expovariate(1.0 / self.config.network_s)

    def duration_s(self, pool: SimPool) -> float:
        """Return how long an attempt takes on a pool."""
        seconds = self.config.task_s * self.luck.lognormvariate(0.0, self.config.task_sigma)
        return min(seconds, self.config.timeout_s / 2) / pool.speed

    def fate_of(self, lease: Lease) -> Fate:
        """Decide how an attempt ends: by its task, then by luck."""
        flaw = self._flawed.get((lease.run, lease.task))
        if flaw is not None and lease.version == "v0":
            return flaw
        faults = self.faults
        if self.happens(faults.attempt_fails):
            return self.luck.choice(faults.attempt_kinds)
        if self.happens(faults.attempt_hangs):
            return "hangs"
        return "kills" if self.happens(faults.attempt_kills) else "finishes"

    def _mishap(self, _key: str) -> Mishap | None:
        return self.luck.choice(MISHAPS) if self.happens(self.faults.store_unsure) else None

    def _hazard(self, call: str) -> Hazard | None:
        chances = self.faults.hazards(call)
        return next((hazard for hazard, chance in chances if self.happens(chance)), None)

    def new_clock(self) -> MachineClock:
        """Return the clock of the machine that a control actor starts on."""
        wrong = self.happens(self.faults.clock_wrong)
        return MachineClock(self.agenda, self._shift_s() if wrong else 0.0)

    def _shift_s(self) -> float:
        return self.luck.choice((-1.0, 1.0)) * self.luck.expovariate(1.0 / LONG_S)

    def lost_of(self, lease: Lease, sources: Sources) -> Writers:
        """Return the files that an attempt finds missing; luck may lose one now."""
        if sources.listed and self.happens(self.faults.exchange_lost):
            self.exchange.lose(lease.run, self.luck.choice(sources.listed))
        return self.exchange.missing(lease.run, sources)

    def parts_of(self, lease: Lease) -> tuple[ExchangeResult, ...]:
        """Return the exchange files that an attempt has written."""
        if lease.run not in self.exchanged or lease.stage == self.stages - 1:
            return ()
        return self.exchange.written(WrittenBy(lease.task, lease.attempt, lease.epoch))

    # --- what happens --------------------------------------------------------------------------

    def begin(self, token: Token) -> None:
        """Note that an attempt begins."""
        self.oracle.begin(token)
        if not self.config.database_units:
            return
        running = [runner.running for runner in self.cluster.living()]
        users = sum(each is not None and each.stage == DATABASE_STAGE for each in running)
        if users > self.config.database_units:
            raise InvariantError("an outside resource is held within its limit", f"{users} tasks")

    def stage(self, token: Token, duration_s: float) -> None:
        """Note that an attempt has written its files."""
        self.oracle.stage(token, duration_s)

    def worked(self, duration_s: float) -> None:
        """Note what a runner did, whatever came of it."""
        self.work_s += duration_s

    @staticmethod
    def sink_of(stage: int) -> int:
        """Return the sink that a stage writes: its own."""
        return stage

    def guard(self, control: ControlPort, act: Callable[[], None]) -> None:
        """Let a control actor act; bury it when it dies of it."""
        if not control.alive:
            return
        try:
            act()
        except (CrashedError, StoreError, JournalStuckError):
            self._fell(control)  # It dies, or says so and stops; somebody starts another.
        except JournalDamagedError:
            if not self.store.corrupted:
                raise
            self._fell(control)
        except FencedError:
            control.alive = False
            if control is self.leader:
                raise

    # --- control actors ------------------------------------------------------------------------

    def lead(self, *, interrupts: bool) -> None:
        """Start a control actor; it may die while it starts, and is then started again."""
        control = self.leader = SimControl(self)

        def begin() -> None:
            control.start(interrupts=interrupts)
            for run in self.task_counts:
                self._ensure_submitted(run)

        self.guard(control, begin)

    def _fell(self, control: ControlPort) -> None:
        control.alive = False
        self.tell("control actor dies, epoch", control.epoch)
        if control is not self.leader:
            return
        if control.clean:
            self.oracle.remember(control.machine)
        elif not control.epoch and self.frozen:
            self.oracle.forget()  # The one before it may go on: it has not been fenced.
        self.agenda.after(self.luck.uniform(0.1, 3.0), partial(self.lead, interrupts=False))

    def _usurp(self) -> None:
        """Freeze the control actor and start another; the first wakes later and goes on."""
        old = self.leader
        self.tell("control actor is frozen, and another starts, epoch", old.epoch)
        old.frozen_until_s = self.agenda.now_s() + self._absence_s(0.5, 8.0)
        self.frozen.append(old)
        if old.clean:
            self.oracle.remember(old.machine)
        self.lead(interrupts=False)

    # --- the run of things ---------------------------------------------------------------------

    def begin_all(self) -> None:
        """Start the control plane, submit the runs, and let things go wrong."""
        for i in range(self.config.runs):
            run = RunId(f"run-{i}")
            most = self.config.tasks_max
            least = most if self.config.is_even else 1
            counts = [self.luck.randint(least, most) for _ in range(self.stages)]
            self.task_counts[run] = tuple(counts)
            self._versions[run] = 0
            if self.stages > 1 and self.coin(self.config.exchanged):
                self.exchanged.add(run)
                if self.config.merged and self.coin(0.3):
                    self.task_counts[run] = (*counts[:-2], 0, counts[-1])
            for task in range(sum(counts)):
                if self.happens(self.faults.poisoned):
                    self._flawed[run, task] = "kills"
                elif self.happens(self.faults.broken):
                    self._flawed[run, task] = "user"
        self.lead(interrupts=True)
        self._watch()
        self._wreck()

    @property
    def stages(self) -> int:
        """How many stages each run has."""
        return self.config.stages

    def overdue(self) -> bool:
        """Say whether everything should have ended long ago."""
        quiet_s = max(self.faults.until_s, self.asleep_until_s)
        return self.agenda.elapsed_s > quiet_s + self.config.patience_s

    def done(self) -> bool:
        """Say whether every run has ended and been swept, and every control actor has woken."""
        runs = [self._known(run) for run in self.task_counts]
        ended = all(run is not None and run.state in ENDED and run.swept for run in runs)
        awake = all(self.agenda.now_s() > each.frozen_until_s + 1.0 for each in self.frozen)
        return ended and awake and not self.faulty

    def _known(self, run: RunId) -> Run | None:
        return self.leader.machine.runs.get(run) if self.leader.alive else None

    def _watch(self) -> None:
        """Be the person: submit what is unknown, resume what has stopped."""
        for run_id in self.task_counts:
            run = self._known(run_id)
            if run is None:
                self._ensure_submitted(run_id)
            elif run.state in RESUMABLE and self.agenda.now_s() >= self._asked.get(run_id, 0.0):
                pause_s = self._absence_s(0.5, 5.0)
                self._asked[run_id] = self.agenda.now_s() + pause_s + 5.0
                self.agenda.after(pause_s, partial(self._resume, run_id))
        self.agenda.after(WATCH_S if not self._idle() else 60.0, self._watch)

    def _idle(self) -> bool:
        """Whether everything that is left is somebody's long sleep."""
        known = [self._known(run) for run in self.task_counts]
        over = ENDED | RESUMABLE
        return not self.faulty and all(run is not None and run.state in over for run in known)

    def _ensure_policy(self) -> None:
        """Say once what may be held of the database."""
        units = self.config.database_units
        if units and self.leader.alive and not self.leader.machine.book.policy.limits:
            self._ask(PolicyApplied(Policy(limits=(Limit(DATABASE, units),))))

    def _ensure_submitted(self, run: RunId) -> None:
        self._ensure_policy()
        if self.leader.alive and run not in self.leader.machine.runs:
            last = self.stages - 1 if run in self.exchanged else -1
            readers = (last, last - 1) if last > 0 and self.config.merged else (last,)
            uses = ((DATABASE, 1),) if self.config.database_units else ()
            stages = tuple(
                StageShape(
                    name=f"stage-{i}",
                    timeout_s=self.config.timeout_s,
                    sinks=(i,),
                    uses=uses if i == DATABASE_STAGE else (),
                    after=tuple(range(i)) if i in readers else (),
                )
                for i in range(self.stages)
            )
            sinks = tuple(f"sink-{i}" for i in range(self.stages))
            retry = RetryLimits(attempts_max=4, backoff_s=0.2, backoff_s_max=2.0)
            tenant = TenantId(f"tenant-{int(run.rpartition('-')[2]) % self.config.tenants}")
            self._ask(RunSubmitted(run, run, "v0", stages, sinks, retry=retry, tenant=tenant))

    def _resume(self, run: RunId) -> None:
        self._versions[run] += 1
        self._ask(RunResumed(run=run, version=f"v{self._versions[run]}"))

    def _ask(self, fact: Fact) -> None:
        self.leader.offer((fact,), None)

    def _absence_s(self, low_s: float, high_s: float) -> float:
        if not self.happens(self.faults.long_sleep):
            return self.luck.uniform(low_s, high_s)
        self.asleep_until_s = self.agenda.elapsed_s + LONG_S
        return LONG_S

    # --- what goes wrong -----------------------------------------------------------------------

    def _wreck(self) -> None:
        """Let one thing go wrong, and plan the next."""
        if not self.faulty:
            return
        faults = self.faults
        choices: list[tuple[int, Callable[[], None]]] = [
            (faults.runner_crash, self._crash_runner),
            (faults.runner_pause, self._pause_runner),
            (faults.node_taken, self._take_node),
            (faults.control_crash, lambda: self.guard(self.leader, _crash)),
            (faults.control_usurped, self._usurp),
            (faults.clock_jump, self._set_clock),
            (faults.link_cut, self._cut_link),
            (faults.pool_lost, self._lose_pool),
            (faults.cluster_death, self._kill_cluster),
            (faults.person, self._meddle),
        ]
        weights = [weight for weight, _ in choices]
        _, act = self.luck.choices(choices, weights)[0]
        if self.leader.alive:
            act()
        self.agenda.after(self.luck.expovariate(1.0 / faults.every_s), self._wreck)

    def _crash_runner(self) -> None:
        if living := self.cluster.living():
            preempted = self.coin(0.3)
            runner = self.luck.choice(living)
            self.cluster.crash(runner.id, "preempted" if preempted else "lost")

    def _pause_runner(self) -> None:
        if living := [runner for runner in self.cluster.living() if not runner.silent]:
            self.cluster.pause(self.luck.choice(living), self._absence_s(0.5, 12.0))

    def _set_clock(self) -> None:
        self.tell("the control actor's clock is set")
        self.leader.clock.ahead_s += self._shift_s()

    def _cut_link(self) -> None:
        """Cut some runners off, one after the other; they are heard again in an order of luck."""
        self.tell("links are cut")
        for runner in self.cluster.living():
            if not runner.silent and self.coin(0.4):
                self.cluster.cut_off(runner, self._absence_s(0.5, 12.0))

    def _lose_pool(self) -> None:
        pool = self.luck.choice(self.config.pools)
        self.tell("a pool is lost:", pool.name)
        for runner in self.cluster.living():
            if runner.pool is pool:
                self.cluster.crash(runner.id, "preempted")

    def _take_node(self) -> None:
        if living := self.cluster.living():
            self.cluster.drain(self.luck.choice(living), self.luck.uniform(0.0, 20.0))

    def _kill_cluster(self) -> None:
        self.tell("the cluster dies")
        self.cluster.die()
        control = self.leader
        control.alive = False
        if control.clean:
            self.oracle.remember(control.machine)
        self.agenda.after(self._absence_s(0.5, 3.0), partial(self.lead, interrupts=True))

    def _meddle(self) -> None:
        run = self.luck.choice(list(self.task_counts))
        if self._known(run) is None:
            return
        cancels = self.coin(0.1)
        self._ask(RunCancelRequested(run=run) if cancels else RunStopRequested(run=run))

    def succeeded(self) -> int:
        """Return how many runs have come to a good end."""
        runs = self.leader.machine.runs.values()
        return sum(run.state is RunState.SUCCEEDED for run in runs)


def _crash() -> None:
    raise CrashedError
