"""The smaller pieces: bounds, menu, tiny schedules, luck, moves, risk, frontier, reasons."""

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from placement.bounds import bounds_of, cheapest_node_usd, earliest_finish_s
from placement.budget import Budget
from placement.errors import InvalidPlanError, SolverError
from placement.evaluate import Evaluator
from placement.exact import Matrix, minimise
from placement.explain import explain
from placement.frontier import Point, frontier, undominated
from placement.greedy import data_locations, orders, parts_in_order, sites_of
from placement.layout import Fleet, Part, check_layout
from placement.menu import menu_layout
from placement.model import Budget as UsdBudget
from placement.model import Deadline, Network, Problem, Spot
from placement.moves import MOVES, Surroundings, is_valid, neighbour
from placement.risk import Goal, hit_interval
from placement.sample import Sample
from placement.scenarios import draw, is_random, take
from placement.simulate import ClassSimulator
from placement.solve import solve
from placement.spine import spine_layout, spines
from placement.tables import tables_of
from placement.tiny import is_tiny, tiny_layout
from tests.placement import make

if TYPE_CHECKING:
    from placement.plan import Plan


def test_the_bound_is_exact_where_packing_is_perfect() -> None:
    """Four tasks of 100 s on a node of two slots: 200 node seconds, and their share of boot."""
    p = make.problem([make.cls(count=4)], objective=Deadline(at_s=1030.0))

    bounds = bounds_of(p, tables_of(p))

    assert bounds.usd == pytest.approx(200 * (1 + 20 / 1000))
    assert bounds.finish_s == 130
    assert cheapest_node_usd(p, tables_of(p)) <= bounds.usd
    assert earliest_finish_s(p, tables_of(p)) == 130


def test_the_bound_pays_for_egress_or_for_dearer_machines() -> None:
    pools = [make.pool("here", usd_h=3600.0), make.pool("there", usd_h=36.0, loc="B")]
    near = make.problem([make.cls(count=1, in_gb=10.0)], pools)

    assert bounds_of(near, tables_of(near)).usd == pytest.approx(10.0, rel=0.3)


def test_an_infeasible_model_says_so() -> None:
    matrix = Matrix()
    x = matrix.column(1.0, high=1.0)
    matrix.row([(x, 1.0)], 2.0, np.inf)

    with pytest.raises(SolverError, match="status=Infeasible, model=test"):
        minimise(matrix, limit_s=1.0, name="test")


def test_a_menu_gives_each_class_time_and_nodes() -> None:
    p = make.problem([make.cls("a", 20), make.cls("b", 10, deps=make.after("a"))])
    tables = tables_of(p)

    layout = menu_layout(p, tables, 900.0, np.ones(1, dtype=bool), limit_s=2.0)

    check_layout(p, tables, layout)
    sample = ClassSimulator(p, tables, make.no_luck(p)).run(layout)
    assert sample.end_s[0] <= 1000.0


def test_a_tiny_schedule_packs_whole_hours() -> None:
    """Two tasks of 30 min: one hour on one node by the hour beats two nodes by the second."""
    pools = [
        make.pool("second", vcpu=1, usd_h=3.0, boot_s=0),
        make.pool("hour", vcpu=1, usd_h=2.0, bill_s=3600, boot_s=0, provision_s=0),
    ]
    p = make.problem([make.cls(count=2, work_s=1800)], pools, Deadline(at_s=4000.0))
    assert is_tiny(p)

    layout, solution = tiny_layout(p, tables_of(p), limit_s=5.0)

    check_layout(p, tables_of(p), layout)
    assert solution.is_proven
    assert solution.cost == pytest.approx(2.0)
    assert [(f.pool, f.count) for f in layout.fleets] == [(1, 1)]


def test_luck_has_the_mean_and_the_outages_that_were_asked_for() -> None:
    spot = make.pool("s", spot=Spot(reclaims_per_h=1.0, outage_s=3600.0))
    p = make.problem([make.cls(count=500, cv=0.5)], [spot, make.pool()])

    luck = draw(p, 200, 1, horizon_s=1e6)

    assert luck.noise[0].mean() == pytest.approx(1.0, abs=0.01)
    assert luck.noise[0].std() == pytest.approx(0.5, abs=0.02)
    assert (luck.gone[:, 0, 0] == 0).mean() == pytest.approx(0.5, abs=0.12)
    assert np.isinf(luck.gone[:, 1]).all()
    assert is_random(p)


def test_a_trace_is_read_from_a_random_place_and_a_pool_that_is_down_begins_down() -> None:
    trace = Spot(trace_up=(True, True, False, True), gap_s=100.0)
    p = make.problem(None, [make.pool("s", spot=trace), make.pool()], down=("s",))

    luck = draw(p, 50, 2, horizon_s=1000.0)

    assert (luck.gone[:, 0, 0] == 0).all()
    assert (luck.back[:, 0, 0] == 100.0).all()
    assert (luck.gone[:, 0, 1] == 400.0).all()


def _mixed() -> Problem:
    pools = [make.pool("s", spot=Spot(reclaims_per_h=0.3, outage_s=600)), make.pool("od")]
    return make.problem([make.cls("a", 9), make.cls("b", 3, deps=make.after("a"))], pools)


def test_every_move_keeps_a_layout_valid() -> None:
    p = _mixed()
    tables = tables_of(p)
    around = Surroundings.of(p, tables, np.array([0.0, 200.0]))
    rng = np.random.default_rng(0)
    layout, moved = make.layout(p, Fleet(0, 2, 0.0, (0, 1)), Fleet(1, 1, 50.0, (0, 1))), 0

    for _ in range(600):
        tried = neighbour(layout, around, rng)
        if tried is not None:
            assert is_valid(tried, around)
            check_layout(p, tables, tried)
            layout, moved = tried, moved + 1

    assert moved > 100
    assert len(MOVES) > 5


def test_work_goes_where_its_data_are() -> None:
    usd = {("A", "B"): 0.02, ("B", "A"): 0.02}
    classes = [
        make.cls("east", 10, in_gb=5.0, source="A", out_gb=0.1),
        make.cls("west", 10, in_gb=5.0, source="B", out_gb=0.5),
        make.cls("join", 5, deps=make.after("east", "west"), source="A"),
    ]
    p = make.problem(
        classes, [make.pool("a"), make.pool("b", loc="B")], network=Network(egress_usd_gb=usd)
    )
    tables = tables_of(p)

    assert [tables.locations[k] for k in data_locations(p, tables)] == ["A", "B", "B"]


def test_broken_layouts_are_refused() -> None:
    p = _mixed()
    tables = tables_of(p)
    good = make.layout(p)

    for parts, words in (
        ((Part(0, 0, 9),), "not placed"),
        ((Part(0, 0, 9), Part(0, 5, 9), Part(1, 0, 3)), "twice"),
        ((Part(0, 0, 8), Part(1, 0, 3)), "not placed"),
    ):
        with pytest.raises(InvalidPlanError, match=words):
            check_layout(p, tables, make.layout(p, *good.fleets, parts=parts))
    with pytest.raises(InvalidPlanError, match="no node"):
        check_layout(p, tables, make.layout(p, Fleet(0, 1, 0.0, (0,))))


def _sample(end_s: list[float], usd: float) -> Sample:
    ends = np.array(end_s)
    zeros = np.zeros(ends.size)
    return Sample(
        end_s=ends, usd=zeros + usd, egress_usd=zeros, request_usd=zeros, ready_s=zeros,
        done_s=zeros, tasks=np.zeros((1, 1)),
    )  # fmt: skip


def test_a_late_plan_scores_worse_than_a_dearer_one_that_is_in_time() -> None:
    goal = Goal(objective=Deadline(at_s=100.0))
    in_time, late = _sample([90.0] * 20, 1.03), _sample([90.0] * 18 + [120.0] * 2, 1.0)

    assert goal.score(in_time) < goal.score(late)
    assert goal.is_kept(in_time)
    assert not goal.is_kept(late)


def test_a_late_plan_is_better_for_each_scenario_and_each_second_that_it_gains() -> None:
    """A search that is late everywhere has to see which way is out."""
    goal = Goal(objective=Deadline(at_s=100.0))
    worst = _sample([90.0] * 12 + [150.0] * 8, 1.0)
    fewer = _sample([90.0] * 14 + [150.0] * 6, 1.0)
    sooner = _sample([90.0] * 12 + [120.0] * 7 + [150.0], 1.0)

    assert goal.score(fewer) < goal.score(worst)
    assert goal.score(sooner) < goal.score(worst)


def test_a_budget_is_kept_with_what_the_mean_may_be_off_by() -> None:
    goal = Goal(objective=UsdBudget(usd=1.0))
    sure = _sample([90.0] * 4, 0.99)
    lucky = Sample(
        end_s=sure.end_s, usd=np.array([0.1, 0.1, 1.88, 1.88]), egress_usd=sure.egress_usd,
        request_usd=sure.request_usd, ready_s=sure.ready_s, done_s=sure.done_s, tasks=sure.tasks,
    )  # fmt: skip

    assert goal.is_kept(sure)
    assert not goal.is_kept(lucky)


def _evaluator(p: Problem) -> Evaluator:
    deadline = p.objective
    assert isinstance(deadline, Deadline)
    return Evaluator(p, tables_of(p), Budget(100.0), size=64, seed=1, end_s=deadline.at_s)


def test_a_race_scores_what_wins_like_all_scenarios_and_gives_up_on_what_is_dearer() -> None:
    p = make.problem([make.cls(count=8, cv=0.3)], objective=Deadline(at_s=900.0))
    evaluator, goal = _evaluator(p), Goal(objective=p.objective)
    small, large = (make.layout(p, Fleet(0, n, 0.0, (0,))) for n in (2, 4))
    dear, cheap = evaluator.scored(large, goal), evaluator.scored(small, goal)

    won = evaluator.race(small, dear, goal, heat=0.0)

    assert cheap.score < dear.score
    assert won is not None
    assert won.score == cheap.score
    assert evaluator.race(large, cheap, goal, heat=0.0) is None
    assert evaluator.race(large, dear, goal, heat=1.0) is None, "it changes nothing"


def test_a_race_never_trades_a_kept_deadline_for_a_cheap_plan_that_is_late() -> None:
    p = make.problem([make.cls(count=8, cv=0.3)], objective=Deadline(at_s=300.0))
    evaluator, goal = _evaluator(p), Goal(objective=p.objective)
    late, in_time = (make.layout(p, Fleet(0, n, 0.0, (0,))) for n in (1, 4))
    kept = evaluator.scored(in_time, goal)

    assert goal.is_kept(kept.sample)
    assert evaluator.is_far_off(late, goal)
    assert not evaluator.is_far_off(in_time, goal)
    assert evaluator.race(late, kept, goal, heat=1e9) is None


def test_chosen_scenarios_are_those_that_were_drawn() -> None:
    p = make.problem([make.cls(cv=0.5)], [make.pool(spot=Spot(reclaims_per_h=5.0))])
    every = make.luck(p, size=8)

    some = take(every, np.array([6, 1]))

    assert some.size == 2
    assert (some.noise[0] == every.noise[0][[6, 1]]).all()
    assert (some.gone == every.gone[[6, 1]]).all()


def test_the_hit_interval_holds_the_share_and_narrows() -> None:
    low, high = hit_interval(95, 100)
    lower, higher = hit_interval(950, 1000)

    assert low < 0.95 < high
    assert higher - lower < high - low


def test_a_budget_of_counted_work_is_used_up_by_charges() -> None:
    budget = Budget(10.0)
    part = budget.slice_of(0.5)
    budget.charge(2.5)

    assert part.share == pytest.approx(0.5)
    assert budget.left_s == pytest.approx(7.5)


def test_a_frontier_falls_from_the_fastest_to_the_cheapest() -> None:
    points = frontier(_mixed(), points=4, time_limit_s=2.0)

    ends, costs = [p.p95_s for p in points], [p.usd for p in points]
    assert points
    assert ends == sorted(ends)
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize("objective", [Deadline(at_s=40.0), UsdBudget(usd=1e-6)])
def test_a_frontier_is_never_empty_however_far_the_bound_is_from_what_can_be_done(
    objective: Deadline | UsdBudget,
) -> None:
    """Four nodes for 400 tasks: paths say 130 s, the work takes hours; nothing keeps the goal."""
    pools = [make.pool("a", nodes_max=4), make.pool("b", nodes_max=4, usd_h=7200.0)]
    p = make.problem([make.cls(count=400, cv=0.3)], pools, objective)

    points = frontier(p, points=5, time_limit_s=0.6)

    assert len(points) >= 2
    fastest, cheapest = points[0], points[-1]
    assert fastest.p95_s < 0.8 * cheapest.p95_s
    assert cheapest.usd < 0.8 * fastest.usd
    for point in points:
        check_layout(p, tables_of(p), point.plan.layout)


@pytest.mark.parametrize(("count", "solves"), [(1, 2), (40, 5)])
def test_no_plan_is_looked_for_between_ends_that_cost_the_same(
    count: int, solves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One task has one fastest and cheapest machine; many may have more of them and end sooner."""
    asked = []

    def counted(problem: Problem, **limits: Any) -> "Plan":
        asked.append(problem)
        return solve(problem, **limits)

    monkeypatch.setattr(sys.modules["placement.frontier"], "solve", counted)
    problem = make.problem([make.cls(count=count)], [make.pool("a", nodes_max=20, boot_s=60.0)])

    assert frontier(problem, points=5, time_limit_s=0.5)
    assert len(asked) == solves


def test_a_frontier_of_one_point_or_none_is_what_it_says() -> None:
    assert len(frontier(_mixed(), points=1, time_limit_s=0.1)) == 1
    assert frontier(_mixed(), points=0) == ()


def test_dominated_points_are_dropped() -> None:
    plan: Plan = frontier(_mixed(), points=2, time_limit_s=0.5)[0].plan
    raw = [(100.0, 5.0), (200.0, 6.0), (300.0, 4.0)]

    kept = undominated([Point(deadline_s=t, usd=u, p95_s=t, plan=plan) for t, u in raw])

    assert [(p.p95_s, p.usd) for p in kept] == [(100.0, 5.0), (300.0, 4.0)]


def test_each_pool_is_chosen_or_has_a_reason() -> None:
    pools = [make.pool("cheap"), make.pool("dear", usd_h=7200.0), make.pool("small", mem_gb=0.5)]
    p = make.problem([make.cls(count=2)], pools)

    (choice,) = explain(p, make.layout(p))

    reasons = {o.pool: o.reason for o in choice.options}
    assert reasons["cheap"] == "chosen"
    assert reasons["dear"] == "dearer by 100%"
    assert reasons["small"] == "too small: needs mem_gb=1, has 0.5"
    assert choice.start_s == 0.0
    assert choice.finish_s == 130.0


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"usd_h": 3600.1}, "as good, but not needed"),
        ({"speed": {"cpu": 1.001}}, "as good, but not needed"),
        ({"boot_s": 50}, "up 30 s later"),
        ({"spot": Spot(reclaims_per_h=10.0, outage_s=600)}, "74% likelier to go away"),
        ({"speed": {"cpu": 0.8}}, "dearer by 25%, slower by 25%"),
        ({"speed": {"cpu": 2.0}, "usd_h": 9000.0}, "dearer by 25%, though quicker by 50%"),
        ({"speed": {"cpu": 2.0}, "usd_h": 7200.0}, "quicker by 50%, but not needed"),
        ({"speed": {}}, "no speed for kind 'cpu'"),
        ({"nodes_max": 0}, "no nodes: nodes_max=0"),
    ],
)
def test_a_reason_names_what_truly_differs(other: dict[str, Any], reason: str) -> None:
    p = make.problem([make.cls(count=2)], [make.pool("mine"), make.pool("other", **other)])

    (choice,) = explain(p, make.layout(p))

    assert {o.pool: o.reason for o in choice.options}["other"] == reason


def test_lateness_weighs_more_when_a_search_comes_to_its_end() -> None:
    early, last = (Goal(objective=Deadline(at_s=100.0), severity=s) for s in (1.0, 4.0))
    late, in_time = _sample([90.0] * 18 + [120.0] * 2, 1.0), _sample([90.0] * 20, 1.0)

    assert last.score(late) > early.score(late)
    assert last.score(in_time) == early.score(in_time)


def test_narrow_work_gets_a_node_of_its_own_and_wide_work_comes_and_goes() -> None:
    wide, after = make.cls("wide", 64, work_s=60), make.cls("after", 1, deps=make.after("wide"))
    again = make.cls("again", 64, work_s=30, deps=make.after("after"))
    p = make.problem(
        [wide, after, again],
        [make.pool("large", vcpu=16, mem_gb=64, usd_h=1.0), make.pool("small", usd_h=0.2)],
        Deadline(at_s=900.0),
    )
    tables = tables_of(p)
    parts = parts_in_order(tables)
    (site,) = sites_of(p, tables, parts, data_locations(p, tables))
    begin_s = np.array([0.0, 300.0, 500.0])

    made = dict(spines(p, tables, parts, site, dict(orders(p)), 900.0))
    spine = made["spine-small-cheapest"]
    layout = spine_layout(p, tables, parts, spine, 1.0, lambda _: begin_s)

    small, first, second = layout.fleets[0], layout.fleets[1], layout.fleets[-1]
    assert (small.count, small.parts) == (1, (0, 1, 2))
    assert first.parts == (0,)
    assert first.at_s == 0.0
    assert second.parts == (2,)
    assert 300.0 < (second.at_s or 0.0) <= 500.0
