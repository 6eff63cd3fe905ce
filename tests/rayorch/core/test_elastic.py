"""Machines are asked for as the plan wants them, and let go of when it does not."""

from typing import Any

from rayorch.core.commands import AskNodes, KillRunner
from rayorch.core.dealing import STRANDED_S
from rayorch.core.elastic import LOOK_S
from rayorch.core.facts import RunCancelRequested, RunnerLost, RunStopRequested
from rayorch.core.placed import NodesWanted, RunnersWanted
from rayorch.core.placing import observed
from rayorch.ids import NodeId, RunId, RunnerId
from tests.rayorch import make
from tests.rayorch.driver import Driver, only, sent, some

SPOT = RunnersWanted("spot", 0.0, 6, 3)
"""Three machines of two runners each."""


def planned(*wanted: RunnersWanted, tasks: int = 8, **fields: Any) -> Driver:
    driver = Driver()
    driver.lead()
    placed = make.placed(("spot",), class_of=(0,) * tasks, runners=wanted, **fields)
    driver.feed(make.submitted(), make.planned(tasks), placed)
    return driver


def asked(commands: list[Any]) -> list[tuple[NodesWanted, ...]]:
    return [each.nodes for each in some(commands, AskNodes)]


def test_machines_are_asked_for_once_and_each_with_room_for_its_runners() -> None:
    driver = planned(SPOT)

    first = driver.tick()

    cores = driver.machine.flows[make.RUN].sizes[0].cores
    assert only(first, AskNodes).nodes == (NodesWanted("spot", 3, 2 * cores),)
    assert asked(driver.tick(1.0)) == []


def test_pools_that_are_as_they_are_are_not_asked_for() -> None:
    driver = planned(RunnersWanted("spot", 0.0, 6))

    assert asked(driver.tick()) == []


def test_a_pool_that_is_too_dear_is_asked_for_nothing_and_the_planner_sees_that_none_comes() -> (
    None
):
    driver = planned(SPOT)
    flow = driver.machine.flows[make.RUN]
    flow.dear = frozenset({"spot"})

    assert asked(driver.tick()) == []

    seen = observed(driver.machine.book, driver.run, driver.at_s)
    assert seen.asked == (("spot", 3),)


def test_machines_of_a_later_request_are_asked_for_at_its_time() -> None:
    driver = planned(SPOT, RunnersWanted("calm", 50.0, 2, 2))

    assert [each.pool for each in asked(driver.tick())[0]] == ["spot"]
    assert asked(driver.tick(49.0)) == []
    assert [each.pool for each in asked(driver.tick(1.0))[0]] == ["calm", "spot"]


def test_a_newer_plan_replaces_what_was_asked_for() -> None:
    driver = planned(SPOT)
    driver.tick()

    calm = RunnersWanted("calm", 0.0, 1, 1)
    driver.feed(make.placed(("calm",), class_of=(0,) * 8, revision=2, runners=(calm,)))

    assert [(e.pool, e.count) for e in asked(driver.tick())[0]] == [("calm", 1)]


def test_the_last_tasks_ask_for_no_more_machines_than_they_fill() -> None:
    driver = planned(SPOT, tasks=8)
    driver.feed(make.joined("a", pool="spot", node=NodeId("n1")))
    driver.tick()

    for _ in range(5):
        driver.feed(make.finished(driver.head("a"), "a"))
        driver.tick(0.1)

    (left,) = driver.machine.flows[make.RUN].asked
    assert left.count == 2


def test_a_run_that_is_stopped_or_cancelled_asks_for_nothing() -> None:
    for end in (RunStopRequested(make.RUN), RunCancelRequested(make.RUN)):
        driver = planned(SPOT)
        driver.tick()

        driver.feed(end)

        assert asked(driver.tick()) == [()]
        assert asked(driver.tick(1.0)) == []


def test_a_new_leader_asks_again() -> None:
    driver = planned(SPOT)
    driver.tick()

    driver.lead(epoch=2, interrupts=False)

    assert [each[0].count for each in asked(driver.tick())] == [3]


def test_a_class_whose_machines_are_asked_for_waits_for_them() -> None:
    """Else a start-up that takes a minute would send to others what they were asked for."""
    driver = planned(SPOT)
    driver.feed(make.joined("other", pool="other"))
    driver.tick()

    assert sent(driver.tick(STRANDED_S + 1.0)) == {}


def test_machines_that_the_plan_does_not_want_any_more_are_emptied_when_they_are_idle() -> None:
    driver = planned(RunnersWanted("spot", 0.0, 2, 2), tasks=1)
    driver.tick()
    joined = [
        make.joined(name, pool="spot", node=NodeId(node)) for name, node in (("a", "1"), ("b", "2"))
    ]
    driver.feed(*joined)

    commands = driver.tick(LOOK_S)

    # One task is left, which fills one machine; the other has nothing to do.
    (busy,) = sent(commands)
    killed = only(commands, KillRunner)
    assert {busy, killed.runner} == {"a", "b"}
    assert killed.reason == "the plan needs its machine no more"
    driver.feed(RunnerLost(RunnerId(killed.runner), "preempted", killed.reason))
    assert some(driver.tick(LOOK_S), KillRunner) == []


def test_machines_stay_for_a_run_that_takes_any() -> None:
    driver = planned(RunnersWanted("spot", 0.0, 2, 2), tasks=1)
    driver.tick()
    other = RunId("other")
    driver.feed(make.submitted(run=other), make.planned(1, run=other))
    driver.feed(make.joined("a", pool="spot", node=NodeId("1")))
    driver.feed(make.joined("b", pool="spot", node=NodeId("2")))

    assert some(driver.tick(LOOK_S), KillRunner) == []
