"""Stages that read other stages: planned when those are complete, and again when input is lost."""

from typing import Any

from msgspec.structs import replace

from rayorch.core.commands import CollectExchange, Command, PlanStage, PublishSink, Record
from rayorch.core.facts import AttemptFailed, RunFailed, RunnerLost, StagePlanned
from rayorch.core.run import RunState
from rayorch.core.staging import REVIVALS_MAX
from rayorch.core.task import TaskState
from rayorch.core.values import ExchangeResult, StageShape, WrittenBy
from rayorch.ids import RunnerId
from tests.rayorch import make
from tests.rayorch.driver import Driver, only, some

STAGES = (
    StageShape(name="lines", sinks=()),
    StageShape(name="summary", sinks=(0,), after=(0,)),
)
S = TaskState


def begun(tasks: int = 2) -> Driver:
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(stages=STAGES), make.planned(tasks, 0), make.joined())
    driver.tick()
    return driver


def mapped(lease: Any) -> Any:
    """What a map task reports: an exchange file, and nothing for a sink."""
    fact = make.finished(lease)
    part = ExchangeResult(exchange=0, side=0, rows=1, payload=b"file")
    return replace(fact, output=replace(fact.output, results=(), parts=(part,)))


def unreadable(lease: Any, *lost: WrittenBy) -> AttemptFailed:
    return replace(make.failed(lease, kind="upstream"), lost=lost)


def reading(tasks: int = 2) -> Driver:
    """A run whose second stage is planned and leased: its tasks follow those of the first."""
    driver = begun()
    commands = driver.feed(*(mapped(lease) for lease in driver.queue()))
    asked = only(commands, PlanStage)
    driver.feed(StagePlanned(make.RUN, 1, asked.revision, tasks, notes=("two of equal size",)))
    driver.tick()
    return driver


def writers(driver: Driver, *tasks: int) -> tuple[WrittenBy, ...]:
    found = [driver.task(task) for task in tasks]
    return tuple(WrittenBy(task.id, task.attempt, task.epoch) for task in found)


def test_a_stage_is_planned_once_all_that_it_reads_is_committed() -> None:
    driver = begun()
    first, second = driver.queue()
    assert some(driver.feed(mapped(first)), PlanStage) == []
    asked = only(driver.feed(mapped(second)), PlanStage)
    assert (asked.stage, asked.revision) == (1, 1)
    # All tasks that there are are committed, and the run is not done.
    assert driver.state is RunState.RUNNING
    assert some(driver.tick(), PlanStage) == []


def test_the_tasks_of_a_planned_stage_follow_and_end_the_run() -> None:
    driver = reading()
    assert [int(lease.task) for lease in driver.queue()] == [2, 3]
    assert {lease.stage for lease in driver.queue()} == {1}
    commands = driver.feed(*(make.finished(lease) for lease in driver.queue()))
    assert only(commands, CollectExchange).stage == 1
    assert only(commands, PublishSink).sink == 0
    assert driver.run.notes == {1: ("two of equal size",)}
    driver.assert_replays()


def test_a_plan_that_comes_twice_makes_its_tasks_once() -> None:
    driver = reading()
    driver.feed(StagePlanned(make.RUN, 1, 1, 2))
    assert len(driver.run.tasks) == 4
    driver.assert_replays()


def test_only_the_task_whose_file_is_lost_runs_again_and_its_readers_wait() -> None:
    driver = reading()
    first, second = driver.queue()
    driver.feed(unreadable(first, *writers(driver, 0)))
    assert driver.states() == [S.READY, S.COMMITTED, S.READY, S.LEASED]
    assert driver.task(2).failures == 0
    driver.tick()
    # The reader is not leased again before what it reads is there.
    assert [int(lease.task) for lease in driver.queue()] == [3, 0]
    commands = driver.feed(mapped(driver.queue()[-1]))
    asked = only(commands, PlanStage)
    assert asked.revision == 3
    driver.feed(StagePlanned(make.RUN, 1, asked.revision, 2))
    driver.tick()
    assert [int(lease.task) for lease in driver.queue()] == [3, 2]
    driver.assert_replays()
    driver.feed(*(make.finished(lease) for lease in driver.queue()))
    assert driver.state is RunState.PUBLISHING
    assert second.task == 3


def test_a_file_that_was_written_anew_is_not_lost_by_a_reader_of_the_old_one() -> None:
    driver = reading()
    first, second = driver.queue()
    old = writers(driver, 0)
    driver.feed(unreadable(first, *old))
    driver.tick()
    driver.feed(mapped(driver.queue()[-1]))
    driver.feed(unreadable(second, *old))
    assert driver.task(0).state is S.COMMITTED
    assert driver.task(0).revived == 1
    driver.assert_replays()


def test_a_plan_of_files_that_were_lost_meanwhile_is_no_news() -> None:
    driver = reading()
    first, second = driver.queue()
    driver.feed(unreadable(first, *writers(driver, 0)))
    driver.tick()
    asked = only(driver.feed(mapped(driver.queue()[-1])), PlanStage)
    driver.feed(unreadable(second, *writers(driver, 1)))
    driver.feed(StagePlanned(make.RUN, 1, asked.revision, 2))
    assert driver.run.unplanned == [1]
    driver.tick()
    again = only(driver.feed(mapped(driver.queue()[-1])), PlanStage)
    assert again.revision > asked.revision
    driver.assert_replays()


def test_the_lost_commit_said_again_commits_nothing() -> None:
    driver = begun()
    leases = driver.queue()
    reports = [mapped(lease) for lease in leases]
    driver.feed(*reports)
    driver.feed(StagePlanned(make.RUN, 1, 1, 1))
    driver.tick()
    driver.feed(unreadable(driver.queue()[0], *writers(driver, 0)))
    driver.feed(reports[0])
    assert driver.task(0).state is S.READY
    driver.assert_replays()


def test_rows_that_are_made_again_count_once() -> None:
    driver = reading()
    rows = driver.run.totals.rows_in
    driver.feed(unreadable(driver.queue()[0], *writers(driver, 0)))
    driver.tick()
    driver.feed(mapped(driver.queue()[-1]))
    assert driver.run.totals.rows_in == rows


def test_a_file_that_is_lost_again_and_again_fails_the_run() -> None:
    driver = reading()
    commands: list[Command] = []
    for _ in range(REVIVALS_MAX + 1):
        reader = next(lease for lease in driver.queue() if lease.task == 2)
        commands = driver.feed(unreadable(reader, *writers(driver, 0)))
        driver.tick()
        again = [lease for lease in driver.queue() if lease.task == 0]
        if again:
            asked = only(driver.feed(mapped(again[0])), PlanStage)
            driver.feed(StagePlanned(make.RUN, 1, asked.revision, 2))
            driver.tick()
    failed = only(commands, Record).fact
    assert isinstance(failed, RunFailed)
    assert "task 0 of stage 'lines' were lost or corrupt 6 times" in failed.error.message


def test_what_a_task_does_not_read_it_cannot_lose() -> None:
    driver = begun()
    first, second = driver.queue()
    driver.feed(mapped(first))
    driver.feed(unreadable(second, *writers(driver, 0)))
    assert driver.task(0).state is S.COMMITTED
    driver.assert_replays()


def test_the_next_leader_plans_what_was_being_planned() -> None:
    driver = begun()
    driver.feed(*(mapped(lease) for lease in driver.queue()))
    driver.lead(2, interrupts=False)
    outstanding = driver.machine.outstanding(driver.events[-1].id, 1.0)
    assert [each.revision for each in outstanding if isinstance(each, PlanStage)] == [1]


def test_a_stage_that_is_planned_again_when_all_of_it_is_committed_ends_the_run() -> None:
    """Its last reader had read the file before another attempt of it found it lost.

    That one was leased by an earlier leader, and is heard of late.
    """
    driver = reading(tasks=1)
    first = driver.head()
    driver.lead(make.EPOCH + 1, interrupts=False)
    driver.feed(make.joined("runner-2"))
    driver.tick()
    second = driver.head("runner-2")
    driver.feed(unreadable(first, *writers(driver, 0)))
    driver.feed(replace(make.finished(second), runner=RunnerId("runner-2")))
    assert driver.states() == [S.READY, S.COMMITTED, S.COMMITTED]
    driver.tick()
    asked = only(
        driver.feed(replace(mapped(driver.head("runner-2")), runner=RunnerId("runner-2"))),
        PlanStage,
    )

    commands = driver.feed(StagePlanned(make.RUN, 1, asked.revision, 1))

    assert driver.state is RunState.PUBLISHING
    assert only(commands, PublishSink).sink == 0
    driver.assert_replays()


def test_an_attempt_that_was_overtaken_keeps_its_number_for_itself() -> None:
    """Files are staged under it: two runners must never write to one name.

    1. attempt 0 falls silent  2. attempt 1 is leased to another runner  3. attempt 0 commits after
    all  4. its exchange file is lost: the task is made again while attempt 1 may still write
    """
    driver = begun(tasks=1)
    first = driver.head()
    driver.feed(RunnerLost(RunnerId(make.RUNNER), "lost", "it is silent", silent=True))
    driver.feed(make.joined("runner-2"))
    driver.tick()
    second = driver.head("runner-2")
    assert (first.attempt, second.attempt) == (0, 1)
    asked = only(driver.feed(mapped(first)), PlanStage)
    driver.feed(StagePlanned(make.RUN, 1, asked.revision, 1))
    driver.feed(make.joined("runner-3"))
    driver.tick()
    reader = next(q for r in ("runner-2", "runner-3") for q in driver.queue(r) if q.task == 1)
    driver.feed(replace(unreadable(reader, *writers(driver, 0)), runner=driver.task(1).runner))

    driver.tick(1.0)

    assert driver.task(0).state in {S.LEASED, S.RUNNING}
    assert driver.task(0).attempt == 2


def test_an_attempt_that_an_older_leader_s_overtook_keeps_its_number_for_itself() -> None:
    """As above, where what commits after all was leased by the leader before."""
    driver = begun(tasks=1)
    first = driver.head()
    driver.lead(9, interrupts=False)
    driver.feed(make.joined("runner-2"))
    driver.tick()
    second = driver.head("runner-2")
    asked = only(driver.feed(mapped(first)), PlanStage)
    driver.feed(StagePlanned(make.RUN, 1, asked.revision, 1))
    driver.feed(make.joined("runner-3"))
    driver.tick()
    reader = next(q for r in ("runner-2", "runner-3") for q in driver.queue(r) if q.task == 1)
    driver.feed(replace(unreadable(reader, *writers(driver, 0)), runner=driver.task(1).runner))

    driver.tick(1.0)

    again = driver.task(0)
    assert again.state in {S.LEASED, S.RUNNING}
    assert (again.epoch, again.attempt) > (second.epoch, second.attempt)


def covering(lease: Any, rows: int, cut: tuple[bytes, ...] = ()) -> Any:
    """A map task's report of so many rows, for a sink and for those that read them."""
    fact = make.finished(lease, rows=rows)
    part = ExchangeResult(exchange=0, side=0, rows=rows, payload=b"file")
    return replace(fact, output=replace(fact.output, parts=(part,), cut=cut))


def revived(driver: Driver, lease: Any) -> None:
    """Have the one reader of a stage say that the files of an attempt are lost."""
    driver.tick()
    reader = next(each for each in driver.queue("reader") if each.stage == 1)
    lost = WrittenBy(lease.task, lease.attempt, lease.epoch)
    driver.feed(replace(unreadable(reader, lost), runner=RunnerId("reader")))
    assert driver.task(lease.task).state is S.READY


BOTH = (
    StageShape(name="lines", sinks=(0,)),
    StageShape(name="summary", sinks=(1,), after=(0,)),
)


def test_what_read_all_of_a_task_does_not_commit_once_that_was_cut() -> None:
    """The rest of what was cut is in tasks of their own: those rows would be there twice.

    1. a task is leased, and again to another: the first was silent  2. the second is cut, and
    commits a part  3. its files are lost: the part is to be made again  4. the first hands in all
    """
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(stages=BOTH, sinks=("rows", "sums")), make.planned(1, 0))
    driver.feed(make.joined("old"))
    driver.tick()
    whole = driver.head("old")
    driver.feed(RunnerLost(RunnerId("old"), "preempted", "it is silent", silent=True))
    driver.feed(make.joined())
    driver.tick()
    part = driver.head()
    driver.feed(covering(part, 4, cut=(b"0-4", b"4-10")))
    driver.tick()
    asked = only(driver.feed(covering(driver.head(), 6)), PlanStage)
    driver.feed(StagePlanned(make.RUN, 1, asked.revision, 1), make.gone(kind="preempted"))
    driver.feed(make.joined("reader"))
    revived(driver, part)

    driver.feed(replace(covering(whole, 10), runner=RunnerId("old")))
    assert driver.task(0).state is S.READY

    driver.tick()
    again = next(each for each in driver.queue("reader") if each.task == 0)
    assert (driver.run.splits[again.task], again.revived) == (b"0-4", 1)
    driver.feed(replace(covering(again, 4), runner=RunnerId("reader")))
    rows = {task: sum(each.rows for each in parts) for task, parts in driver.run.parts.items()}
    assert rows == {0: 4, 1: 6}
    driver.assert_replays()


def test_what_was_cut_does_not_commit_once_all_of_its_task_was() -> None:
    """As above, the other way round: all is committed, and its rows are in the sink already."""
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(stages=BOTH, sinks=("rows", "sums")), make.planned(1, 0))
    driver.feed(make.joined("old"))
    driver.tick()
    cut = driver.head("old")
    driver.feed(RunnerLost(RunnerId("old"), "preempted", "it is silent", silent=True))
    driver.feed(make.joined("reader"))
    driver.tick()
    whole = driver.head("reader")
    asked = only(driver.feed(replace(covering(whole, 10), runner=RunnerId("reader"))), PlanStage)
    driver.feed(StagePlanned(make.RUN, 1, asked.revision, 1))
    revived(driver, whole)

    driver.feed(replace(covering(cut, 4, cut=(b"0-4", b"4-10")), runner=RunnerId("old")))

    assert driver.run.task_counts == (1, 1)
    assert driver.task(0).state is S.READY
    assert driver.run.totals.rows_out == 10
    driver.assert_replays()


def test_a_lease_of_before_the_loss_is_given_anew_when_it_comes_to_its_end() -> None:
    """A new leader lets a runner keep it: what it was leased for is not in what the runner says."""
    driver = begun(tasks=1)
    first = driver.head()
    driver.lead(9, interrupts=False)
    driver.feed(make.joined("reader"))
    driver.tick()
    asked = only(driver.feed(mapped(driver.head("reader"))), PlanStage)
    driver.feed(StagePlanned(make.RUN, 1, asked.revision, 1))
    second = driver.task(0)
    revived(driver, make.Lease(0, second.attempt, second.epoch))
    driver.lead(12, interrupts=False)
    driver.feed(make.joined("old", make.held(first, started=True)))
    assert driver.task(0).state is S.RUNNING

    driver.feed(replace(mapped(first), runner=RunnerId("old")))

    assert driver.task(0).state is S.READY
    assert driver.held() == 0
    driver.tick()
    assert driver.task(0).state is S.LEASED
    driver.assert_replays()


def test_a_journal_of_before_leases_said_so_is_replayed_as_it_was() -> None:
    driver = reading(tasks=1)
    first = writers(driver, 0)
    driver.feed(unreadable(driver.head(), *first))
    report = replace(mapped(make.Lease(0, 7)), revived=-1)

    driver.feed(report)

    assert driver.task(0).state is S.COMMITTED


WAITING = (
    StageShape(name="events", sinks=()),
    StageShape(name="names", sinks=()),
    StageShape(name="joined", sinks=(0,), after=(0, 1)),
)


def waiting() -> Driver:
    """A run whose first stage has no tasks before the second one is measured."""
    driver = Driver()
    driver.lead()
    plan = replace(make.planned(0, 1, 0), waits={0: (1,)})
    driver.feed(make.submitted(stages=WAITING), plan, make.joined())
    driver.tick()
    return driver


def test_a_stage_of_files_waits_until_the_other_side_is_measured() -> None:
    driver = waiting()
    (small,) = driver.queue()
    assert driver.task(small.task).stage == 1

    asked = some(driver.feed(mapped(small)), PlanStage)

    assert [(each.stage, each.revision) for each in asked] == [(0, 1)]


def test_a_stage_that_waited_may_have_no_tasks_and_its_reader_is_planned_at_once() -> None:
    driver = waiting()
    driver.feed(*(mapped(lease) for lease in driver.queue()))

    asked = only(driver.feed(StagePlanned(make.RUN, 0, 1, 0, notes=("read there",))), PlanStage)

    assert (asked.stage, asked.revision) == (2, 1)


def test_a_stage_that_waited_may_have_tasks_as_others_do() -> None:
    driver = waiting()
    driver.feed(*(mapped(lease) for lease in driver.queue()))

    commands = driver.feed(StagePlanned(make.RUN, 0, 1, 2))
    driver.tick()

    assert not some(commands, PlanStage)
    assert [driver.task(lease.task).stage for lease in driver.queue()] == [0, 0]
    asked = only(driver.feed(*(mapped(lease) for lease in driver.queue())), PlanStage)
    assert asked.stage == 2


def test_tasks_that_share_what_they_read_are_leased_to_one_runner() -> None:
    """Each runner reads the files of a group once, for all of its tasks."""
    driver = begun()
    asked = only(driver.feed(*(mapped(lease) for lease in driver.queue())), PlanStage)
    driver.feed(make.joined("second"))
    driver.feed(StagePlanned(make.RUN, 1, asked.revision, 40, together=8))

    driver.tick()

    first = driver.run.first_tasks[1]
    queues = [[lease.task - first for lease in driver.queue(r)] for r in (make.RUNNER, "second")]
    assert sorted(queues) == [list(range(8)), list(range(8, 16))]
    assert driver.replayed().runs[make.RUN].together == {1: 8}


def test_the_last_groups_are_spread_all_the_same() -> None:
    driver = begun()
    asked = only(driver.feed(*(mapped(lease) for lease in driver.queue())), PlanStage)
    driver.feed(make.joined("second"))
    driver.feed(StagePlanned(make.RUN, 1, asked.revision, 8, together=8))

    driver.tick()

    assert [len(driver.queue(runner)) for runner in (make.RUNNER, "second")] == [4, 2]
