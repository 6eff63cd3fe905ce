"""Look at every object of a journal, damaged or not, and find what it still says.

A replay stops at the first damage, because a leader must. Here all of it is found at once, with
what each costs:

* what a whole snapshot covers is not needed any more: nothing is lost;
* one flipped bit in a segment is found again by the checksums around it, and proved by them;
* anything else behind the newest whole snapshot is lost, and the state is known up to there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from connectors.errors import ObjectMissingError
from connectors.sealed import checksum, mended
from connectors.store import Store
from rayorch.core.facts import Event
from rayorch.core.machine import Machine
from rayorch.errors import JournalDamagedError
from rayorch.ids import Epoch
from rayorch.journal.log import LOG, SNAP, covered, segment_key, segment_number
from rayorch.journal.mark import MARK, Mark, load_mark
from rayorch.journal.segment import GENESIS, Segment, decode_segment
from rayorch.journal.snapshot import Found, decode_snapshot

JOURNAL: Final = "journal/"
ASIDE: Final = "journal/aside/"
"""Where a repair keeps what it replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One object of the journal that is not what was written."""

    key: str
    what: str
    n: int = 0  # of the segment; 0: it is none
    is_covered: bool = False  # by a whole snapshot
    mended: bytes | None = None  # what it was, when one flipped bit explains it
    bit: int = 0

    @property
    def is_lost(self) -> bool:
        """Whether something that happened is not known any more."""
        return self.n > 0 and not self.is_covered and self.mended is None


@dataclass(slots=True, kw_only=True)
class Inspected:
    """What a journal holds."""

    first: int = 0  # of the segments that are there; 0: none
    last: int = 0  # that is known to have been written
    segments: int = 0
    events: int = 0
    void: int = 0  # segments of leaders that had been fenced
    snapshots: int = 0  # that are whole
    covered_to: int = 0  # the last segment that one of them covers
    damages: list[Damage] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)  # objects that are none of ours
    tail: str = GENESIS  # the checksum of the last segment, as it is or will be mended
    machine: Machine = field(default_factory=Machine)
    through: int = 0  # the machine is the state behind this segment
    seen_ids: int = 0  # the highest id of an event anywhere
    unfolded: list[Event] = field(default_factory=list)  # readable, behind what is lost

    @property
    def lost(self) -> list[Damage]:
        """What cannot be brought back."""
        return [each for each in self.damages if each.is_lost]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written here."""
        return not self.last and not self.snapshots


def inspect(store: Store, watch: Callable[[Event], None] | None = None) -> Inspected:
    """Read the whole journal; `watch` sees every event that can be read, in order.

    Raises: JournalNewerError, StoreError.
    """
    found = Inspected()
    found.strangers = list(_strangers(store))
    snapshots, damaged = _snapshots(store)
    found.snapshots = len(snapshots)
    base = snapshots[-1] if snapshots else None
    found.covered_to = 0 if base is None else base.n
    mark = _mark(store, found)
    numbers = [n for info in store.list(LOG) if (n := segment_number(info.key))]
    known = [*numbers, *(each.n for each in snapshots), *map(covered, damaged), mark.n]
    found.first, found.last = min(numbers, default=0), max(known, default=0)
    if base is not None:
        found.machine.restore(base.state)
        found.through = base.n
    found.damages += [
        Damage(key=key, what=what, is_covered=base is not None) for key, what in damaged.items()
    ]
    walk = _Walk(found, snapshots, mark, watch)
    for n, data in _segments(store, numbers, walk.begin(numbers), found.last):
        if isinstance(data, int):
            walk.miss(n, data)
        else:
            walk.look(n, data)
    walk.settle()
    found.seen_ids = max(found.seen_ids, found.machine.through)
    return found


def _segments(
    store: Store, numbers: list[int], begin: int, last: int
) -> Iterator[tuple[int, bytes | int]]:
    """Yield each segment from one on; where some are missing, the first and how many they are."""
    for n in [*numbers, last + 1]:
        if n > begin:
            yield begin, n - begin
        if begin <= n <= last:
            try:
                yield n, store.get(segment_key(n))
            except ObjectMissingError:
                yield n, 1
        begin = max(begin, n + 1)


def _strangers(store: Store) -> Iterator[str]:
    for info in store.list(JOURNAL):
        key = info.key
        is_kept = segment_number(key) or covered(key) or key == MARK
        if not is_kept and not key.startswith(ASIDE):
            yield key


def _snapshots(store: Store) -> tuple[list[Found], dict[str, str]]:
    """Return the whole snapshots, oldest first, and what is wrong with the others."""
    whole: list[Found] = []
    damaged: dict[str, str] = {}
    for info in store.list(SNAP):
        if not covered(info.key):
            continue
        try:
            whole.append(decode_snapshot(info.key, store.get(info.key)))
        except ObjectMissingError:
            continue  # Collected while we looked.
        except JournalDamagedError as error:
            damaged[info.key] = error.what
    return whole, damaged


def _mark(store: Store, found: Inspected) -> Mark:
    try:
        return load_mark(store)
    except JournalDamagedError as error:
        # Whatever it said, the log says more.
        found.damages.append(Damage(key=MARK, what=error.what, is_covered=True))
        return Mark()


class _Walk:
    """Goes through the segments in order, as a replay does, but never stops."""

    def __init__(
        self,
        found: Inspected,
        snapshots: list[Found],
        mark: Mark,
        watch: Callable[[Event], None] | None,
    ) -> None:
        self._found = found
        self._watch = watch
        self._covered_to = snapshots[-1].n if snapshots else 0
        # What others say of a segment's bytes.
        self._prevs = {each.n: each.prev for each in snapshots}
        if mark.checksum:
            self._prevs.setdefault(mark.n, mark.checksum)
        self._prev = GENESIS
        self._is_chained = False  # `_prev` is the checksum of the segment before
        self._base = snapshots[-1] if snapshots else None
        self._fenced_by = Epoch(0) if self._base is None else self._base.epoch
        self._broken: tuple[int, bytes, str] | None = None  # waits for what the next one says
        self._is_folding = True

    def begin(self, numbers: list[int]) -> int:
        """Return the segment to begin with: the first that is there or that is needed."""
        first = numbers[0] if numbers else 0
        if self._base is None or first == 1:
            self._is_chained = True
            return 1
        if first and first <= self._base.n:
            return first
        self._prev, self._is_chained = self._base.prev, True
        self._found.tail = self._base.prev
        return self._base.n + 1

    def miss(self, n: int, count: int) -> None:
        """Take note of segments that are not there."""
        self._give_up_broken()
        rest = f", and so are the {count - 1} after it" if count > 1 else ""
        self._note(n, f"it is missing{rest}", count=count)
        self._is_chained = False

    def look(self, n: int, data: bytes) -> None:
        """Take the next segment."""
        key = segment_key(n)
        try:
            segment = decode_segment(key, n, data)
        except JournalDamagedError as error:
            self._give_up_broken()
            self._broken = (n, data, error.what)
            self._found.tail = checksum(data)
            return
        self._resolve_broken(segment.header.prev)
        header = segment.header
        if self._is_chained and header.prev != self._prev:
            self._note(n, "it does not continue the segment before it")
        elif self._prevs.get(n, segment.checksum) != segment.checksum:
            self._note(n, "it is not the one that was there when the log was noted")
        elif header.kind == "fence" and header.epoch != n:
            self._note(n, f"it is a fence of epoch {header.epoch}")
        else:
            self._take(segment)
        self._chain(segment)

    def settle(self) -> None:
        """Decide on what waited for a segment that does not come."""
        if self._broken is not None:
            self._resolve_broken(self._prevs.get(self._broken[0], ""))

    def _chain(self, segment: Segment) -> None:
        self._prev, self._is_chained = segment.checksum, True
        self._found.tail = segment.checksum

    def _take(self, segment: Segment) -> None:
        found, header = self._found, segment.header
        found.segments += 1
        found.events += len(segment.events)
        if segment.events:
            found.seen_ids = max(found.seen_ids, segment.events[-1].id)
        if self._watch is not None:
            for event in segment.events:
                self._watch(event)
        if header.n <= self._covered_to:
            return
        if header.kind == "fence":
            self._fenced_by = header.epoch
        elif header.epoch != self._fenced_by and self._is_folding:
            found.void += 1
            return
        if not self._is_folding:
            found.unfolded.extend(segment.events)
            return
        for event in segment.events:
            found.machine.fold(event)
        found.through = header.n

    def _give_up_broken(self) -> None:
        if self._broken is not None:
            n, _, what = self._broken
            self._broken = None
            self._note(n, what)
            self._is_chained = False

    def _resolve_broken(self, said: str) -> None:
        """Find the flipped bit of the segment before, which `said` has the checksum of."""
        if self._broken is None:
            return
        n, data, what = self._broken
        self._broken = None
        key = segment_key(n)

        def is_right(changed: bytes | bytearray) -> bool:
            if said:
                return checksum(changed) == said
            try:
                decode_segment(key, n, bytes(changed))
            except JournalDamagedError:
                return False
            return True

        mending = mended(data, is_right)
        segment = None if mending is None else _decoded(key, n, mending[0])
        if mending is None or segment is None:
            self._note(n, what)
            self._is_chained = False
            return
        self._note(n, what, mending)
        self._take(segment)
        self._chain(segment)

    def _note(
        self, n: int, what: str, mending: tuple[bytes, int] | None = None, count: int = 1
    ) -> None:
        data, bit = mending or (None, 0)
        is_covered = n + count - 1 <= self._covered_to
        damage = Damage(
            key=segment_key(n), what=what, n=n, is_covered=is_covered, mended=data, bit=bit
        )
        self._found.damages.append(damage)
        if damage.is_lost:
            self._is_folding = False


def _decoded(key: str, n: int, data: bytes) -> Segment | None:
    try:
        return decode_segment(key, n, data)
    except JournalDamagedError:
        return None
