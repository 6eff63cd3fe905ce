"""Runners that are too small make room: idle ones at once, busy ones at the end of their task."""

from rayorch.core.commands import CutTask, EnsureRunners, KillRunner
from rayorch.core.facts import RunnerLost
from rayorch.core.node_facts import NodeJoined
from rayorch.core.room import LOOK_S
from rayorch.core.run import RunState
from rayorch.core.values import StageShape
from rayorch.ids import RunId, RunnerId, TenantId
from tests.rayorch import make
from tests.rayorch.driver import Driver, revoked, sent, some

LARGE = (StageShape(name="large", cores=4.0, sinks=(0,)),)


def small(count: int) -> Driver:
    """A run of small tasks, at work on as many small runners of one machine."""
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), make.planned(40))
    driver.feed(*(make.joined(f"small-{i}", cores=1.0, gib=2) for i in range(count)))
    driver.tick()
    for i in range(count):
        driver.feed(make.started(driver.head(f"small-{i}"), f"small-{i}"))
    return driver


def submit_large(driver: Driver, tenant: str = "default", tasks: int = 2) -> None:
    run = RunId("large-1")
    driver.feed(
        make.submitted(run, stages=LARGE, tenant=TenantId(tenant)), make.planned(tasks, run=run)
    )


def ended(commands: object) -> list[str]:
    return [each.runner for each in some(commands, KillRunner)]  # type: ignore[arg-type]


def go(driver: Driver, *runners: str) -> None:
    """The processes of runners end."""
    driver.feed(*(RunnerLost(RunnerId(name), "preempted", "ended") for name in runners))


def test_idle_runners_that_are_too_small_are_ended_at_once() -> None:
    driver = Driver()
    driver.lead()
    driver.feed(*(make.joined(f"small-{i}", cores=1.0) for i in range(4)))
    submit_large(driver)

    assert sorted(ended(driver.tick())) == [f"small-{i}" for i in range(4)]
    go(driver, *(f"small-{i}" for i in range(4)))
    last = [each for each in driver.commands if isinstance(each, EnsureRunners)][-1]
    assert (last.cores, last.count_max) == (4.0, 2)


def test_runners_on_machines_that_could_never_hold_the_larger_one_stay() -> None:
    """A machine with a GPU is to come: to end what waits on one without helps nobody."""
    driver = Driver()
    driver.lead()
    driver.feed(NodeJoined(make.NODE, "local", 8.0))
    driver.feed(*(make.joined(f"small-{i}", cores=1.0) for i in range(4)))
    stages = (StageShape(name="scored", cores=1.0, gpus=1.0, sinks=(0,)),)
    driver.feed(make.submitted(stages=stages), make.planned(2))

    assert ended(driver.tick()) == []

    driver.feed(NodeJoined(make.NODE, "local", 8.0, gpus=1.0))
    assert sorted(ended(driver.tick(LOOK_S))) == [f"small-{i}" for i in range(4)]


def test_busy_runners_of_one_machine_are_emptied_and_what_runs_there_is_not_lost() -> None:
    driver = small(6)
    submit_large(driver)

    commands = driver.tick(LOOK_S)

    # Enough for one of the larger, and no more: the others work on.
    assert ended(commands) == []
    assert len(revoked(commands)) == 4
    leaving = sorted(revoked(commands))
    for name in leaving:
        lease = driver.head(name)
        for task in revoked(commands)[name]:
            (back,) = [each for each in driver.queue(name) if each.task == task]
            driver.feed(make.returned(back, name))
        driver.feed(make.finished(lease, name))
    assert sorted(ended(driver.tick())) == leaving
    assert driver.run.totals.failures == {}
    assert driver.run.committed == 4


def test_a_run_that_has_a_runner_takes_no_more_from_its_own_tenant() -> None:
    driver = small(6)
    submit_large(driver)
    driver.feed(make.joined("large", cores=4.0))
    driver.tick(LOOK_S)

    commands = driver.tick(LOOK_S)

    assert not some(commands, CutTask)
    assert ended(commands) == []
    assert not any(slot.leaving for slot in driver.machine.runners.values())


def test_a_tenant_that_holds_less_goes_on_until_it_holds_its_part() -> None:
    driver = small(12)
    submit_large(driver, tenant="lab", tasks=8)
    driver.feed(make.joined("large-0", cores=4.0))

    driver.tick(LOOK_S)
    leaving = [slot for slot in driver.machine.runners.values() if slot.leaving]
    assert len(leaving) == 4
    # One machine's worth at a time.
    driver.tick(LOOK_S)
    assert len([slot for slot in driver.machine.runners.values() if slot.leaving]) == 4

    go(driver, *(slot.id for slot in leaving))
    driver.feed(make.joined("large-1", cores=4.0))
    driver.tick(LOOK_S)

    # Now both hold eight cores.
    assert not any(slot.leaving for slot in driver.machine.runners.values())


def test_who_made_way_uses_the_larger_runner_when_it_is_free() -> None:
    driver = small(4)
    submit_large(driver, tasks=1)
    driver.tick(LOOK_S)
    go(driver, *(f"small-{i}" for i in range(4)))
    driver.feed(make.joined("large", cores=4.0))
    assert sent(driver.tick())["large"]

    while driver.state is RunState.RUNNING:
        driver.feed(make.finished(driver.head("large"), "large"))
        driver.tick(0.1)

    assert driver.run.committed == 40
