"""What became of a placement, told from a journal's events."""

from typing import Any

import pytest
from msgspec.structs import replace

from rayorch.core.facts import Event, Fact, PlacementFailed, is_durable
from rayorch.core.placed import PoolPrice
from rayorch.core.values import ErrorInfo
from rayorch.ids import TaskId
from rayorch.observe.outcome import attempts_of, outcome_of
from tests.rayorch import make
from tests.rayorch.driver import Driver

PRICES = (PoolPrice("fast", 3.6, egress_usd_gb=0.02), PoolPrice("slow", 0.36), PoolPrice("own"))
POOLS = ("fast", "slow")


def placed(revision: int = 1, expected_s: tuple[float, ...] = (4.0, 9.0), **fields: Any) -> Fact:
    """Two classes: tasks 0 and 1 on either pool, tasks 2 and 3 on the fast one."""
    fact = make.placed(
        POOLS, POOLS[:1], class_of=(0, 0, 1, 1), revision=revision, prices=PRICES, **fields
    )
    first, second = fact.classes
    return replace(fact, classes=(replace(first, expected_s=expected_s), second))


def begun(*pools: str) -> Driver:
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), make.planned(4), placed())
    driver.feed(*(make.joined(f"{pool}-1", pool=pool) for pool in pools))
    driver.tick()
    return driver


def durable(driver: Driver) -> list[Event]:
    return [event for event in driver.events if is_durable(event.fact)]


def finish(driver: Driver, task: int, pool: str, seconds: float, attempt: int = 0) -> None:
    fact = make.finished(make.Lease(task, attempt), f"{pool}-1", seconds=seconds)
    driver.feed(replace(fact, pool=pool))


def test_classes_are_compared_with_what_was_foretold_on_the_pool_that_ran_them() -> None:
    driver = begun("fast", "slow")
    finish(driver, 0, "fast", 5.0)
    finish(driver, 1, "slow", 8.0)
    driver.at_s = 20.0
    finish(driver, 2, "fast", 2.0)
    finish(driver, 3, "own", 7.0)

    told = outcome_of(durable(driver), make.RUN)

    assert [(c.name, c.pool, c.tasks, c.expected_s) for c in told.classes] == [
        ("lines/0", "fast", 1, 4.0),
        ("lines/0", "slow", 1, 9.0),
        ("lines/1", "fast", 1, 1.0),
        ("lines/1", "own", 1, None),
    ]
    assert [c.actual_s for c in told.classes] == pytest.approx([5.0, 8.0, 2.0, 7.0])
    (span,) = told.stages
    assert (span.stage, span.tasks, span.ended_s) == ("lines", 4, 20.0)


def test_a_task_is_judged_by_the_placement_of_its_time_and_once() -> None:
    driver = begun("fast")
    driver.feed(placed(2, expected_s=(6.0, 9.0), reasons=("the pool is slower",)))
    finish(driver, 0, "fast", 5.0)
    finish(driver, 0, "fast", 5.0, attempt=3)

    told = outcome_of(durable(driver), make.RUN)

    assert [(each.tasks, each.expected_s) for each in told.classes] == [(1, 6.0)]
    assert [fact.revision for _, fact in told.placements] == [1, 2]
    assert told.placements[1][1].reasons == ("the pool is slower",)


def test_a_solver_that_failed_is_told() -> None:
    driver = begun("fast")
    driver.feed(PlacementFailed(make.RUN, 2, ErrorInfo(message="out of time")))

    told = outcome_of(durable(driver), make.RUN)

    assert [fact.error.message for _, fact in told.failures] == ["out of time"]


def test_each_attempt_of_a_task_has_its_pool_seconds_and_dollars() -> None:
    driver = begun("fast", "slow")
    failed = make.failed(make.Lease(0), "slow-1")
    driver.feed(replace(failed, pool="slow", duration_s=100.0))
    finish(driver, 1, "fast", 50.0)
    driver.tick(10.0)
    finish(driver, 0, "fast", 10.0, attempt=1)

    first, second = attempts_of(durable(driver), make.RUN, TaskId(0))

    assert (first.how, first.kind, first.pool) == ("failed", "transient", "slow")
    assert (first.duration_s, first.expected_s) == (100.0, 9.0)
    assert (second.how, second.pool, second.attempt) == ("finished", "fast", 1)
    assert second.expected_s == 4.0
    assert [first.usd, second.usd] == pytest.approx([0.01, 0.01])
    total = first.usd + second.usd  # type: ignore[operator]
    others = sum(each.usd or 0.0 for each in attempts_of(durable(driver), make.RUN, TaskId(1)))
    ledger = driver.run.ledger[0]
    assert total + others == pytest.approx(sum(spent.usd or 0.0 for spent in ledger.values()))


def test_an_attempt_on_a_pool_without_a_price_has_no_dollars() -> None:
    driver = begun("fast")
    finish(driver, 0, "own", 10.0)

    (attempt,) = attempts_of(durable(driver), make.RUN, TaskId(0))

    assert attempt.usd is None
    assert attempt.core_s == pytest.approx(10.0)


def test_without_a_placement_there_is_nothing_to_compare() -> None:
    driver = Driver()
    driver.start(1)
    driver.tick()
    driver.feed(make.finished(driver.head()))

    told = outcome_of(durable(driver), make.RUN)

    assert (told.placements, told.classes) == ((), ())
    assert [span.tasks for span in told.stages] == [1]
    (attempt,) = attempts_of(durable(driver), make.RUN, TaskId(0))
    assert (attempt.expected_s, attempt.usd) == (None, None)
