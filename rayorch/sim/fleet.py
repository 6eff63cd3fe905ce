"""The machines of a trial: they start when they are asked for, and go when they are not needed.

Each pool is a spot process of its own: it comes and goes as a whole, as placement takes it to.
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from rayorch.core.facts import Fact, RunnerLost
from rayorch.core.node_facts import NodeJoined, NodeLost
from rayorch.ids import NodeId, RunnerId

if TYPE_CHECKING:
    from rayorch.core.commands import Lease

HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPool:
    """Machines that are alike, as they are in one trial.

    Units: `node_cores` of a machine; `provision_s` until it is billed, `boot_s` from then until its
    runners are there; `slowness` times the seconds of each attempt. `there` are machines that run
    already and stay, and `joins_s` until each of their runners has joined, in turn; more come up to
    `nodes_max`. At `gone_s` the pool goes for good.
    """

    name: str
    nodes_max: int
    runners: int = 1
    runner_cores: float = 1.0
    node_cores: float = 1.0
    memory_bytes: int = 1 << 40
    provision_s: float = 0.0
    boot_s: float = 0.0
    reclaims_per_h: float = 0.0
    outage_s: float = 0.0
    slowness: float = 1.0
    there: int = 0
    joins_s: tuple[float, ...] = ()
    gone_s: float | None = None


class TrialRunner:
    """One runner: works its queue first in, first out."""

    __slots__ = (
        "alive",
        "begun_s",
        "ends_s",
        "id",
        "is_busy",
        "node",
        "pool",
        "queue",
        "running",
        "seen",
    )

    def __init__(self, runner: RunnerId, pool: TrialPool, node: NodeId) -> None:
        self.id = runner
        self.pool = pool
        self.node = node
        self.queue: list[Lease] = []
        self.running: Lease | None = None
        self.alive = True
        self.is_busy = False  # with what passes between two attempts
        self.begun_s = self.ends_s = 0.0
        self.seen: set[int] = set()  # stages that it has run a task of


class TrialPort(Protocol):
    """A trial, to its machines."""

    @property
    def at_s(self) -> float:
        """Seconds since the submission."""
        ...

    def offer(self, *facts: Fact) -> None:
        """Queue facts."""
        ...

    def joined(self, runner: TrialRunner) -> None:
        """Let the scheduler know of a runner."""
        ...

    def look_anew(self) -> None:
        """Have the placement looked at now."""
        ...

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do something later."""
        ...


@dataclass(slots=True)
class _Node:
    id: NodeId
    pool: TrialPool
    runners: dict[RunnerId, TrialRunner]
    is_up: bool = False  # billed


class Fleet:
    """All machines of a trial. `most` counts the machines that each pool had at once.

    `standing` has how many a pool has from when on, each time that this changes.
    """

    def __init__(self, trial: TrialPort, pools: Sequence[TrialPool], seed: int) -> None:
        self._trial = trial
        self._pools = {pool.name: pool for pool in pools}
        self._luck = {
            # One for each pool: what befalls one has nothing to do with how often others are asked.
            pool.name: random.Random(f"{seed}/{pool.name}")  # noqa: S311 - luck to be had again.
            for pool in pools
        }
        self.runners: dict[RunnerId, TrialRunner] = {}
        self.most: Counter[str] = Counter()
        self.lost = 0
        self.standing: list[tuple[float, str, int]] = []
        self._nodes: dict[NodeId, _Node] = {}
        self._down: set[str] = set()
        self._gone: set[str] = set()
        self._wanted: dict[str, int] = {}
        self._count = 0
        self._is_closed = False
        self._is_asked = False

    def begin(self) -> None:
        """Let the machines be there that are, and begin the life of each pool."""
        for pool in self._pools.values():
            for _ in range(pool.there):
                node = self._new_node(pool)
                self._up(node)
            self._wanted[pool.name] = pool.there
            if pool.reclaims_per_h:
                self._trial.after(self._until_reclaim(pool), partial(self._reclaim, pool))
            if pool.gone_s is not None:
                self._trial.after(pool.gone_s, partial(self._lose_for_good, pool))

    @property
    def is_gone(self) -> bool:
        """Whether every pool is gone for good."""
        return len(self._gone) == len(self._pools)

    def there(self) -> dict[str, int]:
        """Return how many slots of one core each pool has now."""
        slots: Counter[str] = Counter()
        for node in self._nodes.values():
            if node.runners:
                slots[node.pool.name] += int(node.pool.node_cores)
        return dict(slots)

    def ask(self, wanted: Mapping[str, int]) -> None:
        """Have so many machines of each pool, and of the others those that are there."""
        for pool in self._pools.values():
            self._wanted[pool.name] = max(pool.there, wanted.get(pool.name, 0))
            self._fill(pool)

    def ensure(self) -> None:
        """Have the runners of machines that are there; they take a while to join."""
        if self._is_asked:
            return
        self._is_asked = True
        for pool in self._pools.values():
            joins_s = itertools.cycle(pool.joins_s or (0.0,))
            nodes = [node for node in self._nodes.values() if node.pool is pool and node.is_up]
            for node in nodes:
                for number in range(pool.runners):
                    self._trial.after(next(joins_s), partial(self._join, node, number))

    def end(self, runner_id: RunnerId) -> None:
        """End a runner, and with the last one its machine."""
        runner = self.runners.get(runner_id)
        if runner is None:
            return
        node = self._nodes[runner.node]
        self._bury(runner, "it was ended")
        if not node.runners:
            self._remove(node)

    def close(self) -> None:
        """Let all machines go: nothing comes any more."""
        self._is_closed = True
        for node in list(self._nodes.values()):
            self._remove(node)

    # --- coming ---------------------------------------------------------------------------------

    def _fill(self, pool: TrialPool) -> None:
        mine = [node for node in self._nodes.values() if node.pool is pool]
        surplus = len(mine) - self._wanted[pool.name]
        for node in [each for each in mine if not each.is_up][: max(0, surplus)]:
            del self._nodes[node.id]  # Not there yet: it is asked for no more.
        if pool.name in self._down or self._is_closed:
            return
        for _ in range(min(self._wanted[pool.name], pool.nodes_max) - len(mine)):
            node = self._new_node(pool)
            self._trial.after(pool.provision_s, partial(self._provisioned, node))

    def _new_node(self, pool: TrialPool) -> _Node:
        self._count += 1
        node = _Node(NodeId(f"{pool.name}-{self._count}"), pool, {})
        self._nodes[node.id] = node
        return node

    def _provisioned(self, node: _Node) -> None:
        if self._nodes.get(node.id) is node:
            self._up(node)
            for number in range(node.pool.runners):
                self._trial.after(node.pool.boot_s, partial(self._join, node, number))

    def _up(self, node: _Node) -> None:
        node.is_up = True
        pool = node.pool
        self.most[pool.name] = max(self.most[pool.name], self._stand(pool))
        self._trial.offer(NodeJoined(node.id, pool.name, pool.node_cores))

    def _stand(self, pool: TrialPool) -> int:
        """Note how many machines a pool has now."""
        alive = sum(each.pool is pool and each.is_up for each in self._nodes.values())
        self.standing.append((self._trial.at_s, pool.name, alive))
        return alive

    def _join(self, node: _Node, number: int) -> None:
        if self._nodes.get(node.id) is node:
            runner = TrialRunner(RunnerId(f"{node.id}/{number}"), node.pool, node.id)
            node.runners[runner.id] = self.runners[runner.id] = runner
            self._trial.joined(runner)

    # --- going ----------------------------------------------------------------------------------

    def _until_reclaim(self, pool: TrialPool) -> float:
        return self._luck[pool.name].expovariate(pool.reclaims_per_h / HOUR_S)

    def _reclaim(self, pool: TrialPool) -> None:
        if pool.name in self._gone:
            return
        self._lose(pool)
        outage_s = self._luck[pool.name].expovariate(1.0 / pool.outage_s) if pool.outage_s else 0.0
        self._trial.after(outage_s, partial(self._back, pool))

    def _lose_for_good(self, pool: TrialPool) -> None:
        self._gone.add(pool.name)
        self._lose(pool)

    def _lose(self, pool: TrialPool) -> None:
        self._down.add(pool.name)
        for node in [each for each in self._nodes.values() if each.pool is pool]:
            self.lost += node.is_up
            self._remove(node)
        self._trial.look_anew()

    def _back(self, pool: TrialPool) -> None:
        if pool.name in self._gone:
            return
        self._down.discard(pool.name)
        self._fill(pool)
        self._trial.after(self._until_reclaim(pool), partial(self._reclaim, pool))

    def _remove(self, node: _Node) -> None:
        for runner in list(node.runners.values()):
            self._bury(runner, "its machine is gone")
        del self._nodes[node.id]
        if node.is_up:
            self._stand(node.pool)
            self._trial.offer(NodeLost(node.id, node.pool.name, "it is gone"))

    def _bury(self, runner: TrialRunner, reason: str) -> None:
        runner.alive = False
        del self.runners[runner.id]
        self._nodes[runner.node].runners.pop(runner.id)
        self._trial.offer(RunnerLost(runner.id, "preempted", reason))
