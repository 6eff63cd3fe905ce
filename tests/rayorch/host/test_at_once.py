"""How many runners of which size a run had at once."""

from rayorch.core.facts import RunnerJoined
from rayorch.core.leasing import RunnerSlot
from rayorch.core.values import StageShape
from rayorch.host.at_once import AtOnce
from rayorch.ids import RunnerId
from rayorch.plan.profile import RunnersSeen

PLAIN = StageShape(name="lines", cores=1.0, memory_bytes=1 << 30)
SCORED = StageShape(name="scored", cores=1.0, memory_bytes=1 << 30, gpus=0.5)


def test_runners_that_make_way_for_others_and_come_back_are_counted_once() -> None:
    """Four, then two with a GPU in their place, then four again: never ten."""
    found = AtOnce()

    for turn, (names, stage) in enumerate((("abcd", PLAIN), ("ef", SCORED), ("ghij", PLAIN))):
        for name in names + names:
            found.ended(RunnerId(name), "here", stage, None, at_s=10.0 * turn + 5.0, took_s=2.0)
        for name in names:
            found.lost(RunnerId(name), 10.0 * turn + 6.0)

    plain, scored = RunnersSeen(4, 1.0, 1 << 30), RunnersSeen(2, 1.0, 1 << 30, 0.5)
    assert found.sized() == {"here": (plain, scored)}
    assert found.most == {"here": 4}


def test_of_runners_that_are_all_alike_nothing_is_said() -> None:
    found = AtOnce()

    found.ended(RunnerId("a"), "here", PLAIN, None, at_s=1.0, took_s=0.0)
    found.ended(RunnerId("b"), "there", PLAIN, None, at_s=1.0, took_s=0.5)

    assert found.sized() == {}
    assert found.most == {"here": 1, "there": 1}


def test_by_a_journal_a_runner_that_was_lost_and_the_one_in_its_place_are_one_at_once() -> None:
    """It does not say that runners go: each is there from its first attempt to its last."""
    found = AtOnce()

    for runner, first, last in (("a", 0, 3), ("b", 0, 9), ("in place of a", 5, 9)):
        for at in range(first, last):
            found.ended(RunnerId(runner), "here", PLAIN, None, at_s=at + 1.0, took_s=1.0)

    assert found.most == {"here": 2}


def test_a_runner_that_has_nothing_to_do_is_there_until_it_is_seen_to_go() -> None:
    found = AtOnce()
    slot = RunnerSlot(RunnerJoined(RunnerId("a"), "here", 1.0, 1 << 30))

    found.ended(RunnerId("a"), "here", PLAIN, slot, at_s=1.0, took_s=1.0)
    found.ended(RunnerId("b"), "here", PLAIN, slot, at_s=9.0, took_s=1.0)
    assert found.most == {"here": 2}

    found.lost(RunnerId("a"), 9.5)
    found.ended(RunnerId("c"), "here", PLAIN, slot, at_s=11.0, took_s=1.0)
    assert found.most == {"here": 2}
