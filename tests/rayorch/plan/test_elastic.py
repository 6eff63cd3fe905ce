"""Pools whose machines can be asked for: they count with their start-up, until none comes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import placement
from rayorch.core.placed import Observed
from rayorch.errors import PoolsError
from rayorch.ids import RunId
from rayorch.plan.asking import SLOTS_MAX, Asked, asked_for
from rayorch.plan.estimate import History
from rayorch.plan.placing import Task, first, follows, guarded, unsearched, wire
from rayorch.plan.pool_files import parse_pools
from rayorch.plan.pools import usable_pools
from rayorch.plan.seeing import STUCK_S, look, patience_of
from rayorch.plan.standing import Standing
from rayorch.spec.objective import Deadline
from tests.rayorch.plan.test_problem import plan_of

FILE = """
pools:
  - {name: spot, vcpu: 2, memory: 8 GiB, usd_h: 0.2, provision_s: 40, boot_s: 60,
     max_nodes: 4, spot: {reclaims_per_h: 0.02, outage_s: 900}}
  - {name: calm, vcpu: 2, memory: 8 GiB, usd_h: 0.9, provision_s: 40, boot_s: 60, max_nodes: 4}
  - {name: gpu, vcpu: 2, memory: 8 GiB, usd_h: 0.01, gpus: 1, max_nodes: 9}
"""
POOLS = parse_pools(FILE, "pools.yaml")
SUBMITTED_S = 1000.0


def standing(there: dict[str, int], minutes: int = 30) -> Standing:
    pools, _ = usable_pools(POOLS, there, "pools.yaml", autoscale=True)
    task = Task(
        run=RunId("r"),
        submitted_s=SUBMITTED_S,
        plan=plan_of(lines=[3000] * 200),
        histories=[History("v", "lines")],
        pools=pools,
        objective=Deadline(timedelta(minutes=minutes)),
        elastic={pool.name: there.get(pool.name, 0) // 2 for pool in pools.pools if not pool.gpus},
    )
    return first(task, SUBMITTED_S + 1.0)[0]


def observed(made: Standing, at_s: float, **changes: Any) -> Observed:
    """What a core sees that has asked for all that a placement wants."""
    asked = tuple(wanted(made, at_s).items())
    kept: dict[str, Any] = {"at_s": SUBMITTED_S + at_s, "submitted_s": SUBMITTED_S, "asked": asked}
    return Observed(**(kept | changes))


def wanted(made: Standing, at_s: float) -> dict[str, int]:
    nodes = placement.nodes_wanted(made.problem, made.layout, at_s)
    return {pool: count for pool, count in nodes.items() if count}


def test_pools_without_a_machine_count_with_their_start_up() -> None:
    pools, missing = usable_pools(POOLS, {}, "pools.yaml", autoscale=True)

    assert [(pool.name, pool.max_nodes, pool.boot_s) for pool in pools.pools] == [
        ("spot", 4, 60.0),
        ("calm", 4, 60.0),
    ]
    assert missing == ("gpu",)


def test_a_gpu_pool_is_used_as_it_is_and_never_asked_for() -> None:
    pools, missing = usable_pools(POOLS, {"gpu": 2}, "pools.yaml", autoscale=True)

    assert missing == ()
    assert {pool.name: pool.max_nodes for pool in pools.pools}["gpu"] == 1
    only = POOLS.model_copy(update={"pools": [POOLS.pools[2]]})
    with pytest.raises(PoolsError, match="all have GPUs, and no transform asks for one"):
        usable_pools(only, {}, "pools.yaml", autoscale=True)


def test_machines_can_be_asked_for_of_described_pools_alone() -> None:
    with pytest.raises(PoolsError, match="pools that are described"):
        asked_for(None, None, autoscale=True)
    assert Asked(pools=POOLS, autoscale=True).slots_to_come == 16
    many = POOLS.pools[0].model_copy(update={"max_nodes": 1000})
    asked = Asked(pools=POOLS.model_copy(update={"pools": [many]}), autoscale=True)
    assert asked.slots_to_come == SLOTS_MAX


def test_a_run_on_an_empty_cluster_is_placed_on_machines_to_come() -> None:
    made = standing({})

    ready = wire(made)

    assert {each.pool for each in ready.runners} == {"spot"}
    for each in ready.runners:
        assert each.count == 2 * each.nodes > 0
    # They are not there before they have started.
    assert ready.forecast.p50_s > 100.0


def test_machines_that_are_there_need_no_start_up() -> None:
    made = standing({"spot": 8})

    assert {held.pool: held.count for held in made.problem.held} == {"spot": 4}
    assert first_plan(made).forecast.p50_s < first_plan(standing({})).forecast.p50_s


def first_plan(made: Standing) -> placement.Plan:
    return unsearched(made.problem, made.layout)


def test_what_was_asked_for_and_is_on_its_way_is_no_reason_to_plan_again() -> None:
    made = standing({})
    asked = wanted(made, 1.0)

    for at_s in (6.0, 60.0, 140.0):
        reasons, after, made = look(made, observed(made, at_s), {})
        assert reasons == ()
        assert after is not None
        assert after.held[0].count == asked["spot"]
        # Asked for at 6 s, provisioned and booted by 106 s.
        assert after.held[0].ready_s >= 106.0


def test_a_pool_of_which_nothing_comes_is_planned_around_and_asked_again_later() -> None:
    """1. Two or more spot machines are asked for, and none comes within the patience.

    2. The reason names the pool, and what is left is placed on the other one.
    3. When its outage is over, it is asked again.
    """
    made = standing({})
    asked = wanted(made, 1.0)["spot"]
    _, _, made = look(made, observed(made, 5.0), {})
    late_s = 5.0 + patience_of(POOLS.pools[0]) + 1.0

    reasons, after, made = look(made, observed(made, late_s), {})

    assert reasons[0] == (
        f"pool spot cannot be had: 0 of {asked} nodes are there, and none came in "
        f"{late_s - 5.0:.0f} s (expected 100 s)"
    )
    assert not any("gone" in reason for reason in reasons)
    assert after is not None
    assert {pool.name: pool.nodes_max for pool in after.pools} == {"spot": 0, "calm": 4}
    _, safe = guarded(made, after)
    made = follows(made, after, unsearched(after, safe), revision=2)
    assert set(wanted(made, late_s)) == {"calm"}

    reasons, _, _ = look(made, observed(made, late_s + max(STUCK_S, 900.0) + 1.0), {"calm": 8})
    assert "pool spot is asked again" in reasons
    assert not any("back" in reason for reason in reasons)


def test_machines_that_come_one_by_one_are_waited_for() -> None:
    made = standing({}, minutes=20)
    assert wanted(made, 1.0)["spot"] > 1
    _, _, made = look(made, observed(made, 2.0), {})

    for at_s, slots in ((200.0, 2), (300.0, 2), (400.0, 2)):
        _, _, made = look(made, observed(made, at_s), {"spot": slots})

    # Since the first one came, the patience has not passed.
    assert "spot" not in made.stuck


def test_machines_that_the_core_asks_for_no_more_are_not_waited_for() -> None:
    """The last tasks fill fewer machines than the plan wanted: who lets them go misses none."""
    made = standing({})

    for at_s in (5.0, 300.0, 600.0):
        _, _, made = look(made, observed(made, at_s, asked=(("spot", 1),)), {"spot": 2})

    assert made.stuck == {}


def test_where_nothing_comes_of_any_pool_all_of_them_are_waited_for() -> None:
    made = replace(standing({}), stuck={"spot": 1e6, "calm": 1e6})

    _, after, _ = look(made, observed(made, 500.0), {})

    assert after is not None
    assert [pool.nodes_max for pool in after.pools] == [4, 4]
