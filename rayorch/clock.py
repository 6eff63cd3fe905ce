"""Time comes from here and from nowhere else, so that a test or a simulation can own it."""

import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def now_s(self) -> float:
        """Return seconds since the Unix epoch. May jump; for people and records."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never go back. For durations and deadlines."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Block the calling thread. For back-off in threads of our own, never in the core."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_s(self) -> float:
        """Return seconds since the Unix epoch."""
        return time.time()

    def monotonic_s(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        """Block the calling thread."""
        time.sleep(duration_s)


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, at_s: float = 1_800_000_000.0) -> None:
        self._at_s = at_s

    def now_s(self) -> float:
        """Return the time that was last set."""
        return self._at_s

    def monotonic_s(self) -> float:
        """Return the time that was last set."""
        return self._at_s

    def sleep(self, duration_s: float) -> None:
        """Move the clock instead of waiting."""
        self.advance(duration_s)

    def advance(self, duration_s: float) -> None:
        """Move the clock forward."""
        assert duration_s >= 0.0
        self._at_s += duration_s
