"""What `explain` tells, from the durable events of a journal."""

from rayorch.core.facts import Event, RunCancelRequested, RunStopRequested, RunSwept, is_durable
from rayorch.core.story import Line, story
from rayorch.ids import RunId, TaskId
from tests.rayorch import make
from tests.rayorch.driver import Driver


def durable(driver: Driver) -> list[Event]:
    return [event for event in driver.events if is_durable(event.fact)]


def whats(lines: list[Line]) -> list[str]:
    return [line.what for line in lines]


def test_the_story_of_a_task_that_failed_in_three_ways() -> None:
    driver = Driver()
    driver.start(1)
    driver.tick(100.0)
    driver.feed(make.failed(driver.head(), kind="transient", message="503"))
    driver.tick(100.0)
    driver.feed(make.failed(driver.head(), kind="oom"))
    driver.tick(100.0)
    driver.feed(make.gone(), make.joined("runner-2"))
    driver.tick()
    driver.feed(make.finished(driver.head("runner-2"), "runner-2"))

    lines = story(durable(driver), make.RUN, TaskId(0))

    attempts = [line for line in lines if line.task is not None]
    assert whats(attempts) == [
        "failed: tried again after 1 s (attempts left: 2)",
        "failed: tried again after 2 s, with smaller batches (attempts left: 1)",
        "lost with its runner: tried again at once, alone on its runner (strikes left: 2)",
        "finished and committed: 10 rows in",
    ]
    assert [line.attempt for line in attempts] == [0, 1, 2, 3]
    assert (attempts[0].message, attempts[0].kind, attempts[0].runner) == (
        "503",
        "transient",
        make.RUNNER,
    )
    assert attempts[0].at_s == 100.0
    assert durable(driver)[-1].id == attempts[-1].cause


def test_the_story_of_a_run_leaves_its_successes_out() -> None:
    driver = Driver()
    driver.start(2)
    driver.tick()
    head, other = driver.queue()
    driver.feed(make.finished(head), make.failed(other, kind="user", message="KeyError: 'x'"))
    driver.feed(make.resumed("v2"))
    driver.tick()
    driver.feed(make.finished(driver.head()), make.published(), RunSwept(run=make.RUN, files=1))

    lines = story(durable(driver), make.RUN)

    assert whats(lines) == [
        "submitted by somebody, version v1",
        "planned: 2 tasks in 1 stages",
        "failed: given up (counted failures: 1)",
        "the run failed",
        "resumed with version v2: what is committed stays",
        "all tasks are committed: publishing",
        "out became visible: 1 rows, 1 files",
        "succeeded: every output is visible",
        "swept: 1 files that no commit names",
    ]
    assert lines[3].message == "KeyError: 'x'"


def test_a_report_that_lost_says_so() -> None:
    driver = Driver()
    driver.start(1, runners=2)
    driver.tick()
    lease = driver.head()
    driver.feed(make.finished(lease), make.finished(lease))

    assert whats(story(durable(driver), make.RUN, TaskId(0)))[-1] == (
        "finished, but the task was committed already: dropped"
    )


def test_poison_is_told_with_its_count() -> None:
    driver = Driver()
    driver.start(1, runners=3)
    for _ in range(3):
        driver.tick()
        runner = next(slot.id for slot in driver.machine.runners.values() if slot.queue)
        driver.feed(make.gone(runner))

    told = whats(story(durable(driver), make.RUN, TaskId(0)))

    assert "lost with its runner: quarantined, it killed its runner 3 times" in told
    assert told[-1] == "the run failed"


def test_other_runs_and_people_have_their_place() -> None:
    driver = Driver()
    driver.start(2)
    other = RunId("other")
    driver.feed(make.submitted(other), make.planned(3, run=other))
    driver.lead(7)
    driver.feed(make.resumed(), RunStopRequested(run=make.RUN, reason="Ctrl-C"))
    driver.feed(RunCancelRequested(run=make.RUN))

    lines = story(durable(driver), make.RUN)

    assert whats(lines)[2:] == [
        "its cluster was gone when epoch 7 began",
        "resumed with version v2: what is committed stays",
        "asked to stop",
        "cancelled",
    ]
    assert lines[-2].message == "Ctrl-C"


def test_a_run_that_nobody_knows_has_no_story() -> None:
    assert story([make.event(make.finished(make.Lease()))], make.RUN) == []
