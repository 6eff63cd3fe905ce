"""How many runners of a run were at work at once, by pool and size.

A runner is there from when its first attempt began. Where somebody saw it go, until then; by the
journal, which has no runners that come and go, until its last attempt ended: one that was lost, and
the one in its place, are one after the other.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from rayorch.core.leasing import RunnerSlot
from rayorch.core.sizes import Size
from rayorch.core.values import StageShape
from rayorch.ids import RunnerId
from rayorch.plan.profile import RunnersSeen

Kind = tuple[str, Size]
Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class _Life:
    """A runner of a run, from its first attempt on. `until_s` is for ever while it is seen."""

    kind: Kind
    from_s: float
    until_s: float


class AtOnce:
    """Runners of a run that have ended something, and the most that there were of a kind."""

    def __init__(self) -> None:
        self._lives: list[_Life] = []
        self._alive: dict[RunnerId, _Life] = {}

    def ended(
        self,
        runner: RunnerId,
        pool: str,
        stage: StageShape,
        slot: RunnerSlot | None,
        *,
        at_s: float,
        took_s: float,
    ) -> None:
        """Note a runner that has ended an attempt; no slot: nobody knows more than the journal."""
        life = self._alive.get(runner)
        if life is None:
            size = slot.size if slot else Size(stage.cores, stage.memory_bytes, stage.gpus)
            life = self._alive[runner] = _Life((pool, size), at_s - took_s, at_s)
            self._lives.append(life)
        life.until_s = math.inf if slot is not None else max(life.until_s, at_s)

    def lost(self, runner: RunnerId, at_s: float) -> None:
        """Note a runner that is gone."""
        life = self._alive.pop(runner, None)
        if life is not None:
            life.until_s = at_s

    @property
    def most(self) -> dict[str, int]:
        """How many runners of each pool there were, of any size."""
        return self._most(lambda life: life.kind[0])

    def sized(self) -> dict[str, tuple[RunnersSeen, ...]]:
        """Return the most of each size, by pool; nothing of runners that were all alike."""
        sizes = {life.kind[1] for life in self._lives}
        if len(sizes) <= 1 and not any(size.gpus for size in sizes):
            return {}
        found: dict[str, list[RunnersSeen]] = {}
        for (pool, size), count in sorted(self._most(lambda life: life.kind).items()):
            found.setdefault(pool, []).append(RunnersSeen(count, *size))
        return {pool: tuple(some) for pool, some in found.items()}

    def _most(self, key: Callable[[_Life], Key]) -> dict[Key, int]:
        """Count those that were there at once; who goes makes room for who comes just then."""
        turns = [(life.from_s, 1, life) for life in self._lives]
        turns += [(life.until_s, 0, life) for life in self._lives]
        there: Counter[Key] = Counter()
        most: dict[Key, int] = {}
        for _, comes, life in sorted(turns, key=lambda turn: turn[:2]):
            there[key(life)] += 1 if comes else -1
            # Of one that took no time, the end comes first: it was there all the same.
            most[key(life)] = max(most.get(key(life), 1), there[key(life)])
        return most
