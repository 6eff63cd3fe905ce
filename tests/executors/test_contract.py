"""What every executor promises its host. The same tests on threads, in simulation and on Ray."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rayorch.core.commands import KillRunner, RevokeLeases, SendLeases
from rayorch.core.facts import AttemptFinished, RunnerJoined, RunnerLost
from rayorch.ids import RunnerId
from tests.executors.rigs import CAUSE, GIB, InProcessRig, Rig, SimRig

KINDS = ("in-process", "simulated", pytest.param("ray", marks=pytest.mark.cluster))


@pytest.fixture(params=KINDS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made: Rig
    match request.param:
        case "in-process":
            made = InProcessRig()
        case "simulated":
            made = SimRig()
        case _:
            warm = request.getfixturevalue("warm_ray")
            # Only those who use Ray import it.
            from tests.executors.ray_rig import RayRig  # noqa: PLC0415

            made = RayRig(tmp_path, warm.address)
    try:
        yield made
    finally:
        made.close()


def send(rig: Rig, runner: RunnerId, *tasks: int, attempt: int = 0) -> None:
    leases = tuple(rig.lease(task, attempt) for task in tasks)
    rig.executor.start(SendLeases(CAUSE, runner, leases))


def work(rig: Rig, runner: RunnerId, task: int) -> None:
    """Have a runner do something, so that whatever was asked before has been carried out."""
    rig.open_gate()
    send(rig, runner, task)
    rig.wait_for(lambda: task in rig.finished())


def test_as_many_runners_as_fit_join(rig: Rig) -> None:
    rig.attach()

    rig.ensure(count_max=10)
    runners = rig.joined(rig.slots)

    assert rig.executor.slots == rig.slots
    work(rig, runners[0], 0)
    assert len(set(rig.joined(rig.slots))) == rig.slots
    for fact in rig.host.of(RunnerJoined):
        assert fact.cores >= 1.0
        assert fact.memory_bytes >= GIB
        assert fact.held == ()


def test_runners_of_a_pool_are_of_that_pool_alone(rig: Rig) -> None:
    """A plan pays for a pool: work that it sends there must run there, and nowhere else."""
    rig.attach()
    *_, pool = rig.pools

    rig.ensure(count_max=10, pool=pool)
    runners = rig.joined(rig.pools[pool])
    rig.ensure(count_max=10, pool="nowhere")
    work(rig, runners[0], 0)

    assert dict(rig.executor.pools) == rig.pools
    assert len(rig.host.of(RunnerJoined)) == rig.pools[pool]
    assert {fact.pool for fact in rig.host.of(RunnerJoined)} == {pool}


def test_no_more_runners_join_than_there_is_work_for(rig: Rig) -> None:
    runner = rig.runner()

    work(rig, runner, 0)

    assert rig.joined(1) == [runner]


def test_asked_again_for_runners_that_are_there_nothing_is_made(rig: Rig) -> None:
    """The next leader asks for them again, and so does every run of the same size."""
    rig.attach()
    rig.ensure(rig.slots)
    rig.ensure(rig.slots)
    runners = rig.joined(rig.slots)
    rig.ensure(rig.slots)

    for index, runner in enumerate(runners):
        work(rig, runner, index)

    assert len(rig.host.of(RunnerJoined)) == rig.slots
    assert rig.lost() == []


def test_larger_runners_get_the_place_of_smaller_ones_that_are_ended(rig: Rig) -> None:
    """The machine grants only to who fits: without room for the larger, their run would wait."""
    rig.attach()
    rig.ensure(rig.slots, gib=1)

    small = rig.joined(rig.slots)
    for runner in small:
        rig.executor.start(KillRunner(CAUSE, runner, "a larger runner needs its place"))
    rig.wait_for(lambda: set(small) <= set(rig.lost()))
    rig.ensure(rig.slots, gib=3)

    def large() -> set[RunnerId]:
        found = {f.runner for f in rig.host.of(RunnerJoined) if f.memory_bytes >= 3 * GIB}
        return found - set(rig.lost())

    rig.wait_for(lambda: len(large()) == rig.slots)
    work(rig, min(large()), 0)
    joined = {fact.runner for fact in rig.host.of(RunnerJoined)}
    assert len(joined - set(rig.lost())) == rig.slots


def test_a_runner_at_work_is_not_ended_for_a_larger_one(rig: Rig) -> None:
    """Who has to go is for the core to say: it knows who is at work, and for whom."""
    runner = rig.runner()
    send(rig, runner, 0)
    rig.wait_for(lambda: 0 in rig.started())

    rig.ensure(rig.slots, gib=3)
    rig.open_gate()
    rig.wait_for(lambda: 0 in rig.finished())

    assert rig.lost() == []


def test_each_lease_ends_in_the_order_in_which_it_was_sent(rig: Rig) -> None:
    runner = rig.runner()
    rig.open_gate()

    send(rig, runner, 3, 1, 4)
    send(rig, runner, 0, 5)
    rig.wait_for(lambda: len(rig.finished()) == 5)

    assert rig.finished() == [3, 1, 4, 0, 5]
    for fact in rig.host.of(AttemptFinished):
        lease = rig.lease(fact.task)
        assert fact.runner == runner
        assert (fact.run, fact.attempt, fact.epoch) == (lease.run, lease.attempt, lease.epoch)
        assert [result.sink for result in fact.output.results] == [0]


def test_only_leases_that_have_not_started_come_back(rig: Rig) -> None:
    """The one that runs ends as if nobody had asked; it must not run elsewhere as well."""
    runner = rig.runner()
    send(rig, runner, 0, 1, 2)
    rig.wait_for(lambda: 0 in rig.started())

    leases = tuple(rig.lease(task) for task in (0, 1, 2))
    rig.executor.start(RevokeLeases(CAUSE, runner, leases))
    rig.wait_for(lambda: len(rig.returned()) == 2)
    rig.open_gate()
    rig.wait_for(lambda: rig.finished() == [0])

    work(rig, runner, 5)
    assert sorted(rig.returned()) == [1, 2]
    assert rig.finished() == [0, 5]


def test_a_lease_that_came_back_can_be_sent_again(rig: Rig) -> None:
    runner = rig.runner()
    send(rig, runner, 0, 1)
    rig.wait_for(lambda: 0 in rig.started())
    rig.executor.start(RevokeLeases(CAUSE, runner, (rig.lease(1),)))
    rig.wait_for(lambda: rig.returned() == [1])

    rig.open_gate()
    send(rig, runner, 1, attempt=1)
    rig.wait_for(lambda: len(rig.finished()) == 2)

    assert [(f.task, f.attempt) for f in rig.host.of(AttemptFinished)] == [(0, 0), (1, 1)]


def test_a_runner_that_is_killed_is_reported_and_its_leases_never_end(rig: Rig) -> None:
    """The same tasks run elsewhere by then: a second end of one would be a second output."""
    rig.attach()
    rig.ensure(rig.slots)
    victim, other = rig.joined(rig.slots)[:2]
    send(rig, victim, 0, 1, 2)
    rig.wait_for(lambda: 0 in rig.started())

    rig.executor.start(KillRunner(CAUSE, victim, "a test"))
    rig.wait_for(lambda: victim in rig.lost())
    rig.open_gate()
    send(rig, other, 0, 1, 2, attempt=1)
    rig.wait_for(lambda: len(rig.finished()) == 3)
    rig.wait_for(lambda: not rig.is_running(victim))
    # What a dead one could still say would be heard before this.
    send(rig, other, 3)
    rig.wait_for(lambda: 3 in rig.finished())

    assert [f.runner for f in rig.host.of(AttemptFinished)] == [other] * 4
    assert rig.finished() == [0, 1, 2, 3]
    assert rig.returned() == []


def test_a_fresh_runner_takes_the_place_of_a_killed_one(rig: Rig) -> None:
    victim = rig.runner()
    rig.executor.start(KillRunner(CAUSE, victim, "a test"))
    rig.wait_for(lambda: victim in rig.lost())

    rig.ensure(1)
    runners = rig.joined(2)

    assert runners[0] == victim
    assert runners[1] != victim
    work(rig, runners[1], 0)


def test_released_runners_are_reported_and_end(rig: Rig) -> None:
    """Their cores are another home's by then."""
    rig.attach()
    rig.ensure(rig.slots)
    runners = rig.joined(rig.slots)

    rig.executor.release()
    rig.wait_for(lambda: set(rig.lost()) >= set(runners))
    rig.wait_for(lambda: not any(rig.is_running(runner) for runner in runners))

    rig.ensure(1)
    work(rig, rig.joined(rig.slots + 1)[-1], 0)


def test_commands_about_a_runner_that_nobody_knows_do_nothing(rig: Rig) -> None:
    """They may cross with the news of its end."""
    runner = rig.runner()
    nobody = RunnerId("nobody")

    send(rig, nobody, 0)
    rig.executor.start(RevokeLeases(CAUSE, nobody, (rig.lease(0),)))
    rig.executor.start(KillRunner(CAUSE, nobody, "a test"))

    work(rig, runner, 1)
    assert rig.finished() == [1]
    assert rig.returned() == []
    assert rig.lost() == []


def test_the_next_host_meets_the_runners_that_live_and_what_they_hold(rig: Rig) -> None:
    """Or what was in flight when a control actor died would be done again."""
    runner = rig.runner()
    send(rig, runner, 0, 1)
    rig.wait_for(lambda: 0 in rig.started())

    rig.succeed()

    if not rig.outlives:
        assert rig.host.of(RunnerJoined) == []
        return
    assert rig.joined(1) == [runner]
    held = rig.host.of(RunnerJoined)[0].held
    assert [(each.task, each.started) for each in held] == [(0, True), (1, False)]
    rig.ensure(1)
    rig.open_gate()
    rig.wait_for(lambda: len(rig.finished()) == 2)
    assert rig.finished() == [0, 1]
    assert rig.joined(1) == [runner]


def test_after_close_nothing_is_heard_and_nothing_of_this_process_goes_on(rig: Rig) -> None:
    runner = rig.runner()
    work(rig, runner, 0)
    host, before = rig.host, list(rig.host.facts)

    rig.executor.close()
    rig.executor.close()

    send(rig, runner, 1)
    assert rig.outlives or not rig.is_running(runner)
    assert host.of(RunnerLost) == []
    assert [f for f in host.facts if f not in before and isinstance(f, AttemptFinished)] == []
