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


class SteadyClock:
    """A clock whose time of day never jumps: that of its beginning, and what has passed since.

    The times that a control actor gives to events are compared with each other (time-outs,
    back-off, deadlines). A machine's clock that is set right by an hour would end every attempt at
    once, and one that is behind that of the control actor before would let retries wait for hours.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_s = clock.now_s() - clock.monotonic_s()

    def go_on_from(self, at_s: float) -> None:
        """Tell no time before this one from now on."""
        self._ahead_s = max(self._ahead_s, at_s - self._clock.monotonic_s())

    def now_s(self) -> float:
        """Return seconds since the Unix epoch, as they were told when this clock was made."""
        return self._ahead_s + self._clock.monotonic_s()

    def monotonic_s(self) -> float:
        """Return seconds that never go back."""
        return self._clock.monotonic_s()

    def sleep(self, duration_s: float) -> None:
        """Block the calling thread."""
        self._clock.sleep(duration_s)


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, at_s: float = 1_800_000_000.0) -> None:
        self.at_s = at_s  # read in place of `now_s` where that is a million times

    def now_s(self) -> float:
        """Return the time that was last set."""
        return self.at_s

    def monotonic_s(self) -> float:
        """Return the time that was last set."""
        return self.at_s

    def sleep(self, duration_s: float) -> None:
        """Move the clock instead of waiting."""
        self.advance(duration_s)

    def advance(self, duration_s: float) -> None:
        """Move the clock forward."""
        assert duration_s >= 0.0
        self.at_s += duration_s
