"""What holds after each event is looked at after each event, or soon after."""

import pytest

from rayorch.core.facts import Ticked
from rayorch.core.invariants import A_LOOK, WATCHED_A_EVENT, Watch
from rayorch.errors import InvariantError
from rayorch.ids import RunnerId, TenantId
from tests.rayorch import make
from tests.rayorch.driver import Driver, started

TASKS = 60
RUNNERS = 2


def watched() -> tuple[Driver, Watch]:
    """A run that goes on, and a watch that has just looked at everything."""
    driver = started(TASKS, runners=RUNNERS)
    watch = Watch(driver.machine)
    watch.saw(make.event(Ticked()))
    return driver, watch


def test_what_an_event_touched_is_looked_at_after_it() -> None:
    driver, watch = watched()
    head = driver.head("runner-1")
    driver.machine.runners[RunnerId("runner-1")].alone = True

    with pytest.raises(InvariantError, match="a suspect runs alone"):
        watch.saw(make.event(make.started(head, "runner-1")))


@pytest.mark.parametrize("holder", [None, TenantId("another")])
def test_a_runner_with_the_leases_of_a_tenant_that_does_not_hold_it_is_found(
    holder: TenantId | None,
) -> None:
    driver, watch = watched()
    head = driver.head("runner-1")
    driver.machine.runners[RunnerId("runner-1")].holder = holder

    with pytest.raises(InvariantError, match="a runner serves one tenant at a time"):
        watch.saw(make.event(make.started(head, "runner-1")))


def test_a_runner_that_a_tenant_holds_for_nothing_is_found() -> None:
    driver, watch = watched()
    head = driver.head("runner-1")
    driver.machine.runners[RunnerId("runner-1")].queue.clear()

    with pytest.raises(InvariantError, match="who holds a runner has leases on it"):
        watch.saw(make.event(make.started(head, "runner-1")))


def test_what_no_event_touched_is_found_within_a_few_events() -> None:
    """A look at everything after each event took half of the time of a simulation."""
    driver, watch = watched()
    driver.machine.flows[make.RUN].held += 1

    for _ in range((A_LOOK + TASKS + RUNNERS) // WATCHED_A_EVENT - 1):
        watch.saw(make.event(Ticked()))
    with pytest.raises(InvariantError, match="`held` counts the leases of a run"):
        watch.saw(make.event(Ticked()))


def test_a_watch_that_looks_at_each_event_finds_at_once_what_none_has_touched() -> None:
    driver = started(TASKS, runners=RUNNERS)
    watch = Watch(driver.machine, each=True)
    watch.saw(make.event(Ticked()))
    driver.machine.flows[make.RUN].held += 1

    with pytest.raises(InvariantError, match="`held` counts the leases of a run"):
        watch.saw(make.event(Ticked()))
