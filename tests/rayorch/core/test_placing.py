"""Leases follow the placement, the placement is looked at again, and nothing is stuck by it."""

from typing import Any

import pytest

from rayorch.core.commands import EnsureRunners, SendLeases, SolvePlacement
from rayorch.core.dealing import STARTING_S, STRANDED_S
from rayorch.core.facts import PlacementFailed, PlacementKept, RunnerLost
from rayorch.core.node_facts import NodeJoined
from rayorch.core.placed import PoolPrice, RunnersWanted, pack_classes, unpack_classes
from rayorch.core.placing import REVIEW_S
from rayorch.core.values import ErrorInfo
from rayorch.ids import RunnerId
from tests.rayorch import make
from tests.rayorch.driver import Driver


def running(*facts: Any, tasks: int = 4) -> Driver:
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), make.planned(tasks), *facts)
    return driver


def leased(commands: list[Any]) -> dict[str, list[int]]:
    """Return the tasks that were leased, by runner."""
    found: dict[str, list[int]] = {}
    for command in commands:
        if isinstance(command, SendLeases):
            found.setdefault(command.runner, []).extend(int(e.task) for e in command.leases)
    return found


def test_the_class_of_each_task_survives_the_journal() -> None:
    numbers = [0, 0, 1, 300, 65_535]
    assert list(unpack_classes(pack_classes(numbers))) == numbers
    assert list(unpack_classes(b"")) == []
    assert len(pack_classes([3] * 100_000)) < 1_000


def test_tasks_go_to_the_pools_of_their_class() -> None:
    driver = running(make.placed(("fast",), ("cheap",), class_of=(0, 1, 1, 0)))
    driver.feed(make.joined("f", pool="fast"), make.joined("c", pool="cheap"))
    assert leased(driver.tick()) == {"f": [0, 3], "c": [1, 2]}


def test_a_runner_of_no_pool_of_the_plan_gets_nothing_while_others_can_come() -> None:
    driver = running(make.placed(("fast",), class_of=(0, 0, 0, 0)))
    driver.feed(make.joined("other", pool="other"))
    assert leased(driver.tick()) == {}
    assert leased(driver.tick(STRANDED_S / 2)) == {}


def test_work_whose_pools_never_come_goes_anywhere_in_the_end() -> None:
    driver = running(make.placed(("fast",), class_of=(0, 0, 0, 0)))
    driver.feed(make.joined("other", pool="other"))
    driver.tick()
    assert leased(driver.tick(STRANDED_S + 1.0))["other"] == [0, 1]


def test_a_pool_whose_machines_are_there_is_waited_for_while_its_runners_start() -> None:
    """A busy machine takes minutes to start a runner; the one that idles costs a hundred times."""
    driver = running(make.placed(("fast",), class_of=(0, 0, 0, 0)))
    driver.feed(NodeJoined(make.NODE, "fast", 8.0), make.joined("dear", pool="dear"))
    driver.tick()

    assert leased(driver.tick(STRANDED_S + 1.0)) == {}
    # But not for ever: what a plan counted on may be broken.
    assert leased(driver.tick(STARTING_S))["dear"] == [0, 1]


def test_work_that_is_stranded_goes_to_the_cheapest_of_the_others() -> None:
    prices = (PoolPrice("dear", 100.0), PoolPrice("cheap", 0.1), PoolPrice("fast", 1.0))
    driver = running(make.placed(("fast",), class_of=(0,) * 4, prices=prices))
    driver.feed(make.joined("d", pool="dear"), make.joined("c", pool="cheap"))
    driver.tick()

    assert list(leased(driver.tick(STRANDED_S + 1.0))) == ["c"]


def test_tasks_that_a_placement_does_not_cover_go_anywhere() -> None:
    driver = running(make.placed(("fast",), class_of=(0,)))
    driver.feed(make.joined("other", pool="other"))
    assert leased(driver.tick()) == {"other": [1, 2]}


def test_ready_tasks_are_routed_anew_by_a_newer_plan_and_an_older_one_is_no_news() -> None:
    driver = running(make.placed(("fast",), class_of=(0,) * 4, revision=2))
    driver.feed(make.placed(("cheap",), class_of=(0,) * 4, revision=3))
    driver.feed(make.placed(("fast",), class_of=(0,) * 4, revision=2))
    driver.feed(make.joined("f", pool="fast"), make.joined("c", pool="cheap"))
    assert list(leased(driver.tick())) == ["c"]


def test_idle_runners_take_back_only_what_their_pool_may_run() -> None:
    driver = running(make.placed(("fast",), ("cheap",), class_of=(0, 0, 0, 1)))
    driver.feed(make.joined("f", pool="fast"))
    driver.tick()
    driver.feed(make.joined("c", pool="cheap"))
    driver.tick()
    driver.feed(make.joined("c2", pool="cheap"))
    # c2 has nothing to do, and what waits at f is not for its pool.
    assert not any(type(each).__name__ == "RevokeLeases" for each in driver.tick(1.0))


def test_runners_are_asked_for_in_the_pools_and_at_the_times_of_the_plan() -> None:
    wanted = (RunnersWanted("fast", 0.0, 2), RunnersWanted("cheap", 100.0, 3))
    driver = running()
    commands = driver.feed(make.placed(("fast", "cheap"), class_of=(0,) * 4, runners=wanted))
    asked = [(e.pool, e.count_max) for e in commands if isinstance(e, EnsureRunners)]
    assert asked == [("fast", 2)]
    assert not [each for each in driver.tick(50.0) if isinstance(each, EnsureRunners)]
    asked = [(e.pool, e.count_max) for e in driver.tick(51.0) if isinstance(e, EnsureRunners)]
    assert asked == [("fast", 2), ("cheap", 3)]


def test_a_first_plan_is_improved_and_a_plan_with_a_choice_is_looked_at_again() -> None:
    driver = running()
    first = make.placed(("fast",), class_of=(0,) * 4, is_final=False, is_reviewed=True)
    (asked,) = [e for e in driver.feed(first) if isinstance(e, SolvePlacement)]
    assert asked.revision == 2
    # One question at a time.
    assert not [e for e in driver.tick(REVIEW_S * 3) if isinstance(e, SolvePlacement)]
    driver.feed(PlacementKept(make.RUN))
    (again,) = [e for e in driver.tick(REVIEW_S) if isinstance(e, SolvePlacement)]
    assert again.revision == 2
    assert again.observed.at_s == driver.at_s


def test_what_is_seen_of_a_run_is_said_to_its_solver() -> None:
    driver = running(make.placed(("fast",), ("cheap",), class_of=(0, 0, 0, 1), is_reviewed=True))
    driver.feed(make.joined("fast-1", pool="fast"))
    driver.tick()
    lease = driver.head("fast-1")
    driver.feed(make.started(lease, "fast-1"))
    done = make.finished(lease, "fast-1", seconds=3.0)
    driver.feed(
        type(done)(
            **{n: getattr(done, n) for n in done.__struct_fields__ if n != "pool"}, pool="fast"
        )
    )
    (asked,) = [e for e in driver.tick(REVIEW_S) if isinstance(e, SolvePlacement)]
    first, second = asked.observed.classes
    assert (first.done, first.timed, first.took) == (1, 1, 3.0)
    assert (second.done, second.timed) == (0, 0)
    assert asked.observed.runners == (("fast", 1),)


def test_the_loss_of_a_pools_last_runner_is_looked_at_at_once() -> None:
    wanted = (RunnersWanted("fast", 0.0, 1),)
    driver = running(make.placed(("fast",), class_of=(0,) * 4, runners=wanted, is_reviewed=True))
    driver.feed(make.joined("fast-1", pool="fast"))
    driver.tick(0.1)
    commands = driver.feed(RunnerLost(RunnerId("fast-1"), "preempted", "reclaimed"))
    commands += driver.tick(0.1)
    (asked,) = [e for e in commands if isinstance(e, SolvePlacement)]
    assert asked.observed.lost == ("fast",)


def test_a_solver_that_fails_leaves_the_plan_that_serves() -> None:
    driver = running(make.placed(("fast",), class_of=(0,) * 4, is_reviewed=True))
    before = driver.run.placement
    driver.feed(PlacementFailed(make.RUN, 2, ErrorInfo(message="killed after 10 s")))
    assert driver.run.placement is before
    assert driver.run.placement_failures == 1
    driver.feed(make.joined("fast-1", pool="fast"))
    assert leased(driver.tick()) == {"fast-1": [0, 1]}
    driver.assert_replays()


@pytest.mark.parametrize("usd_core_h", [0.5, None])
def test_the_next_leader_knows_the_plan_and_asks_for_the_better_one_again(
    usd_core_h: float | None,
) -> None:
    prices = (PoolPrice("fast", usd_core_h),)
    driver = running(make.placed(("fast",), class_of=(0,) * 4, prices=prices, is_final=False))
    replayed = driver.replayed()
    assert replayed.runs[make.RUN].placement == driver.run.placement
    driver.lead(2, interrupts=False)
    asked = [
        e for e in driver.machine.outstanding(e_id(driver), 1.0) if isinstance(e, SolvePlacement)
    ]
    assert [each.revision for each in asked] == [2]


def e_id(driver: Driver) -> Any:
    return driver.events[-1].id
