"""A task far behind gets one second try, the first to commit wins, and the other lets go."""

from msgspec.structs import replace

from rayorch.core.commands import Command, CutTask, Lease, PlanStage, RevokeLeases, SendLeases
from rayorch.core.facts import AttemptFinished, RunnerLost, SecondTry, StagePlanned
from rayorch.core.limit_facts import PolicyApplied
from rayorch.core.policy import Policy, TenantPolicy
from rayorch.core.run import RunState
from rayorch.core.straggling import BEHIND_S_MIN, CUT_S
from rayorch.core.values import ExchangeResult, StageShape
from rayorch.ids import RunnerId, TenantId
from tests.rayorch import make
from tests.rayorch.driver import Driver, only, some


def slow(tasks: int = 3) -> Driver:
    """The usual task takes 1 s; `slow-1` has run one for 1 s, and `quick-1` has nothing to do."""
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), make.planned(tasks))
    driver.feed(make.joined("slow-1"))
    driver.tick()
    first, second = driver.queue("slow-1")
    driver.feed(make.started(first, "slow-1"), make.finished(first, "slow-1", seconds=1.0))
    driver.feed(make.started(second, "slow-1"))
    driver.tick(1.0)
    driver.feed(*(make.finished(each, "slow-1", seconds=1.0) for each in rest(driver)))
    driver.feed(make.joined("quick-1"))
    return driver


def rest(driver: Driver) -> list[make.Lease]:
    return driver.queue("slow-1")[1:]  # type: ignore[return-value]


def tried(commands: list[Command]) -> list[tuple[str, list[int]]]:
    sends = some(commands, SendLeases)
    return [(each.runner, [int(lease.task) for lease in each.leases]) for each in sends]


def test_a_straggler_is_first_asked_to_be_cut() -> None:
    driver = slow()
    asked = only(driver.tick(BEHIND_S_MIN), CutTask)
    assert (asked.runner, asked.lease) == ("slow-1", driver.head("slow-1"))
    assert some(driver.tick(CUT_S / 2), CutTask) == []


def test_what_a_slow_runner_has_begun_is_cut_at_once_when_another_is_idle() -> None:
    """Its tasks took five times as long as those of others: so will this one."""
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), make.planned(8))
    driver.feed(make.joined("slow-1"), make.joined("quick-1"))
    driver.tick()
    first, second = driver.queue("slow-1")
    driver.feed(make.started(first, "slow-1"))
    for lease in driver.queue("quick-1"):
        driver.feed(make.finished(lease, "quick-1", seconds=1.0))
    driver.feed(make.finished(first, "slow-1", seconds=5.0), make.started(second, "slow-1"))
    sent = driver.tick()
    while left := driver.queue("quick-1"):
        driver.feed(*(make.finished(lease, "quick-1", seconds=1.0) for lease in left))
        sent = driver.tick()

    asked = only(sent, CutTask)

    assert (asked.runner, asked.lease) == ("slow-1", driver.head("slow-1"))
    assert some(driver.tick(0.1), CutTask) == [], "it is asked once"


def test_what_is_about_to_end_is_not_cut() -> None:
    driver = slow()
    assert some(driver.tick(0.5), CutTask) == []


def exchanging(*, parted: bool) -> tuple[Driver, Lease]:
    """`slow-1` reads an exchange far behind the usual, and `quick-1` has nothing to do."""
    stages = (StageShape(name="lines"), StageShape(name="sums", sinks=(0,), after=(0,)))
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(stages=stages), make.planned(1, 0), make.joined("slow-1"))
    driver.tick()
    (only_map,) = driver.queue("slow-1")
    part = ExchangeResult(exchange=0, side=0, rows=1, payload=b"file")
    fact = make.finished(only_map, "slow-1")
    driver.feed(replace(fact, output=replace(fact.output, results=(), parts=(part,))))
    driver.feed(StagePlanned(make.RUN, 1, 1, 2, parted=parted))
    driver.tick()
    first, second = driver.queue("slow-1")
    driver.feed(make.finished(first, "slow-1", seconds=1.0), make.started(second, "slow-1"))
    driver.feed(make.joined("quick-1"))
    return driver, second


def test_what_reads_an_exchange_and_has_pieces_is_first_asked_to_be_cut() -> None:
    driver, second = exchanging(parted=True)

    asked = driver.tick(BEHIND_S_MIN + 0.1)

    assert only(asked, CutTask).lease == second
    assert tried(asked) == []
    assert tried(driver.tick(CUT_S + 0.1)) == [("quick-1", [int(second.task)])]


def test_what_reads_an_exchange_in_one_piece_is_tried_again_at_once() -> None:
    driver, second = exchanging(parted=False)

    commands = driver.tick(BEHIND_S_MIN + 0.1)

    assert some(commands, CutTask) == []
    assert tried(commands) == [("quick-1", [int(second.task)])]


def test_the_rest_of_a_task_that_was_cut_becomes_tasks_of_its_stage() -> None:
    driver = slow()
    driver.tick(BEHIND_S_MIN)
    fact = make.finished(driver.head("slow-1"), "slow-1")
    cut = replace(fact, output=replace(fact.output, cut=(b"done", b"more", b"last")))
    driver.feed(cut)
    assert driver.run.task_counts == (5,)
    assert driver.run.splits == {1: b"done", 3: b"more", 4: b"last"}
    assert driver.run.totals.cuts == 1
    sends = tried(driver.tick())
    assert sorted(task for _, tasks in sends for task in tasks) == [3, 4]
    assert driver.state is RunState.RUNNING
    driver.feed(cut)
    assert len(driver.run.tasks) == 5
    driver.assert_replays()
    for runner in ("slow-1", "quick-1"):
        driver.feed(*(make.finished(lease, runner) for lease in driver.queue(runner)))
    assert driver.run.generation


def test_a_straggler_is_tried_again_where_nothing_is_to_do_and_counted() -> None:
    driver = slow()
    assert tried(driver.tick(0.5)) == []
    assert tried(driver.tick(BEHIND_S_MIN)) == []
    commands = driver.tick(CUT_S)
    assert tried(commands) == [("quick-1", [1])]
    (lease,) = driver.queue("quick-1")
    assert lease.attempt == driver.queue("slow-1")[0].attempt + 1
    second = next(e.fact for e in driver.events if isinstance(e.fact, SecondTry))
    assert (second.task, second.runner) == (1, "quick-1")
    assert driver.run.totals.second_tries == 1
    driver.assert_replays()


def test_a_tenant_at_its_quota_gets_no_second_try() -> None:
    """A second runner is one more runner."""
    driver = slow()
    driver.feed(PolicyApplied(Policy(others=TenantPolicy(TenantId(""), slots=1))))

    commands = [*driver.tick(BEHIND_S_MIN + 1.0), *driver.tick(CUT_S), *driver.tick(CUT_S)]

    assert tried(commands) == []
    assert some(commands, CutTask) == []


def test_it_is_tried_twice_and_not_three_times() -> None:
    driver = slow()
    driver.tick(BEHIND_S_MIN + 1.0)
    driver.tick(CUT_S)
    driver.feed(make.joined("quick-2"))
    assert tried(driver.tick(BEHIND_S_MIN + 1.0)) == []


def test_a_straggler_that_two_are_at_is_tried_once_more_and_all_others_let_go() -> None:
    """Who was silent comes back, at work on what another has begun meanwhile."""
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), make.planned(2), make.joined("slow-1"))
    driver.tick()
    first, second = driver.queue("slow-1")
    driver.feed(make.started(first, "slow-1"))
    driver.feed(RunnerLost(RunnerId("slow-1"), "lost", "it is silent", silent=True))
    driver.feed(make.joined("b-1"), make.joined("b-2"))
    driver.tick()
    other = next(each for each in ("b-1", "b-2") if driver.head(each).task == second.task)
    driver.feed(make.started(driver.head(other), other))
    driver.feed(make.finished(first, "slow-1", seconds=1.0))
    driver.feed(make.joined("slow-1", make.held(second, started=True)))
    driver.feed(make.joined("quick-1"), make.joined("quick-2"))
    assert driver.held() == 3

    assert only(driver.tick(BEHIND_S_MIN + 1.0), CutTask).runner == other
    ((third, tasks),) = tried(driver.tick(CUT_S))
    assert tasks == [second.task]

    revoked = some(driver.feed(make.finished(driver.head(third), third)), RevokeLeases)
    assert {each.runner for each in revoked} == {"slow-1", other}
    assert all(each.halt for each in revoked)
    driver.assert_replays()


def test_what_is_given_anew_may_be_tried_a_second_time_anew() -> None:
    """Both tries were lost, and the third hangs as the first did."""
    driver = slow()
    driver.tick(BEHIND_S_MIN + 1.0)
    driver.tick(CUT_S)
    driver.feed(make.gone("slow-1", "preempted"), make.gone("quick-1", "preempted"))
    driver.feed(make.joined("third"))
    driver.tick()
    driver.feed(make.started(driver.head("third"), "third"), make.joined("quick-2"))
    only(driver.tick(BEHIND_S_MIN + 1.0), CutTask)
    assert tried(driver.tick(CUT_S)) == [("quick-2", [1])]


def test_a_second_try_lets_go_when_the_first_has_failed_and_a_third_commits() -> None:
    driver = slow()
    driver.tick(BEHIND_S_MIN + 1.0)
    driver.tick(CUT_S)
    driver.feed(make.failed(driver.head("slow-1"), "slow-1", "preempted"))
    driver.tick()
    assert driver.task(1).runner == "slow-1"
    assert len(driver.queue("quick-1")) == 1

    revoked = only(driver.feed(make.finished(driver.head("slow-1"), "slow-1")), RevokeLeases)

    assert (revoked.runner, revoked.halt) == ("quick-1", True)


def test_the_loser_of_two_that_came_back_to_a_new_leader_lets_go() -> None:
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), make.planned(1))
    driver.lead(9, interrupts=False)
    first, second = make.Lease(0, 0, 1), make.Lease(0, 1, 1)
    driver.feed(make.joined("second", make.held(second, started=True)))
    driver.feed(make.joined("first", make.held(first, started=True)))

    revoked = only(driver.feed(make.finished(second, "second")), RevokeLeases)

    assert (revoked.runner, revoked.halt) == ("first", True)


def test_what_is_queued_behind_a_try_that_was_to_let_go_is_taken_back() -> None:
    """It may be in a batch that takes an hour."""
    stages = (StageShape(name="lines"), StageShape(name="sums", sinks=(0,), after=(0,)))
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(stages=stages), make.planned(2, 0), make.joined("slow-1"))
    driver.tick()
    first, second = driver.queue("slow-1")
    driver.feed(make.started(first, "slow-1"), made(first, "slow-1"))
    driver.feed(make.started(second, "slow-1"), make.joined("quick-1"))
    driver.tick(BEHIND_S_MIN + 1.0)
    driver.tick(CUT_S)
    asked = only(driver.feed(made(driver.head("quick-1"), "quick-1")), PlanStage)
    driver.feed(StagePlanned(make.RUN, 1, asked.revision, 2))
    driver.tick()
    ((behind, waiting),) = [
        (runner, lease)
        for runner in ("slow-1", "quick-1")
        for lease in driver.queue(runner)
        if runner == "slow-1" and lease.stage == 1
    ]
    for lease in driver.queue("quick-1"):
        driver.feed(make.finished(lease, "quick-1"))

    revoked = only(driver.tick(1.0), RevokeLeases)

    assert (revoked.runner, revoked.leases, revoked.halt) == (behind, (waiting,), False)


def made(lease: Lease, runner: str) -> AttemptFinished:
    """A task of a stage that others read is done."""
    fact = make.finished(lease, runner, seconds=1.0)
    part = ExchangeResult(exchange=0, side=0, rows=1, payload=b"file")
    return replace(fact, output=replace(fact.output, results=(), parts=(part,)))


def test_the_second_to_begin_may_win_and_the_first_lets_go() -> None:
    driver = slow()
    driver.tick(BEHIND_S_MIN + 1.0)
    driver.tick(CUT_S)
    (lease,) = driver.queue("quick-1")
    commands = driver.feed(make.started(lease, "quick-1"), make.finished(lease, "quick-1"))
    revoked = only(commands, RevokeLeases)
    assert (revoked.runner, revoked.halt) == ("slow-1", True)
    assert driver.state is RunState.PUBLISHING
    driver.feed(make.returned(revoked.leases[0], "slow-1"))
    assert driver.held() == 0
    driver.assert_replays()


def test_the_first_may_win_after_all() -> None:
    driver = slow()
    driver.tick(BEHIND_S_MIN + 1.0)
    driver.tick(CUT_S)
    commands = driver.feed(make.finished(driver.head("slow-1"), "slow-1"))
    revoked = only(commands, RevokeLeases)
    assert (revoked.runner, revoked.halt) == ("quick-1", True)
    driver.assert_replays()


def test_nothing_is_tried_again_while_there_is_other_work() -> None:
    driver = slow(tasks=30)
    commands = driver.tick(BEHIND_S_MIN + 5.0)
    assert not [e for e in driver.events if isinstance(e.fact, SecondTry)]
    assert all(task != 1 for _, tasks in tried(commands) for task in tasks)


def test_the_death_of_the_first_blames_nobody_who_is_tried_elsewhere() -> None:
    driver = slow()
    driver.tick(BEHIND_S_MIN + 1.0)
    driver.tick(CUT_S)
    driver.feed(make.gone("slow-1"))
    assert driver.task(1).strikes == 0
    (lease,) = driver.queue("quick-1")
    driver.feed(make.finished(lease, "quick-1"))
    assert driver.state is RunState.PUBLISHING
    driver.assert_replays()
