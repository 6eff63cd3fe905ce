"""Work that waits until it is cheap, but not past its deadline; and what else holds a run, told."""

from typing import Any

import pytest

from rayorch.core.cheap import Cheap
from rayorch.core.commands import AskNodes, EnsureRunners, SolvePlacement
from rayorch.core.holding import LOOK_S, MARGIN, SLACK_S, TOLD_S
from rayorch.core.limit_facts import PolicyApplied, RunHeld
from rayorch.core.node_facts import NodeJoined
from rayorch.core.placed import Forecast, PoolPrice, RunnersWanted
from rayorch.core.policy import Limit, Policy, TenantPolicy
from rayorch.core.story import story
from rayorch.core.values import StageShape
from rayorch.ids import NodeId, RunId, TenantId
from tests.rayorch import make
from tests.rayorch.driver import Driver, sent, some

HOUR_S = 3600.0
NIGHT = Cheap(22 * 60, 6 * 60)


def waiting(at_h: float, **fields: Any) -> Driver:
    """A run that was submitted at an hour of the day, with its plan and a runner."""
    driver = Driver()
    driver.at_s = at_h * HOUR_S
    driver.start(4, **fields)
    return driver


def told(driver: Driver) -> list[RunHeld]:
    return [event.fact for event in driver.events if isinstance(event.fact, RunHeld)]


# --- hours ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "at_h", "opens_h"),
    [
        ((22, 6), 12.0, 22.0),
        ((22, 6), 23.0, 23.0),
        ((22, 6), 25.0, 25.0),
        ((22, 6), 30.0, 46.0),
        ((1, 2), 0.5, 1.0),
        ((1, 2), 2.0, 25.0),
        ((0, 0), 13.0, 13.0),
    ],
)
def test_hours_begin_when_they_say_also_over_midnight(
    hours: tuple[int, int], at_h: float, opens_h: float
) -> None:
    rule = Cheap(hours[0] * 60, hours[1] * 60)

    assert rule.opens_s(at_h * HOUR_S) == opens_h * HOUR_S


def test_a_run_waits_for_its_hours_and_begins_with_them() -> None:
    driver = waiting(12.0, cheap=NIGHT)

    assert sent(driver.tick()) == {}
    assert sent(driver.tick(9.9 * HOUR_S)) == {}
    begun = driver.tick(0.1 * HOUR_S)

    assert sent(begun)
    assert some(begun, EnsureRunners)
    held, free = told(driver)
    assert (held.cause, held.why) == ("cheap", "its hours, 22:00-06:00 UTC")
    assert held.until_s == 22.0 * HOUR_S
    assert not free.held
    driver.assert_replays()


def test_what_a_run_waits_for_is_in_its_story() -> None:
    driver = waiting(12.0, cheap=NIGHT)
    driver.tick()
    driver.tick(10.0 * HOUR_S)

    lines = [line.what for line in story(driver.events, make.RUN)]

    assert (
        "waits for its hours, 22:00-06:00 UTC; it goes on at 1970-01-01 22:00 UTC at the latest"
        in lines
    )
    assert lines[-1].startswith("goes on: ")


def test_when_its_hours_are_over_a_run_is_given_nothing_more() -> None:
    driver = waiting(5.9, cheap=NIGHT)
    assert sent(driver.tick())

    driver.tick(0.2 * HOUR_S)
    driver.feed(make.finished(driver.head()))

    assert sent(driver.tick()) == {}
    assert [fact.held for fact in told(driver)] == [True]


def test_a_run_that_waits_has_no_machines_asked_for_and_its_plan_made_anew_after() -> None:
    driver = Driver()
    driver.at_s = 12.0 * HOUR_S
    driver.lead()
    driver.feed(make.submitted(cheap=NIGHT), make.planned(4))
    driver.tick()
    wanted = (RunnersWanted("spot", 0.0, 4, nodes=2),)
    asked = driver.feed(make.placed(("spot",), class_of=(0,) * 4, runners=wanted, is_reviewed=True))
    asked += driver.tick(HOUR_S)

    assert not some(asked, EnsureRunners)
    assert not some(asked, AskNodes)
    assert not some(asked, SolvePlacement)
    begun = driver.tick(9.0 * HOUR_S)
    assert [each.pool for each in some(begun, EnsureRunners)] == ["spot"]
    assert some(begun, AskNodes)
    assert some(begun, SolvePlacement)


# --- not past its deadline --------------------------------------------------------------------


def test_a_run_begins_in_time_for_its_deadline_and_then_goes_on_to_its_end() -> None:
    """Its plan takes two hours, the deadline is at 20:00: its hours would begin too late."""
    takes = Forecast(p95_s=2.0 * HOUR_S)
    driver = waiting(12.0, cheap=NIGHT, deadline_s=8.0 * HOUR_S)
    driver.feed(make.placed((), class_of=(0,) * 4, forecast=takes))
    latest_h = 20.0 - MARGIN * 2.0 - SLACK_S / HOUR_S

    assert sent(driver.tick((latest_h - 12.0) * HOUR_S - 1.0)) == {}
    assert told(driver)[0].until_s == latest_h * HOUR_S
    assert sent(driver.tick(1.0 + LOOK_S))
    assert told(driver)[-1].why == "its deadline is near"
    # Done in part, less is left to do: no reason to wait again.
    shorter = Forecast(p95_s=6.0 * HOUR_S, from_s=5.9 * HOUR_S)
    driver.feed(make.placed((), class_of=(0,) * 4, forecast=shorter, revision=2))
    driver.feed(make.finished(driver.head()))
    assert sent(driver.tick(LOOK_S))


def test_the_time_that_a_later_plan_takes_counts_from_when_it_was_made() -> None:
    later = Forecast(p95_s=7.0 * HOUR_S, from_s=6.5 * HOUR_S)
    driver = waiting(12.0, cheap=NIGHT, deadline_s=8.0 * HOUR_S)
    driver.feed(make.placed((), class_of=(0,) * 4, forecast=later))

    assert sent(driver.tick(7.0 * HOUR_S)) == {}
    assert sent(driver.tick(0.5 * HOUR_S))


# --- prices -----------------------------------------------------------------------------------


def test_a_run_waits_for_a_price_and_goes_where_it_is_no_higher() -> None:
    driver = Driver()
    driver.lead()
    rule = Cheap(usd_core_h_max=0.05)
    driver.feed(make.submitted(cheap=rule, deadline_s=8.0 * HOUR_S), make.planned(4))
    driver.feed(NodeJoined(NodeId("n1"), "spot", 4.0, usd_h=0.4))
    driver.feed(make.joined("dear", pool="spot"))
    assert sent(driver.tick()) == {}
    assert told(driver)[0].why == "a core for 0.05 USD an hour"

    driver.feed(NodeJoined(NodeId("n2"), "other", 4.0, usd_h=0.2))
    driver.feed(make.joined("cheap", pool="other"))

    assert list(sent(driver.tick(LOOK_S))) == ["cheap"]


def test_no_price_is_not_a_low_one() -> None:
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(cheap=Cheap(usd_core_h_max=9.0), deadline_s=HOUR_S), make.planned(4))
    driver.feed(make.joined("unknown", pool="unpriced"))

    assert sent(driver.tick()) == {}
    # Its deadline counts more.
    assert list(sent(driver.tick(HOUR_S))) == ["unknown"]


def test_no_runners_are_asked_for_of_a_pool_that_is_too_dear() -> None:
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(cheap=Cheap(usd_core_h_max=0.5), deadline_s=HOUR_S), make.planned(4))
    wanted = (RunnersWanted("dear", 0.0, 1), RunnersWanted("cheap", 0.0, 1))
    prices = (PoolPrice("dear", 1.0), PoolPrice("cheap", 0.4))
    driver.feed(make.placed(("cheap", "dear"), class_of=(0,) * 4, runners=wanted, prices=prices))
    driver.tick()
    driver.feed(NodeJoined(NodeId("n1"), "dear", 4.0))

    last = [each for each in driver.commands if isinstance(each, EnsureRunners)][-1]
    assert last.pool == "cheap"
    driver.feed(make.joined("d", pool="dear"))
    assert sent(driver.tick(LOOK_S)) == {}


# --- what else holds a run back ---------------------------------------------------------------


def cause_of(driver: Driver, run: str = make.RUN) -> str:
    held = driver.machine.runs[RunId(run)].held_by
    return held.cause if held is not None else ""


def test_a_run_that_waits_for_machines_says_of_which_pool_and_when_it_no_more_does() -> None:
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), make.planned(4), make.placed(("fast",), class_of=(0,) * 4))
    driver.tick()
    driver.tick(TOLD_S + LOOK_S)
    assert cause_of(driver) == "machines"
    assert told(driver)[0].why == "a runner of fast"

    driver.feed(make.joined("f", pool="fast"))
    driver.tick()
    driver.tick(LOOK_S)

    assert cause_of(driver) == ""
    driver.assert_replays()


def test_a_run_that_waits_for_an_outside_resource_says_for_which() -> None:
    shapes = (StageShape(name="lines", sinks=(0,), uses=(("orders-db", 1),)),)
    driver = Driver()
    driver.lead()
    driver.feed(PolicyApplied(Policy(limits=(Limit("orders-db", 1),))))
    for run in ("run-a", "run-b"):
        driver.feed(make.submitted(run=RunId(run), stages=shapes), make.planned(4, run=RunId(run)))
    driver.feed(make.joined("runner-1"), make.joined("runner-2"))
    driver.tick()
    for _ in range(20):
        driver.tick(LOOK_S)

    causes = {run: cause_of(driver, run) for run in ("run-a", "run-b")}
    assert sorted(causes.values()) == ["", "limit"]
    assert told(driver)[0].why == "orders-db: 1 of 1 are held"


def test_a_run_over_the_quota_of_its_tenant_or_behind_others_says_so() -> None:
    driver = Driver()
    driver.lead()
    driver.feed(PolicyApplied(Policy(tenants=(TenantPolicy(TenantId("a"), slots=1),))))
    for run, tenant, priority in (("a-1", "a", 1), ("a-2", "a", 0), ("b-1", "b", 0)):
        driver.feed(
            make.submitted(run=RunId(run), tenant=TenantId(tenant), priority=priority),
            make.planned(4, run=RunId(run)),
        )
        driver.feed(*([make.joined("runner-1")] if run == "a-1" else []))
        driver.tick()
    for _ in range(20):
        driver.tick(LOOK_S)

    assert cause_of(driver, "a-2") == "quota"
    assert cause_of(driver, "b-1") == "share"
