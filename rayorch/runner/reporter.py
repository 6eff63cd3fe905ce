"""What a runner tells the control actor, and the heartbeat.

One `offer` is in flight; what is said meanwhile goes into the next one. So a busy runner sends few
large calls, and a control actor that is slow gets larger ones. An offer that raises is made again,
with what has come since, until it returns: the core drops what it knows already.

While an attempt runs, its progress is the heartbeat; an idle runner offers nothing, which is one
too. A runner whose worker thread is gone stays silent on purpose: silence is what gives its leases
to another runner.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rayorch.clock import Clock
from rayorch.core.commands import Lease
from rayorch.core.facts import (
    AttemptFailed,
    AttemptFinished,
    AttemptProgressed,
    AttemptStarted,
    Fact,
    LeaseReturned,
)
from rayorch.failpoints import failpoint
from rayorch.ids import RunnerId
from rayorch.runner.attempt import Progress
from rayorch.runner.capture import LogLine
from rayorch.runner.desk import LeaseKey, key_of

LINES_KEPT_MAX: Final = 20_000
"""While the log does not take them. Facts are kept without a limit: leases bound them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """How often a runner reports."""

    # After the first fact, for more to share its call. The queue of a busy runner lasts ten times
    # as long, and who has nothing left to do does not linger.
    linger_s: float = 0.02
    progress_s: float = 0.5
    heartbeat_s: float = 1.0
    retry_s: float = 0.05  # doubled each time, up to
    retry_s_max: float = 2.0


class Reporter:
    """Collects facts from all threads of a runner and offers them from a thread of its own."""

    def __init__(
        self,
        runner: RunnerId,
        offer: Callable[[list[Fact]], None],
        log: Callable[[list[LogLine]], None] | None,
        clock: Clock,
        settings: ReportSettings,
    ) -> None:
        self._runner = runner
        self._offer = offer
        self._log = log
        self._clock = clock
        self._settings = settings
        self._news = threading.Condition(threading.Lock())
        self._facts: list[Fact] = []
        self._in_flight: list[Fact] = []
        self._lines: list[LogLine] = []
        self._started: AttemptStarted | None = None  # and not yet offered
        self._running: tuple[Lease, Progress] | None = None
        self._is_waiting = False  # for any news; else it needs no waking
        self._is_urgent = False
        self._closed = False
        self._silent = False
        self._progressed_s = clock.monotonic_s()

    # --- what the other threads say ----------------------------------------------------------

    def started(self, lease: Lease, progress: Progress) -> None:
        """Say that an attempt computes; its progress is looked at from now on."""
        fact = AttemptStarted(lease.run, lease.task, lease.attempt, lease.epoch, self._runner)
        with self._news:
            self._running = lease, progress
            self._started = fact
            self._wake()

    def ended(self, fact: AttemptFinished | AttemptFailed, *, urgent: bool) -> None:
        """Say how the running attempt ended. Urgent: the runner has nothing left to do."""
        with self._news:
            # It began and ended within one flush: its end says it all.
            self._started = None
            self._running = None
            self._facts.append(fact)
            self._wake(urgent=urgent)

    def returned(self, leases: list[Lease]) -> None:
        """Say that leases were given back, not started."""
        facts = [
            LeaseReturned(lease.run, lease.task, lease.attempt, lease.epoch, self._runner)
            for lease in leases
        ]
        with self._news:
            self._facts += facts
            self._wake(urgent=True)

    def line(self, line: LogLine) -> None:
        """Say what the user's code printed. Past the limit, the newest are lost."""
        with self._news:
            if len(self._lines) < LINES_KEPT_MAX:
                self._lines.append(line)

    def unacknowledged(self) -> list[LeaseKey]:
        """Return the attempts whose end no offer has carried over yet, oldest first."""
        with self._news:
            return [
                (fact.run, fact.task, fact.attempt, fact.epoch)
                for fact in (*self._in_flight, *self._facts)
                if isinstance(fact, AttemptFinished | AttemptFailed)
            ]

    def running(self) -> LeaseKey | None:
        """Return the attempt that computes."""
        running = self._running
        return None if running is None else key_of(running[0])

    def close(self) -> None:
        """Offer what is left, once, and end."""
        with self._news:
            self._closed = True
            self._news.notify()

    def fall_silent(self) -> None:
        """Stop at once, heartbeat and all: this runner can do no more work."""
        with self._news:
            self._silent = True
            self._news.notify()

    # --- the reporter's thread ---------------------------------------------------------------

    def run(self) -> None:
        """Offer until closed. The body of the reporter's thread."""
        while True:
            with self._news:
                self._wait_for_news()
                if self._silent:
                    return
                closed = self._closed
                self._in_flight = self._taken()
                lines, self._lines = self._lines, []
            # The log first: who sees that an attempt failed can read what it printed.
            self._send(lines)
            self._deliver()
            if closed and not self._has_news():
                return

    def _wait_for_news(self) -> None:
        """Wait until there is something to offer, or it is time for a heartbeat."""
        settings = self._settings
        if not (self._facts or self._started or self._closed or self._silent):
            self._is_waiting = True
            self._news.wait(settings.progress_s if self._running else settings.heartbeat_s)
            self._is_waiting = False
        if not (self._is_urgent or self._closed or self._silent):
            self._news.wait(settings.linger_s)
        self._is_urgent = False

    def _wake(self, *, urgent: bool = False) -> None:
        # A thread switch costs more than a small task: no waking for what its linger will see.
        if urgent:
            self._is_urgent = True
        if urgent or self._is_waiting:
            self._is_waiting = False
            self._news.notify()

    def _taken(self) -> list[Fact]:
        facts, self._facts = self._facts, []
        if self._started is not None:
            facts.append(self._started)
            self._started = None
            self._progressed_s = self._clock.monotonic_s()
        elif self._running is not None:
            facts += self._progress(*self._running)
        return facts

    def _progress(self, lease: Lease, progress: Progress) -> list[Fact]:
        now_s = self._clock.monotonic_s()
        if now_s - self._progressed_s < self._settings.progress_s:
            return []
        self._progressed_s = now_s
        return [
            AttemptProgressed(
                lease.run,
                lease.task,
                lease.attempt,
                lease.epoch,
                self._runner,
                progress.rows,
                progress.size_bytes,
            )
        ]

    def _send(self, lines: list[LogLine]) -> None:
        if not lines or self._log is None:
            return
        try:
            self._log(lines)
        # Whatever a log may raise: lines wait for the next round, facts do not wait for lines.
        except Exception:
            with self._news:
                self._lines = [*lines, *self._lines][:LINES_KEPT_MAX]

    def _deliver(self) -> None:
        """Offer what is in flight until somebody takes it, or nobody will wait for it."""
        retry_s = self._settings.retry_s
        while True:
            try:
                self._offer(self._in_flight)
            # Exception: how a call to the control actor fails is the host's affair (Ray has many
            # ways), and a runner that outlives its control actor is what recovery builds on.
            except Exception:
                with self._news:
                    if self._closed or self._silent:
                        return
                    self._news.wait(retry_s)
                    self._in_flight += self._taken()
                    self._is_urgent = False
                retry_s = min(retry_s * 2, self._settings.retry_s_max)
                continue
            if any(isinstance(fact, AttemptFinished) for fact in self._in_flight):
                failpoint("runner.after_report")
            with self._news:
                self._in_flight = []
            return

    def _has_news(self) -> bool:
        with self._news:
            return bool(self._facts)
