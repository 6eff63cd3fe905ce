"""Tenants that share a cluster: who is served next, and how long anybody waits at most."""

import math

import pytest

from rayorch.core.sharing import AGE_S, Ranked, entitled, urgency
from rayorch.ids import RunId, TenantId
from tests.rayorch.core.fleet import TURN_S, Fleet

A, B, C = TenantId("a"), TenantId("b"), TenantId("c")
LONG_S = 20.0


def held(fleet: Fleet, tenant: TenantId) -> int:
    """How many runners work for a tenant now."""
    runs = fleet.machine.runs
    return sum(runs[lease.run].tenant == tenant for lease in fleet.running.values())


@pytest.mark.parametrize(
    ("demands", "parts"),
    [
        ({A: (100, 1.0), B: (100, 1.0)}, {A: 8, B: 8}),
        ({A: (100, 3.0), B: (100, 1.0)}, {A: 12, B: 4}),
        ({A: (100, 1.0), B: (2, 1.0)}, {A: 14, B: 2}),
        ({A: (100, 1.0), B: (100, 1.0), C: (100, 1.0)}, {A: 6, B: 5, C: 5}),
        ({A: (3, 1.0)}, {A: 3}),
        ({}, {}),
    ],
)
def test_parts_are_by_weight_and_what_one_cannot_use_is_the_others(
    demands: dict[TenantId, tuple[int, float]], parts: dict[TenantId, int]
) -> None:
    assert entitled(16, demands) == parts


def test_ranked_items_move_back_while_they_are_looked_through() -> None:
    size = {"x": 0, "y": 1, "z": 5}
    ranked = Ranked(size, lambda name: size[name])

    taken = []
    for _ in range(6):
        first = next(iter(ranked))
        taken.append(first)
        size[first] += 2

    assert taken == ["x", "y", "x", "y", "x", "y"]


@pytest.mark.parametrize("task_s", [1.0, LONG_S])
def test_a_flood_leaves_the_next_tenant_waiting_for_two_task_lengths_at_most(
    task_s: float,
) -> None:
    """With 16 runners 8 are the second tenant's part: ten tasks have begun after two rounds."""
    fleet = Fleet(16)
    fleet.submit("flood", 10_000, task_s, tenant=A)
    fleet.pass_time(2.5 * task_s)
    begun_s = fleet.now_s

    fleet.submit("late", 10, task_s, tenant=B)
    fleet.pass_time(2.0 * task_s + 3 * TURN_S)

    starts = fleet.starts[RunId("late")]
    assert len(starts) == 10
    assert starts[-1] - begun_s <= 2.0 * task_s + 2 * TURN_S


@pytest.mark.parametrize(("runners", "tasks"), [(4, 10), (10, 10), (16, 30)])
def test_the_bound_holds_for_any_number_of_runners(runners: int, tasks: int) -> None:
    fleet = Fleet(runners)
    fleet.submit("flood", 2_000, LONG_S, tenant=A)
    fleet.pass_time(1.5 * LONG_S)
    begun_s = fleet.now_s

    fleet.submit("late", tasks, LONG_S, tenant=B)
    rounds = math.ceil(tasks / (runners // 2))
    fleet.pass_time(rounds * LONG_S + 3 * TURN_S)

    starts = fleet.starts[RunId("late")]
    assert len(starts) == tasks
    assert starts[-1] - begun_s <= rounds * LONG_S + 2 * TURN_S


def test_tenants_that_both_have_much_to_do_hold_the_same() -> None:
    fleet = Fleet(10, checks=True)
    fleet.submit("one", 60, 2.0, tenant=A)
    fleet.submit("two", 60, 2.0, tenant=B)
    fleet.submit("three", 60, 2.0, tenant=B)
    fleet.pass_time(6.0)

    assert (held(fleet, A), held(fleet, B)) == (5, 5)


def test_what_one_tenant_does_not_use_is_the_others() -> None:
    fleet = Fleet(10)
    fleet.submit("small", 2, LONG_S, tenant=A)
    fleet.submit("large", 100, LONG_S, tenant=B)

    assert (held(fleet, A), held(fleet, B)) == (2, 8)


def test_short_tasks_do_not_get_less_time_than_long_ones() -> None:
    """What counts is the runners that a tenant holds, not how many tasks it has begun."""
    fleet = Fleet(8)
    fleet.submit("long", 200, 5.0, tenant=A)
    fleet.submit("short", 20_000, 0.5, tenant=B)
    fleet.pass_time(10.0)

    seen = []
    for _ in range(20):
        fleet.pass_time(0.5)
        seen.append(held(fleet, B))
    assert 3.5 <= sum(seen) / len(seen) <= 4.5


def test_the_higher_priority_is_served_first_within_a_tenant() -> None:
    fleet = Fleet(2)
    fleet.submit("usual", 50, tenant=A)
    fleet.submit("urgent", 20, tenant=A, priority=50)
    fleet.pass_time(1.0)
    before = len(fleet.starts[RunId("usual")])
    fleet.pass_time(9.0)

    assert len(fleet.starts[RunId("usual")]) <= before + 2
    assert len(fleet.starts[RunId("urgent")]) >= 16


def test_a_run_of_the_lowest_priority_is_served_after_a_stated_time() -> None:
    """It rises by one in each `AGE_S`: nobody starves."""
    fleet = Fleet(1)
    fleet.submit("urgent", 1_000, 1.0, tenant=A, priority=3)
    fleet.submit("patient", 5, 1.0, tenant=A, priority=0)
    fleet.pass_time(3 * AGE_S - 2.0)
    assert fleet.starts[RunId("patient")] == []

    fleet.pass_time(6.0)

    assert fleet.starts[RunId("patient")]


def test_urgency_grows_with_waiting() -> None:
    assert [urgency(5, wait_s) for wait_s in (-1.0, 0.0, AGE_S - 0.1, AGE_S, 3 * AGE_S)] == [
        5,
        5,
        5,
        6,
        8,
    ]
