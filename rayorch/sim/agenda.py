"""Virtual time: what is to happen when, in one order that the seed decides."""

import heapq
from collections.abc import Callable
from typing import Final

from rayorch.clock import Clock, ManualClock

BEGIN_S: Final = 1_800_000_000.0

Action = Callable[[], None]


class Agenda(ManualClock):
    """A clock that jumps to the next thing that is to happen."""

    def __init__(self) -> None:
        super().__init__(BEGIN_S)
        self._due: list[tuple[float, int, Action]] = []
        self._count = 0
        self.due_s = BEGIN_S
        """When what happens now was due: somebody may have slept past it."""

    @property
    def elapsed_s(self) -> float:
        """Virtual seconds since the beginning."""
        return self.at_s - BEGIN_S

    def after(self, delay_s: float, action: Action) -> None:
        """Do something later. What is due at the same time happens in the order it was asked."""
        assert delay_s >= 0.0
        self._count += 1
        heapq.heappush(self._due, (self.at_s + delay_s, self._count, action))

    def step(self) -> bool:
        """Do what is due next; return False when nothing is."""
        if not self._due:
            return False
        at_s, _, action = heapq.heappop(self._due)
        self.due_s = at_s
        wait_s = at_s - self.at_s
        # Somebody may have slept past it (a journal that repeats an append).
        if wait_s > 0.0:
            self.at_s += wait_s
        action()
        return True


class MachineClock:
    """The clock of one machine: as quick as all, and set to a time of day of its own."""

    def __init__(self, clock: Clock, ahead_s: float) -> None:
        self._clock = clock
        self.ahead_s = ahead_s

    def now_s(self) -> float:
        """Return the time of day that this machine believes in."""
        return self._clock.now_s() + self.ahead_s

    def monotonic_s(self) -> float:
        """Return seconds that never go back."""
        return self._clock.monotonic_s()

    def sleep(self, duration_s: float) -> None:
        """Let time pass."""
        self._clock.sleep(duration_s)
