"""What the homes of a cluster ask an autoscaler for: together, and each as long as it lives."""

import pytest

from rayorch.core.placed import NodesWanted
from rayorch.errors import ClusterError
from rayorch.host.capacity import HELD_S, RENEW_S, Bundle, Capacity, CapacityDesk, Part
from rayorch.ids import RunId

ONE, TWO = RunId("one"), RunId("two")
SPOT, CALM = Bundle("spot", 8.0), Bundle("calm", 4.0)


class FakeAutoscaler:
    """Keeps what stands, and fails when it is told to."""

    def __init__(self) -> None:
        self.requests: list[Part] = []
        self.is_away = False

    def request(self, bundles: Part) -> None:
        if self.is_away:
            raise ClusterError("the head", "away")
        self.requests.append(bundles)


class FakeDesk:
    """Keeps what one home said."""

    def __init__(self) -> None:
        self.said: list[Part] = []

    def say(self, part: Part) -> None:
        self.said.append(part)


def wanted(pool: str, count: int, cores: float = 8.0) -> tuple[NodesWanted, ...]:
    return (NodesWanted(pool, count, cores),)


def test_a_home_asks_for_the_sum_of_its_runs_and_a_run_that_is_over_is_left_out() -> None:
    desk = FakeDesk()
    capacity = Capacity(desk)

    capacity.ask(ONE, wanted("spot", 3), 0.0)
    capacity.ask(TWO, wanted("spot", 2) + wanted("calm", 1, 4.0), 1.0)
    capacity.ask(ONE, (), 2.0)
    capacity.ask(TWO, (), 3.0)

    assert desk.said == [{SPOT: 3}, {SPOT: 5, CALM: 1}, {SPOT: 2, CALM: 1}, {}]


def test_what_holds_is_said_again_and_nothing_is_not() -> None:
    desk = FakeDesk()
    capacity = Capacity(desk)
    capacity.check(0.0)
    capacity.ask(ONE, wanted("spot", 3), 0.0)

    capacity.check(RENEW_S - 1.0)
    capacity.check(RENEW_S)
    assert desk.said == [{SPOT: 3}, {SPOT: 3}]

    capacity.withdraw()
    capacity.withdraw()
    capacity.check(10 * RENEW_S)
    assert desk.said[2:] == [{}]


def test_runners_are_had_for_what_all_runs_of_a_home_asked_for() -> None:
    capacity = Capacity(FakeDesk())
    capacity.ask(ONE, wanted("spot", 3), 0.0)
    capacity.ask(TWO, wanted("spot", 2), 0.0)

    assert capacity.cores_of_others(ONE, "spot") == 16.0
    assert capacity.cores_of_others(ONE, "calm") == 0.0


def test_homes_of_one_cluster_do_not_undo_each_others_request() -> None:
    autoscaler = FakeAutoscaler()
    desk = CapacityDesk(autoscaler, 0.0)

    desk.say("a", {SPOT: 3}, 0.0)
    desk.say("b", {SPOT: 1, CALM: 2}, 1.0)
    desk.say("a", {}, 2.0)

    assert autoscaler.requests == [{SPOT: 3}, {CALM: 2, SPOT: 4}, {CALM: 2, SPOT: 1}]


def test_the_same_is_asked_for_once() -> None:
    autoscaler = FakeAutoscaler()
    desk = CapacityDesk(autoscaler, 0.0)

    for now_s in (0.0, 10.0, 20.0):
        desk.say("a", {SPOT: 3}, now_s)
        desk.settle(now_s + 5.0)

    assert autoscaler.requests == [{SPOT: 3}]


def test_the_part_of_a_home_that_died_goes_away() -> None:
    autoscaler = FakeAutoscaler()
    desk = CapacityDesk(autoscaler, 0.0)
    desk.say("dead", {SPOT: 3}, 0.0)
    desk.say("alive", {CALM: 1}, 0.0)

    desk.say("alive", {CALM: 1}, HELD_S - 1.0)
    assert autoscaler.requests[-1] == {CALM: 1, SPOT: 3}
    desk.settle(HELD_S)

    assert autoscaler.requests[-1] == {CALM: 1}


def test_a_desk_that_was_restarted_hears_all_homes_before_it_asks() -> None:
    """What stood before its death stands still: the first home to speak must not replace it."""
    autoscaler = FakeAutoscaler()
    desk = CapacityDesk(autoscaler, 2.0 * RENEW_S)

    desk.say("a", {SPOT: 3}, 1.0)
    desk.say("b", {CALM: 1}, 9.0)
    assert autoscaler.requests == []
    desk.settle(2.0 * RENEW_S)

    assert autoscaler.requests == [{CALM: 1, SPOT: 3}]


def test_a_desk_that_nobody_speaks_to_any_more_takes_back_what_stood() -> None:
    autoscaler = FakeAutoscaler()
    CapacityDesk(autoscaler, 20.0).settle(20.0)

    assert autoscaler.requests == [{}]


def test_what_could_not_be_asked_for_is_asked_for_again() -> None:
    autoscaler = FakeAutoscaler()
    desk = CapacityDesk(autoscaler, 0.0)
    autoscaler.is_away = True
    with pytest.raises(ClusterError):
        desk.say("a", {SPOT: 3}, 0.0)

    autoscaler.is_away = False
    desk.settle(5.0)

    assert autoscaler.requests == [{SPOT: 3}]
