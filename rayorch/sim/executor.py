"""The simulator's cluster as an Executor: a host that is real, runners that are not.

Time is virtual: each `check` lets the next thing happen. So whoever drives the host decides how
fast the runners are, and the same seed gives the same facts in the same order.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from connectors.stores.memory import MemoryStore
from rayorch.core.commands import (
    AskNodes,
    CutTask,
    EnsureRunners,
    FindRunners,
    KillRunner,
    RevokeLeases,
    SendLeases,
)
from rayorch.core.facts import Fact
from rayorch.core.sizes import Size
from rayorch.sim.agenda import Agenda
from rayorch.sim.config import CALM, SimConfig, SimFaults, SimPool
from rayorch.sim.control import SimControl
from rayorch.sim.ports import Heard
from rayorch.sim.world import World


class Listener(Protocol):
    """What a host is to its runners."""

    def offer(self, facts: Sequence[Fact]) -> object:
        """Take facts."""
        ...


class SimExecutor:
    """Simulated runners on one seed; by default nothing goes wrong with them by itself."""

    def __init__(
        self, seed: int, pools: tuple[SimPool, ...] = (SimPool(),), faults: SimFaults = CALM
    ) -> None:
        self.world = World(seed, SimConfig(pools=pools, faults=faults), _memory)
        self._pools = pools

    @property
    def slots(self) -> int:
        """How many runners fit."""
        return sum(pool.runners for pool in self._pools)

    @property
    def pools(self) -> Mapping[str, int]:
        """How many runners of one core fit in each pool."""
        return {pool.name: pool.runners * max(1, int(pool.cores)) for pool in self._pools}

    @property
    def machines(self) -> Mapping[str, Collection[Size]]:
        """How large the machines of each pool are."""
        return {pool.name: (pool.size,) for pool in self._pools}

    def why_fixed(self) -> str:
        """Return why there are no other machines."""
        return "the simulated cluster is of a fixed size"

    def attach(self, host: Listener) -> None:
        """Meet the host; tell it of runners that live already."""
        ear = _Ear(self.world, host)
        self.world.leader = ear
        self.world.cluster.attach(ear)

    def start(
        self,
        command: EnsureRunners
        | AskNodes
        | SendLeases
        | RevokeLeases
        | CutTask
        | KillRunner
        | FindRunners,
    ) -> None:
        """Begin to carry out a command."""
        self.world.cluster.execute(command)

    def check(self, now_s: float) -> None:
        """Let the next thing happen."""
        del now_s
        self.world.agenda.step()

    def release(self) -> None:
        """Let all runners go."""
        for runner in self.world.cluster.living():
            self.world.cluster.crash(runner.id, "preempted")

    def close(self) -> None:
        """Let go of the host. The runners live on, for whoever attaches next."""
        self.world.leader.alive = False


class _Ear(SimControl):
    """Stands where the simulated control actor does, and passes on what the runners say."""

    def __init__(self, world: World, host: Listener) -> None:
        super().__init__(world)
        self._host = host

    def offer(self, facts: tuple[Fact, ...], heard: Heard | None) -> None:
        """Pass facts on."""
        if not self.alive:
            return
        self._host.offer(facts)
        if heard is not None:
            heard()


def _memory(agenda: Agenda) -> MemoryStore:
    return MemoryStore("simulated-executor", now_s=agenda.now_s)
