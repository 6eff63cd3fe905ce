"""How runs stop, fail, are cancelled and end, and what time does; through the machine."""

import pytest

from rayorch.core.commands import (
    CompareSchemas,
    KillRunner,
    PublishSink,
    RevokeLeases,
    SweepRun,
)
from rayorch.core.facts import (
    Fact,
    RunCancelRequested,
    RunnerLost,
    RunStopRequested,
    RunSwept,
    Ticked,
)
from rayorch.core.run import RunState
from rayorch.core.task import TaskState
from rayorch.core.values import FailureKind, StageShape
from rayorch.ids import RunnerId
from tests.rayorch import make
from tests.rayorch.driver import only, revoked, sent, some, started

STOP = RunStopRequested(run=make.RUN)
CANCEL = RunCancelRequested(run=make.RUN)
R, S = RunState, TaskState


# --- stopping, failing, cancelling ------------------------------------------------------------


def test_a_stop_takes_back_what_has_not_started_and_waits_for_the_rest() -> None:
    driver = started(5)
    head, other = driver.queue()

    assert revoked(driver.feed(STOP)) == {make.RUNNER: [other.task]}
    driver.feed(make.returned(other))
    assert driver.state is R.DRAINING
    driver.feed(make.finished(head))

    assert (driver.state, driver.run.committed) == (R.STOPPED, 1)
    assert driver.tick() == []


def test_what_runs_too_long_after_a_stop_is_ended() -> None:
    driver = started(1)
    driver.feed(make.started(driver.head()), STOP)
    assert some(driver.tick(4.0), KillRunner) == []

    only(driver.tick(2.0), KillRunner)
    driver.feed(make.gone())

    assert (driver.state, driver.task().strikes) == (R.STOPPED, 0)


def test_what_runs_too_long_after_its_run_has_ended_is_ended() -> None:
    """Another runner committed the task: this one is told to let go, and hangs."""
    driver = started(1, stages=(StageShape(name="lines", sinks=(0,), timeout_s=5.0),))
    lease = driver.head()
    driver.feed(make.started(lease))
    driver.feed(make.finished(make.Lease(attempt=7), "runner-9"))
    driver.feed(make.published())
    assert driver.state is R.SUCCEEDED

    only(driver.tick(6.0), KillRunner)


def test_what_hangs_is_ended_though_its_start_was_said_before_that_of_another() -> None:
    """Reports come in any order: what a runner was at before is told after what it is at."""
    driver = started(2, stages=(StageShape(name="lines", sinks=(0,), timeout_s=5.0),))
    before, hanging = driver.queue()
    driver.feed(make.started(hanging))
    driver.feed(make.started(before), make.finished(before))
    assert some(driver.tick(4.0), KillRunner) == []

    only(driver.tick(2.0), KillRunner)


def test_what_is_held_of_a_run_that_is_being_swept_is_not_adopted() -> None:
    """Its files go: whoever is at it is ended, and nobody waits for it."""
    driver = started(1)
    lease = driver.head()
    driver.feed(make.started(lease))
    driver.feed(CANCEL)
    only(driver.feed(make.gone()), SweepRun)

    commands = driver.feed(make.joined(make.RUNNER, make.held(lease, started=True)))

    only(commands, KillRunner)
    assert driver.held() == 0


def test_a_run_is_swept_when_who_was_silent_in_it_comes_back_without_it() -> None:
    """Its files lay there until another leader came: nothing else led further."""
    driver = started(1)
    driver.feed(make.started(driver.head()))
    driver.feed(RunnerLost(RunnerId(make.RUNNER), "lost", "it is silent", silent=True))
    assert some(driver.feed(CANCEL), SweepRun) == []
    assert driver.state is R.CANCELLED

    only(driver.feed(make.joined()), SweepRun)


def test_a_failed_task_fails_the_run_and_keeps_the_commits() -> None:
    driver = started(5)
    head, other = driver.queue()
    driver.feed(make.failed(head, kind="user", message="KeyError"), make.finished(other))
    assert driver.state is R.FAILED

    driver.feed(make.resumed())
    given = sent(driver.tick())

    assert given == {make.RUNNER: [0, 2]}
    assert (driver.run.failed, driver.run.error) == (0, None)
    driver.assert_replays()


@pytest.mark.parametrize("ending", ["finished", "failed", "returned", "gone"])
def test_a_cancelled_run_is_swept_once_its_last_lease_has_come_to_an_end(ending: str) -> None:
    """Whatever that end is: a sweep under a writer's feet would leave its files behind."""
    driver = started(1)
    lease = driver.head()
    assert some(driver.feed(CANCEL), SweepRun) == []
    ends: dict[str, Fact] = {
        "finished": make.finished(lease),
        "failed": make.failed(lease),
        "returned": make.returned(lease),
        "gone": make.gone(),
    }

    assert driver.machine.admits(ends[ending])
    only(driver.feed(ends[ending]), SweepRun)

    driver.feed(RunSwept(run=make.RUN, files=0), make.finished(lease))
    assert (driver.state, driver.task().state) == (R.CANCELLED, S.CANCELLED)
    driver.assert_replays()


def test_a_run_whose_publication_has_begun_is_finished_not_torn() -> None:
    """1. one of two sinks cannot be published, the run fails  2. a cancel comes too late

    3. the other sink is visible by then  4. resumed, the run makes the first visible, too.
    """
    driver = started(1, sinks=("a", "b"))
    driver.feed(make.finished(driver.head()))
    driver.feed(make.publish_failed(0))

    assert driver.feed(CANCEL) == []
    assert driver.state is R.FAILED
    driver.feed(make.published(1))

    again = only(driver.feed(make.resumed()), PublishSink)
    assert again.sink == 0
    only(driver.feed(make.published(0)), SweepRun)
    assert driver.run.state.value == "succeeded"


# --- time ------------------------------------------------------------------------------------


def test_an_attempt_that_runs_too_long_is_ended_and_tried_again() -> None:
    driver = started(1, stages=(StageShape(name="slow", timeout_s=10.0),))
    driver.feed(make.started(driver.head()))
    assert driver.tick(10.0) == []

    commands = driver.tick(0.1)

    only(commands, KillRunner)
    assert (driver.task().state, driver.task().failures) == (S.WAITING, 1)
    assert driver.tick(5.0) == []
    driver.feed(make.gone(), make.joined("runner-2"))
    assert sent(driver.tick()) == {"runner-2": [0]}


def test_a_lease_that_has_not_begun_is_never_late() -> None:
    driver = started(2, stages=(StageShape(name="slow", timeout_s=10.0),))

    assert driver.tick(1000.0) == []


def test_a_task_given_back_behind_it_does_not_reset_the_clock_of_the_head() -> None:
    driver = started(2, stages=(StageShape(name="slow", timeout_s=10.0),))
    head, other = driver.queue()
    driver.feed(make.started(head))
    driver.tick(6.0)
    driver.feed(make.returned(other))

    only(driver.tick(6.0), KillRunner)


def test_a_failure_waits_for_its_back_off() -> None:
    driver = started(1)
    driver.feed(make.failed(driver.head()))

    assert driver.tick(0.9) == []
    assert sent(driver.tick(0.1)) == {make.RUNNER: [0]}


# --- ending ----------------------------------------------------------------------------------


def test_outputs_of_different_schemas_are_compared_once_for_each_new_one() -> None:
    driver = started(4)
    asked = []
    for schema in ("s1", "s1", "s2", "s1"):
        asked += some(driver.feed(make.finished(driver.head(), schema=schema)), CompareSchemas)
        driver.tick()

    assert [each.tasks for each in asked] == [(0, 2)]


def test_a_publication_that_may_work_later_is_tried_later() -> None:
    driver = started(1)
    published = only(driver.feed(make.finished(driver.head())), PublishSink)
    driver.feed(make.publish_failed(retry_at_s=driver.at_s + 5.0))
    assert driver.tick(4.0) == []

    again = only(driver.tick(2.0), PublishSink)

    assert (again.sink, again.generation) == (published.sink, published.generation)


def test_a_resumed_publication_keeps_its_generation() -> None:
    driver = started(1)
    first = only(driver.feed(make.finished(driver.head())), PublishSink)
    driver.feed(make.publish_failed())
    assert driver.state is R.FAILED

    again = only(driver.feed(make.resumed()), PublishSink)

    assert again.generation == first.generation
    driver.assert_replays()


def test_a_new_leader_asks_again_for_what_was_under_way() -> None:
    driver = started(1)
    driver.feed(make.finished(driver.head()))
    only(driver.lead(9), PublishSink)
    driver.feed(make.published())
    assert driver.run.state.value == "succeeded"

    only(driver.lead(12), SweepRun)


def test_a_run_ends_and_is_swept_when_everything_is_visible() -> None:
    driver = started(1)
    driver.feed(make.finished(driver.head()))

    commands = driver.feed(make.published())

    assert driver.run.state.value == "succeeded"
    only(commands, SweepRun)
    assert some(commands, RevokeLeases) == []
    driver.feed(RunSwept(run=make.RUN, files=0))
    assert driver.run.outputs == {}


def test_a_task_that_is_ready_again_is_left_to_a_runner_that_is_still_at_it() -> None:
    """A failure of another attempt, late and past the host's sieve, frees the task meanwhile."""
    driver = started(1)
    lease = driver.head()
    driver.feed(make.started(lease))
    driver.feed(make.failed(make.Lease(attempt=7), "runner-9", "preempted"))
    assert driver.states() == [TaskState.READY]

    assert sent(driver.tick()) == {}

    assert driver.states() == [TaskState.RUNNING]
    assert driver.held() == len(driver.queue()) == 1
    driver.feed(make.finished(lease))
    assert driver.states() == [TaskState.COMMITTED]
    driver.assert_replays()


@pytest.mark.parametrize("kind", ["transient", "user"])
def test_a_failure_in_one_batch_with_the_news_of_its_lease_ends_the_lease(
    kind: FailureKind,
) -> None:
    """The host asks about a batch before the machine has seen any of it.

    1. a lost runner comes back, and says that it runs the lease
    2. in the same batch, it says that the attempt failed
    """
    driver = started(1)
    lease = driver.head()
    driver.feed(make.gone(kind="preempted"))
    batch: list[Fact] = [
        make.joined(make.RUNNER, make.held(lease, started=True)),
        make.failed(lease, kind=kind),
    ]

    driver.feed(*[driver.machine.admitted(fact) for fact in batch])

    assert (driver.held(), driver.state) == (0, R.RUNNING)
    assert sent(driver.tick()) == {make.RUNNER: [0]}


def test_a_failure_that_says_nothing_is_not_stamped_as_one() -> None:
    driver = started(1)

    assert driver.machine.admitted(make.failed(make.Lease(run="unheard-of"))) == Ticked()
    assert driver.machine.admitted(make.failed(make.Lease(99))) == Ticked()
    assert driver.machine.admitted(make.failed(driver.head())) == make.failed(driver.head())
