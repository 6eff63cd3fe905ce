"""What a repair mends, what it leaves alone, and who it refuses to disturb."""

import random

import pytest

from rayorch.core import invariants
from rayorch.core.invariants import durable_view
from rayorch.core.run import RunState
from rayorch.errors import FencedError, HomeBusyError
from rayorch.host.leader import KEY, Leader, sign
from rayorch.journal.inspect import ASIDE
from rayorch.journal.mark import MARK
from tests.rayorch import make
from tests.rayorch.fsck.desk import LOG, OTHER, SNAP, Desk, segment_key


@pytest.fixture
def desk() -> Desk:
    return Desk().fill()


def test_a_home_with_nothing_to_mend_is_not_touched(desk: Desk) -> None:
    before = desk.content()

    assert desk.repair().is_whole
    assert desk.content() == before


@pytest.mark.parametrize("seed", range(25))
def test_any_flipped_bit_of_a_segment_is_flipped_back(seed: int) -> None:
    """Two checksums prove which it was; what was there is kept."""
    desk, luck = Desk().fill(), random.Random(seed)
    before = desk.content()
    key = luck.choice([each for each in desk.keys(LOG) if each > segment_key(5)])
    desk.flip(key, luck.randrange(len(before[key]) * 8))
    spoilt = desk.store.get(key)

    assert desk.repair().is_whole

    assert desk.store.get(key) == before[key]
    assert desk.store.get(ASIDE + key.replace("/", "-")) == spoilt
    assert durable_view(desk.folded()) == durable_view(desk.driver.machine)
    assert [f for f in desk.findings() if f.severity == "damage"] == []


@pytest.mark.parametrize("what", ["snapshot", "mark", "old segment"])
def test_where_the_state_is_known_a_new_snapshot_takes_the_place_of_what_is_damaged(
    desk: Desk, what: str
) -> None:
    keys = {"snapshot": desk.keys(SNAP)[0], "mark": MARK, "old segment": segment_key(3)}
    desk.spoil(keys[what], lambda data: data[:-3])

    desk.repair()

    assert desk.examine().examined.is_whole
    assert durable_view(desk.folded()) == durable_view(desk.driver.machine)


def test_a_repair_fences_a_leader_that_does_nothing(desk: Desk) -> None:
    """One that is at work is not disturbed; one that only holds the lead loses it."""
    desk.flip(segment_key(8), 99)

    desk.repair()

    with pytest.raises(FencedError):
        desk.journal.append([make.event(make.resumed(run=OTHER), 900)])


def test_a_home_that_somebody_leads_is_left_alone_and_says_who(desk: Desk) -> None:
    desk.flip(segment_key(8), 99)
    sign(desk.home, Leader("control-7", "far-away", 7, desk.clock.now_s(), run="hourly-1"))
    before = desk.content()

    with pytest.raises(HomeBusyError, match="control-7, pid 7 on far-away"):
        desk.repair()

    assert desk.content() == before


def test_the_hint_of_a_repair_goes_with_it(desk: Desk) -> None:
    desk.flip(segment_key(8), 99)

    desk.repair()

    assert desk.store.head(KEY) is None


def test_records_that_are_lost_keep_everything_from_being_touched(desk: Desk) -> None:
    """A person decides whether there is a copy; until then nothing may become worse."""
    desk.spoil(segment_key(8), lambda data: data[:-20])
    desk.flip(segment_key(6), 55)
    before = desk.content()

    assert not desk.repair().is_whole
    assert desk.content() == before


@pytest.mark.parametrize("lost", [(7,), (9,), (7, 8, 9)])
def test_a_salvage_closes_what_may_have_gone_on_and_deletes_nothing(
    desk: Desk, lost: tuple[int, ...]
) -> None:
    desk.store.delete([segment_key(n) for n in lost])
    before = desk.content()

    assert desk.repair(salvage=True).is_whole

    machine = desk.folded()
    invariants.check(machine)
    assert machine.runs[make.RUN].state is RunState.CANCELLED
    other = machine.runs[OTHER]
    assert other.state is RunState.CANCELLED
    assert other.swept  # or a leader would delete files that may be visible
    assert other.error is not None
    assert "given up" in other.error.message
    after = desk.content()
    assert {key: after[key] for key in before if key != MARK} == {
        key: data for key, data in before.items() if key != MARK
    }
    assert desk.examine().examined.is_whole


def test_after_a_salvage_no_number_and_no_event_is_used_again(desk: Desk) -> None:
    """Attempts and files are named by epochs: a name that was used must stay used."""
    ids = desk.driver.events[-1].id
    desk.store.delete([segment_key(7)])

    desk.repair(salvage=True)

    journal = desk.reader()
    through = []
    journal.replay(lambda _event: None, lambda state: through.append(state.through))
    assert journal.lead(lambda _event: None) == 11
    assert through[0] >= ids


def test_a_run_that_began_in_lost_records_is_named(desk: Desk) -> None:
    desk.spoil(segment_key(5), lambda data: data[:-20])
    snap = desk.keys(SNAP)[0]
    desk.spoil(snap, lambda data: data[:-20])

    advice = next(f.advice for f in desk.findings() if f.advice)

    assert f"begun since then: {OTHER}" in advice
