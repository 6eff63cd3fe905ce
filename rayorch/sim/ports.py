"""What the parts of a simulation know of each other; `World` puts them together."""

import random
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from rayorch.core.commands import Command, Lease, SolvePlacement
from rayorch.core.facts import Event, Fact
from rayorch.core.machine import Machine
from rayorch.core.run import Run
from rayorch.core.values import ExchangeResult
from rayorch.ids import Epoch, RunId, RunnerId
from rayorch.sim.agenda import Agenda, MachineClock
from rayorch.sim.bills import Bills
from rayorch.sim.config import Fate, SimConfig, SimFaults, SimPool
from rayorch.sim.exchange import SimExchange, Sources, Writers
from rayorch.sim.oracle import Oracle, Token
from rayorch.sim.store import FlakyStore, StagingTrouble
from rayorch.sim.traits import Traits

Heard = Callable[[], None]
"""Called when facts are durable and applied."""


class ControlPort(Protocol):
    """A control actor, to whoever has something to tell."""

    alive: bool  # neither dead nor fenced
    clean: bool  # every event in the journal has been applied

    @property
    def machine(self) -> Machine:
        """What it knows."""
        ...

    @property
    def epoch(self) -> Epoch:
        """The epoch under which it leads."""
        ...

    def offer(self, facts: tuple[Fact, ...], heard: Heard | None) -> None:
        """Queue facts."""
        ...


class ClusterPort(Protocol):
    """Where runners live."""

    def slots(self) -> Mapping[str, int]:
        """Return how many runners of one core fit in each pool."""
        ...

    def execute(self, command: Command) -> None:
        """Begin to carry out a command about runners."""
        ...

    def attach(self, control: ControlPort) -> None:
        """Tell a new control actor of the runners that live already."""
        ...

    def report(self, runner_id: RunnerId, facts: tuple[Fact, ...]) -> None:
        """Bring a runner's facts to whoever leads."""
        ...

    def crash(self, runner_id: RunnerId) -> None:
        """End a runner."""
        ...


class PlacerPort(Protocol):
    """A planner with a solver, for one control actor. `there` has one-core slots by pool."""

    def first(
        self, run: Run, counts: Collection[int], there: Mapping[str, int], at_s: float
    ) -> tuple[Fact, ...]:
        """Return a run's first placement."""
        ...

    def look(
        self, command: SolvePlacement, run: Run, there: Mapping[str, int], at_s: float
    ) -> tuple[Fact, ...]:
        """Look at a run's placement."""
        ...

    def guard(self, command: SolvePlacement, there: Mapping[str, int]) -> tuple[Fact, ...]:
        """Return what serves while the solver fails."""
        ...


class PlacerMaker(Protocol):
    """Makes the planner of a control actor, of worlds that have one."""

    def __call__(self, config: SimConfig, *, elastic: bool) -> PlacerPort:
        """Return a planner that knows of no run yet."""
        ...


class WorldPort(Protocol):
    """Time, luck and what is really there."""

    events: int

    @property
    def agenda(self) -> Agenda:
        """Virtual time."""
        ...

    @property
    def config(self) -> SimConfig:
        """What the simulation is made of."""
        ...

    @property
    def faults(self) -> SimFaults:
        """How much goes wrong."""
        ...

    @property
    def luck(self) -> random.Random:
        """The one source of everything that is decided by chance."""
        ...

    @property
    def oracle(self) -> Oracle:
        """What really happened."""
        ...

    @property
    def traits(self) -> Traits:
        """What the seed drew for the whole world."""
        ...

    def new_placer(self) -> PlacerPort | None:
        """Return the planner of a control actor, if the seed's world has one."""
        ...

    @property
    def bills(self) -> Bills:
        """What machines really cost."""
        ...

    @property
    def store(self) -> FlakyStore:
        """The home's store."""
        ...

    @property
    def cluster(self) -> ClusterPort:
        """Where runners live."""
        ...

    @property
    def leader(self) -> ControlPort:
        """The newest control actor."""
        ...

    @property
    def task_counts(self) -> dict[RunId, tuple[int, ...]]:
        """What the planner finds for each run: tasks by stage."""
        ...

    @property
    def exchange(self) -> SimExchange:
        """The exchange files."""
        ...

    @property
    def exchanged(self) -> set[RunId]:
        """The runs whose last stage reads what the others wrote."""
        ...

    def lost_of(self, lease: Lease, sources: Sources) -> Writers:
        """Return the files that an attempt finds missing."""
        ...

    def parts_of(self, lease: Lease) -> tuple[ExchangeResult, ...]:
        """Return the exchange files that an attempt has written."""
        ...

    @property
    def faulty(self) -> bool:
        """Whether things still go wrong."""
        ...

    def tell(self, what: str, *about: object) -> None:
        """Tell what happens to whoever wants to hear it."""
        ...

    def happens(self, fault: str) -> bool:
        """Say whether a fault happens now, by its name among `faults`."""
        ...

    def strikes(self, fault: str) -> bool:
        """As `happens`; without a chance, no luck is drawn."""
        ...

    def absence_s(self, low_s: float, high_s: float) -> float:
        """Return how long somebody is away."""
        ...

    def coin(self, chance: float) -> bool:
        """Toss a coin that is no fault."""
        ...

    def latency_s(self) -> float:
        """Return how long a message takes."""
        ...

    def new_clock(self) -> MachineClock:
        """Return the clock of the machine that a control actor starts on."""
        ...

    def new_nonce(self) -> str:
        """Return what makes a segment unlike any other."""
        ...

    def duration_s(self, pool: SimPool) -> float:
        """Return how long an attempt takes on a pool."""
        ...

    def fate_of(self, lease: Lease) -> Fate:
        """Decide how an attempt ends."""
        ...

    def staging_trouble(self) -> StagingTrouble | None:
        """Return what befalls an attempt that writes its files."""
        ...

    def schema_of(self, lease: Lease) -> str:
        """Return the schema of an attempt's output."""
        ...

    def saw(self, control: ControlPort, event: Event) -> None:
        """Look at what an event did."""
        ...

    def sink_of(self, stage: int) -> int:
        """Return the sink that a stage writes."""
        ...

    def begin(self, token: Token, runner: RunnerId, silent_until_s: float) -> None:
        """Note that an attempt begins."""
        ...

    def stage(self, token: Token, duration_s: float) -> None:
        """Note that an attempt has written its files."""
        ...

    def worked(self, duration_s: float) -> None:
        """Note what a runner did, whatever came of it."""
        ...

    def guard(self, control: ControlPort, act: Callable[[], None]) -> None:
        """Let a control actor act; bury it when it dies of it."""
        ...
