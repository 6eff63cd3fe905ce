"""The portfolio as a whole: promises kept, determinism, bounds, and problems at the edge."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement import (
    Budget,
    Deadline,
    InfeasibleError,
    Plan,
    Pool,
    Problem,
    Spot,
    TaskClass,
    Weighted,
    bounds_of,
    check_layout,
    solve,
    tables_of,
)
from tests.placement import make


def _tiny(deadline_s: float) -> Problem:
    """Map-reduce on three kinds of machines by the second and one by the hour."""
    classes = [
        make.cls("m", 6, 350, in_gb=2, out_gb=2),
        make.cls("r", 3, 250, out_gb=0.1, deps=make.after("m")),
    ]
    shapes = [("slow", 0.8, 0.5, 60, 1), ("mid", 1.3, 1.0, 60, 1), ("fast", 2.0, 2.4, 60, 1)]
    pools = [
        make.pool(name, vcpu=1, speed={"cpu": speed}, usd_h=usd, provision_s=0, boot_s=boot,
                  min_bill_s=60, bill_s=bill, nodes_max=3, net_gbps=4.0)
        for name, speed, usd, boot, bill in [*shapes, ("hourly", 1.3, 0.8, 0, 3600)]
    ]  # fmt: skip
    return make.problem(classes, pools, Deadline(at_s=deadline_s))


@pytest.mark.parametrize(("deadline_s", "optimum_usd"), [(774.0, 0.661), (1548.0, 0.531)])
def test_a_tiny_problem_is_solved_to_its_optimum(deadline_s: float, optimum_usd: float) -> None:
    plan = solve(_tiny(deadline_s), time_limit_s=4.0)

    assert plan.forecast.usd <= optimum_usd * 1.005
    assert plan.forecast.hit == 1.0


def _small(seed: int = 0) -> Problem:
    rng = np.random.default_rng(seed)
    spot = Spot(reclaims_per_h=0.3, outage_s=1200)
    pools = [
        make.pool("od", vcpu=8, mem_gb=32, usd_h=0.8),
        make.pool("od-spot", vcpu=8, mem_gb=32, usd_h=0.3, spot=spot, nodes_max=4),
        make.pool("quick", vcpu=4, mem_gb=16, usd_h=0.6, speed={"cpu": 1.4}),
    ]
    classes = [
        make.cls("a", int(rng.integers(20, 80)), 60, cv=0.3),
        make.cls("b", int(rng.integers(10, 40)), 40, cv=0.3, deps=make.after("a", mode="one")),
        make.cls("c", 4, 80, cv=0.3, deps=make.after("b")),
    ]
    return make.problem(classes, pools, Deadline(at_s=900.0))


@functools.cache
def _planned(seed: int = 0) -> Plan:
    """Plans are values: tests that ask different things of one share it."""
    return solve(_small(seed), time_limit_s=1.0, seed=seed)


def test_the_plan_keeps_the_deadline_on_fresh_luck_and_costs_no_less_than_the_bound() -> None:
    problem = _small()

    plan = _planned()

    check_layout(problem, tables_of(problem), plan.layout)
    assert plan.forecast.hit >= 0.95
    assert plan.forecast.usd >= plan.bound_usd > 0
    assert not plan.shortfall


def test_the_bound_knows_that_tasks_wait_and_that_a_node_boots() -> None:
    """A sixteenth of a node is all that each task takes, but nothing else can run meanwhile."""
    classes = [make.cls("a", 1, 300), make.cls("b", 1, 600, deps=make.after("a"))]
    pools = [make.pool("wide", vcpu=16, usd_h=1.0, boot_s=100.0), make.pool("dear", usd_h=99.0)]
    problem = make.problem(classes, pools)

    bounds = bounds_of(problem, tables_of(problem))

    assert bounds.usd == pytest.approx((300 + 600 + 100) / 3600)


def test_the_bound_knows_that_a_bill_is_for_a_whole_hour() -> None:
    pools = [make.pool("hourly", usd_h=1.0, bill_s=3600.0), make.pool("dear", usd_h=99.0)]
    problem = make.problem([make.cls("a", 1, 300)], pools)

    assert bounds_of(problem, tables_of(problem)).usd == pytest.approx(1.0)


def test_a_budget_is_not_spent_on_what_saves_no_time() -> None:
    """Ten nodes end a lone task no sooner than one."""
    pools = [make.pool("p", usd_h=1.0, boot_s=60.0, nodes_max=10)]
    problem = make.problem([make.cls("a", 1, 300)], pools, Budget(usd=5.0))

    plan = solve(problem, time_limit_s=0.3)

    assert sum(fleet.count for fleet in plan.layout.fleets) == 1


def test_the_same_seed_gives_the_same_plan() -> None:
    first, second = _planned(), solve(_small(), time_limit_s=1.0, seed=0)

    assert first.layout == second.layout
    assert first.forecast == second.forecast


def test_without_time_there_is_a_plan_all_the_same() -> None:
    problem = _small()

    plan = solve(problem, time_limit_s=0.0)

    check_layout(problem, tables_of(problem), plan.layout)
    assert plan.evaluations == 1


def test_a_callers_clock_ends_the_search() -> None:
    ticks = itertools.count()

    plan = solve(_small(), time_limit_s=20.0, clock=lambda: float(next(ticks)))

    assert plan.evaluations < 100


def test_a_budget_is_kept_and_a_weight_trades_cost_for_time() -> None:
    dear = solve(make_objective(Weighted(usd_per_h=20.0)), time_limit_s=1.0)
    cheap = solve(make_objective(Weighted(usd_per_h=0.0)), time_limit_s=1.0)
    capped = solve(make_objective(Budget(usd=1.2 * cheap.forecast.usd)), time_limit_s=1.0)

    assert dear.forecast.p50_s < cheap.forecast.p50_s
    assert cheap.forecast.usd < dear.forecast.usd
    assert capped.forecast.usd <= 1.25 * cheap.forecast.usd


def make_objective(objective: Budget | Weighted) -> Problem:
    small = _small()
    return make.problem(list(small.classes), list(small.pools), objective)


def test_what_no_machine_can_do_in_time_says_what_could_be_done() -> None:
    with pytest.raises(InfeasibleError, match=r"nearest=deadline_s=\d+"):
        solve(make.problem(objective=Deadline(at_s=60.0)))
    with pytest.raises(InfeasibleError, match="nearest=budget_usd="):
        solve(make.problem(objective=Budget(usd=0.01)))


def test_a_deadline_that_is_possible_but_not_kept_names_the_nearest() -> None:
    problem = make.problem(
        [make.cls(count=40, cv=0.5)], [make.pool(nodes_max=1)], Deadline(at_s=700.0)
    )

    plan = solve(problem, time_limit_s=0.5)

    assert "nearest=deadline_s=" in plan.shortfall


def test_prices_eight_orders_apart_are_no_trouble() -> None:
    pools = [make.pool("dear", usd_h=1e5), make.pool("cheap", usd_h=1e-3)]

    plan = solve(make.problem(None, pools), time_limit_s=0.5)

    assert {f.pool for f in plan.layout.fleets} == {1}


def test_a_fat_tail_that_can_be_cut_ends_sooner_and_costs_no_more() -> None:
    """Forty tasks whose longest takes many times the mean, whole and cut."""
    pools = [make.pool(nodes_max=20)]
    late = {}
    for is_cut in (False, True):
        tail = make.cls(count=40, work_s=100, cv=2.0, splittable=is_cut)
        p = make.problem([tail], pools, Weighted(usd_per_h=1e5))
        late[is_cut] = solve(p, time_limit_s=0.4).forecast

    assert late[True].p95_s < 0.6 * late[False].p95_s
    assert late[True].usd < 1.05 * late[False].usd


def test_identical_pools_are_no_trouble() -> None:
    pools = [make.pool(f"p{k}") for k in range(12)]

    plan = solve(make.problem([make.cls(count=30)], pools), time_limit_s=1.0)
    single = solve(make.problem([make.cls(count=30)], pools[:1]), time_limit_s=1.0)

    assert plan.forecast.hit == 1.0
    # Twelve names for the same machine must not lead the search astray.
    assert plan.forecast.usd <= 1.01 * single.forecast.usd
    assert plan.used_s <= 1.5


def test_disconnected_stages_are_planned_together() -> None:
    plan = solve(make.problem([make.cls("a"), make.cls("b")]), time_limit_s=0.3)

    assert plan.forecast.hit == 1.0


CLASSES = st.lists(
    st.tuples(
        st.integers(1, 30), st.floats(1, 200), st.floats(0, 0.6), st.integers(1, 2), st.booleans()
    ),
    min_size=1,
    max_size=4,
)
PRICES = st.lists(
    st.tuples(st.floats(0.01, 5), st.booleans(), st.floats(0.5, 2)), min_size=1, max_size=3
)


def _problem(
    rows: list[tuple[int, float, float, int, bool]], prices: list[tuple[float, bool, float]]
) -> Problem:
    classes: list[TaskClass] = []
    for k, (count, work, cv, slots, chained) in enumerate(rows):
        deps = make.after(f"c{k - 1}") if chained and k else ()
        classes.append(make.cls(f"c{k}", count, work, cv=cv, slots=slots, deps=deps))
    pools: list[Pool] = []
    for k, (usd, spot, speed) in enumerate(prices):
        kind = Spot(reclaims_per_h=0.5, outage_s=600) if spot else None
        pools.append(make.pool(f"p{k}", usd_h=usd, spot=kind, speed={"cpu": speed}))
    return make.problem(classes, pools, Deadline(at_s=50_000.0))


@given(CLASSES, PRICES)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_plan_runs_each_task_once_and_costs_no_less_than_the_bound(
    rows: list[tuple[int, float, float, int, bool]], prices: list[tuple[float, bool, float]]
) -> None:
    problem = _problem(rows, prices)

    plan = solve(problem, time_limit_s=0.15)

    tables = tables_of(problem)
    check_layout(problem, tables, plan.layout)
    # Run times are random and the bound is on their mean: leave room for the sample's error.
    assert plan.forecast.usd >= bounds_of(problem, tables).usd * 0.8


def test_nothing_that_lost_was_cheaper_and_kept_its_promise() -> None:
    """Candidates are told in the scenarios that the choice was made in, as the plan is."""
    for seed in range(3):
        plan = _planned(seed)

        kept = [each.usd for each in plan.candidates if each.is_kept]
        assert kept
        assert min(kept) >= plan.forecast.usd * (1 - 1e-9)
