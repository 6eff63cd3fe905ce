"""The machines of a trial: they start when they are asked for, and go when they are not needed.

Each pool is a spot process of its own: it comes and goes as a whole, as placement takes it to.
Runners are of the sizes that the core asks for, where the executor of a real run would start them
(`rayorch.core.places`); what finds no place waits for one, as with Ray.
"""

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from rayorch.core.commands import EnsureRunners, KillRunner
from rayorch.core.facts import Fact, RunnerLost
from rayorch.core.node_facts import NodeJoined, NodeLost
from rayorch.core.nodes import OTHER_SIZE
from rayorch.core.places import Placed, places
from rayorch.core.sizes import PART_MIN, Size
from rayorch.ids import NodeId, RunnerId

if TYPE_CHECKING:
    from rayorch.core.commands import Lease

HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPool:
    """Machines that are alike, as they are in one trial.

    Units: `size` of a machine; `provision_s` until it is billed, `boot_s` from then until its
    runners are there; `slowness` times the seconds of each attempt; `usd_h` of a machine. `there`
    are machines that run already and stay, and `joins_s` until each runner that starts on a machine
    that is there has joined, in turn; more come up to `nodes_max`. At `gone_s` the pool goes for
    good. Others have used those that are there, unless they have waited for `stood_s` until the
    run was submitted, and nobody came: then the run pays for that, too.
    """

    name: str
    nodes_max: int
    size: Size
    provision_s: float = 0.0
    boot_s: float = 0.0
    reclaims_per_h: float = 0.0
    outage_s: float = 0.0
    slowness: float = 1.0
    there: int = 0
    joins_s: tuple[float, ...] = ()
    gone_s: float | None = None
    usd_h: float | None = None
    stood_s: float | None = None


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
        "size",
    )

    def __init__(self, runner: RunnerId, pool: TrialPool, node: NodeId, size: Size) -> None:
        self.id = runner
        self.pool = pool
        self.node = node
        self.size = size
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

    def stands(self, node: NodeId, pool: TrialPool) -> None:
        """Let the scheduler know that a machine was there before the run."""
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
    runners: dict[RunnerId, TrialRunner]  # starting, or there
    is_up: bool = False  # billed
    is_ready: bool = False  # has booted
    stays: bool = False  # was there before the run, and goes on
    made: int = 0  # runners, of all times

    @property
    def left(self) -> Size:
        """What is left of it for more runners."""
        return self.pool.size.without(runner.size for runner in self.runners.values())


@dataclass(frozen=True, slots=True)
class _Asked:
    """A runner that has no place yet."""

    pool: str  # "": any
    size: Size
    kept_off: frozenset[NodeId]


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
        self._joins_s = {pool.name: itertools.cycle(pool.joins_s or (0.0,)) for pool in pools}
        self._nodes: dict[NodeId, _Node] = {}
        self._waiting: list[_Asked] = []
        self._down: set[str] = set()
        self._gone: set[str] = set()
        self._wanted: dict[str, int] = {}
        self._count = 0
        self._is_closed = False

    def begin(self) -> None:
        """Let the machines be there that are, and begin the life of each pool."""
        for pool in self._pools.values():
            for _ in range(pool.there):
                node = self._new_node(pool)
                node.is_ready = node.stays = True
                self._trial.stands(node.id, pool)
                self._up(node)
            self._wanted[pool.name] = pool.there
            if pool.reclaims_per_h:
                self._trial.after(self._until_reclaim(pool), partial(self._reclaim, pool))
            if pool.gone_s is not None:
                self._trial.after(pool.gone_s, partial(self._lose_for_good, pool))

    def can_have(self, size: Size) -> bool:
        """Say whether there are machines, or can be, that hold a runner of a size."""
        return any(
            name not in self._gone and pool.size.holds(size) for name, pool in self._pools.items()
        )

    @property
    def is_less(self) -> bool:
        """Whether a pool is gone for good."""
        return bool(self._gone)

    def there(self) -> dict[str, int]:
        """Return how many slots of one core each pool has now.

        Where machines are parts of machines, so many that as many are read from it.
        """
        cores: dict[str, float] = {}
        for node in self._nodes.values():
            if node.is_ready:
                cores[node.pool.name] = cores.get(node.pool.name, 0.0) + node.pool.size.cores
        return {pool: math.ceil(count - PART_MIN) for pool, count in cores.items()}

    def ask(self, wanted: Mapping[str, int]) -> None:
        """Have so many machines of each pool, and of the others those that are there."""
        for pool in self._pools.values():
            self._wanted[pool.name] = max(pool.there, wanted.get(pool.name, 0))
            self._fill(pool)

    def ensure(self, command: EnsureRunners) -> None:
        """Have runners of a size; they take a while to join."""
        some = [
            node
            for node in self._nodes.values()
            if node.is_up and command.pool in {"", node.pool.name}
        ]
        own = [Placed(each.size, node.id) for node in some for each in node.runners.values()]
        own += [
            Placed(each.size, NodeId(""))
            for each in self._waiting
            if command.pool in {"", each.pool}
        ]
        room = places(command.size, {node.id: node.pool.size for node in some}, own)
        asked = _Asked(command.pool, command.size, room.kept_off)
        self._waiting += [asked] * room.missing(command, own).start
        self._settle()

    def end(self, command: KillRunner) -> None:
        """End a runner, and with the last one its machine, unless others are to have its place."""
        runner = self.runners.get(command.runner)
        if runner is None:
            return
        node = self._nodes[runner.node]
        self._bury(runner, "it was ended")
        self._settle()
        if not (node.runners or node.stays) and command.reason != OTHER_SIZE:
            self._remove(node)

    def close(self) -> None:
        """Let all machines go that came for the run: nothing comes any more."""
        self._is_closed = True
        self._waiting.clear()
        for node in [each for each in self._nodes.values() if not each.stays]:
            self._remove(node)

    # --- coming ---------------------------------------------------------------------------------

    def _fill(self, pool: TrialPool) -> None:
        mine = [node for node in self._nodes.values() if node.pool is pool]
        surplus = len(mine) - self._wanted[pool.name]
        for node in [each for each in mine if not each.is_up][: max(0, surplus)]:
            del self._nodes[node.id]  # Not there yet: it is asked for no more.
        self._shed(pool)
        if pool.name in self._down or self._is_closed:
            return
        for _ in range(min(self._wanted[pool.name], pool.nodes_max) - len(mine)):
            node = self._new_node(pool)
            self._trial.after(pool.provision_s, partial(self._provisioned, node))

    def _shed(self, pool: TrialPool) -> None:
        """Let machines go that have no runner, and that nobody asks for."""
        up = [node for node in self._nodes.values() if node.pool is pool and node.is_up]
        empty = [node for node in up if node.is_ready and not (node.runners or node.stays)]
        for node in empty[: max(0, len(up) - self._wanted[pool.name])]:
            self._remove(node)

    def _new_node(self, pool: TrialPool) -> _Node:
        self._count += 1
        node = _Node(NodeId(f"{pool.name}-{self._count}"), pool, {})
        self._nodes[node.id] = node
        return node

    def _provisioned(self, node: _Node) -> None:
        if self._nodes.get(node.id) is node:
            self._up(node)
            self._trial.after(node.pool.boot_s, partial(self._booted, node))

    def _up(self, node: _Node) -> None:
        node.is_up = True
        pool = node.pool
        self.most[pool.name] = max(self.most[pool.name], self._stand(pool))
        cores, memory_bytes, gpus = pool.size
        self._trial.offer(NodeJoined(node.id, pool.name, cores, memory_bytes, gpus, pool.usd_h))
        self._settle()

    def _stand(self, pool: TrialPool) -> int:
        """Note how many machines a pool has now."""
        alive = sum(each.pool is pool and each.is_up for each in self._nodes.values())
        self.standing.append((self._trial.at_s, pool.name, alive))
        return alive

    def _booted(self, node: _Node) -> None:
        """Have those runners join that a machine was given while it started."""
        if self._nodes.get(node.id) is not node:
            return
        node.is_ready = True
        for runner in node.runners.values():
            self._join(runner)
        self._shed(node.pool)

    def _settle(self) -> None:
        """Give what waits a place, where there is one: first come, first served."""
        if not self._waiting:
            return
        left = {node.id: node.left for node in self._nodes.values() if node.is_up}
        waiting, self._waiting = self._waiting, []
        for asked in waiting:
            fit = (
                each
                for each, room in left.items()
                if asked.pool in {"", self._nodes[each].pool.name}
                and each not in asked.kept_off
                and room.holds(asked.size)
            )
            node = next(fit, None)
            if node is None:
                self._waiting.append(asked)
            else:
                self._start(self._nodes[node], asked.size)
                left[node] = self._nodes[node].left

    def _start(self, node: _Node, size: Size) -> None:
        runner = TrialRunner(RunnerId(f"{node.id}/{node.made}"), node.pool, node.id, size)
        node.made += 1
        node.runners[runner.id] = runner
        if node.is_ready:
            self._trial.after(next(self._joins_s[node.pool.name]), partial(self._join, runner))

    def _join(self, runner: TrialRunner) -> None:
        if runner.alive:
            self.runners[runner.id] = runner
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
        del self._nodes[runner.node].runners[runner.id]
        if self.runners.pop(runner.id, None) is not None:
            self._trial.offer(RunnerLost(runner.id, "preempted", reason))
