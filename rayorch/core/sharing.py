"""Who gets the next free runner: tenants by what they hold, and within one, runs by priority.

A runner serves one tenant at a time, so what a tenant holds is counted in whole runners. The next
one goes to the tenant with the smallest *dominant share*: of the cluster's cores or memory, the
larger fraction that it holds, over its weight. A tenant that comes late holds nothing and is
therefore served first, whatever others have queued; and as nothing is remembered, a restart that
counts what surviving runners hold decides as before.

    Source: Dominant Resource Fairness (Ghodsi et al., NSDI 2011), algorithm 1 and weights (4.3).

Unstarted leases of a tenant that holds more than its part are taken back, so that the ends of
running tasks, and not of queues, are what others wait for. With `s` runners as its part, `n` tasks
that a tenant submits have all begun after `ceil(n / s)` task lengths.

Within a tenant the highest priority is served first, and a run rises by one for each `AGE_S` that
it is given nothing, so that a run which is `d` below others waits `d * AGE_S` at most, and for the
end of one task.
"""

import math
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

from rayorch.core.leasing import RunnerSlot
from rayorch.core.near import Caches
from rayorch.ids import RunId, RunnerId, TenantId

AGE_S: Final = 10.0
"""How long a run is given nothing until it counts as one priority higher."""

Item = TypeVar("Item")


class Cluster:
    """What all runners have together. Units: cores, bytes."""

    __slots__ = ("caches", "cores", "living", "memory_bytes", "pools_changed", "slots")

    def __init__(self) -> None:
        self.slots = 0
        self.cores = 0.0
        self.memory_bytes = 0
        self.living: dict[str, int] = {}  # pool -> runners that take work
        self.caches = Caches()
        self.pools_changed = 0  # how often a pool got its first runner, or lost its last

    def count(self, slot: RunnerSlot, sign: int) -> None:
        """Count a runner that came (1) or went (-1)."""
        self.slots += sign
        self.cores += sign * slot.cores
        self.memory_bytes += sign * slot.memory_bytes
        self.caches.count(slot.pool, slot.cache, sign)
        before = self.living.get(slot.pool, 0)
        left = before + sign
        self.pools_changed += not (before and left)
        if left:
            self.living[slot.pool] = left
        else:
            self.living.pop(slot.pool, None)


class Party:
    """One tenant while somebody leads: the runners that it holds, and its runs with work."""

    __slots__ = ("cores", "deep", "id", "memory_bytes", "runs", "slots", "weight")

    def __init__(self, tenant: TenantId, weight: float = 1.0) -> None:
        assert weight > 0.0
        self.id = tenant
        self.weight = weight
        self.slots = 0
        self.cores = 0.0
        self.memory_bytes = 0
        self.deep: dict[RunnerId, RunnerSlot] = {}  # runners with leases behind the first
        self.runs: dict[RunId, None] = {}  # those that may have something ready

    def take(self, slot: RunnerSlot) -> None:
        """Hold a runner from now on."""
        assert slot.holder is None
        slot.holder = self.id
        self.slots += 1
        self.cores += slot.cores
        self.memory_bytes += slot.memory_bytes

    def leave(self, slot: RunnerSlot) -> None:
        """Hold a runner no more."""
        assert slot.holder == self.id
        slot.holder = None
        self.slots -= 1
        self.cores -= slot.cores
        self.memory_bytes -= slot.memory_bytes
        assert self.slots >= 0

    def share(self, cluster: Cluster, without: RunnerSlot | None = None) -> float:
        """Return its dominant share over its weight, as if it did not hold a runner of its own."""
        cores, memory_bytes = self.cores, self.memory_bytes
        if without is not None:
            cores, memory_bytes = cores - without.cores, memory_bytes - without.memory_bytes
        of_cores = cores / cluster.cores if cluster.cores else 0.0
        of_memory = memory_bytes / cluster.memory_bytes if cluster.memory_bytes else 0.0
        return max(of_cores, of_memory) / self.weight


class Ranked(Generic[Item]):
    """Items by a key that may grow while they are looked through, the smallest first."""

    __slots__ = ("_key", "_order")

    def __init__(self, items: Iterable[Item], key: Callable[[Item], Any]) -> None:
        # Sorted by (key, number): numbers make equal keys go in the order given.
        self._key = key
        self._order: list[tuple[Any, int, Item]] = sorted(
            (key(item), number, item) for number, item in enumerate(items)
        )

    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self._order)

    def __iter__(self) -> Iterator[Item]:
        """Go through the items, smallest first. One at a time may do so."""
        order, key = self._order, self._key
        if len(order) == 1:
            yield order[0][2]
            return
        at = 0
        while at < len(order):
            before, number, item = order[at]
            now = key(item)
            if now != before:
                # Put where it is now. Nearly always the first is what is looked for, so that others
                # whose keys have grown wait until it is their turn.
                del order[at]
                insort(order, (now, number, item), lo=at)
                continue
            yield item
            at += 1


def entitled(total: int, demands: Mapping[TenantId, tuple[int, float]]) -> dict[TenantId, int]:
    """Return each tenant's part of so many runners: by weight, and no more than it can use.

    Units: a demand is (runners that it could use, weight).
    Source: max-min fairness by filling up (Bertsekas and Gallager, Data Networks, 6.5.2).
    """
    parts: dict[TenantId, int] = {}
    left = total
    weights = sum(weight for _, weight in demands.values())
    # Who wants the least for its weight is satisfied first; what it leaves is the others'.
    order = sorted(demands, key=lambda each: (demands[each][0] / demands[each][1], each))
    for tenant in order:
        demand, weight = demands[tenant]
        # Rounded up: a part of a runner is a runner that somebody has to wait for.
        parts[tenant] = min(demand, math.ceil(left * weight / weights - 1e-9), left)
        left -= parts[tenant]
        weights -= weight
    return parts


def urgency(priority: int, waited_s: float) -> int:
    """Return what a run of this priority counts as, after waiting for so long."""
    return priority + int(waited_s / AGE_S) if waited_s > 0.0 else priority
