"""Every pair of a run's state and a fact about it, through the machine."""

from itertools import product
from typing import Final

import pytest

from rayorch.core.facts import (
    AttemptFailed,
    Fact,
    PlanFailed,
    PublishFailed,
    RunCancelRequested,
    RunFailed,
    RunResumed,
    RunStopRequested,
    RunSwept,
    SinkPublished,
)
from rayorch.core.invariants import durable_view
from rayorch.core.limit_facts import PolicyApplied, RunBlocked
from rayorch.core.policy import Policy, TenantPolicy
from rayorch.core.run import RUN_KINDS, RUN_TRANSITIONS, RunState
from rayorch.errors import InvalidTransitionError, UnknownRunError
from rayorch.ids import RunId, TenantId
from tests.rayorch import make
from tests.rayorch.driver import Driver

R = RunState
PAIRS: Final = sorted(product(RunState, RUN_KINDS), key=str)
ONE_RUN: Final = PolicyApplied(Policy(others=TenantPolicy(TenantId(""), runs=1)))
STOP: Final = RunStopRequested(run=make.RUN)
CANCEL: Final = RunCancelRequested(run=make.RUN)


def in_state(state: RunState) -> Driver:
    """A run of two tasks that came to a state by events."""
    driver = Driver()
    driver.lead()
    if state is R.QUEUED:
        driver.feed(ONE_RUN, make.submitted(RunId("first")))
    driver.feed(make.submitted())
    if state in {R.QUEUED, R.PLANNING}:
        return driver
    driver.feed(make.planned(2), make.joined())
    driver.tick()
    head, other = driver.queue()
    if state in {R.PUBLISHING, R.SUCCEEDED}:
        driver.feed(make.finished(head), make.finished(other))
        driver.feed(*([make.published()] if state is R.SUCCEEDED else []))
        return driver
    by: dict[RunState, tuple[Fact, ...]] = {
        R.RUNNING: (),
        R.DRAINING: (STOP,),
        R.STOPPED: (STOP, make.returned(other), make.finished(head)),
        R.FAILED: (make.failed(head, kind="user"), make.returned(other)),
        R.BLOCKED: (make.fact(RunBlocked), make.returned(other), make.finished(head)),
        R.CANCELLED: (CANCEL, make.gone()),
    }
    if state is R.INTERRUPTED:
        driver.lead(9)
    else:
        driver.feed(*by[state])
    return driver


@pytest.mark.parametrize(("state", "kind"), PAIRS)
def test_a_fact_about_a_run_leads_where_its_row_says(state: RunState, kind: type[Fact]) -> None:
    """A pair without a row raises and changes nothing, here or in a replay."""
    driver = in_state(state)
    assert driver.state is state
    if kind is SinkPublished and state is R.FAILED:
        fail_to_publish(driver)
    before = durable_view(driver.machine)

    if (state, kind) in RUN_TRANSITIONS:
        driver.feed_alone(make.fact(kind))
        assert driver.state in RUN_TRANSITIONS[state, kind]
    else:
        with pytest.raises(InvalidTransitionError):
            driver.feed_alone(make.fact(kind))
        assert durable_view(driver.machine) == before


def fail_to_publish(driver: Driver) -> None:
    """Bring a run to failure by a sink that cannot be published."""
    driver.__dict__.update(in_state(R.PUBLISHING).__dict__)
    driver.feed(make.publish_failed())
    assert driver.state is R.FAILED


def test_a_run_that_nobody_knows_is_refused_by_name() -> None:
    driver = in_state(R.RUNNING)

    with pytest.raises(UnknownRunError, match="Did you mean 'nightly-1'"):
        driver.machine.handle(make.event(RunStopRequested(run=RunId("nightly-2"))))


@pytest.mark.parametrize("task", [-1, 2, 10**6])
def test_a_report_about_a_task_that_is_not_there_is_impossible(task: int) -> None:
    driver = in_state(R.RUNNING)

    with pytest.raises(InvalidTransitionError, match="which has 2 tasks"):
        driver.machine.handle(make.event(make.finished(make.Lease(task))))


def test_what_the_live_machine_refused_is_refused_again_by_a_replay() -> None:
    """It is in the journal by then. A replay that raised would keep the home shut for ever."""
    driver = in_state(R.RUNNING)

    driver.machine.fold(make.event(make.finished(make.Lease(run="unheard-of")), 900))
    driver.machine.fold(make.event(make.finished(make.Lease(77)), 901))
    driver.machine.fold(make.event(make.published(), 902))

    assert driver.machine.through == 902
    assert driver.machine.runs[make.RUN].state is R.RUNNING


def test_asking_twice_submits_once() -> None:
    driver = in_state(R.RUNNING)

    assert driver.feed(make.submitted(version="v9")) == []
    assert driver.run.version == "v1"


def test_a_plan_that_comes_after_the_cancellation_is_of_no_use() -> None:
    driver = in_state(R.PLANNING)
    driver.feed(CANCEL)

    assert driver.feed(make.planned(3)) == []
    assert driver.run.tasks == []


def test_a_plan_that_comes_after_the_stop_is_kept_for_the_resumption() -> None:
    driver = in_state(R.PLANNING)
    driver.feed(STOP, make.planned(3), make.resumed())

    assert driver.state is R.RUNNING
    assert len(driver.run.tasks) == 3
    driver.assert_replays()


def test_the_first_of_two_plans_counts() -> None:
    """Stopped while planning and resumed, a run is planned twice; neither plan nor failure hurts.

    1. the planner works, the run is stopped and resumed: the planner is asked again
    2. the first plan comes, and the run begins
    3. the second comes, or fails: nothing changes
    """
    driver = in_state(R.PLANNING)
    driver.feed(STOP, make.resumed())

    driver.feed(make.planned(3), make.planned(5), make.fact(PlanFailed))

    assert (driver.state, len(driver.run.tasks), driver.run.error) == (R.RUNNING, 3, None)
    driver.assert_replays()


def test_a_run_without_tasks_publishes_at_once() -> None:
    driver = in_state(R.PLANNING)

    driver.feed(make.planned(0))

    assert driver.state is R.PUBLISHING


def test_a_conflict_that_is_found_after_the_stop_fails_the_run() -> None:
    """A replay finds the run stopped where the live machine still drains: both must fail it."""
    for state in (R.DRAINING, R.STOPPED):
        driver = in_state(state)

        driver.feed(make.run_failed())

        assert R.FAILED in {driver.run.target, driver.state}
        driver.assert_replays()


def test_a_conflict_that_is_found_too_late_is_not_said_of_a_good_run() -> None:
    driver = in_state(R.SUCCEEDED)

    driver.feed(make.run_failed())

    assert (driver.state, driver.run.error) == (R.SUCCEEDED, None)


def test_a_run_that_drains_can_be_resumed() -> None:
    """To a replay it has stopped already. The leases that it gave go on."""
    driver = in_state(R.DRAINING)

    driver.feed(make.resumed("v2"))

    assert (driver.state, driver.run.target, driver.run.version) == (R.RUNNING, None, "v2")
    assert driver.held() == 2
    driver.assert_replays()


def test_all_that_can_happen_to_a_run_has_a_table() -> None:
    assert {
        RunStopRequested,
        RunCancelRequested,
        RunResumed,
        RunFailed,
        SinkPublished,
        PublishFailed,
        RunSwept,
    } < RUN_KINDS
    assert AttemptFailed not in RUN_KINDS
