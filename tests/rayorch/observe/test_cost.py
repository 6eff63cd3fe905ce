"""What a run cost, as the view has it: by stage and pool, idle apart, by output."""

from typing import Any

import pytest
from msgspec.structs import replace

from rayorch.core.facts import SinkPublished, StagePlanned
from rayorch.core.placed import Forecast, PoolPrice
from rayorch.core.values import StageShape
from rayorch.observe.cost import RunCost
from rayorch.observe.view import view_of
from tests.rayorch import make
from tests.rayorch.driver import Driver

HOUR_S = 3600.0
FORECAST = Forecast(usd=0.02, p50_s=20.0, p95_s=30.0, hit=0.97)


def priced(usd_core_h: float | None = 3.6, **fields: Any) -> Driver:
    """A run of one stage, three tasks, on one pool."""
    driver = Driver()
    driver.lead()
    stages = (StageShape(name="lines", sinks=(0,)),)
    counts = (3, *(0 for _ in fields.get("stages", stages)[1:]))
    driver.feed(make.submitted(**{"stages": stages, **fields}), make.planned(*counts))
    price = PoolPrice("fast", usd_core_h, egress_usd_gb=0.02)
    placed = make.placed(("fast",), class_of=(0, 0, 0), prices=(price,), forecast=FORECAST)
    driver.feed(placed, make.joined("fast-1", pool="fast"))
    driver.tick()
    return driver


def finish(driver: Driver, seconds: float = 10.0) -> None:
    fact = make.finished(driver.head("fast-1"), "fast-1", seconds=seconds)
    driver.feed(replace(fact, pool="fast"))
    driver.tick()


def cost(driver: Driver) -> RunCost:
    found = view_of(driver.run, driver.machine, driver.at_s).cost
    assert found is not None
    return found


def test_a_run_that_charged_nothing_and_was_not_placed_has_no_cost() -> None:
    driver = Driver()
    driver.start(2)

    assert view_of(driver.run, driver.machine, 0.0).cost is None


def test_cost_is_told_by_stage_and_pool_beside_the_estimate() -> None:
    driver = priced()
    finish(driver)

    (line,) = cost(driver).work
    assert (line.stage, line.pool, line.attempts) == ("lines", "fast", 1)
    assert line.usd == pytest.approx(0.01)
    assert cost(driver).usd == pytest.approx(0.01)
    assert cost(driver).core_hours == pytest.approx(10.0 / HOUR_S)
    assert cost(driver).estimate == FORECAST
    assert cost(driver).revision == 1


def test_waste_is_a_part_of_the_work_and_idle_is_not_waste() -> None:
    """A node of four cores is there for 30 s: the work took 35 core seconds of its 120."""
    driver = priced()
    failed = make.failed(driver.head("fast-1"), "fast-1")
    driver.feed(replace(failed, pool="fast", duration_s=5.0))
    for _ in range(3):
        driver.tick(10.0)
        finish(driver)

    assert cost(driver).wasted_core_hours == pytest.approx(5.0 / HOUR_S)
    (idle,) = cost(driver).idle
    assert (idle.stage, idle.core_s, idle.wasted_core_s, idle.wasted_usd) == ("", 85.0, 0.0, 0.0)
    assert cost(driver).idle_core_hours == pytest.approx(85.0 / HOUR_S)
    assert cost(driver).usd == pytest.approx(0.12)


def test_without_a_price_dollars_are_unknown_and_the_pool_is_named() -> None:
    driver = priced(usd_core_h=None)
    finish(driver)

    assert cost(driver).usd is None
    assert cost(driver).known_usd == 0.0
    assert cost(driver).unpriced == ("fast",)
    assert cost(driver).core_hours > 0.0


def test_outputs_bear_what_their_stages_cost_by_the_bytes_written() -> None:
    """One stage writes both outputs: three quarters of the bytes bear three quarters of it."""
    driver = priced(sinks=("big", "small"), stages=(StageShape(name="lines", sinks=(0, 1)),))
    for _ in range(3):
        finish(driver)
    assert cost(driver).datasets == ()

    for sink, size_bytes in ((0, 300), (1, 100)):
        driver.feed(SinkPublished(make.RUN, sink, "1", rows=1, files=1, size_bytes=size_bytes))

    big, small = cost(driver).datasets
    assert (big.url, small.url) == ("big", "small")
    assert big.usd == pytest.approx(0.0225)
    assert small.usd == pytest.approx(0.0075)
    assert big.core_s + small.core_s == pytest.approx(30.0)


def test_empty_outputs_share_alike() -> None:
    driver = priced(sinks=("a", "b"), stages=(StageShape(name="lines", sinks=(0, 1)),))
    for _ in range(3):
        finish(driver)
    for sink in (0, 1):
        driver.feed(SinkPublished(make.RUN, sink, "1", rows=0, files=0, size_bytes=0))

    assert [each.usd for each in cost(driver).datasets] == [pytest.approx(0.015)] * 2


def test_an_output_bears_what_the_stages_cost_that_others_read() -> None:
    """The first stage writes no output: the second one reads it, and writes the only one."""
    stages = (StageShape(name="lines"), StageShape(name="sums", sinks=(0,), after=(0,)))
    driver = priced(stages=stages, sinks=("out",))
    for _ in range(3):
        finish(driver)
    driver.feed(StagePlanned(make.RUN, stage=1, revision=1, tasks=1))
    driver.tick()
    finish(driver)
    driver.feed(make.published())

    (out,) = cost(driver).datasets
    assert out.usd == pytest.approx(0.04)
    assert [line.stage for line in cost(driver).work] == ["lines", "sums"]
