"""How many runners of which size a run had at once."""

from rayorch.core.values import StageShape
from rayorch.host.at_once import AtOnce
from rayorch.ids import RunnerId
from rayorch.plan.profile import RunnersSeen

PLAIN = StageShape(name="lines", cores=1.0, memory_bytes=1 << 30)
SCORED = StageShape(name="scored", cores=1.0, memory_bytes=1 << 30, gpus=0.5)


def test_runners_that_make_way_for_others_and_come_back_are_counted_once() -> None:
    """Four, then two with a GPU in their place, then four again: never ten."""
    found = AtOnce()

    for names, stage in (("abcd", PLAIN), ("ef", SCORED), ("ghij", PLAIN)):
        for name in names + names:
            found.ended(RunnerId(name), "here", stage, None)
        for name in names:
            found.lost(RunnerId(name))

    plain, scored = RunnersSeen(4, 1.0, 1 << 30), RunnersSeen(2, 1.0, 1 << 30, 0.5)
    assert found.sized() == {"here": (plain, scored)}
    assert found.most == {"here": 4}


def test_of_runners_that_are_all_alike_nothing_is_said() -> None:
    found = AtOnce()

    found.ended(RunnerId("a"), "here", PLAIN, None)
    found.ended(RunnerId("b"), "there", PLAIN, None)

    assert found.sized() == {}
