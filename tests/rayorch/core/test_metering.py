"""Nodes are metered while they are up: by who holds their slots, through restarts, once."""

from typing import Any, Final

import pytest
from msgspec.structs import replace

from rayorch.core.accounts import NANO, whole
from rayorch.core.facts import RunStopRequested, is_durable
from rayorch.core.metering import EMPTY_S_MAX, METER_S, OPENED_S, QUIET_S, UNCLAIMED_S
from rayorch.core.node_facts import NodeJoined, NodeLost, NodesMetered
from rayorch.core.placed import Paid, PoolPrice
from rayorch.core.run import RunState
from rayorch.ids import NodeId, RunId
from tests.rayorch import make
from tests.rayorch.driver import Driver

OTHER: Final = RunId("hourly-1")
PRICE: Final = PoolPrice("spot", 0.9, bill_s=1.0, min_bill_s=60.0)
"""A node of four cores costs a tenth of a cent a second."""


def joined(name: str, *held: Any, node: str = "n1", cores: float = 2.0) -> Any:
    return replace(make.joined(name, *held, cores=cores, pool="spot"), node=NodeId(node))


def up(node: str = "n1") -> NodeJoined:
    return NodeJoined(NodeId(node), "spot", 4.0)


def running(tasks: int = 2, *runners: str, price: PoolPrice = PRICE) -> Driver:
    """A run of some tasks whose runners are on one node."""
    driver = Driver()
    driver.at_s = 1000.0
    driver.lead()
    driver.feed(make.submitted(), make.planned(tasks), make.placed(prices=(price,)))
    driver.feed(up(), *(joined(name) for name in runners or ("r1", "r2")))
    driver.tick()
    return driver


def finish(driver: Driver, runner: str, seconds: float) -> None:
    fact = make.finished(driver.head(runner), runner, seconds=seconds)
    driver.feed(replace(fact, pool="spot"))
    driver.tick()


def paid(driver: Driver, run: RunId = make.RUN) -> Paid:
    return whole(driver.machine.runs[run].paid.get("spot", {}))


def usd(driver: Driver, run: RunId = make.RUN) -> float:
    return paid(driver, run).nano_usd / NANO


def unassigned_usd(driver: Driver) -> float:
    return whole(driver.machine.accounts.unassigned.get("spot", {})).nano_usd / NANO


def windows(driver: Driver) -> list[Any]:
    facts = [event.fact for event in driver.events]
    return [window for fact in facts if isinstance(fact, NodesMetered) for window in fact.windows]


def test_a_run_pays_for_its_nodes_while_it_holds_slots_of_them() -> None:
    """One of two runners is at work: the run is alone on the node, and pays for all of it."""
    driver = running(1)
    driver.at_s += 30.0
    finish(driver, "r1", 30.0)

    assert driver.state is RunState.PUBLISHING
    assert usd(driver) == pytest.approx(0.03)
    assert paid(driver).core_s == pytest.approx(120.0)
    driver.assert_replays()


def test_two_runs_share_a_node_by_the_cores_that_they_hold() -> None:
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), make.planned(2), make.placed(prices=(PRICE,)))
    driver.feed(up(), joined("r1", cores=3.0))
    driver.tick()
    driver.feed(make.submitted(OTHER), make.planned(2, run=OTHER), joined("r2", cores=1.0))
    driver.tick()
    assert [driver.head(name).run for name in ("r1", "r2")] == [make.RUN, OTHER]
    driver.tick(METER_S)

    assert usd(driver) == pytest.approx(0.045)
    assert usd(driver, OTHER) == pytest.approx(0.015)
    assert unassigned_usd(driver) == 0.0


def test_a_run_that_waits_keeps_its_nodes_until_it_ends() -> None:
    """Between two stages nothing runs, and the nodes are kept for what comes."""
    driver = running(1, "r1")
    driver.at_s += 10.0
    driver.feed(make.failed(driver.head("r1"), "r1"))
    driver.tick(0.0)
    driver.tick(0.5)
    driver.feed(RunStopRequested(run=make.RUN))
    driver.tick(0.0)
    ended_usd = usd(driver)
    driver.tick(QUIET_S + 1.0)

    assert ended_usd == pytest.approx(0.0105)
    assert usd(driver) == ended_usd
    assert unassigned_usd(driver) == pytest.approx((QUIET_S + 1.0) / 1000.0)


def test_a_node_is_read_now_and_then_and_journaled() -> None:
    driver = running(2)
    for _ in range(10):
        driver.tick(METER_S / 2)

    spans_s = [window.to_s - window.from_s for window in windows(driver)]
    assert spans_s == [METER_S / 2, *[METER_S] * 4]
    assert usd(driver) == pytest.approx(4.5 * METER_S / 1000.0)
    assert is_durable(NodesMetered(()))
    driver.assert_replays()


def test_start_up_is_paid_by_whoever_comes_first() -> None:
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), make.placed(prices=(PRICE,)), up(), joined("r1"))
    driver.tick(METER_S)
    assert usd(driver) == 0.0
    driver.feed(make.planned(1))
    driver.tick(0.0)
    driver.at_s += 5.0
    finish(driver, "r1", 5.0)

    assert usd(driver) == pytest.approx((METER_S + 5.0) / 1000.0)


def test_a_node_is_closed_when_it_is_lost() -> None:
    driver = running(1)
    driver.at_s += 10.0
    finish(driver, "r1", 10.0)
    driver.feed(make.published())
    driver.tick(0.0)
    driver.at_s += 25.0
    gone = NodeLost(NodeId("n1"), "spot", "it was taken away")
    driver.feed(make.gone("r1"), make.gone("r2"), gone)
    driver.tick(0.0)

    assert driver.machine.accounts.nodes == {}
    assert windows(driver)[-1].closed
    # Ten seconds of work, and of the minute that is billed at least what was not waiting.
    assert usd(driver) == pytest.approx(0.035)
    assert unassigned_usd(driver) == pytest.approx(0.025)
    driver.assert_replays()


def test_where_nobody_looks_at_nodes_one_without_runners_is_closed_after_a_while() -> None:
    """A runner may come back, or be replaced by a larger one: for a while that is waited for."""
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), make.planned(1), make.placed(prices=(PRICE,)))
    driver.feed(joined("r1", cores=4.0))
    driver.tick()
    driver.at_s += 10.0
    finish(driver, "r1", 10.0)
    driver.feed(make.published())
    driver.tick(0.0)
    driver.feed(make.gone("r1"))
    driver.tick(EMPTY_S_MAX - 1.0)
    assert driver.machine.accounts.nodes
    for _ in range(3):
        driver.tick(QUIET_S)

    assert driver.machine.accounts.nodes == {}
    assert usd(driver) == pytest.approx(0.06)
    assert unassigned_usd(driver) == 0.0
    driver.assert_replays()


def test_a_new_leader_goes_on_where_the_last_reading_was() -> None:
    """The control actor was away for 40 s, and the runner worked on: the run pays for all of it."""
    driver = running(1, "r1")
    lease = driver.head("r1")
    driver.feed(make.started(lease, "r1"))
    driver.tick(METER_S)
    driver.at_s += 40.0
    driver.lead(11, interrupts=False)
    driver.feed(up(), joined("r1", make.held(lease, started=True)))
    driver.tick(0.0)
    driver.at_s += 20.0
    finish(driver, "r1", METER_S + 60.0)
    finished = make.finished(lease, "r1", seconds=METER_S + 60.0)
    driver.feed(replace(finished, pool="spot"))

    assert usd(driver) == pytest.approx((METER_S + 60.0) / 1000.0)
    assert driver.run.ledger[0]["spot"].attempts == 1
    driver.assert_replays()


def test_a_node_that_no_runner_of_speaks_after_a_restart_is_closed() -> None:
    driver = running(1, "r1")
    driver.tick(METER_S)
    driver.lead(11, interrupts=False)
    driver.tick(UNCLAIMED_S - 1.0)
    assert driver.machine.accounts.nodes
    driver.tick(1.0)

    assert driver.machine.accounts.nodes == {}
    assert usd(driver) == pytest.approx(METER_S / 1000.0)


def test_the_nodes_of_a_cluster_that_died_are_closed_where_they_were_read_last() -> None:
    driver = running(1, "r1")
    driver.tick(METER_S)
    driver.at_s += 1e6
    driver.lead(11, interrupts=True)

    assert driver.machine.accounts.nodes == {}
    assert usd(driver) == pytest.approx(METER_S / 1000.0)
    driver.assert_replays()


def test_a_runner_that_joins_twice_is_metered_once() -> None:
    driver = running(1, "r1")
    driver.at_s += 10.0
    lease = driver.head("r1")
    driver.feed(joined("r1", make.held(lease, started=True)))
    driver.tick(0.0)
    driver.at_s += 10.0
    finish(driver, "r1", 20.0)

    assert usd(driver) == pytest.approx(0.02)


def test_without_a_price_there_are_core_hours_and_no_dollars() -> None:
    driver = running(1, price=PoolPrice("spot"))
    driver.at_s += 30.0
    finish(driver, "r1", 30.0)

    assert [paid(driver).nano_usd, paid(driver).unpriced_core_s] == pytest.approx([0, 120.0])


def test_a_snapshot_keeps_the_accounts() -> None:
    driver = running(2)
    driver.tick(METER_S)

    restored = driver.restored()

    assert restored.accounts == driver.machine.accounts
    assert restored.runs[make.RUN].paid == driver.run.paid


def test_many_nodes_are_each_read_less_often() -> None:
    """Ten thousand nodes at the same pace would be more events than the work itself makes."""
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), make.planned(1))
    nodes = 1300
    for number in range(nodes):
        driver.feed_alone(up(f"n{number}"))
    driver.tick()
    driver.tick(OPENED_S)
    driver.tick(METER_S)
    before = len(windows(driver))
    driver.tick(5.0)

    assert before == nodes
    assert len(windows(driver)) == 2 * nodes
