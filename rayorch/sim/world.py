"""The simulated world: one seed decides every duration, every fault and every order."""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

from connectors.errors import StoreError
from connectors.store import Store
from rayorch.core.commands import Lease
from rayorch.core.facts import Event, RunnerJoined
from rayorch.core.run import ENDED, RunState
from rayorch.core.values import ExchangeResult, WrittenBy
from rayorch.errors import FencedError, InvariantError, JournalDamagedError, JournalStuckError
from rayorch.ids import RunId, RunnerId
from rayorch.sim.agenda import BEGIN_S, Agenda, MachineClock
from rayorch.sim.bills import Bills
from rayorch.sim.cluster import SimCluster
from rayorch.sim.config import Fate, SimConfig, SimFaults, SimPool
from rayorch.sim.control import CrashedError, SimControl
from rayorch.sim.exchange import SimExchange, Sources, Writers
from rayorch.sim.oracle import TOLD_S, Oracle, Token
from rayorch.sim.person import DATABASE_STAGE, Person
from rayorch.sim.ports import ControlPort, PlacerMaker, PlacerPort
from rayorch.sim.store import HAZARDS, STAGING, FlakyStore, Hazard, Mishap, StagingTrouble
from rayorch.sim.traits import drawn
from rayorch.sim.trouble import Trouble

LONG_S: Final = 3 * 3600.0
"""Longer than the journal's retention."""

MISHAPS: Final[tuple[Mishap, ...]] = ("request lost", "reply lost", "late")


class World:
    """Everything but the control plane under test, and the seed that moves it."""

    def __init__(
        self,
        seed: int,
        config: SimConfig,
        store: Callable[[Agenda], Store],
        tell: Callable[[float, str], None] | None = None,
        placer: PlacerMaker | None = None,
    ) -> None:
        self._placer = placer
        self._tell = tell
        self.config = config
        self.faults: SimFaults = config.faults
        self.luck = random.Random(seed)  # noqa: S311 - luck that can be had again.
        self.seen: Counter[str] = Counter()  # events by kind, and what went wrong
        self.agenda = Agenda()
        self.over = False  # somebody looks at what is left, and nothing may happen to it
        self.store = FlakyStore(store(self.agenda), self._mishap, self._hazard, self.agenda)
        self.oracle = Oracle()
        self.exchange = SimExchange()
        self.exchanged: set[RunId] = set()
        self.traits = drawn(seed, config)
        self.bills = Bills(self.agenda, {pool.name: pool.usd_core_h for pool in config.pools})
        self.cluster = SimCluster(self)
        self.leader = SimControl(self)
        self.frozen: list[SimControl] = []
        self.events = 0
        self.work_s = 0.0
        self.asleep_until_s = 0.0
        self.task_counts: dict[RunId, tuple[int, ...]] = {}
        self._flawed: dict[tuple[RunId, int], Fate] = {}
        self._trouble = Trouble(self, self.cluster)
        self._person = Person(self)

    def tell(self, what: str, *about: object) -> None:
        """Tell what happens to whoever wants to hear it."""
        if self._tell is not None:
            self._tell(self.agenda.elapsed_s, " ".join([what, *map(str, about)]))

    # --- luck --------------------------------------------------------------------------------

    @property
    def faulty(self) -> bool:
        """Whether things still go wrong."""
        return not self.over and self.agenda.at_s - BEGIN_S < self.faults.until_s

    def happens(self, fault: str) -> bool:
        """Say whether a fault happens now, which `SimFaults` has the chance of by this name."""
        # Asked a dozen times for each task, so all in one place.
        faults = self.faults
        if self.over or self.agenda.at_s - BEGIN_S >= faults.until_s:
            return False
        if self.luck.random() >= getattr(faults, fault):
            return False
        self.seen[fault] += 1
        return True

    def strikes(self, fault: str) -> bool:
        """As `happens`, for what the first worlds did not know: without a chance, without luck."""
        return getattr(self.faults, fault) > 0.0 and self.happens(fault)

    def coin(self, chance: float) -> bool:
        """Toss a coin that is no fault: an order, a choice that both are right."""
        return self.luck.random() < chance

    def new_placer(self) -> PlacerPort | None:
        """Return the planner of a control actor, if this world has one."""
        if self._placer is None or not self.traits.solved:
            return None
        return self._placer(self.config, elastic=self.traits.elastic)

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
        if self.happens("attempt_fails"):
            return self.luck.choice(faults.attempt_kinds)
        if self.happens("attempt_hangs"):
            return "hangs"
        return "kills" if self.happens("attempt_kills") else "finishes"

    def _mishap(self, _key: str) -> Mishap | None:
        return self.luck.choice(MISHAPS) if self.happens("store_unsure") else None

    def _hazard(self, call: str) -> Hazard | None:
        return next((each for each in HAZARDS[call] if self.happens(f"store_{each}")), None)

    def new_clock(self) -> MachineClock:
        """Return the clock of the machine that a control actor starts on."""
        wrong = self.happens("clock_wrong")
        return MachineClock(self.agenda, self._shift_s() if wrong else 0.0)

    def _shift_s(self) -> float:
        return self.luck.choice((-1.0, 1.0)) * self.luck.expovariate(1.0 / LONG_S)

    def lost_of(self, lease: Lease, sources: Sources) -> Writers:
        """Return the files that an attempt finds missing; luck may lose one now."""
        if sources.listed and self.happens("exchange_lost"):
            self.exchange.lose(lease.run, self.luck.choice(sources.listed))
        return self.exchange.missing(lease.run, sources)

    def staging_trouble(self) -> StagingTrouble | None:
        """Return what befalls an attempt that writes its files, if anything does."""
        return self.luck.choice(STAGING) if self.strikes("staging_fails") else None

    def schema_of(self, lease: Lease) -> str:
        """Return the schema of an attempt's output: mostly as that of all others."""
        return "other" if self.strikes("schema_differs") else "one"

    def saw(self, control: ControlPort, event: Event) -> None:
        """Look at what an event did, if it is the leader's."""
        fact = event.fact
        kind = type(fact).__name__
        self.seen[kind] = self.seen.get(kind, 0) + 1  # For each event: `+=` is in Python here.
        if control is self.leader:
            self.bills.saw(control.machine, event)
            if isinstance(fact, RunnerJoined):
                self.oracle.met(control.machine, fact, self.agenda.now_s())

    def parts_of(self, lease: Lease) -> tuple[ExchangeResult, ...]:
        """Return the exchange files that an attempt has written."""
        if lease.run not in self.exchanged or lease.stage == self.traits.stages - 1:
            return ()
        return self.exchange.written(WrittenBy(lease.task, lease.attempt, lease.epoch))

    # --- what happens --------------------------------------------------------------------------

    def begin(self, token: Token, runner: RunnerId, silent_until_s: float) -> None:
        """Note that an attempt begins."""
        # What was said to a runner while it was not heard reaches it a little after that, and what
        # a control actor has slept past happens in the order in which it was due.
        due_s = self.agenda.due_s
        self.oracle.begin(token, runner, due_s if due_s > silent_until_s + TOLD_S else 0.0)
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
                self._person.ensure_submitted(run)

        self.guard(control, begin)

    def _fell(self, control: ControlPort) -> None:
        control.alive = False
        self.tell("control actor dies, epoch", control.epoch)
        if control is not self.leader:
            return
        self.oracle.fell()
        if control.clean:
            self.oracle.remember(control.machine)
        elif not control.epoch and self.frozen:
            self.oracle.forget()  # The one before it may go on: it has not been fenced.
        self.agenda.after(self.luck.uniform(0.1, 3.0), partial(self.lead, interrupts=False))

    def _usurp(self) -> None:
        """Freeze the control actor and start another; the first wakes later and goes on."""
        old = self.leader
        self.tell("control actor is frozen, and another starts, epoch", old.epoch)
        old.frozen_until_s = self.agenda.now_s() + self.absence_s(0.5, 8.0)
        self.frozen.append(old)
        if old.clean:
            self.oracle.remember(old.machine)
        self.lead(interrupts=False)

    # --- the run of things ---------------------------------------------------------------------

    def begin_all(self) -> None:
        """Start the control plane, submit the runs, and let things go wrong."""
        for i in range(self.config.runs):
            run = RunId(f"run-{i}")
            most = self.traits.tasks_max
            least = most if self.config.is_even else 1
            counts = [self.luck.randint(least, most) for _ in range(self.traits.stages)]
            self.task_counts[run] = tuple(counts)
            if self.traits.stages > 1 and self.coin(self.config.exchanged):
                self.exchanged.add(run)
                if self.traits.merged and self.coin(0.3):
                    self.task_counts[run] = (*counts[:-2], 0, counts[-1])
            for task in range(sum(counts)):
                if self.happens("poisoned"):
                    self._flawed[run, task] = "kills"
                elif self.happens("broken"):
                    self._flawed[run, task] = "user"
        self.lead(interrupts=True)
        self._person.watch()
        self._wreck()

    def overdue(self) -> bool:
        """Say whether everything should have ended long ago."""
        elapsed_s = self.agenda.at_s - BEGIN_S
        if elapsed_s <= self.faults.until_s:
            return False  # Looked at before each step: the rest takes longer.
        quiet_s = max(self.faults.until_s, self.asleep_until_s)
        return elapsed_s > quiet_s + self.config.patience_s

    def done(self) -> bool:
        """Say whether every run has ended and been swept, and every control actor has woken."""
        if self.faulty:
            return False
        for run_id in self.task_counts:
            run = self._person.known(run_id)
            if run is None or run.state not in ENDED or not run.swept:
                return False
        return all(self.agenda.now_s() > each.frozen_until_s + 1.0 for each in self.frozen)

    def absence_s(self, low_s: float, high_s: float) -> float:
        """Return how long somebody is away: now and then for hours."""
        if not self.happens("long_sleep"):
            return self.luck.uniform(low_s, high_s)
        self.asleep_until_s = self.agenda.elapsed_s + LONG_S
        return LONG_S

    # --- what goes wrong -----------------------------------------------------------------------

    def _wreck(self) -> None:
        """Let one thing go wrong, and plan the next."""
        if not self.faulty:
            return
        faults = self.faults
        acts: dict[str, Callable[[], None]] = {
            "runner_crash": self._trouble.crash_runner,
            "runner_pause": self._trouble.pause_runner,
            "node_taken": self._trouble.take_node,
            "control_crash": lambda: self.guard(self.leader, _crash),
            "control_usurped": self._usurp,
            "clock_jump": self._set_clock,
            "link_cut": self._trouble.cut_links,
            "pool_lost": self._trouble.lose_pool,
            "cluster_death": self._kill_cluster,
            "person": self._person.meddle,
            "node_lost": self._trouble.lose_node,
            "pool_warned": self._trouble.warn_pool,
        }
        weights = [getattr(faults, fault) for fault in acts]
        fault = self.luck.choices(list(acts), weights)[0]
        if self.leader.alive:
            self.seen[fault] += 1
            acts[fault]()
        self.agenda.after(self.luck.expovariate(1.0 / faults.every_s), self._wreck)

    def _set_clock(self) -> None:
        self.tell("the control actor's clock is set")
        self.leader.clock.ahead_s += self._shift_s()

    def _kill_cluster(self) -> None:
        self.tell("the cluster dies")
        self.cluster.die()
        control = self.leader
        control.alive = False
        if control.clean:
            self.oracle.remember(control.machine)
        self.agenda.after(self.absence_s(0.5, 3.0), partial(self.lead, interrupts=True))

    def succeeded(self) -> int:
        """Return how many runs have come to a good end."""
        runs = self.leader.machine.runs.values()
        return sum(run.state is RunState.SUCCEEDED for run in runs)


def _crash() -> None:
    raise CrashedError
