"""Dollars are charged when an attempt ends, once, whatever is reported how often."""

from typing import Any

import pytest
from msgspec.structs import replace

from rayorch.core.ledger import IDLE, pools_spent, spent_usd
from rayorch.core.node_facts import PoolIdled
from rayorch.core.placed import PoolPrice, Spent
from tests.rayorch import make
from tests.rayorch.driver import Driver

HOUR_S = 3600.0


def priced(usd_core_h: float | None = 3.6, **fields: Any) -> Driver:
    price = PoolPrice("fast", usd_core_h, egress_usd_gb=0.02, get_usd=0.001, put_usd=0.01)
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), make.planned(2))
    driver.feed(make.placed(("fast",), class_of=(0, 0), prices=(price,), **fields))
    driver.feed(make.joined("fast-1", pool="fast"))
    driver.tick()
    return driver


def finished(lease: Any, seconds: float = 10.0) -> Any:
    fact = make.finished(lease, "fast-1", seconds=seconds)
    output = replace(fact.output, moved_bytes=2_000_000_000, gets=3, puts=1)
    return replace(fact, output=output, pool="fast")


def spent(driver: Driver) -> Spent:
    return driver.run.ledger[0]["fast"]


def test_an_attempt_is_charged_by_the_price_of_its_pool() -> None:
    driver = priced()
    driver.feed(finished(driver.queue("fast-1")[0]))
    assert spent(driver).attempts == 1
    assert spent(driver).core_s == pytest.approx(10.0)
    assert spent(driver).compute_usd == pytest.approx(10.0 * 3.6 / HOUR_S)
    assert spent(driver).egress_usd == pytest.approx(0.04)
    assert spent(driver).request_usd == pytest.approx(0.013)
    assert spent(driver).usd == pytest.approx(0.063)
    assert spent_usd(driver.run) == pytest.approx(0.063)
    driver.assert_replays()


def test_without_a_price_no_dollars_are_told() -> None:
    driver = priced(usd_core_h=None)
    driver.feed(finished(driver.queue("fast-1")[0]))
    assert spent(driver).usd is None
    assert spent(driver).core_s == pytest.approx(10.0)


def test_a_report_that_comes_twice_is_charged_once() -> None:
    driver = priced()
    lease = driver.queue("fast-1")[0]
    driver.feed(finished(lease), finished(lease), finished(lease))
    assert spent(driver).attempts == 1
    assert spent(driver).wasted_usd == 0.0
    driver.assert_replays()


def test_a_failure_is_charged_as_waste_and_once() -> None:
    driver = priced()
    lease = driver.queue("fast-1")[0]
    failed = replace(make.failed(lease, "fast-1"), pool="fast", duration_s=5.0)
    driver.feed(failed, failed)
    assert spent(driver).attempts == 1
    assert spent(driver).wasted_core_s == pytest.approx(5.0)
    assert spent(driver).wasted_usd == pytest.approx(spent(driver).compute_usd)
    driver.assert_replays()


def test_one_that_was_presumed_lost_and_hands_in_its_work_is_charged_for_that_alone() -> None:
    driver = priced()
    lease = driver.queue("fast-1")[0]
    driver.feed(make.started(lease, "fast-1"))
    driver.at_s += 4.0
    driver.feed(replace(make.gone("fast-1"), silent=True))
    assert spent(driver).wasted_core_s == pytest.approx(4.0)
    driver.feed(finished(lease))
    assert spent(driver).wasted_core_s == pytest.approx(0.0)
    assert spent(driver).core_s == pytest.approx(10.0)
    assert spent(driver).attempts == 1
    driver.feed(finished(lease))
    assert spent(driver).attempts == 1
    driver.assert_replays()


def test_a_second_attempt_that_comes_too_late_is_waste() -> None:
    driver = priced()
    lease = driver.queue("fast-1")[0]
    other = make.Lease(lease.task, attempt=7)
    driver.feed(finished(lease), finished(other), finished(other))
    assert spent(driver).attempts == 2
    assert spent(driver).wasted_core_s == pytest.approx(10.0)
    driver.assert_replays()


def test_what_runners_waited_is_read_of_journals_of_before_nodes_were_metered() -> None:
    driver = priced()
    driver.feed(finished(driver.queue("fast-1")[0]))
    driver.feed(PoolIdled(make.RUN, "fast", 20.0))

    pool = pools_spent(driver.run)["fast"]
    assert driver.run.ledger[IDLE]["fast"].wasted_usd == pytest.approx(20.0 * 3.6 / HOUR_S)
    assert (pool.core_s, pool.other_core_s) == (10.0, 20.0)
    assert pool.usd + pool.other_usd == pytest.approx(30.0 * 3.6 / HOUR_S)
    driver.assert_replays()
