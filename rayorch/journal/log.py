"""The journal: an append-only log of numbered segments on any store with an exclusive create.

The protocol, and why each step is there:

* **Lead.** Replay to the end, then create a *fence* at the first free number. Who wins it leads,
  and the number is the epoch: unique and growing with no counter beside it.
* **Append.** Create the next number exclusively. If it is taken, somebody else leads: we are
  fenced and stop. An outcome that stays unknown is settled by repeating the same bytes, because a
  create whose reply was lost, or that lands after its time-out, must not count as failed.
* **Post-check.** An exclusive create proves nothing once the name may have been deleted: a leader
  that slept through a collection would win a number that was used before. So after a create that
  comes long after the last check, no snapshot may cover the number.
* **Snapshot, then collect.** A snapshot is written and read back before any segment that it
  covers is deleted; two snapshots are kept, and segments are kept until the older one covers them.
* **Mark.** Now and then, and when it stops, a leader notes how far the log goes, so that a log
  whose last segments are missing is not taken for one that ends there.

Safety rests on exclusive create alone: no clock, no rename, no compare-and-swap.
"""

import itertools
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Final, TypeVar

from connectors.ahead import get_in_order
from connectors.errors import ObjectMissingError, StoreUnavailableError, StoreUnsureError
from connectors.sealed import checksum
from connectors.store import ObjectInfo, Store
from rayorch.clock import Clock
from rayorch.core.facts import Event
from rayorch.core.run import Snapshot
from rayorch.errors import FencedError, JournalDamagedError, JournalStuckError
from rayorch.garbage import few_collections
from rayorch.ids import Epoch
from rayorch.journal.mark import MARK, Mark, load_mark, put_mark
from rayorch.journal.segment import GENESIS, decode_segment, encode_segment
from rayorch.journal.snapshot import decode_snapshot, encode_snapshot

T = TypeVar("T")

LOG: Final = "journal/log/"
SNAP: Final = "journal/snap/"
CHECK_S: Final = 300.0
"""A create later than this after the last post-check is checked again. Far below RETENTION_S."""
RETENTION_S: Final = 3600.0
"""Covered segments stay so long before the newest snapshot, for leaders that slept."""
SNAPSHOTS_KEPT: Final = 2
UNSURE_S_MAX: Final = 600.0
"""How long an append with an unknown outcome is repeated before the leader gives up."""

logger = logging.getLogger(__name__)


def segment_key(n: int) -> str:
    """Return the key of segment `n`."""
    return f"{LOG}{n:020d}"


class Journal:
    """The log of one home, as a reader and, after `lead`, as its only writer."""

    def __init__(self, store: Store, clock: Clock, new_nonce: Callable[[], str]) -> None:
        self._store = store
        self._clock = clock
        self._new_nonce = new_nonce
        self._next = 1
        self._prev = GENESIS
        self._fenced_by = Epoch(0)  # the epoch of the last fence that was replayed
        self._checked_s = self._checked_at_s = 0.0
        self._written = Mark()  # the log is known to go so far
        self._written_by = ""  # by this object
        self._marked = 0
        self.epoch = Epoch(0)
        self.segments_since_snapshot = 0

    @property
    def next_segment(self) -> int:
        """The number that the next segment will have."""
        return self._next

    # --- reading -----------------------------------------------------------------------------

    def replay(
        self, apply: Callable[[Event], None], restore: Callable[[Snapshot], None] | None = None
    ) -> int:
        """Hand over what happened since the last call, in order; return the number of events.

        The first call begins with the newest whole snapshot, through `restore`.
        Raises: JournalDamagedError, JournalNewerError.
        """
        # What is read stays.
        with few_collections():
            if self._next == 1:
                self._look_ahead()
                if restore is not None:
                    self._restore(restore)
            return self._replay_segments(apply)

    def _replay_segments(self, apply: Callable[[Event], None]) -> int:
        count = 0
        keys = map(segment_key, itertools.count(self._next))
        with closing(get_in_order(self._store, keys)) as found:
            for data in found:
                if data is None:
                    break
                count += self._replay_segment(data, apply)
        self._refuse_gap()
        return count

    def _replay_segment(self, data: bytes, apply: Callable[[Event], None]) -> int:
        key = segment_key(self._next)
        segment = decode_segment(key, self._next, data)
        if segment.header.prev != self._prev:
            raise JournalDamagedError(key, "it does not continue the segment before it")
        self._next += 1
        self._prev = segment.checksum
        self.segments_since_snapshot += 1
        if segment.header.n == self._written.n and self._written.differs(segment.checksum):
            raise JournalDamagedError(key, f"it is not the one that {self._written_by} names")
        if segment.header.kind == "fence":
            self._fenced_by = segment.header.epoch
        elif segment.header.epoch != self._fenced_by:
            return 0  # Written by a leader that had been fenced: void.
        for event in segment.events:
            apply(event)
        return len(segment.events)

    def _look_ahead(self) -> None:
        """Learn how far the log goes, before anything of it is read."""
        self._written, self._written_by = load_mark(self._store), MARK
        for info in self._store.list(SNAP):
            if covered(info.key) > self._written.n:
                self._written, self._written_by = Mark(covered(info.key)), info.key

    def _restore(self, restore: Callable[[Snapshot], None]) -> None:
        damaged: JournalDamagedError | None = None
        infos = self._snapshots()
        for info in reversed(infos):
            try:
                found = decode_snapshot(info.key, self._store.get(info.key))
            except JournalDamagedError as error:
                damaged = error  # The one before may still be whole, and its segments are kept.
                logger.warning("%s\n  `rayorch fsck` says what is left and mends it", error)
                continue
            except ObjectMissingError:
                continue  # Collected while we looked.
            self._next = found.n + 1
            self._prev = found.prev
            self._fenced_by = found.epoch
            restore(found.state)
            return
        if damaged is not None and not self._has_first_segment():
            raise damaged

    def _snapshots(self) -> list[ObjectInfo]:
        """Return the snapshots, oldest first."""
        return [info for info in self._store.list(SNAP) if covered(info.key)]

    def _has_first_segment(self) -> bool:
        return self._store.head(segment_key(1)) is not None

    def _refuse_gap(self) -> None:
        """A segment that is missing while later ones are known is damage, not the end."""
        if self._next <= self._written.n:
            by = self._written_by
        else:
            found = self._store.list(LOG, after=segment_key(self._next))
            by = next((info.key for info in found if segment_number(info.key)), "")
        # Looked for again: it may have been written since.
        if by and self._store.head(segment_key(self._next)) is None:
            raise JournalDamagedError(segment_key(self._next), f"it is missing, but {by} exists")

    # --- leading -----------------------------------------------------------------------------

    def lead(self, apply: Callable[[Event], None]) -> Epoch:
        """Take the lead: fence whoever led before. Call `replay` first.

        Raises: JournalStuckError, when the store does not answer.
        """
        while True:
            n = self._next
            data = encode_segment(n, Epoch(n), self._new_nonce(), self._prev, None)
            if self._create(n, data):
                self._advance(data)
                self.epoch = self._fenced_by = Epoch(n)
                self._patiently(SNAP, partial(self._check, n))
                return self.epoch
            self.replay(apply)

    def append(self, events: Sequence[Event]) -> None:
        """Make some events durable, in order, in one segment.

        When it returns they are; when it raises, this journal must not be used again.
        Raises: FencedError, when another leader has taken over; JournalStuckError.
        """
        assert self.epoch, "append before lead"
        assert events
        n = self._next
        data = encode_segment(n, self.epoch, self._new_nonce(), self._prev, events)
        if not self._create(n, data):
            raise FencedError(self.epoch, self._epoch_of(n))
        self._advance(data)
        if self._slept_s() > CHECK_S:
            # What was appended is durable: it must not be called failed for want of an answer.
            self._patiently(SNAP, partial(self._check, n))

    def check_lead(self) -> None:
        """Make sure that nobody has taken over. For a leader that has had nothing to append.

        Raises: FencedError.
        """
        if self._store.head(segment_key(self._next)) is not None:
            raise FencedError(self.epoch, self._epoch_of(self._next))
        self._check(self._next)

    def _epoch_of(self, n: int) -> Epoch:
        """Return the epoch of whoever wrote a segment that should have been ours."""
        try:
            data = self._store.get(segment_key(n))
        except ObjectMissingError:
            return Epoch(n)  # Collected since: its writer is at least so new.
        return decode_segment(segment_key(n), n, data).header.epoch

    def _slept_s(self) -> float:
        """Return the seconds since the last post-check, by the clock that says more.

        The monotonic one stands still while a machine is suspended, the other one may be set back.
        """
        return max(
            self._clock.monotonic_s() - self._checked_s, self._clock.now_s() - self._checked_at_s
        )

    def _create(self, n: int, data: bytes) -> bool:
        """Create a segment; return False when another one has its number."""
        key = segment_key(n)
        # The same bytes to the same key, until the key is taken by them or by others.
        return self._patiently(key, lambda: self._store.put_if_absent(key, data)) == "won"

    def _patiently(self, key: str, call: Callable[[], T]) -> T:
        """Repeat a call that may be repeated until the store answers.

        Raises: JournalStuckError.
        """
        begun_s = self._clock.monotonic_s()
        pause_s = 0.1
        while True:
            try:
                return call()
            except (StoreUnsureError, StoreUnavailableError) as error:
                if self._clock.monotonic_s() - begun_s > UNSURE_S_MAX:
                    raise JournalStuckError(key, str(error)) from error
                self._clock.sleep(pause_s)
                pause_s = min(pause_s * 2, 5.0)

    def _advance(self, data: bytes) -> None:
        self._prev = checksum(data)
        self._next += 1
        self.segments_since_snapshot += 1

    def _check(self, n: int) -> None:
        """Make sure that number `n` had not been used and collected before we created it."""
        self._checked_s, self._checked_at_s = self._clock.monotonic_s(), self._clock.now_s()
        newest = max((covered(info.key) for info in self._store.list(SNAP)), default=0)
        if newest >= n:
            raise FencedError(self.epoch, Epoch(newest))

    def mark(self) -> None:
        """Note how far the log goes, unless nothing came since the last note. Raises: StoreError.

        What is noted was acknowledged, and stays true whoever leads by now.
        """
        n = self._next - 1
        if n > self._marked:
            put_mark(self._store, Mark(n, self._prev))
            self._marked = n

    def stand_behind(self, n: int, prev: str) -> None:
        """Go on behind segment `n` as if all had been replayed. For repairs, which replay it.

        `prev` is the checksum of that segment as it is, or will be, stored.
        """
        self._next, self._prev = n + 1, prev

    # --- snapshots ---------------------------------------------------------------------------

    def write_snapshot(self, state: Snapshot) -> str:
        """Keep the state through the last segment, so that a replay can begin here."""
        n = self._next - 1
        key = f"{SNAP}{n:020d}-{self._new_nonce()}"
        data = encode_snapshot(n, self.epoch, self._prev, state)
        self._store.put(key, data)
        if self._store.get(key) != data:
            raise JournalDamagedError(key, "it reads back differently from what was written")
        self.segments_since_snapshot = 0
        return key

    def collect(self) -> int:
        """Delete segments that the older kept snapshot covers, and older snapshots.

        Returns how many objects are gone. Nothing younger than the retention is touched, by the
        store's own clock: ours may be ahead, and a leader that slept for seconds would win a number
        that was used.
        """
        snapshots = self._snapshots()
        if len(snapshots) < SNAPSHOTS_KEPT:
            return 0
        oldest_kept = snapshots[-SNAPSHOTS_KEPT]
        before_s = snapshots[-1].modified_s - RETENTION_S
        try:
            through = decode_snapshot(oldest_kept.key, self._store.get(oldest_kept.key)).n
        except (JournalDamagedError, ObjectMissingError):
            # It covers nothing. What it should have covered stays until the next snapshots do.
            return 0
        doomed = [
            info.key
            for info in self._store.list(LOG)
            if 0 < segment_number(info.key) <= through and info.modified_s < before_s
        ]
        doomed += [info.key for info in snapshots[:-SNAPSHOTS_KEPT] if info.modified_s < before_s]
        self._store.delete(doomed)
        return len(doomed)


def segment_number(key: str) -> int:
    """Return the number of a segment, by its key; 0, for an object that is none."""
    name = key.removeprefix(LOG)
    return int(name) if name.isdigit() else 0


def covered(key: str) -> int:
    """Return the number of the last segment that a snapshot covers, by its key; 0, as above."""
    name = key.removeprefix(SNAP).partition("-")[0]
    return int(name) if name.isdigit() else 0
