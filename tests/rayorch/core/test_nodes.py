"""Machines that are taken away: emptied in time, nobody to blame, and the work goes elsewhere."""

from msgspec.structs import replace

from rayorch.core.commands import CutTask, EnsureRunners, KillRunner
from rayorch.core.facts import AttemptLost
from rayorch.core.node_facts import NodeJoined, NodeLost, NodeWithdrawn, RunnerRefused
from rayorch.core.placed import RunnersWanted
from rayorch.core.run import RunState
from rayorch.core.story import story
from rayorch.core.task import TaskState
from rayorch.ids import NodeId
from tests.rayorch import make
from tests.rayorch.driver import Driver, only, revoked, sent, some, started

ELSEWHERE = NodeId("node-2")


def at_work(tasks: int = 2) -> Driver:
    """A runner on NODE that has said what it began."""
    driver = started(tasks)
    driver.feed(make.started(driver.head()))
    return driver


def withdrawn(driver: Driver) -> list[NodeWithdrawn]:
    return [e.fact for e in driver.events if isinstance(e.fact, NodeWithdrawn)]


def test_on_notice_what_runs_is_cut_and_what_waits_comes_back() -> None:
    driver = at_work(3)

    commands = driver.feed(make.draining())

    assert only(commands, CutTask).lease == driver.head()
    assert revoked(commands) == {make.RUNNER: [1]}
    assert only(commands, EnsureRunners).count_max == 3
    assert driver.feed(make.draining()) == []


def test_a_machine_that_is_going_gets_nothing_more() -> None:
    driver = at_work(3)
    driver.feed(make.draining())
    driver.feed(make.returned(driver.queue()[1]))

    driver.feed(make.finished(driver.head()))
    assert sent(driver.tick()) == {}

    driver.feed(make.joined("runner-2", node=ELSEWHERE))
    assert sent(driver.tick()) == {"runner-2": [2, 1]}


def test_a_runner_with_nothing_left_is_ended_so_that_its_machine_may_go() -> None:
    driver = at_work(1)
    driver.feed(make.draining())
    assert some(driver.tick(), KillRunner) == []

    cut = make.finished(driver.head())
    driver.feed(replace(cut, output=replace(cut.output, cut=(b"done", b"rest"))))

    assert only(driver.tick(), KillRunner).runner == make.RUNNER
    assert some(driver.tick(), KillRunner) == []
    # What it had done is committed, and the rest is somebody else's.
    assert driver.states() == [TaskState.COMMITTED, TaskState.READY]


def test_one_that_said_only_then_that_it_began_is_cut_as_well() -> None:
    driver = started(1)
    assert revoked(driver.feed(make.draining())) == {make.RUNNER: [0]}

    assert only(driver.feed(make.started(driver.head())), CutTask).runner == make.RUNNER


def test_a_runner_that_joins_where_the_machine_is_going_is_not_used() -> None:
    driver = Driver()
    driver.start(2, runners=0)
    driver.feed(make.draining())

    driver.feed(make.joined())

    assert only(driver.tick(), KillRunner).runner == make.RUNNER


def test_what_is_lost_with_it_uses_no_budget_and_blames_nobody() -> None:
    """Whoever saw the process die did not know of the notice."""
    driver = at_work(2)
    driver.feed(make.draining())

    driver.at_s += 7.0
    driver.feed(make.gone(kind="lost"), NodeLost(make.NODE, "local"))

    assert [(task.state, task.strikes, task.failures) for task in driver.run.tasks] == [
        (TaskState.READY, 0, 0)
    ] * 2
    (lost,) = [e.fact for e in driver.events if isinstance(e.fact, AttemptLost)]
    assert (lost.kind, lost.duration_s) == ("preempted", 7.0)
    assert driver.run.ledger[0]["local"].wasted_core_s == 7.0
    driver.feed(make.joined("runner-2", node=ELSEWHERE))
    assert sent(driver.tick()) == {"runner-2": [1, 0]}


def test_the_story_of_the_run_says_which_machine_and_why() -> None:
    driver = at_work(2)

    driver.feed(make.draining())

    assert withdrawn(driver) == [
        NodeWithdrawn(make.RUN, make.NODE, "local", "spot notice", running=1)
    ]
    told = [line.what for line in story(driver.events, make.RUN)]
    assert any("spot notice" in what and "1 task ran there" in what for what in told)
    driver.assert_replays()


def test_a_machine_that_nobody_works_on_is_nobodys_story() -> None:
    driver = at_work(2)

    assert driver.feed(make.draining(ELSEWHERE)) == []

    assert withdrawn(driver) == []


def test_runners_are_asked_for_when_a_machine_comes() -> None:
    driver = started(5)

    commands = driver.feed(NodeJoined(ELSEWHERE, "local", 4.0))

    assert only(commands, EnsureRunners).count_max == 5


def test_the_plan_is_looked_at_at_once_when_its_pool_shrinks() -> None:
    driver = Driver()
    driver.start(2, runners=0)
    driver.feed(
        make.placed(
            ("spot",), ("spot",), runners=(RunnersWanted("spot", 0.0, 2),), is_reviewed=True
        )
    )
    driver.feed(make.joined("a", pool="spot"), make.joined("b", pool="spot", node=ELSEWHERE))
    flow = driver.machine.flows[make.RUN]
    assert flow.review_due_s > driver.at_s

    driver.feed(make.draining(pool="spot"))

    assert flow.review_due_s <= driver.at_s


def test_a_new_leader_has_forgotten_the_machines_of_the_last_one() -> None:
    driver = at_work(1)
    driver.feed(make.draining())

    driver.lead(2, interrupts=False)

    assert not driver.machine.book.draining
    assert not driver.machine.book.nodes


def test_a_runner_of_other_code_is_replaced_while_there_is_a_machine_left() -> None:
    driver = started(2)

    commands = driver.feed(
        RunnerRefused(make.RUNNER, make.NODE, "local", "it has ray 1 and not 2", 4)
    )

    assert only(commands, EnsureRunners).count_max == 2


def test_where_no_machine_can_be_used_the_run_fails_and_says_why() -> None:
    driver = Driver()
    driver.start(2, runners=0)

    driver.feed(RunnerRefused(make.RUNNER, make.NODE, "local", "it has ray 1 and not 2", 0))

    assert driver.state is RunState.FAILED
    assert driver.run.error is not None
    assert driver.run.error.message.endswith("the last runner: it has ray 1 and not 2")
    told = [line.what for line in story(driver.events, make.RUN)]
    assert any("was not used: it has ray 1 and not 2" in what for what in told)
    assert "one image" in driver.run.error.remedy
    driver.assert_replays()
