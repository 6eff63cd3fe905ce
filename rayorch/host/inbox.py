"""Where facts come in: from runners, clients and our own threads, one queue for all."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from rayorch.core.facts import Fact

WAITING_MAX: Final = 50_000
"""Facts that may wait; beyond it `offer` blocks, so that runners slow down with us."""


class Ticket:
    """Tells who offered facts when they are durable and applied, or why they never will be."""

    __slots__ = ("_done", "_on_settled", "error")

    def __init__(self, on_settled: Callable[[BaseException | None], None] | None = None) -> None:
        self._done = threading.Event()
        self._on_settled = on_settled
        self.error: BaseException | None = None

    def settle(self, error: BaseException | None = None) -> None:
        """Say that it is over."""
        self.error = error
        self._done.set()
        if self._on_settled is not None:
            self._on_settled(error)

    def wait(self, timeout_s: float | None = None) -> None:
        """Block until settled. Raises: what stopped the host; TimeoutError."""
        if not self._done.wait(timeout_s):
            raise TimeoutError("the control host did not answer in time")
        if self.error is not None:
            raise self.error


class Inbox:
    """A bounded queue of batches of facts. Any thread may put; the host's thread takes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._batches: deque[tuple[Sequence[Fact], Ticket]] = deque()
        self._waiting = 0
        self._closed: BaseException | None = None
        self._taker = 0

    def put(self, facts: Sequence[Fact], ticket: Ticket) -> None:
        """Queue facts; wait while the inbox is full. After `close`, the ticket fails at once."""
        with self._changed:
            # Whoever takes would wait for itself: what it says of its own commands always fits.
            if threading.get_ident() != self._taker:
                self._changed.wait_for(
                    lambda: self._waiting <= WAITING_MAX or self._closed is not None
                )
            if self._closed is not None:
                ticket.settle(self._closed)
                return
            self._batches.append((facts, ticket))
            self._waiting += len(facts)
            self._changed.notify_all()

    def take(self, timeout_s: float) -> list[tuple[Sequence[Fact], Ticket]]:
        """Return all that waits, or nothing when the time is over."""
        with self._changed:
            self._taker = threading.get_ident()
            if not self._batches:
                self._changed.wait(timeout_s)
            taken = list(self._batches)
            self._batches.clear()
            self._waiting = 0
            self._changed.notify_all()
            return taken

    def close(self, reason: BaseException) -> None:
        """Refuse what waits and what comes."""
        with self._changed:
            self._closed = reason
            for _, ticket in self._batches:
                ticket.settle(reason)
            self._batches.clear()
            self._waiting = 0
            self._changed.notify_all()

    def __len__(self) -> int:
        return self._waiting
