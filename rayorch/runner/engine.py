"""A runner without its shell: what the Ray actor and the in-process executor both host.

    enqueue, revoke ──► desk ◄── reader thread (opens the next split while this one computes)
                         │
                         ▼
                    worker thread (compute, write) ──► reporter thread ──► offer(facts)

Each call from outside returns at once. The process belongs to the user's code: the worker's
thread runs it, and if it takes the process down, the host sees that.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import pyarrow as pa

from connectors.range_cache import CacheCounts, RangeCache
from rayorch.clock import Clock
from rayorch.core.commands import Lease
from rayorch.core.facts import AttemptFailed, AttemptFinished, Fact
from rayorch.core.values import AttemptOutput, Held
from rayorch.home import Home, decode_split, encode_split
from rayorch.ids import NO_CACHE, CacheId, Epoch, RunnerId
from rayorch.runner.attempt import Attempt, Spent, engine_failure
from rayorch.runner.batches import batch_bytes_of
from rayorch.runner.capture import AttemptCapture, LogLine, begin_capture, end_capture
from rayorch.runner.desk import Batch, Desk, LeaseKey, Ticket, key_of
from rayorch.runner.errors import AttemptError, AttemptHaltedError
from rayorch.runner.pieces import grouped, joined, parted_at
from rayorch.runner.programs import LoadedStage, Programs
from rayorch.runner.reporter import Reporter, ReportSettings
from rayorch.settings import Cache

BATCHES_AHEAD: Final = 2
"""So many batches may be read ahead: one is computed with meanwhile, one more evens out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSettings:
    """What a runner is given when it starts."""

    memory_bytes: int
    cores: float = 1.0
    pool: str = ""
    cache: Cache | None = None
    report: ReportSettings = field(default_factory=ReportSettings)


class RunnerEngine:
    """Executes leases one after the other and reports what came of them."""

    def __init__(
        self,
        runner: RunnerId,
        home: Home,
        offer: Callable[[list[Fact]], None],
        *,
        clock: Clock,
        settings: RunnerSettings,
        log: Callable[[list[LogLine]], None] | None = None,
    ) -> None:
        self.runner = runner
        self._clock = clock
        self._pool = settings.pool
        self._epoch = Epoch(0)  # the newest that leases came from
        self._is_logged = log is not None
        self._halted = threading.Event()
        self._let_go: set[LeaseKey] = set()  # started, and of no use any more
        cache = settings.cache
        self._cache = None if cache is None else RangeCache(cache.folder, cache.bytes_max)
        self.cache = NO_CACHE if self._cache is None else CacheId(self._cache.name())
        self._programs = Programs(home, settings.memory_bytes, self._cache)
        self._desk = Desk(BATCHES_AHEAD * batch_bytes_of(settings.memory_bytes))
        self._reporter = Reporter(runner, offer, log, clock, settings.report)
        self._threads = [
            threading.Thread(target=body, name=f"rayorch-{name}-{runner}", daemon=True)
            for name, body in (
                ("worker", self._work),
                ("reader", self._read),
                ("reporter", self._reporter.run),
            )
        ]
        for thread in self._threads:
            thread.start()

    def enqueue(self, leases: Sequence[tuple[Lease, bytes]]) -> None:
        """Queue leases, each with its encoded split, first to run first.

        Leases of an older epoch than the newest that was seen are dropped: whoever sent them leads
        no more, and who leads now has been told what is held here.
        """
        self._epoch = max([self._epoch, *(lease.epoch for lease, _ in leases)])
        leases = [(lease, split) for lease, split in leases if lease.epoch == self._epoch]
        refused = self._desk.put([self._ticket(lease, split) for lease, split in leases])
        if refused:
            self._reporter.returned([ticket.lease for ticket in refused])

    def revoke(self, leases: Sequence[Lease], *, halt: bool = False) -> None:
        """Give back those of the leases that have not started, and report each.

        With `halt`, the one that runs is given back at its next batch boundary, too.
        """
        keys = [key_of(lease) for lease in leases]
        given = self._desk.give_back(keys)
        self._reporter.returned([ticket.lease for ticket in given])
        running, _ = self._desk.held()
        if halt and running is not None and key_of(running) in keys:
            self._let_go.add(key_of(running))

    def cut(self, lease: Lease) -> None:
        """Let the attempt that runs end after what it is reading now; others read the rest."""
        self._desk.cut(key_of(lease))

    def inventory(self) -> tuple[Held, ...]:
        """Say what is held: ended and not yet reported, then running, then queued."""
        running, queued = self._desk.held()
        ended = self._reporter.unacknowledged()
        started: list[LeaseKey] = list(ended)
        if running is not None and key_of(running) not in ended:
            started.append(key_of(running))
        return (
            *(Held(*key, started=True) for key in started),
            # One that was taken and ended while we asked is not queued any more.
            *(Held(*key_of(lease)) for lease in queued if key_of(lease) not in ended),
        )

    def drain(self) -> None:
        """Take in nothing more, give back what has not started, and let the rest end."""
        self._reporter.returned([ticket.lease for ticket in self._desk.drain()])

    def halt(self) -> None:
        """Stop for good: the running attempt at its next batch, and no word of it.

        For a runner that cannot be killed, because the process is not its own. Returns at once.
        """
        self._halted.set()
        self._reporter.fall_silent()
        self._desk.close()

    def close(self, *, wait_s: float = 10.0) -> None:
        """End: the running attempt comes to its end if it does so in time; its report is made."""
        self._desk.close()
        worker, reader, reporter = self._threads
        worker.join(wait_s)
        self._reporter.close()
        for thread in (reader, reporter):
            thread.join(wait_s)

    def _ticket(self, lease: Lease, data: bytes) -> Ticket:
        split = decode_split(data)
        # Nothing may wait here, so a stage that is not loaded yet is left to the reader.
        loaded = self._programs.known_stage(lease.run, lease.version, lease.stage)
        inline = not split.parts if loaded is None else loaded.is_cheap(split)
        return Ticket(lease, split, inline=inline)

    def _stage(self, lease: Lease) -> LoadedStage:
        return self._programs.stage(lease.run, lease.version, lease.stage)

    # --- the worker's thread -----------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (ticket := self._desk.take()) is not None:
                self._run(ticket)
        except BaseException:
            # A bug of ours. Without a heartbeat, the host gives the leases to another runner.
            self._reporter.fall_silent()
            raise

    def _run(self, ticket: Ticket) -> None:
        lease = ticket.lease
        began_s = self._clock.monotonic_s()
        try:
            fact: AttemptFinished | AttemptFailed = self._finished(ticket)
        except AttemptHaltedError:
            if not self._halted.is_set():
                self._reporter.returned([lease])
                self._desk.finish(ticket)
            return
        except AttemptError as error:
            fact = AttemptFailed(
                lease.run,
                lease.task,
                lease.attempt,
                lease.epoch,
                self.runner,
                error.kind,
                error.info,
                self._pool,
                self._clock.monotonic_s() - began_s,
                error.lost,
            )
        # Reported before it is forgotten: an inventory taken between sees it twice, never not.
        self._reporter.ended(fact, urgent=self._desk.is_idle)
        self._desk.finish(ticket)
        self._let_go.discard(key_of(lease))

    def _finished(self, ticket: Ticket) -> AttemptFinished:
        lease = ticket.lease
        spent = Spent()
        loaded = self._loaded(lease)
        attempt = Attempt(
            lease, ticket.split, loaded, self._clock, spent, lambda: self._is_halted(lease)
        )
        self._reporter.started(lease, attempt.progress)
        if self._is_logged:
            key = (lease.run, lease.stage, lease.task, lease.attempt)
            begin_capture(AttemptCapture(key, self._clock, self._reporter.line))
        try:
            batches = (
                self._inline(ticket, loaded, spent)
                if ticket.inline
                else self._handed_over(ticket, loaded, spent)
            )
            output = attempt.execute(batches)
        finally:
            end_capture()
        if ticket.rest:
            output = _cut(output, ticket)
        if ticket.cached.hits:
            output = _from_cache(output, ticket.cached)
        about = (lease.run, lease.task, lease.attempt, lease.epoch, self.runner)
        return AttemptFinished(*about, output, self._pool, lease.revived)

    def _is_halted(self, lease: Lease) -> bool:
        return self._halted.is_set() or key_of(lease) in self._let_go

    def _loaded(self, lease: Lease) -> LoadedStage:
        try:
            return self._stage(lease)
        # Unpickling runs code of the user's modules: anything can come out of it.
        except BaseException as error:
            raise engine_failure("cannot load the program", error, origin="load") from error

    def _inline(self, ticket: Ticket, loaded: LoadedStage, spent: Spent) -> Iterator[pa.Table]:
        batch_bytes = batch_bytes_of(loaded.limits.memory_bytes, ticket.lease.shrink)
        fetched = loaded.fetched
        before = (0, 0) if fetched is None else (fetched.requests, fetched.size_bytes)
        batches = _pieces_read(ticket, loaded, batch_bytes, self._cache)
        if loaded.stage.exchange is None:
            yield from _until_cut(ticket, batches, by_rows=loaded.stage.predicate is None)
        else:
            for _, table in batches:
                yield table
                del table
        if fetched is not None:
            # An exchange is read by this thread alone: what came meanwhile came for this attempt.
            spent.gets += fetched.requests - before[0]
            spent.moved_bytes += fetched.size_bytes - before[1]
        spent.read_s = spent.wait_s

    def _handed_over(self, ticket: Ticket, loaded: LoadedStage, spent: Spent) -> Iterator[pa.Table]:
        # With a filter in the reader, nobody knows which of the input's rows a table's rows are.
        by_rows = loaded.stage.predicate is None
        yield from _until_cut(ticket, self._desk.batches(ticket), by_rows=by_rows)
        spent.read_s = ticket.read_s
        spent.cpu_s = ticket.cpu_s

    # --- the reader's thread -----------------------------------------------------------------

    def _read(self) -> None:
        try:
            while (ticket := self._desk.next_to_read()) is not None:
                self._read_ahead(ticket)
        except BaseException:
            # As above: without its reader, the runner would wait for ever.
            self._reporter.fall_silent()
            raise

    def _read_ahead(self, ticket: Ticket) -> None:
        """Read one split, batch after batch, as far as there is room for it."""
        cpu_s = time.thread_time()
        try:
            loaded = self._stage(ticket.lease)
            if loaded.is_cheap(ticket.split):
                self._desk.leave_inline(ticket)
                return
            batch_bytes = batch_bytes_of(loaded.limits.memory_bytes, ticket.lease.shrink)
            batches = _pieces_read(ticket, loaded, batch_bytes, self._cache)
            while True:
                if not self._desk.wait_for_room(ticket, batch_bytes):
                    # An error, so that half a split can never pass for a whole one.
                    self._desk.end_reading(ticket, AttemptHaltedError())
                    return
                began_s = self._clock.monotonic_s()
                found = next(batches, None)
                ticket.read_s += self._clock.monotonic_s() - began_s
                if found is None:
                    break
                self._desk.put_batch(ticket, *found)
                del found
        # Whatever it is, the attempt that wants the batches reports it, not this thread.
        except BaseException as error:
            self._desk.end_reading(ticket, error)
            return
        ticket.cpu_s = time.thread_time() - cpu_s
        self._desk.end_reading(ticket)


def _pieces_read(
    ticket: Ticket, loaded: LoadedStage, batch_bytes: int, cache: RangeCache | None
) -> Iterator[Batch]:
    """Read a split piece by piece; each table comes with the number of its piece."""
    before = None if cache is None else cache.counts
    ticket.pieces = loaded.pieces(ticket.split)
    for number, piece in enumerate(ticket.pieces):
        if number and ticket.cut and loaded.stage.exchange is not None:
            # An operator reads all of a piece before the first of its rows is there.
            _leave(ticket, number)
            return
        for table in loaded.reader.batches(piece, batch_bytes):
            yield number, table
        if cache is not None and before is not None:
            # A runner reads one remote split at a time: what is counted meanwhile is of this one.
            ticket.cached = cache.counts.since(before)


def _until_cut(ticket: Ticket, batches: Iterator[Batch], *, by_rows: bool) -> Iterator[pa.Table]:
    """Yield tables until the split is asked to be cut, then to the end of their piece.

    By what is computed with, not by what is read: that may be far ahead.
    by_rows: tables have all rows of the input, so that the last piece may be cut between them.
    """
    done: int | None = None
    rows = 0  # of the piece
    for number, table in batches:
        if ticket.cut and done is not None:
            if number > done:
                _leave(ticket, number)
                return
            if by_rows and number == len(ticket.pieces) - 1 and _leave_rows(ticket, rows):
                return
        rows = table.num_rows + (rows if number == done else 0)
        done = number
        yield table
        del table


def _leave(ticket: Ticket, number: int) -> None:
    """Leave the pieces from a number on to others."""
    ticket.split = joined(ticket.pieces[:number])
    ticket.rest = grouped(ticket.pieces[number:])


def _leave_rows(ticket: Ticket, rows: int) -> bool:
    """Leave what comes after so many rows of the last piece to others, if it can be parted."""
    *before, last = ticket.pieces
    parted = parted_at(last, rows)
    if parted is None:
        return False
    ticket.split = joined((*before, parted[0]))
    ticket.rest = parted[1]
    return True


def _from_cache(output: AttemptOutput, counts: CacheCounts) -> AttemptOutput:
    """Return the record of an attempt that did not have to fetch all that it read."""
    return msgspec.structs.replace(
        output,
        moved_bytes=max(0, output.moved_bytes - counts.hit_bytes),
        gets=output.gets if counts.misses else 0,
        cached_bytes=counts.hit_bytes,
        cached_gets=counts.hits,
    )


def _cut(output: AttemptOutput, ticket: Ticket) -> AttemptOutput:
    """Return the record of an attempt that left a part of its input to others."""
    done = ticket.split
    cut = tuple(encode_split(each) for each in (done, *ticket.rest))
    if done.taken:  # Of an exchange, it was counted what was read.
        return msgspec.structs.replace(output, cut=cut)
    return msgspec.structs.replace(
        output, moved_bytes=done.size_bytes, gets=len(done.parts), cut=cut
    )
