"""How many runners of a run were at work at once, by pool and size."""

from collections import Counter

from rayorch.core.leasing import RunnerSlot
from rayorch.core.sizes import Size
from rayorch.core.values import StageShape
from rayorch.ids import RunnerId
from rayorch.plan.profile import RunnersSeen

Kind = tuple[str, Size]


class AtOnce:
    """Runners of a run that have ended something, and the most that there were of a kind.

    `most` has how many there were in each pool, of any size.
    """

    def __init__(self) -> None:
        self.most: dict[str, int] = {}
        self._alive: dict[RunnerId, Kind] = {}
        self._kinds: Counter[Kind] = Counter()  # of those that are alive
        self._pools: Counter[str] = Counter()
        self._most: dict[Kind, int] = {}

    def ended(
        self, runner: RunnerId, pool: str, stage: StageShape, slot: RunnerSlot | None
    ) -> None:
        """Note a runner that has ended an attempt; no slot: nobody knows more than the journal."""
        if runner in self._alive:
            return
        size = slot.size if slot else Size(stage.cores, stage.memory_bytes, stage.gpus)
        kind = self._alive[runner] = (pool, size)
        self._kinds[kind] += 1
        self._pools[pool] += 1
        self._most[kind] = max(self._most.get(kind, 0), self._kinds[kind])
        self.most[pool] = max(self.most.get(pool, 0), self._pools[pool])

    def lost(self, runner: RunnerId) -> None:
        """Note a runner that is gone."""
        kind = self._alive.pop(runner, None)
        if kind is not None:
            self._kinds[kind] -= 1
            self._pools[kind[0]] -= 1

    def sized(self) -> dict[str, tuple[RunnersSeen, ...]]:
        """Return the most of each size, by pool; nothing of runners that were all alike."""
        sizes = {size for _, size in self._most}
        if len(sizes) <= 1 and not any(size.gpus for size in sizes):
            return {}
        found: dict[str, list[RunnersSeen]] = {}
        for (pool, size), count in sorted(self._most.items()):
            found.setdefault(pool, []).append(RunnersSeen(count, *size))
        return {pool: tuple(some) for pool, some in found.items()}
