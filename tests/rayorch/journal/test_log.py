"""The journal's protocol, window by window."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from connectors.errors import StoreUnavailableError
from connectors.store import Created, ObjectInfo, Store
from connectors.stores.memory import MemoryStore
from rayorch.clock import ManualClock
from rayorch.core.facts import Event
from rayorch.core.invariants import durable_view
from rayorch.core.machine import Machine
from rayorch.errors import FencedError, JournalDamagedError, JournalStuckError
from rayorch.ids import Epoch, RunId
from rayorch.journal.log import CHECK_S, LOG, RETENTION_S, SNAP, Journal, segment_key
from rayorch.journal.segment import decode_segment, encode_segment
from rayorch.sim.store import Mishap, UnsureStore
from tests.rayorch import make
from tests.rayorch.driver import Driver


class Desk:
    """One home in memory, a clock, and as many journals on it as a test wants."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore("journal-tests", now_s=self.clock.now_s)
        self.store.delete([info.key for info in self.store.list()])
        self._nonces = count()

    def journal(self, store: Store | None = None, clock: ManualClock | None = None) -> Journal:
        return Journal(
            store or self.store, clock or self.clock, lambda: f"nonce-{next(self._nonces)}"
        )

    def leader(self, store: Store | None = None, clock: ManualClock | None = None) -> Journal:
        journal = self.journal(store, clock)
        journal.replay(lambda _event: None)
        journal.lead(lambda _event: None)
        return journal

    def replayed(self) -> list[Event]:
        """All that a fresh reader finds, without a snapshot."""
        found: list[Event] = []
        self.journal().replay(found.append)
        return found

    def restored(self) -> Machine:
        """The machine that a fresh reader builds, with snapshots."""
        machine = Machine()
        self.journal().replay(machine.fold, machine.restore)
        return machine

    def keys(self, prefix: str) -> list[str]:
        return [info.key for info in self.store.list(prefix)]

    def spoil(self, key: str, change: Callable[[bytes], bytes]) -> None:
        data = change(self.store.get(key))
        self.store.put(key, data)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def event(number: int) -> Event:
    return make.event(make.submitted(RunId(f"run-{number}")), number)


def test_what_was_appended_is_read_back_in_order(desk: Desk) -> None:
    leader = desk.leader()
    leader.append([event(1), event(2)])
    leader.append([event(3)])

    assert desk.replayed() == [event(1), event(2), event(3)]


def test_the_same_events_and_nonces_give_the_same_bytes() -> None:
    contents = []
    for _ in range(2):
        desk = Desk()
        desk.leader().append([event(1)])
        contents.append([desk.store.get(key) for key in desk.keys("")])

    assert contents[0] == contents[1]


def test_a_reader_goes_on_where_it_was(desk: Desk) -> None:
    leader, reader = desk.leader(), desk.journal()
    found: list[Event] = []
    leader.append([event(1)])
    assert reader.replay(found.append) == 1
    leader.append([event(2)])

    assert reader.replay(found.append) == 1
    assert found == [event(1), event(2)]


# --- leading ---------------------------------------------------------------------------------


def test_the_older_of_two_leaders_is_fenced_at_its_next_append(desk: Desk) -> None:
    older = desk.leader()
    newer = desk.leader()
    newer.append([event(1)])

    with pytest.raises(FencedError) as fenced:
        older.append([event(2)])

    assert (fenced.value.our_epoch, fenced.value.stored_epoch) == (older.epoch, newer.epoch)
    assert desk.replayed() == [event(1)]


def test_a_leader_with_nothing_to_append_finds_out_when_it_looks(desk: Desk) -> None:
    older = desk.leader()
    older.check_lead()
    desk.leader()

    with pytest.raises(FencedError):
        older.check_lead()


def test_one_of_two_that_race_for_the_lead_wins_each_number(desk: Desk) -> None:
    """Both have replayed to the same end. The second finds its number taken, and reads on."""
    one, other = desk.journal(), desk.journal()
    for journal in (one, other):
        journal.replay(lambda _event: None)

    epochs = [one.lead(lambda _event: None), other.lead(lambda _event: None)]

    assert epochs == [1, 2]
    with pytest.raises(FencedError):
        one.append([event(1)])
    other.append([event(2)])
    assert desk.replayed() == [event(2)]


def test_who_takes_the_lead_hears_what_came_in_between(desk: Desk) -> None:
    late = desk.journal()
    late.replay(lambda _event: None)
    desk.leader().append([event(1)])
    found: list[Event] = []

    late.lead(found.append)

    assert found == [event(1)]


def test_a_segment_of_a_leader_that_was_fenced_before_is_void(desk: Desk) -> None:
    """It cannot be written through the protocol; if a store breaks its word, it is void."""
    older = desk.leader()
    newer = desk.leader()
    prev = decode_segment(segment_key(2), 2, desk.store.get(segment_key(2))).checksum
    desk.store.put(segment_key(3), encode_segment(3, older.epoch, "zombie", prev, [event(9)]))

    assert desk.replayed() == []
    assert newer.epoch == 2


# --- outcomes that nobody knows ------------------------------------------------------------------


def unsure(desk: Desk, *mishaps: Mishap | None) -> UnsureStore:
    """A store on which the next creates go wrong like this, and the later ones do not."""
    planned = iter(mishaps)
    return UnsureStore(desk.store, lambda _key: next(planned, None))


@pytest.mark.parametrize("mishap", ["request lost", "reply lost", "late"])
@pytest.mark.parametrize("times", [1, 3])
def test_an_unknown_outcome_is_repeated_until_it_is_settled(
    desk: Desk, mishap: Mishap, times: int
) -> None:
    leader = desk.leader(unsure(desk, None, *[mishap] * times))

    leader.append([event(1)])
    leader.append([event(2)])

    assert desk.replayed() == [event(1), event(2)]


def test_a_create_whose_reply_was_lost_to_a_rival_is_no_win(desk: Desk) -> None:
    """1. the leader's create times out, unwritten  2. a rival takes the number  3. it repeats."""
    store = UnsureStore(desk.store, lambda _key: None)
    leader = desk.leader(store)
    rival = desk.journal()
    rival.replay(lambda _event: None)
    tries = iter([True])

    def mishap(_key: str) -> Mishap | None:
        if next(tries, False):
            rival.lead(lambda _event: None)
            return "request lost"
        return None

    store._mishap = mishap
    with pytest.raises(FencedError):
        leader.append([event(1)])
    assert desk.replayed() == []


def test_a_store_that_never_says_ends_the_lead(desk: Desk) -> None:
    store = UnsureStore(desk.store, lambda _key: None)
    leader = desk.leader(store)
    store._mishap = lambda _key: "request lost"

    with pytest.raises(JournalStuckError):
        leader.append([event(1)])


class Throttled(UnsureStore):
    """Refuses the first creates outright."""

    left = 2

    def put_if_absent(self, key: str, data: bytes) -> Created:
        if self.left:
            self.left -= 1
            raise StoreUnavailableError(self.url, key, "slow down")
        return super().put_if_absent(key, data)


def test_a_throttled_append_is_tried_again(desk: Desk) -> None:
    leader = desk.leader(Throttled(desk.store, lambda _key: None))

    leader.append([event(1)])

    assert desk.replayed() == [event(1)]


def test_a_post_check_that_the_store_does_not_answer_is_asked_again(desk: Desk) -> None:
    """What was appended is durable by then: an error would call it lost."""

    class Deaf(UnsureStore):
        refusals = 0

        def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
            if self.refusals:
                self.refusals -= 1
                raise StoreUnavailableError(self.url, prefix, "slow down")
            return super().list(prefix, after)

    store = Deaf(desk.store, lambda _key: None)
    leader = desk.leader(store)
    desk.clock.advance(CHECK_S + 1)
    store.refusals = 2

    leader.append([event(1)])

    assert store.refusals == 0
    assert desk.replayed() == [event(1)]


# --- damage ----------------------------------------------------------------------------------


def test_a_missing_segment_is_named(desk: Desk) -> None:
    leader = desk.leader()
    leader.append([event(1)])
    leader.append([event(2)])
    desk.store.delete([segment_key(2)])

    with pytest.raises(JournalDamagedError, match=segment_key(2)):
        desk.replayed()


def test_a_segment_of_another_journal_is_named(desk: Desk) -> None:
    foreign = encode_segment(2, Epoch(1), "other", "0123456789abcdef", [event(7)])
    desk.leader().append([event(1)])
    desk.store.put(segment_key(2), foreign)

    with pytest.raises(JournalDamagedError, match=segment_key(2)):
        desk.replayed()


def test_a_replaced_segment_is_found_by_the_one_after_it(desk: Desk) -> None:
    leader = desk.leader()
    leader.append([event(1)])
    leader.append([event(2)])
    first = decode_segment(segment_key(1), 1, desk.store.get(segment_key(1))).checksum
    desk.store.put(segment_key(2), encode_segment(2, leader.epoch, "forged", first, [event(8)]))

    with pytest.raises(JournalDamagedError, match=segment_key(3)):
        desk.replayed()


def test_a_truncated_segment_is_named(desk: Desk) -> None:
    desk.leader().append([event(1)])
    desk.spoil(segment_key(2), lambda data: data[:-5])

    with pytest.raises(JournalDamagedError, match=segment_key(2)):
        desk.replayed()


# --- snapshots and collection --------------------------------------------------------------------


def history(desk: Desk, snapshots: int, *, old: bool = True) -> tuple[Journal, Driver]:
    """A leader that wrote a run's events, with snapshots between them."""
    leader, driver = desk.leader(), Driver()
    driver.start(3)
    driver.tick()
    for i in range(snapshots):
        if old and i == snapshots - 1:
            desk.clock.advance(RETENTION_S + 1)
        leader.append([make.event(make.submitted(RunId(f"run-{i}")), 100 + i)])
        driver.machine.handle(make.event(make.submitted(RunId(f"run-{i}")), 100 + i))
        leader.append([make.event(make.resumed(run=RunId(f"run-{i}")), 200 + i)])
        driver.machine.handle(make.event(make.resumed(run=RunId(f"run-{i}")), 200 + i))
        leader.write_snapshot(driver.machine.snapshot())
    return leader, driver


def test_a_replay_from_a_snapshot_ends_where_the_leader_is(desk: Desk) -> None:
    leader, driver = history(desk, 2)
    leader.append([event(900)])
    driver.machine.handle(event(900))

    assert durable_view(desk.restored()) == durable_view(driver.machine)


def test_collection_keeps_what_the_older_snapshot_does_not_cover(desk: Desk) -> None:
    leader, _ = history(desk, 3)

    leader.collect()

    older = min(desk.keys(SNAP))
    covered = int(older.removeprefix(SNAP).partition("-")[0])
    left = [int(key.removeprefix(LOG)) for key in desk.keys(LOG)]
    assert left == list(range(covered + 1, leader.next_segment))
    assert len(desk.keys(SNAP)) == 2


def test_nothing_young_and_nothing_with_one_snapshot_is_collected(desk: Desk) -> None:
    leader, _ = history(desk, 3, old=False)
    assert leader.collect() == 0

    other = Desk()
    leader, _ = history(other, 1)
    assert leader.collect() == 0


def test_a_leader_whose_clock_is_ahead_collects_nothing_young(desk: Desk) -> None:
    """Or a rival that slept for seconds would win a number that was used, and not look."""
    clock = ManualClock()
    ahead = desk.leader(clock=clock)
    history(desk, 2, old=False)
    ahead.replay(lambda _event: None)
    clock.advance(3 * RETENTION_S)

    assert ahead.collect() == 0


def test_a_damaged_newest_snapshot_costs_only_time(desk: Desk) -> None:
    leader, driver = history(desk, 3)
    leader.collect()
    desk.spoil(max(desk.keys(SNAP)), lambda data: data[:-1] + b"?")

    assert durable_view(desk.restored()) == durable_view(driver.machine)


def test_a_damaged_older_snapshot_stops_the_collection(desk: Desk) -> None:
    """It is no reason to delete what it should have covered: the newest may be damaged next."""
    leader, _ = history(desk, 3)
    desk.spoil(sorted(desk.keys(SNAP))[-2], lambda data: data[:-1] + b"?")
    before = desk.keys("")

    assert leader.collect() == 0
    assert desk.keys("") == before


def test_two_damaged_snapshots_are_damage(desk: Desk) -> None:
    leader, _ = history(desk, 3)
    leader.collect()
    for key in desk.keys(SNAP):
        desk.spoil(key, lambda data: data[:-1] + b"?")

    with pytest.raises(JournalDamagedError, match="snap"):
        desk.restored()


class Suspended(ManualClock):
    """A machine whose monotonic clock stood still while it was suspended."""

    def monotonic_s(self) -> float:
        return 5.0


@pytest.mark.parametrize("clock", [ManualClock, Suspended])
def test_a_leader_that_slept_through_a_collection_wins_no_number_that_was_used(
    desk: Desk, clock: type[ManualClock]
) -> None:
    """An exclusive create proves nothing where a name may have been deleted.

    1. a leader falls asleep before its next append, number 2
    2. another takes the lead, writes, snapshots, and number 2 is collected
    3. the first wakes, creates number 2, and must not believe that it won
    """
    own = clock()
    sleeper = desk.leader(clock=own)
    leader, _ = history(desk, 3)
    leader.collect()
    assert segment_key(sleeper.next_segment) not in desk.keys(LOG)
    own.advance(RETENTION_S + CHECK_S)

    with pytest.raises(FencedError):
        sleeper.append([event(1)])


def test_a_snapshot_that_reads_back_differently_is_refused(desk: Desk) -> None:
    class Forgetful(UnsureStore):
        def get(self, key: str) -> bytes:
            return super().get(key)[:-1] if key.startswith(SNAP) else super().get(key)

    leader = desk.leader(Forgetful(desk.store, lambda _key: None))

    with pytest.raises(JournalDamagedError, match="reads back differently"):
        leader.write_snapshot(Machine().snapshot())
