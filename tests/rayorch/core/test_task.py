"""Every pair of a task's state and what may happen to it, and every kind of failure."""

from itertools import product
from typing import Final

import pytest

from rayorch.core.facts import AttemptFailed, AttemptLost
from rayorch.core.task import (
    HELD,
    OPEN,
    TASK_EVENTS,
    TRANSITIONS,
    TREATMENTS,
    Task,
    TaskEvent,
    TaskReopened,
    TaskState,
    backoff_s,
    step,
)
from rayorch.core.values import FAILURE_KINDS, FailureKind, RetryLimits
from rayorch.errors import InvalidTransitionError
from tests.rayorch import make

PAIRS: Final = set(product(TaskState, TASK_EVENTS))
IMPOSSIBLE: Final = sorted(PAIRS - TRANSITIONS.keys(), key=str)
RULED: Final = sorted(PAIRS & TRANSITIONS.keys(), key=str)
S = TaskState


def after(task: Task, event: TaskEvent, at_s: float = 100.0) -> Task:
    return step(task, event, make.RETRY, at_s)


@pytest.mark.parametrize(("state", "kind"), IMPOSSIBLE)
def test_a_pair_without_a_row_raises(state: TaskState, kind: type[TaskEvent]) -> None:
    task = make.task(state)

    with pytest.raises(InvalidTransitionError):
        after(task, make.task_event(kind))


@pytest.mark.parametrize(("state", "kind"), RULED)
def test_a_pair_with_a_row_ends_in_one_of_its_targets(
    state: TaskState, kind: type[TaskEvent]
) -> None:
    """Tried fresh, with its budget nearly used up, and with the very failure counted before."""
    fresh = make.task(state)
    worn = make.task(state, failures=2, strikes=2)
    counted = make.task(state, last=(make.EPOCH, 0))

    reached = {after(task, make.task_event(kind)).state for task in (fresh, worn, counted)}

    assert reached <= TRANSITIONS[state, kind].targets


def test_every_target_of_every_row_can_be_reached() -> None:
    """A target that nothing reaches is a row that says too much."""
    about = {
        "failures": (0, 2),
        "strikes": (0, 2),
        "last": ((0, -1), (int(make.EPOCH), 0)),
        "attempt": (0, 7),
        "spoilt": ((0, -1), (int(make.EPOCH), 0)),
    }
    reached: dict[tuple[TaskState, type[TaskEvent]], set[TaskState]] = {}
    for (state, kind), values in product(RULED, product(*about.values())):
        task = make.task(state, **dict(zip(about, values, strict=True)))
        event = make.task_event(kind)
        events = [event]
        if isinstance(event, AttemptFailed | AttemptLost):
            rebuilt = make.failed if isinstance(event, AttemptFailed) else make.lost
            events = [rebuilt(make.Lease(), kind=each) for each in FAILURE_KINDS]
        found = reached.setdefault((state, kind), set())
        found.update(after(task, each).state for each in events)

    assert reached == {pair: set(row.targets) for pair, row in TRANSITIONS.items()}


TREATED: Final[dict[FailureKind, dict[str, object]]] = {
    "user": {"state": S.FAILED, "failures": 1, "failed_kind": "user"},
    "transient": {"state": S.WAITING, "failures": 1, "since_s": 101.0},
    "lost": {"state": S.READY, "strikes": 1, "failures": 0},
    "preempted": {"state": S.READY, "strikes": 0, "failures": 0},
    "oom": {"state": S.WAITING, "failures": 1, "shrink": 1},
    "timeout": {"state": S.WAITING, "failures": 1, "shrink": 0},
    "upstream": {"state": S.READY, "strikes": 0, "failures": 0},
    "refused": {"state": S.FAILED, "failures": 1, "failed_kind": "refused"},
    "poison": {"state": S.FAILED, "failures": 1, "failed_kind": "poison"},
}


@pytest.mark.parametrize("kind", FAILURE_KINDS)
def test_each_kind_of_failure_has_its_own_treatment(kind: FailureKind) -> None:
    task = make.task(S.RUNNING)

    failed = after(task, make.failed(make.Lease(), kind=kind))

    assert {name: getattr(failed, name) for name in TREATED[kind]} == TREATED[kind]
    assert failed.runner is None
    assert failed.last == (make.EPOCH, 0)


def test_every_kind_has_a_treatment() -> None:
    assert TREATMENTS.keys() == set(FAILURE_KINDS) == TREATED.keys()


@pytest.mark.parametrize("kind", ["transient", "oom", "timeout"])
def test_the_budget_is_exact(kind: FailureKind) -> None:
    """With three attempts allowed, the third failure gives up, not the second or the fourth."""
    task = make.task(S.READY)
    states = []
    for attempt in range(3):
        task = after(task, make.failed(make.Lease(attempt=attempt), kind=kind))
        states.append(task.state)

    assert states == [S.WAITING, S.WAITING, S.FAILED]
    assert task.failed_kind == kind


def test_a_task_is_poison_with_its_third_strike_exactly() -> None:
    task = make.task(S.READY)
    states = []
    for attempt in range(3):
        task = after(task, make.lost(make.Lease(attempt=attempt)))
        states.append(task.state)

    assert states == [S.READY, S.READY, S.FAILED]
    assert task.failed_kind == "poison"


def test_being_preempted_never_ends() -> None:
    task = make.task(S.READY)
    for attempt in range(50):
        task = after(task, make.lost(make.Lease(attempt=attempt), kind="preempted"))

    assert (task.state, task.strikes, task.failures) == (S.READY, 0, 0)


@pytest.mark.parametrize("state", sorted(OPEN, key=str))
def test_a_failure_that_is_reported_twice_is_counted_once(state: TaskState) -> None:
    once = after(make.task(state), make.failed(make.Lease()))

    twice = after(once, make.failed(make.Lease()))

    assert twice is once


@pytest.mark.parametrize("state", sorted(HELD, key=str))
def test_a_lease_that_failed_before_it_came_back_is_let_go(state: TaskState) -> None:
    """Its runner was declared lost, came back with the lease, and then failed.

    The failure counts once, but the task must not stay with a runner that is done with it.
    """
    task = make.task(state, last=(make.EPOCH, 0), strikes=1)

    done = after(task, make.failed(make.Lease()))

    assert (done.state, done.runner, done.strikes, done.failures) == (S.READY, None, 1, 0)


def test_the_first_report_wins_whoever_holds_the_lease() -> None:
    task = make.task(S.RUNNING, attempt=3, runner="runner-2")

    committed = after(task, make.finished(make.Lease(attempt=1)))
    late = after(committed, make.finished(make.Lease(attempt=3), "runner-2"))

    assert (committed.state, committed.attempt, committed.runner) == (S.COMMITTED, 1, make.RUNNER)
    assert late is committed


def test_a_lease_is_given_back_only_by_who_holds_it() -> None:
    task = make.task(S.LEASED, attempt=2)

    assert after(task, make.returned(make.Lease(attempt=1))) is task
    assert after(task, make.returned(make.Lease(attempt=2), "runner-9")) is task
    assert after(task, make.returned(make.Lease(attempt=2))).state is S.READY


@pytest.mark.parametrize("state", [S.READY, S.LEASED, S.RUNNING, S.WAITING, S.FAILED])
def test_a_resumption_gives_a_fresh_budget(state: TaskState) -> None:
    """Whoever holds a lease keeps it; a replay, which knows no leases, resets the same fields."""
    task = make.task(state, failures=2, strikes=2, shrink=1)

    fresh = after(task, TaskReopened())

    assert (fresh.failures, fresh.strikes, fresh.shrink, fresh.failed_kind) == (0, 0, 0, None)
    assert fresh.state is (state if state in HELD else S.READY)


def test_back_off_doubles_up_to_its_limit() -> None:
    retry = RetryLimits(backoff_s=1.0, backoff_s_max=10.0)

    assert [backoff_s(retry, n) for n in (1, 2, 3, 4, 5, 1000)] == [1, 2, 4, 8, 10, 10]
