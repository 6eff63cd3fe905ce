"""The leases of one runner and the batches read ahead for them: the one place its threads meet.

    queued ──take (first batch is there, or cheap to read)──► started ──finish──► gone
       └──────────────give back (revoked, drained)──────────► gone

The worker takes tickets from the front. The reader reads for the same tickets in the same order,
ahead of the worker, while what is read and not yet taken stays within a limit of bytes. A ticket
is *started* only when the worker has taken it: until then it can be given back, whatever has been
read for it.

One lock guards it all. `work` wakes the worker, `room` wakes the reader.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from connectors.range_cache import CacheCounts
from connectors.splits import Split
from rayorch.core.commands import Lease
from rayorch.ids import Epoch, RunId, TaskId

LeaseKey = tuple[RunId, TaskId, int, Epoch]
Batch = tuple[int, pa.Table]
"""Rows, and the number of the piece of their split that they are of."""

TICKETS_AHEAD_MAX: Final = 2
"""Read for no more tickets than this beside the one that runs: one hides the reading, a second one
evens out unlike splits; more are memory, cold in the caches when its turn comes, and are read for
nothing when they are revoked."""


def key_of(lease: Lease) -> LeaseKey:
    """Return what names an attempt."""
    return lease.run, lease.task, lease.attempt, lease.epoch


class Ticket:
    """One lease on this runner, and what the reader has read for it."""

    __slots__ = (
        "batches",
        "cached",
        "cpu_s",
        "cut",
        "error",
        "inline",
        "is_ahead",
        "is_read",
        "key",
        "lease",
        "pieces",
        "read_s",
        "rest",
        "size_bytes",
        "split",
        "wanted",
    )

    def __init__(self, lease: Lease, split: Split, *, inline: bool) -> None:
        self.key = key_of(lease)
        self.lease = lease
        self.split = split
        self.cached = CacheCounts()  # what came of the cache, and what had to be fetched
        self.inline = inline  # the worker reads it by itself
        self.is_ahead = False  # the reader has begun, the worker has not
        self.wanted = True  # False: revoked or ended, do not read on
        self.batches: deque[tuple[Batch, int]] = deque()
        self.size_bytes = 0  # of `batches`
        self.is_read = False  # nothing more comes, or `error`
        self.error: BaseException | None = None
        self.cut = False  # asked to end after the piece that is computed with
        self.pieces: tuple[Split, ...] = ()  # of the split, once it is being read
        self.rest: tuple[Split, ...] = ()  # pieces that were left to others
        self.read_s = 0.0
        self.cpu_s = 0.0

    @property
    def is_ready(self) -> bool:
        """Whether the worker can begin without waiting."""
        return self.inline or self.is_read or bool(self.batches)


class Desk:
    """Leases and read-ahead batches; every method may be called by any thread."""

    def __init__(self, ahead_bytes: int) -> None:
        self._ahead_bytes = ahead_bytes
        lock = threading.Lock()
        self._work = threading.Condition(lock)
        self._room = threading.Condition(lock)
        self._queue: OrderedDict[LeaseKey, Ticket] = OrderedDict()
        self._unread: deque[Ticket] = deque()
        self._running: Ticket | None = None
        self._read_bytes = 0
        self._tickets_ahead = 0
        self._closed = False
        self._draining = False

    # --- the host's side ---------------------------------------------------------------------

    def put(self, tickets: list[Ticket]) -> list[Ticket]:
        """Queue tickets, first to run first. Return those that are not taken in: draining.

        A lease that is here already is taken in once: the host repeats itself after a restart.
        """
        with self._work:
            if self._draining or self._closed:
                return tickets
            has_unread = False
            for ticket in tickets:
                if ticket.key in self._queue or self._runs(ticket.key):
                    continue
                self._queue[ticket.key] = ticket
                if not ticket.inline:
                    self._unread.append(ticket)
                    has_unread = True
            self._work.notify()
            if has_unread:
                self._room.notify()
        return []

    def give_back(self, keys: list[LeaseKey]) -> list[Ticket]:
        """Take these leases out of the queue; return those that had not started."""
        with self._work:
            given = [self._queue.pop(key) for key in keys if key in self._queue]
            for ticket in given:
                self._drop(ticket)
            self._room.notify()
        return given

    def drain(self) -> list[Ticket]:
        """Take in nothing more, and return all that had not started."""
        with self._work:
            self._draining = True
            given = list(self._queue.values())
            self._queue.clear()
            for ticket in given:
                self._drop(ticket)
            self._room.notify()
        return given

    def close(self) -> None:
        """Let both threads come to their end."""
        with self._work:
            self._closed = True
            for ticket in self._queue.values():
                self._drop(ticket)
            self._queue.clear()
            self._work.notify_all()
            self._room.notify_all()

    def cut(self, key: LeaseKey) -> None:
        """Let the ticket that runs end after the piece of its split that is computed with."""
        with self._work:
            if self._running is not None and self._running.key == key:
                self._running.cut = True

    def held(self) -> tuple[Lease | None, list[Lease]]:
        """Return the lease that runs, if any, and those that wait."""
        with self._work:
            running = None if self._running is None else self._running.lease
            return running, [ticket.lease for ticket in self._queue.values()]

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits. Without the lock: a hint."""
        return not self._queue

    # --- the worker's side -------------------------------------------------------------------

    def take(self) -> Ticket | None:
        """Wait for the first ticket to be ready, and start it. None: closed.

        The one that waits stays in the queue meanwhile, so that it can be given back.
        """
        with self._work:
            while not self._closed:
                ticket = next(iter(self._queue.values()), None)
                if ticket is not None and ticket.is_ready:
                    del self._queue[ticket.key]
                    self._running = ticket
                    if not ticket.inline:
                        self._not_ahead(ticket)
                        self._room.notify()
                    return ticket
                self._work.wait()
            return None

    def batches(self, ticket: Ticket) -> Iterator[Batch]:
        """Yield what the reader reads for a started ticket.

        Raises: whatever the reader met.
        """
        while True:
            with self._work:
                while not ticket.batches and not ticket.is_read:
                    self._work.wait()
                if not ticket.batches:
                    break
                batch, size_bytes = ticket.batches.popleft()
                ticket.size_bytes -= size_bytes
                self._read_bytes -= size_bytes
                self._room.notify()
            yield batch
            # Or it would stay alive in this frame until the next batch is there.
            del batch
        if ticket.error is not None:
            raise ticket.error

    def finish(self, ticket: Ticket) -> None:
        """Forget a started ticket; what was read for it and not used is dropped."""
        with self._work:
            self._running = None
            if not ticket.inline:
                self._drop(ticket)
                self._room.notify()

    # --- the reader's side -------------------------------------------------------------------

    def next_to_read(self) -> Ticket | None:
        """Wait for a ticket to read for, and for room. None: closed."""
        with self._room:
            while not self._closed:
                while self._unread and not self._unread[0].wanted:
                    self._unread.popleft()
                if self._unread and self._tickets_ahead < TICKETS_AHEAD_MAX:
                    ticket = self._unread.popleft()
                    ticket.is_ahead = True
                    self._tickets_ahead += 1
                    return ticket
                self._room.wait()
            return None

    def wait_for_room(self, ticket: Ticket, batch_bytes: int) -> bool:
        """Wait until one more batch may be read. False: it is not wanted any more."""
        with self._room:
            # One batch may always be read, or a batch above the limit would never be.
            while ticket.wanted and self._read_bytes > max(0, self._ahead_bytes - batch_bytes):
                self._room.wait()
            # Closed or not: the attempt that runs is read for to its end.
            return ticket.wanted

    def put_batch(self, ticket: Ticket, piece: int, table: pa.Table) -> None:
        """Hand one batch over, of a piece of the split."""
        size_bytes = table.nbytes
        with self._work:
            if ticket.wanted:
                ticket.batches.append(((piece, table), size_bytes))
                ticket.size_bytes += size_bytes
                self._read_bytes += size_bytes
                self._work.notify()

    def end_reading(self, ticket: Ticket, error: BaseException | None = None) -> None:
        """Say that nothing more comes, or what went wrong."""
        with self._work:
            ticket.error = error
            ticket.is_read = True
            self._work.notify()

    def leave_inline(self, ticket: Ticket) -> None:
        """Leave a ticket to the worker, which reads it as cheaply by itself."""
        with self._work:
            ticket.inline = True
            self._not_ahead(ticket)
            self._work.notify()

    # --- with the lock held ------------------------------------------------------------------

    def _runs(self, key: LeaseKey) -> bool:
        return self._running is not None and self._running.key == key

    def _not_ahead(self, ticket: Ticket) -> None:
        if ticket.is_ahead:
            ticket.is_ahead = False
            self._tickets_ahead -= 1

    def _drop(self, ticket: Ticket) -> None:
        self._not_ahead(ticket)
        if ticket.wanted:
            ticket.wanted = False
            self._read_bytes -= ticket.size_bytes
            ticket.size_bytes = 0
            ticket.batches.clear()
