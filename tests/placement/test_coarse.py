"""Large problems, solved as small ones: nothing is lost on the way there and back."""

from collections.abc import Iterable

import pytest

from placement import Budget, Deadline, Held, Problem, Running, Spot, Weighted, solve
from placement.coarse import carried, factor_for, smaller
from placement.layout import Fleet, check_layout
from placement.replan import carried_over, replan
from placement.simulate import ClassSimulator
from placement.tables import tables_of
from tests.placement import make

FALLBACK = (-1, -1)


def _large(held: Iterable[Held] = (), running: Iterable[Running] = ()) -> Problem:
    """Some thirty thousand tasks, a class of one among them, on pools of unlike depth."""
    spot = Spot(reclaims_per_h=0.05, outage_s=900)
    pools = [
        make.pool("od", vcpu=16, mem_gb=64, usd_h=0.8, nodes_max=900),
        make.pool("spot", vcpu=16, mem_gb=64, usd_h=0.3, nodes_max=23, spot=spot),
    ]
    classes = [
        make.cls("a", 20_000, 200, cv=0.3),
        make.cls("b", 10_000, 200, cv=0.3, slots=2, deps=make.after("a")),
        make.cls("c", 1, 60, deps=make.after("b")),
    ]
    return make.problem(
        classes, pools, Deadline(at_s=2_000.0), held=tuple(held), running=tuple(running)
    )


def _calm_end_s(problem: Problem, layout: object) -> float:
    simulator = ClassSimulator(problem, tables_of(problem), make.no_luck(problem))
    return float(simulator.run(layout).end_s[0])  # type: ignore[arg-type]


def test_a_problem_that_the_time_is_enough_for_is_left_as_it_is() -> None:
    assert factor_for(make.problem([make.cls(count=5_000)]), 2.0) == 1.0
    assert factor_for(_large(), 60.0) == 1.0
    assert factor_for(_large(), 2.0) == pytest.approx(30_001 / 6_000)


def test_a_small_problem_has_as_much_of_each_pool_for_each_task() -> None:
    large = _large()

    coarse = smaller(large, tables_of(large), 10.0)

    assert [c.count for c in coarse.small.classes] == [2_000, 1_000, 1]
    for pool, whole in zip(coarse.small.pools, large.pools, strict=True):
        lanes = whole.nodes_max * whole.vcpu / 10.0
        assert pool.nodes_max * int(pool.vcpu + 1e-9) == pytest.approx(lanes, rel=0.1)
        assert pool.usd_h / pool.vcpu == pytest.approx(whole.usd_h / whole.vcpu)
        assert pool.net_gbps / pool.vcpu == pytest.approx(whole.net_gbps / whole.vcpu)


def test_a_layout_takes_as_long_at_both_sizes() -> None:
    large = _large()
    coarse = smaller(large, tables_of(large), 10.0)
    small = make.layout(
        coarse.small,
        Fleet(0, coarse.small.pools[0].nodes_max // 3, 0.0, (0, 1, 2)),
        Fleet(1, coarse.small.pools[1].nodes_max, 0.0, (0, 1)),
        fallback=FALLBACK,
    )

    grown = coarse.grown(small)

    check_layout(large, coarse.tables, grown)
    ends_s = _calm_end_s(coarse.small, small), _calm_end_s(large, grown)
    assert ends_s[0] == pytest.approx(ends_s[1], rel=0.05)


def test_one_task_is_not_given_the_nodes_of_many() -> None:
    large = _large()
    coarse = smaller(large, tables_of(large), 10.0)
    small = make.layout(
        coarse.small, Fleet(0, 9, 0.0, (0, 1)), Fleet(1, 1, None, (2,)), fallback=FALLBACK
    )

    assert coarse.grown(small).fleets[1].count == 1


def test_a_budget_and_a_weight_are_those_of_as_many_tasks() -> None:
    large = _large()
    for objective, small in (
        (Budget(usd=50.0), Budget(usd=5.0)),
        (Weighted(usd_per_h=3.0), Weighted(usd_per_h=0.3)),
    ):
        asked = Problem(classes=large.classes, pools=large.pools, objective=objective)
        assert smaller(asked, tables_of(asked), 10.0).small.objective == small


def test_what_is_held_and_what_is_asked_for_comes_back_as_it_was() -> None:
    """Rounded up at every plan that is made again, three nodes would soon be thirty."""
    held = [
        Held(pool="od", count=c, up_s=float(c), ready_s=30.0) for c in (31, 2)
    ]  # fmt: skip
    running = [Running(cls="a", pool="od", count=1, elapsed_s=float(k)) for k in range(200)]
    large = _large(held, running)
    layout = make.layout(
        large,
        Fleet(0, 31, None, (0, 1, 2), held=0),
        Fleet(0, 2, None, (0, 1, 2), held=1),
        Fleet(1, 3, 400.0, (1, 2)),
        fallback=FALLBACK,
    )

    coarse, small = carried(smaller(large, tables_of(large), 10.0), layout)

    assert sum(run.count for run in coarse.small.running) == 20
    assert {f.count for f in small.fleets if f.held == 0} == {coarse.small.held[0].count}
    assert coarse.grown(small) == layout


def test_a_large_problem_is_planned_within_its_time_and_its_forecast_holds() -> None:
    large = _large()

    plan = solve(large, time_limit_s=1.0)

    check_layout(large, tables_of(large), plan.layout)
    assert plan.used_s <= 1.0
    assert plan.shortfall == ""
    sample = ClassSimulator(large, tables_of(large), make.luck(large, 32, 9)).run(plan.layout)
    assert sample.mean_usd == pytest.approx(plan.forecast.usd, rel=0.05)
    assert sample.quantile_s(0.95) == pytest.approx(plan.forecast.p95_s, rel=0.1)


def test_a_first_plan_that_would_be_late_is_made_wider() -> None:
    large = _large()

    assert solve(large, time_limit_s=0.0).forecast.hit >= 0.95


def test_a_large_plan_that_is_made_again_keeps_the_nodes_that_run() -> None:
    held = [Held(pool="od", count=41, up_s=0.0, ready_s=30.0)]
    before, after = _large(), _large(held)
    layout = make.layout(before, Fleet(0, 41, 0.0, (0, 1, 2)), fallback=FALLBACK)

    plan = replan(before, layout, after, time_limit_s=0.5)

    kept = carried_over(before, layout, after, tables_of(after))
    assert [f.count for f in plan.layout.fleets if f.held == 0] == [41]
    assert [f.count for f in kept.fleets if f.held == 0] == [41]
    assert plan.used_s <= 0.75
    assert plan.bound_usd > 0.0


def test_what_is_poured_at_full_size_is_not_made_small() -> None:
    large = _large()
    coarse = smaller(large, tables_of(large), 10.0)
    few, many = (
        make.layout(coarse.small, Fleet(0, nodes, 0.0, (0, 1, 2)), fallback=FALLBACK)
        for nodes in (2, 60)
    )

    assert not coarse.is_worth_it(few)
    assert coarse.is_worth_it(many)


@pytest.mark.parametrize(("tasks", "vcpu"), [(10_000, 10.0), (200_000, 4.0), (20_000, 1.0)])
@pytest.mark.parametrize("time_limit_s", [0.0, 0.8])
def test_very_many_tasks_on_one_machine_fit_in_it(
    tasks: int, vcpu: float, time_limit_s: float
) -> None:
    """Tasks that stand for more than run at once would need a machine that is smaller than one."""
    pool = make.pool("one", vcpu=vcpu, mem_gb=64.0, nodes_max=1)
    problem = make.problem([make.cls("rows", tasks)], [pool], Weighted(usd_per_h=1.0))

    plan = solve(problem, time_limit_s=time_limit_s)

    assert sum(part.count for part in plan.layout.parts) == tasks
