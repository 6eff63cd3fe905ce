"""What a run waits for, as `show`, `explain` and `tenants` tell it."""

from rayorch.core.cheap import Cheap
from rayorch.core.limit_facts import PolicyApplied
from rayorch.core.policy import Limit, Policy
from rayorch.core.values import StageShape
from rayorch.observe.display import blocked_text
from rayorch.observe.report import report_data, report_of
from rayorch.observe.view import RunView, view_of
from rayorch.observe.waits import wait_of
from tests.rayorch import make
from tests.rayorch.driver import Driver, started

NIGHT = Cheap(22 * 60, 6 * 60)


def viewed(driver: Driver) -> RunView:
    """The run as whoever reads the journal sees it."""
    machine = driver.replayed()
    return view_of(machine.runs[make.RUN], machine, driver.at_s)


def test_a_run_that_is_given_work_waits_for_nothing() -> None:
    view = viewed(started(4))

    assert view.wait is None
    assert blocked_text(view) == ""
    assert report_data(view)["blocked"] is None


def test_a_run_that_waits_for_its_hours_says_until_when_and_with_how_many_tasks() -> None:
    driver = Driver()
    driver.at_s = 12 * 3600.0
    driver.start(4, cheap=NIGHT)
    driver.tick()

    view = viewed(driver)

    assert view.wait is not None
    assert (view.wait.cause, view.wait.tasks) == ("cheap", 4)
    assert view.stages[0].blocked == 4
    lines = dict(report_of(view).lines)
    assert lines["blocked"].startswith(
        "4 tasks (cheap): waits for its hours, 22:00-06:00 UTC; it goes on at "
    )
    assert "blocked (cheap): waits for its hours" in blocked_text(view)
    assert report_data(view)["blocked"]["until_s"] == 22 * 3600.0


def test_only_the_stages_that_use_an_outside_resource_are_blocked_by_its_limit() -> None:
    stages = (
        StageShape(name="plain", sinks=(0,)),
        StageShape(name="db", sinks=(0,), uses=(("orders-db", 1),)),
    )
    driver = Driver()
    driver.lead()
    driver.feed(
        PolicyApplied(Policy(limits=(Limit("orders-db", 1),))),
        make.submitted(stages=stages),
        make.planned(9, 9),
        make.joined("runner-1"),
        make.joined("runner-2"),
    )
    for lease in [*range(18)]:
        driver.tick(0.1)
        if plain := [each for each in driver.queue("runner-1") if each.stage == 0]:
            driver.feed(make.finished(plain[0], "runner-1"))
        del lease
    driver.tick(0.1)

    wait = wait_of(driver.machine, driver.run)

    assert wait is not None
    assert (wait.cause, wait.why) == ("limit", "1 of 1 orders-db are held")
    assert wait.stages == (1,)
