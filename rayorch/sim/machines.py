"""The machines of a simulated cluster: which are up, which go, and who is told of it."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Final

from rayorch.core.commands import AskNodes
from rayorch.core.facts import Fact
from rayorch.core.node_facts import NodeDraining, NodeJoined, NodeLost
from rayorch.ids import NodeId, RunId
from rayorch.sim.config import SimPool
from rayorch.sim.ports import ControlPort, WorldPort

NODE_RUNNERS: Final = 2
"""Runners of one pool that share a machine."""
EXTRA_MAX: Final = 2
"""Machines of an elastic pool, beyond those that are always there."""


class Machines:
    """All machines that are up. They outlive control actors."""

    def __init__(self, world: WorldPort) -> None:
        self._world = world
        self.up: dict[NodeId, SimPool] = {}
        self.draining: dict[NodeId, NodeDraining] = {}
        self._count = 0
        self._asked: dict[RunId, Counter[str]] = {}
        self._extra: dict[NodeId, None] = {}  # that were asked for
        self._coming: Counter[str] = Counter()

    def room(self, pool: SimPool) -> int:
        """Return how many runners of a pool fit on the machines that there are, or can be."""
        extra = sum(self.up[node] is pool for node in self._extra if node not in self.draining)
        return pool.runners + extra * NODE_RUNNERS

    def for_runner(self, pool: SimPool, counts: "Counter[NodeId]") -> NodeId:
        """Return a machine of a pool with room for one more runner; `counts` are those there."""
        # Where nobody tells of machines, one that is empty is gone.
        known = self.up if self._world.config.told_nodes else counts
        for node in known:
            is_mine = self.up.get(node) is pool and node not in self.draining
            if is_mine and counts[node] < NODE_RUNNERS:
                return node
        return self._start(pool)

    def introduce(self, control: ControlPort) -> None:
        """Tell a new control actor what is up."""
        for node in self.up if self._world.config.told_nodes else ():
            control.offer((self._joined(node),), None)

    def ask(self, command: AskNodes) -> None:
        """Have the machines that runs ask for, in place of those that they asked for before."""
        self._asked[command.run] = Counter({each.pool: each.count for each in command.nodes})
        for pool in self._world.config.pools if self._world.traits.elastic else ():
            mine = sum(self.up[node] is pool for node in self._extra)
            for _ in range(self._wanted(pool) - mine - self._coming[pool.name]):
                self._coming[pool.name] += 1
                self._world.agenda.after(pool.startup_s, partial(self._come, pool))

    def let_go(self, occupied: "Counter[NodeId]") -> None:
        """Let machines go that were asked for, are not any more, and have no runner."""
        for node in [each for each in self._extra if not occupied[each]]:
            mine = [each for each in self._extra if self.up[each] is self.up[node]]
            if len(mine) > self._wanted(self.up[node]):
                self.lose(node, "nobody asks for it", late_s=1.0)

    def lose(self, node: NodeId, reason: str, late_s: float) -> None:
        """Have a machine be gone; whoever leads hears of it a little later."""
        pool = self.up.pop(node)
        self._extra.pop(node, None)
        self.draining.pop(node, None)
        self._world.bills.ended(node)
        lost = NodeLost(node, pool.name, reason)
        later_s = self._world.luck.uniform(0.0, late_s)
        self._world.agenda.after(later_s, partial(self._offer, lost))

    def drain(self, node: NodeId, notice_s: float) -> NodeDraining:
        """Say that a machine is going to be taken away."""
        until_s = self._world.agenda.now_s() + notice_s
        draining = NodeDraining(node, self.up[node].name, "simulated notice", until_s)
        self.draining[node] = draining
        later_s = self._world.luck.uniform(0.0, 2.0)
        self._world.agenda.after(later_s, partial(self._offer, draining))
        return draining

    def die(self) -> None:
        """Lose all machines, with nobody left to tell; those that drained are told of till then."""
        for node in [each for each in self.up if each not in self.draining]:
            del self.up[node]
            self._world.bills.ended(node)
        self._extra = {node: None for node in self._extra if node in self.up}

    # --- one machine ------------------------------------------------------------------------------

    def _wanted(self, pool: SimPool) -> int:
        return min(EXTRA_MAX, sum(asked[pool.name] for asked in self._asked.values()))

    def _come(self, pool: SimPool) -> None:
        self._coming[pool.name] -= 1
        if sum(self.up[node] is pool for node in self._extra) < self._wanted(pool):
            self._extra[self._start(pool)] = None

    def _start(self, pool: SimPool) -> NodeId:
        self._count += 1
        node = NodeId(f"{pool.name}-node-{self._count}")
        self.up[node] = pool
        self._world.bills.began(node, pool.name, pool.cores * NODE_RUNNERS)
        if self._world.config.told_nodes:
            self._world.tell("a machine is there:", node)
            self._offer(self._joined(node))
        return node

    def _joined(self, node: NodeId) -> NodeJoined:
        pool = self.up[node]
        cores = pool.cores * NODE_RUNNERS
        return NodeJoined(
            node,
            pool.name,
            cores,
            pool.memory_bytes * NODE_RUNNERS,
            usd_h=pool.usd_core_h * cores,
        )

    def _offer(self, fact: Fact) -> None:
        self._world.leader.offer((fact,), None)

    def of(self, pool: SimPool) -> Iterator[NodeId]:
        """Yield the machines of a pool that nobody takes away yet."""
        yield from (n for n, own in self.up.items() if own is pool and n not in self.draining)
