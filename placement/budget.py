"""How much of its time limit a solve has used.

Without a clock, work is counted in seconds of a reference machine: the same seed then gives the
same plan wherever and whenever it runs.  A caller who must answer by a wall-clock time passes one.
"""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]


class Budget:
    """A time limit, spent by `charge` or by the caller's clock."""

    def __init__(self, limit_s: float, clock: Clock | None = None) -> None:
        self.limit_s = limit_s
        self._clock = clock
        self._begin_s = clock() if clock is not None else 0.0
        self._charged_s = 0.0

    def charge(self, seconds: float) -> None:
        """Count work that a reference machine does in so many seconds."""
        self._charged_s += seconds

    @property
    def used_s(self) -> float:
        """Seconds used so far."""
        if self._clock is not None:
            return self._clock() - self._begin_s
        return self._charged_s

    @property
    def left_s(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, self.limit_s - self.used_s)

    def slice_of(self, share: float, *, keep: float = 0.0) -> Slice:
        """A part of the whole limit that begins now; it leaves a share `keep` of the limit."""
        return Slice(self, min(share * self.limit_s, self.left_s - keep * self.limit_s))


class Slice:
    """Part of a budget, from when it was made."""

    def __init__(self, budget: Budget, length_s: float) -> None:
        self._budget = budget
        self._begin_s = budget.used_s
        self._length_s = length_s

    @property
    def share(self) -> float:
        """How much of the slice is used; at least 1 when it is over."""
        if self._length_s <= 0:
            return 1.0
        return (self._budget.used_s - self._begin_s) / self._length_s
