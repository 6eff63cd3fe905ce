"""Who gets which lease, who loses it, and what becomes of the task; through the machine."""

import pytest

from rayorch.core import invariants
from rayorch.core.commands import (
    EnsureRunners,
    KillRunner,
    Lease,
    Record,
    RevokeLeases,
    SendLeases,
)
from rayorch.core.facts import RunnerLost, RunStopRequested, Ticked
from rayorch.core.leasing import (
    FLUSHES,
    QUEUE_MAX,
    QUEUE_MIN,
    WINDOW_S,
    WINDOW_S_MAX,
    queue_length,
    share,
    window,
)
from rayorch.core.run import RunState
from rayorch.core.settling import STRANGE_S
from rayorch.core.straggling import BEHIND_S_MIN, CUT_S
from rayorch.core.task import TaskState
from rayorch.core.values import StageShape
from rayorch.ids import RunId, RunnerId, TenantId
from tests.rayorch import make
from tests.rayorch.driver import Driver, only, revoked, sent, some, started

STOP = RunStopRequested(run=make.RUN)
R, S = RunState, TaskState


# --- giving ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "length"),
    [(None, QUEUE_MIN), (0.0, QUEUE_MAX), (0.0001, QUEUE_MAX), (0.01, 25), (0.1, 3), (9.0, 2)],
)
def test_a_queue_holds_a_window_of_work(seconds: float | None, length: int) -> None:
    assert queue_length(seconds) == length


def test_a_queue_lasts_while_a_slow_journal_stores_what_came_of_it() -> None:
    driver = started(500)
    driver.feed(make.finished(driver.head(), seconds=0.05))

    driver.feed(Ticked(flush_s=0.1))

    assert len(driver.queue()) == FLUSHES * 0.1 / 0.05
    assert window(0.001) == WINDOW_S


def test_a_journal_that_stood_still_for_minutes_makes_no_runner_keep_hours_of_work() -> None:
    driver = started(500)
    driver.feed(make.finished(driver.head(), seconds=1.0))

    driver.feed(Ticked(flush_s=120.0))

    assert len(driver.queue()) == WINDOW_S_MAX


def test_a_runner_that_is_met_with_leases_of_two_tenants_keeps_those_of_what_it_is_at() -> None:
    """One that an earlier leader gave it, and took for lost, came late and waits behind the other.

    That a runner serves one tenant at a time is what shares and quotas count on.
    """
    driver = started(4)
    mine = driver.head()
    other = RunId("other-1")
    driver.feed(make.submitted(other, tenant=TenantId("b")), make.planned(4, run=other))
    driver.feed(make.gone())
    theirs = make.Lease(run=other)

    commands = driver.feed(
        make.joined(make.RUNNER, make.held(mine), make.held(theirs, started=True))
    )

    assert revoked(commands) == {make.RUNNER: [mine.task]}
    assert [lease.run for lease in driver.queue()] == [other]
    invariants.check(driver.machine)


def test_the_last_tasks_are_shared() -> None:
    assert [share(100, ready, 4) for ready in (1, 4, 10, 1000)] == [1, 1, 3, 100]


def test_the_first_leases_are_few_and_the_next_ones_fill_the_window() -> None:
    """How long a task takes is known once one has finished."""
    driver = started(500)
    assert [lease.task for lease in driver.queue()] == [0, 1]

    driver.feed(make.finished(driver.head(), seconds=0.01))
    driver.tick()

    assert len(driver.queue()) == 25
    assert driver.tick() == []


def test_a_queue_is_filled_up_again_when_half_of_it_is_worked_off() -> None:
    driver = started(500)
    driver.feed(make.finished(driver.head(), seconds=0.01))
    driver.tick()

    lengths = []
    for _ in range(14):
        driver.feed(make.finished(driver.head(), seconds=0.01))
        driver.tick()
        lengths.append(len(driver.queue()))

    assert lengths == [*range(24, 12, -1), 25, 24]


def test_runners_too_small_for_a_run_get_none_of_it() -> None:
    driver = Driver()
    driver.start(4, stages=(StageShape(name="big", memory_bytes=16 * make.GIB),))
    driver.feed(make.joined("large", gib=32))

    assert sent(driver.tick()) == {"large": [0, 1]}


def test_two_runs_take_turns() -> None:
    driver = started(100)
    other = RunId("other")
    driver.feed(make.submitted(other), make.planned(100, run=other))
    given: list[str] = []
    for _ in range(10):
        driver.feed(make.finished(driver.head(), seconds=5.0))
        given += [lease.run for each in some(driver.tick(), SendLeases) for lease in each.leases]

    assert {make.RUN, other} == set(given)


# --- taking back --------------------------------------------------------------------------------


def test_an_idle_runner_is_given_half_of_what_waits_elsewhere() -> None:
    driver = started(3)
    driver.feed(make.finished(driver.head(), seconds=0.001))
    driver.tick()
    driver.feed(make.joined("runner-2"))

    assert revoked(driver.tick()) == {make.RUNNER: [2]}
    driver.feed(make.returned(driver.queue()[1]))
    assert sent(driver.tick()) == {"runner-2": [2]}


def test_nothing_is_taken_twice_or_from_its_head() -> None:
    driver = started(2)
    driver.feed(make.joined("runner-2"))
    assert revoked(driver.tick()) == {make.RUNNER: [1]}

    assert driver.tick() == []


def test_nothing_is_taken_for_a_runner_that_cannot_use_it() -> None:
    """It would come back to its first runner, and be taken again, for ever."""
    driver = started(2, stages=(StageShape(name="big", memory_bytes=4 * make.GIB),))
    driver.feed(make.joined("small", gib=1))

    assert driver.tick() == []


# --- runners that go --------------------------------------------------------------------------


def test_only_the_head_is_to_blame_when_a_runner_dies() -> None:
    driver = started(2)

    commands = driver.feed(make.gone())

    assert only(commands, Record).fact.task == 0  # type: ignore[union-attr]
    assert [task.strikes for task in driver.run.tasks] == [1, 0]
    assert only(commands, EnsureRunners).count_max == 2
    assert driver.held() == 0


def test_the_one_that_began_is_the_head_whatever_was_sent_first() -> None:
    driver = started(2)
    driver.feed(make.started(driver.queue()[1]))

    driver.feed(make.gone())

    assert [task.strikes for task in driver.run.tasks] == [0, 1]


def test_a_runner_that_we_killed_gives_nobody_a_strike() -> None:
    """A task that was timed out has paid already, and the one behind it did nothing."""
    driver = started(2, stages=(StageShape(name="slow", timeout_s=10.0),))
    driver.feed(make.started(driver.head()))
    only(driver.tick(11.0), KillRunner)

    driver.feed(make.gone())

    assert [task.strikes for task in driver.run.tasks] == [0, 0]
    assert driver.task(0).failures == 1


def test_a_suspect_and_what_was_queued_behind_it_run_alone() -> None:
    """Which of the two was at work when the runner died is not known until one dies alone."""
    driver = started(10)
    driver.feed(make.gone(), make.joined("runner-2"))

    for suspect in (1, 0):
        assert sent(driver.tick()) == {"runner-2": [suspect]}
        assert driver.tick() == []
        driver.feed(make.finished(driver.head("runner-2"), "runner-2"))
    assert sent(driver.tick()) == {"runner-2": [2, 3, 4]}


def test_a_task_that_kills_three_runners_fails_its_run() -> None:
    driver = Driver()
    driver.start(1, runners=0)
    for i in range(3):
        assert driver.state is R.RUNNING
        driver.feed(make.joined(f"runner-{i}"))
        driver.tick()
        driver.feed(make.gone(f"runner-{i}"))

    assert driver.task().failed_kind == "poison"
    assert driver.run.target is None
    assert driver.run.error is not None
    assert "killed its runner 3 times" in driver.run.error.message
    driver.assert_replays()


def test_being_preempted_is_nobodys_fault() -> None:
    driver = started(1)

    driver.feed(make.gone(kind="preempted"))

    assert (driver.task().strikes, driver.task().state) == (0, S.READY)


def test_a_late_report_of_a_lost_runner_wins_and_the_other_lease_is_taken_back() -> None:
    """1. a runner is silent  2. its task goes to another  3. it reports after all."""
    driver = started(1)
    lease = driver.head()
    driver.feed(make.gone(), make.joined("runner-2"))
    driver.tick()

    commands = driver.feed(make.finished(lease))

    assert revoked(commands) == {"runner-2": [0]}
    assert driver.state is R.PUBLISHING
    driver.feed(make.finished(driver.head("runner-2"), "runner-2"))
    assert (driver.run.totals.duplicates, driver.run.totals.rows_in) == (1, 10)
    driver.assert_replays()


def test_whose_end_is_heard_before_it_is_known_is_lost_when_that_is_said_again() -> None:
    """It ended while it was being introduced: the news of the one overtook that of the other."""
    driver = started(3)
    driver.feed(make.gone("runner-9"))
    driver.feed(make.joined("runner-9"))
    driver.tick()

    driver.feed(make.gone("runner-9"))

    assert "runner-9" not in driver.machine.runners
    assert S.COMMITTED not in driver.states()


def test_who_is_heard_before_its_loss_is_journaled_is_no_broken_promise() -> None:
    driver = started(1)
    driver.feed(make.started(driver.head()))
    lost = only(list(driver.feed_alone(make.gone())), Record)
    driver.feed_alone(make.joined())

    invariants.check(driver.machine)

    driver.feed(lost.fact)
    assert driver.states() == [S.READY]
    invariants.check(driver.machine)


def test_who_is_back_before_its_loss_is_journaled_still_has_what_it_is_at() -> None:
    """Else what hangs is never timed out, and what is sent next waits behind it."""
    driver = started(1, stages=(StageShape(name="slow", timeout_s=60.0),))
    lease = driver.head()
    driver.feed(make.started(lease))
    lost = only(list(driver.feed_alone(make.gone())), Record)
    driver.feed_alone(make.joined(make.RUNNER, make.held(lease, started=True)))

    driver.feed(lost.fact)

    assert (driver.states(), driver.task(0).strikes) == ([S.READY], 1)
    assert driver.held() == 1
    invariants.check(driver.machine)
    only(driver.tick(61.0), KillRunner)


def test_of_two_attempts_that_a_runner_says_it_has_begun_the_last_is_its_lease() -> None:
    """One has ended, which it has not said yet; the other is what it is at, and lets go of."""
    driver = started(1)
    driver.lead(9, interrupts=False)
    ended, running = make.Lease(0, 0, 1), make.Lease(0, 2, 1)

    driver.feed(
        make.joined(make.RUNNER, make.held(ended, started=True), make.held(running, started=True))
    )

    assert [each.attempt for each in driver.queue()] == [running.attempt]
    invariants.check(driver.machine)
    asked = only(driver.feed(make.finished(ended)), RevokeLeases)
    assert ([each.attempt for each in asked.leases], asked.halt) == ([running.attempt], True)
    assert (driver.states(), driver.held()) == ([S.COMMITTED], 1)
    driver.feed(make.returned(running))
    assert driver.held() == 0
    driver.assert_replays()


def test_who_comes_back_at_what_others_have_committed_lets_go_of_it() -> None:
    driver = started(1)
    head = driver.head()
    driver.feed(make.started(head))
    driver.feed(RunnerLost(RunnerId(make.RUNNER), "preempted", "it is silent", silent=True))
    driver.feed(make.joined("runner-2"))
    driver.tick()
    driver.feed(make.finished(driver.head("runner-2"), "runner-2"))
    assert driver.states() == [S.COMMITTED]

    commands = driver.feed(make.joined(make.RUNNER, make.held(head, started=True)))

    asked = only(commands, RevokeLeases)
    assert (asked.runner, asked.leases[0].task, asked.halt) == (make.RUNNER, head.task, True)
    assert not driver.machine.flows[make.RUN].others


def test_a_task_that_comes_back_to_who_is_still_at_it_is_timed_out_as_one() -> None:
    """A second try was silent and is done by another; the first ends, and nothing is left of it."""
    driver = Driver()
    driver.lead()
    slow = StageShape(name="slow", sinks=(0,), timeout_s=60.0)
    driver.feed(make.submitted(stages=(slow,)), make.planned(2), make.joined("first"))
    driver.tick()
    head, lease = driver.queue("first")
    driver.feed(make.started(head, "first"), make.finished(head, "first", seconds=1.0))
    driver.feed(make.started(lease, "first"), make.joined("second"))
    driver.tick(BEHIND_S_MIN + 1.0)
    driver.tick(CUT_S)
    other = driver.head("second")
    driver.feed(make.started(other, "second"))
    driver.feed(RunnerLost(RunnerId("second"), "preempted", "it is silent", silent=True))
    assert sent(driver.tick(5.0)) == {}
    assert (driver.task(1).runner, driver.states()[1]) == ("first", S.RUNNING)

    asked = only(driver.feed(make.finished(other, "second")), RevokeLeases)

    assert (asked.runner, asked.leases, asked.halt) == ("first", (lease,), True)
    driver.feed(make.finished(lease, "first"))
    assert driver.machine.runners[RunnerId("first")].started is None
    assert some(driver.tick(100.0), KillRunner) == []


def test_a_runner_that_joins_twice_holds_what_it_said_last() -> None:
    driver = started(3)
    head, other = driver.queue()

    driver.feed(make.joined(make.RUNNER, make.held(head, started=True)))

    assert [lease.task for lease in driver.queue()] == [head.task]
    assert driver.states() == [S.RUNNING, S.READY, S.READY]
    assert other.task in driver.machine.flows[make.RUN].lanes[0].ready


# --- after a restart of the control actor ----------------------------------------------------


def test_leases_outlive_the_leader_that_gave_them() -> None:
    driver = started(3)
    head, other = driver.queue()
    driver.lead(9, interrupts=False)

    driver.feed(make.joined(make.RUNNER, make.held(head, started=True), make.held(other)))

    assert driver.states() == [S.RUNNING, S.LEASED, S.READY]
    driver.feed(make.finished(head))
    assert driver.task(0).state is S.COMMITTED


def test_no_attempt_has_a_number_that_was_used() -> None:
    """Files are named by attempt and epoch: two attempts of one name would mix.

    1. epoch 1 leases attempt 0 to A; epoch 9 knows nothing of it and leases attempt 0 to B
    2. B is lost; A comes back with (0, 1): to adopt that would make the next one (1, 9)
    3. which may be somebody's already
    """
    driver = started(1)
    old = driver.head()
    driver.lead(9, interrupts=False)
    names = set()
    for i in range(2):
        driver.feed(make.joined(f"b-{i}"))
        driver.tick()
        names.add((driver.head(f"b-{i}").attempt, driver.head(f"b-{i}").epoch))
        driver.feed(make.gone(f"b-{i}", "preempted"))

    driver.feed(make.joined(make.RUNNER, make.held(old, started=True)))
    driver.feed(make.gone(), make.joined("c"))
    driver.tick()

    assert (driver.head("c").attempt, driver.head("c").epoch) not in names


def test_nothing_new_begins_for_a_run_that_is_stopped() -> None:
    """What has started may end and commit; what has not is taken back."""
    driver = started(3)
    head, other = driver.queue()
    driver.feed(STOP)
    driver.lead(9, interrupts=False)
    assert driver.state is R.STOPPED

    commands = driver.feed(
        make.joined(make.RUNNER, make.held(head, started=True), make.held(other))
    )

    assert revoked(commands) == {make.RUNNER: [other.task]}
    driver.feed(make.resumed())
    assert driver.states() == [S.RUNNING, S.READY, S.READY]
    driver.assert_replays()


def overtaken() -> tuple[Driver, Lease]:
    """A runner that begins a lease which reached it after it had been given away."""
    driver = started(2)
    lease = driver.head()
    driver.feed(RunnerLost(RunnerId(make.RUNNER), "lost", "it is silent", silent=True))
    driver.feed(make.joined())
    driver.tick()
    assert driver.queue()
    return driver, lease


def test_a_runner_that_begins_what_was_given_away_is_told_to_let_go_of_it() -> None:
    driver, stale = overtaken()

    asked = only(driver.feed(make.started(stale)), RevokeLeases)

    assert asked.halt
    assert [(each.task, each.attempt) for each in asked.leases] == [(stale.task, stale.attempt)]


def test_a_runner_that_hangs_in_what_was_given_away_is_ended() -> None:
    """What is queued behind it would wait for ever: nothing times out what never began."""
    driver, stale = overtaken()
    driver.feed(make.started(stale))

    assert some(driver.tick(STRANGE_S - 1.0), KillRunner) == []
    assert only(driver.tick(2.0), KillRunner).runner == make.RUNNER


def test_a_runner_that_lets_go_of_it_and_begins_what_is_queued_is_left_alone() -> None:
    driver, stale = overtaken()
    driver.feed(make.started(stale))
    driver.feed(make.started(driver.head()))

    assert some(driver.tick(2.0 * STRANGE_S), KillRunner) == []


def test_old_news_of_a_start_does_not_count_against_leases_that_come_later() -> None:
    driver, stale = overtaken()
    driver.feed(make.started(stale))
    driver.feed(*(make.returned(lease) for lease in driver.queue()))
    driver.at_s += STRANGE_S + 1.0
    driver.tick()
    assert driver.queue()

    assert some(driver.tick(1.0), KillRunner) == []
