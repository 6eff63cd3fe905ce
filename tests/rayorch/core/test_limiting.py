"""Quotas, limits on outside resources and admission: who is held back, and who never is."""

import pytest
from msgspec.structs import replace

from rayorch.core.commands import Command, FindRunners, KillRunner, Lease, MakePlan, RevokeLeases
from rayorch.core.facts import RunCancelRequested
from rayorch.core.limit_facts import PolicyApplied, RunAdmitted, RunBlocked, UnitsFreed, UnitsTaken
from rayorch.core.limiting import UNUSED_S
from rayorch.core.policy import Limit, Policy, TenantPolicy
from rayorch.core.run import RunState
from rayorch.core.settling import STRANGE_S
from rayorch.core.values import StageShape
from rayorch.ids import RunId, RunnerId, TenantId
from tests.rayorch import make
from tests.rayorch.core.fleet import Fleet
from tests.rayorch.driver import Driver, only, some

A, B = TenantId("a"), TenantId("b")
DB = (StageShape(name="lines", sinks=(0,), uses=(("orders-db", 1),)),)
LIMITED = PolicyApplied(Policy(limits=(Limit("orders-db", 3),)))


def tenant(name: str, **limits: object) -> PolicyApplied:
    """A policy for one tenant."""
    return PolicyApplied(Policy(tenants=(TenantPolicy(TenantId(name), **limits),)))  # type: ignore[arg-type]


def users(fleet: Fleet) -> int:
    """How many runners are at work on a task that uses the database."""
    runs = fleet.machine.runs
    return sum(bool(runs[each.run].stages[each.stage].uses) for each in fleet.running.values())


# --- outside resources -------------------------------------------------------------------------


def test_no_more_tasks_use_an_outside_resource_than_it_allows_however_many_runs() -> None:
    fleet = Fleet(10, checks=True)
    fleet.feed([LIMITED])
    for i in range(4):
        fleet.submit(f"run-{i}", 12, 0.5, stages=DB, tenant=(A, B)[i % 2])

    most = 0
    for _ in range(100):
        fleet.pass_time(0.1)
        most = max(most, users(fleet))

    assert most == 3
    assert sum(len(starts) for starts in fleet.starts.values()) == 48


def test_what_waits_for_an_outside_resource_keeps_no_other_stage_waiting() -> None:
    fleet = Fleet(10)
    fleet.feed([LIMITED])
    fleet.submit("db", 50, 5.0, stages=DB)
    fleet.submit("plain", 50, 5.0)

    assert users(fleet) == 3
    assert len(fleet.running) == 10


def test_units_are_journaled_before_the_first_lease_that_rests_on_them() -> None:
    """Or a leader that dies in between would forget a user that the next one does not hear of."""
    driver = Driver()
    driver.start(9, stages=DB)

    driver.tick()
    first = [type(each).__name__ for each in driver.commands]
    driver.tick()

    taken = next(e.fact for e in driver.events if isinstance(e.fact, UnitsTaken))
    assert taken == UnitsTaken(make.RUNNER, (("orders-db", 1),))
    assert "SendLeases" not in first
    assert len(driver.queue()) == 2


def test_a_runner_that_nobody_has_heard_of_still_holds_its_units_after_a_restart() -> None:
    """It may be cut off, and at work. Its end, and nothing else, gives them back."""
    driver = Driver()
    driver.lead()
    driver.feed(PolicyApplied(Policy(limits=(Limit("orders-db", 1),))))
    driver.feed(make.submitted(stages=DB), make.planned(9), make.joined())
    driver.tick()
    driver.tick()
    assert driver.queue()

    found = only(driver.lead(9, interrupts=False), FindRunners)
    driver.feed(make.joined("runner-2"))
    for _ in range(10):
        driver.tick(UNUSED_S)
    assert found.runners == (make.RUNNER,)
    assert driver.queue("runner-2") == []

    driver.feed(make.gone(make.RUNNER))
    for _ in range(3):
        driver.tick()
    assert driver.queue("runner-2")
    driver.assert_replays()


def test_a_crashed_holders_units_come_back() -> None:
    driver = Driver()
    driver.lead()
    driver.feed(PolicyApplied(Policy(limits=(Limit("orders-db", 1),))))
    driver.feed(make.submitted(stages=DB), make.planned(9))
    driver.feed(make.joined(), make.joined("runner-2"))
    for _ in range(3):
        driver.tick()
    holder = next(iter(driver.machine.book.units))
    other = {make.RUNNER: "runner-2"}.get(holder, make.RUNNER)
    assert driver.queue(other) == []

    driver.feed(make.gone(holder))
    for _ in range(3):
        driver.tick()

    assert driver.queue(other)
    driver.assert_replays()


def test_a_silent_holder_keeps_its_units_until_it_is_known_to_have_ended() -> None:
    driver = Driver()
    driver.start(9, stages=DB)
    driver.tick()
    driver.tick()

    silent = make.gone()
    driver.feed(type(silent)(silent.runner, silent.kind, silent.reason, silent=True))
    for _ in range(5):
        driver.tick(UNUSED_S)
    assert driver.machine.book.used["orders-db"] == 1

    driver.feed(silent)
    driver.tick()
    assert driver.machine.book.used["orders-db"] == 0


def test_who_is_being_ended_keeps_its_units_until_it_is_known_to_have_ended() -> None:
    """It may be behind a partition, and at work on what was timed out."""
    driver = Driver()
    driver.start(1, stages=(replace(DB[0], timeout_s=10.0), *DB[1:]))
    driver.tick()
    driver.tick()
    driver.feed(make.started(driver.head()))
    only(driver.tick(11.0), KillRunner)

    for _ in range(5):
        driver.tick(UNUSED_S)
    assert driver.machine.book.used["orders-db"] == 1

    driver.feed(make.gone())
    driver.tick()
    assert driver.machine.book.used["orders-db"] == 0


def test_units_without_a_use_are_freed_after_a_while() -> None:
    driver = Driver()
    driver.start(1, stages=DB)
    driver.tick()
    driver.tick()
    driver.feed(make.finished(driver.head()))

    driver.tick()
    assert driver.machine.book.units
    driver.tick(UNUSED_S)

    assert any(isinstance(each.fact, UnitsFreed) for each in driver.events)
    assert not driver.machine.book.units
    driver.assert_replays()
    assert driver.restored().book.units == {}


def strayed() -> tuple[Driver, list[Command], Lease]:
    """A runner that holds units, has ended all that it has, and began what was given to others.

    Its reports overtake each other: it says that it began before it says that it ended. A lease
    that was sent while it was cut off has reached it after it was heard again.
    """
    driver = Driver()
    driver.start(1, stages=DB)
    driver.tick()
    driver.tick()
    lease = driver.head()
    stray = replace(lease, attempt=lease.attempt + 7)
    driver.feed(make.started(lease))
    return driver, driver.feed(make.started(stray), make.finished(lease)), stray


def test_who_is_at_what_was_given_to_others_keeps_its_units() -> None:
    driver, commands, stray = strayed()

    driver.tick(2 * UNUSED_S)

    assert only(commands, RevokeLeases).leases[0].attempt == stray.attempt
    assert driver.machine.book.units


def test_who_says_no_more_of_what_was_given_to_others_is_ended_for_its_units() -> None:
    """Nothing else may come its way that it could begin, and others wait for what it holds."""
    driver, _, _ = strayed()

    early = some(driver.tick(STRANGE_S - 1.0), KillRunner)
    late = some(driver.tick(2.0), KillRunner)

    assert (len(early), len(late)) == (0, 1)


def test_a_cluster_that_is_gone_holds_nothing() -> None:
    driver = Driver()
    driver.start(9, stages=DB)
    driver.tick()
    driver.tick()

    driver.lead(9, interrupts=True)
    driver.tick()

    assert not driver.machine.book.units


# --- quotas ------------------------------------------------------------------------------------


def test_a_tenant_holds_no_more_runners_than_its_quota() -> None:
    fleet = Fleet(10)
    fleet.feed([tenant("a", slots=3)])
    fleet.submit("one", 50, tenant=A)
    fleet.submit("two", 50, tenant=A)
    fleet.pass_time(3.0)

    assert len(fleet.running) == 3


def test_a_tenant_holds_no_more_memory_than_its_quota() -> None:
    fleet = Fleet(10)  # of 8 GiB each
    fleet.feed([tenant("a", memory_bytes=20 * make.GIB)])
    fleet.submit("one", 50, tenant=A)
    fleet.pass_time(3.0)

    assert len(fleet.running) == 2


def test_nothing_is_taken_back_for_runners_that_a_quota_keeps_idle() -> None:
    """It went back to where it came from, and was taken back again, in every turn."""
    driver = Driver()
    driver.lead()
    driver.feed(tenant("a", slots=1))
    driver.feed(make.submitted(tenant=A), make.planned(2))
    driver.feed(make.joined("runner-1"))
    driver.tick()
    assert len(driver.queue("runner-1")) > 1

    commands = [*driver.feed(make.joined("runner-2")), *driver.tick(), *driver.tick(1.0)]

    assert some(commands, RevokeLeases) == []


def test_weights_divide_the_cluster() -> None:
    fleet = Fleet(12)
    fleet.feed([tenant("a", weight=3.0)])
    fleet.submit("one", 200, tenant=A)
    fleet.submit("two", 200, tenant=B)
    fleet.pass_time(5.0)

    mine = sum(fleet.machine.runs[lease.run].tenant == A for lease in fleet.running.values())
    assert (mine, len(fleet.running)) == (9, 12)


def test_a_tenant_that_has_spent_its_dollars_is_blocked_with_the_cause_and_may_resume() -> None:
    driver = Driver()
    driver.lead()
    driver.feed(tenant("a", usd=0.0))
    driver.feed(make.submitted(tenant=A), make.planned(4), make.joined())

    driver.tick()

    blocked = next(each.fact for each in driver.events if isinstance(each.fact, RunBlocked))
    assert blocked.cause == "quota"
    assert "tenant 'a' has spent its quota of the month" in blocked.error.message
    assert "quota_usd=0.00" in blocked.error.message
    assert driver.run.state.value == "blocked"
    driver.assert_replays()

    driver.feed(tenant("a", usd=5.0), make.resumed())
    driver.tick(1.0)
    assert driver.state is RunState.RUNNING
    assert driver.queue()


# --- admission ---------------------------------------------------------------------------------


def test_runs_beyond_the_bound_wait_unplanned_and_are_planned_in_order_of_urgency() -> None:
    driver = Driver()
    driver.lead()
    driver.feed(tenant("a", runs=1))
    driver.feed(make.submitted(tenant=A))
    commands = driver.feed(
        make.submitted(RunId("usual"), tenant=A),
        make.submitted(RunId("urgent"), tenant=A, priority=5),
        make.submitted(RunId("other"), tenant=B),
    )
    assert [each.run for each in some(commands, MakePlan)] == ["other"]
    assert driver.machine.runs[RunId("usual")].state is RunState.QUEUED
    assert not some(driver.tick(), MakePlan)

    driver.feed(RunCancelRequested(run=make.RUN))
    commands = driver.tick()

    assert [each.run for each in some(commands, MakePlan)] == ["urgent"]
    driver.assert_replays()


def test_a_run_of_an_old_journal_that_was_planned_is_admitted() -> None:
    driver = Driver()
    driver.feed(tenant("default", runs=1))
    driver.feed(make.submitted(RunId("first")), make.submitted())
    assert driver.run.state.value == "queued"

    driver.feed(make.planned(2))

    assert driver.state is RunState.RUNNING


@pytest.mark.parametrize("times", [1, 2])
def test_admitted_twice_is_admitted_once(times: int) -> None:
    driver = Driver()
    driver.feed(tenant("default", runs=1), make.submitted(RunId("first")), make.submitted())

    commands = driver.feed(*[RunAdmitted(make.RUN)] * times)

    assert len(some(commands, MakePlan)) == 1


def test_a_policy_and_what_is_held_come_back_with_a_snapshot() -> None:
    driver = Driver()
    driver.start(9, stages=DB)
    driver.feed(LIMITED)
    driver.tick()
    driver.tick()

    restored = driver.restored()

    assert restored.book.policy == LIMITED.policy
    assert restored.book.units == {RunnerId(make.RUNNER): {"orders-db": 1}}
    assert restored.book.used["orders-db"] == 1
