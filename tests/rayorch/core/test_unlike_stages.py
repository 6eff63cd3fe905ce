"""Stages of one run that need unlike runners: each has its own."""

from rayorch.core.commands import EnsureRunners, KillRunner
from rayorch.core.facts import RunnerLost
from rayorch.core.node_facts import NodeJoined
from rayorch.core.placed import NodesWanted, RunnersWanted
from rayorch.core.room import LOOK_S
from rayorch.core.run import RunState
from rayorch.core.values import StageShape
from rayorch.ids import NodeId, RunnerId
from tests.rayorch import make
from tests.rayorch.driver import Driver, sent, some

GIB = make.GIB
PLAIN = StageShape(name="plain", cores=1.0, memory_bytes=GIB, sinks=(0,))
LARGE = StageShape(name="large", cores=2.0, memory_bytes=4 * GIB, sinks=(0,))
DEVICE = StageShape(name="device", cores=1.0, memory_bytes=GIB, sinks=(0,), gpus=0.5)


def running(*stages: StageShape, counts: tuple[int, ...]) -> Driver:
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(stages=stages), make.planned(*counts))
    return driver


def asked(driver: Driver) -> list[tuple[float, int, float, int, str]]:
    return [
        (each.cores, each.memory_bytes // GIB, each.gpus, each.count_max, each.pool)
        for each in driver.commands
        if isinstance(each, EnsureRunners)
    ]


def joined(driver: Driver, name: str, stage: StageShape, pool: str = "local") -> None:
    gib = stage.memory_bytes / GIB
    driver.feed(make.joined(name, cores=stage.cores, gib=gib, gpus=stage.gpus, pool=pool))


def stages_of(driver: Driver, name: str) -> set[int]:
    return {lease.stage for lease in driver.queue(name)}


def test_runners_are_asked_for_in_the_size_of_each_stage_the_most_demanding_first() -> None:
    driver = running(PLAIN, DEVICE, LARGE, counts=(3, 2, 1))

    assert asked(driver) == [
        (2.0, 4, 0.0, 1, ""),
        (1.0, 1, 0.5, 2, ""),
        (1.0, 1, 0.0, 3, ""),
    ]


def test_nothing_is_asked_for_a_stage_that_has_no_tasks() -> None:
    """Its runner would take a place that others have work for."""
    driver = running(PLAIN, DEVICE, counts=(3, 0))

    assert [each[2] for each in asked(driver)] == [0.0]


def test_a_task_goes_to_a_runner_that_is_large_enough_and_to_no_other() -> None:
    driver = running(PLAIN, DEVICE, LARGE, counts=(4, 4, 4))
    joined(driver, "plain", PLAIN)
    joined(driver, "large", LARGE)
    joined(driver, "device", DEVICE)

    driver.tick()

    assert stages_of(driver, "plain") == {0}
    assert stages_of(driver, "device") == {1}
    # It could take the smaller tasks, too: those that need it come first.
    assert stages_of(driver, "large") == {2}


def test_a_runner_with_a_gpu_stays_idle_rather_than_do_what_needs_none() -> None:
    driver = running(PLAIN, counts=(4,))
    joined(driver, "device", DEVICE)

    assert sent(driver.tick()) == {}


def test_a_large_runner_without_work_of_its_own_helps_with_smaller_tasks() -> None:
    driver = running(PLAIN, LARGE, counts=(4, 1))
    joined(driver, "large", LARGE)

    while driver.state is RunState.RUNNING:
        driver.tick(0.1)
        driver.feed(make.finished(driver.head("large"), "large"))

    assert driver.run.committed == 5


def test_an_idle_runner_of_another_size_makes_way_for_the_stage_that_is_next() -> None:
    driver = running(PLAIN, DEVICE, counts=(1, 1))
    joined(driver, "plain", PLAIN)
    driver.tick()
    lease = driver.head("plain")
    assert not some(driver.tick(LOOK_S), KillRunner)  # It is at work for the same run.

    driver.feed(make.started(lease, "plain"), make.finished(lease, "plain"))
    ended = some(driver.tick(LOOK_S), KillRunner)

    assert [each.runner for each in ended] == ["plain"]
    driver.feed(RunnerLost(RunnerId("plain"), "preempted", "ended"))
    assert asked(driver)[-1] == (1.0, 1, 0.5, 1, "")


def test_a_runner_on_a_machine_without_a_gpu_does_not_make_way_for_what_needs_one() -> None:
    driver = running(DEVICE, counts=(1,))
    other = NodeId("other")
    driver.feed(NodeJoined(make.NODE, "local", 8.0, 16 * GIB))
    driver.feed(NodeJoined(other, "local", 8.0, 16 * GIB, 1.0))
    joined(driver, "plain", PLAIN)

    assert not some(driver.tick(LOOK_S), KillRunner)


def test_a_placement_says_the_size_of_what_it_wants() -> None:
    wanted = (
        RunnersWanted("cpus", 0.0, 4, cores=1.0, memory_bytes=GIB),
        RunnersWanted("gpus", 0.0, 2, cores=1.0, memory_bytes=GIB, gpus=0.5),
    )
    driver = running(PLAIN, DEVICE, counts=(3, 9))
    before = len(asked(driver))

    driver.feed(make.placed(("cpus",), ("gpus",), runners=wanted))

    assert asked(driver)[before:] == [(1.0, 1, 0.0, 3, "cpus"), (1.0, 1, 0.5, 2, "gpus")]


def test_a_placement_of_before_wants_runners_of_every_size() -> None:
    driver = running(PLAIN, LARGE, counts=(3, 9))
    before = len(asked(driver))

    driver.feed(make.placed(("cpus",), runners=(RunnersWanted("cpus", 0.0, 4),)))

    assert asked(driver)[before:] == [(1.0, 1, 0.0, 3, "cpus"), (2.0, 4, 0.0, 4, "cpus")]


def test_what_no_placement_has_thought_of_is_asked_for_anywhere() -> None:
    wanted = (RunnersWanted("cpus", 0.0, 4, cores=1.0, memory_bytes=GIB),)
    driver = running(PLAIN, DEVICE, counts=(3, 2))
    before = len(asked(driver))

    driver.feed(make.placed(("cpus",), runners=wanted))

    assert asked(driver)[before:] == [(1.0, 1, 0.0, 3, "cpus"), (1.0, 1, 0.5, 2, "")]


def test_machines_with_gpus_are_asked_for_by_what_is_left_for_them() -> None:
    wanted = (
        RunnersWanted("gpus", 0.0, 4, 2, cores=1.0, memory_bytes=GIB, gpus=0.5),
        RunnersWanted("cpus", 0.0, 8, 4, cores=1.0, memory_bytes=GIB),
    )
    driver = running(PLAIN, DEVICE, counts=(9, 2))
    driver.feed(make.placed(("cpus",), ("gpus",), runners=wanted))

    driver.tick()

    assert driver.machine.flows[make.RUN].asked == (
        NodesWanted("cpus", 4, 2.0),
        NodesWanted("gpus", 1, 2.0, 1.0),
    )
