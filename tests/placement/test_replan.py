"""Planning again: what is left, what has changed, and the guard that never fails."""

import math
from dataclasses import replace
from typing import Any

import pytest

from placement import Deadline, Held, InvalidProblemError, Observed, Problem, Running, Spot
from placement.layout import Fleet, Layout, check_layout
from placement.observed import remaining
from placement.replan import carried_over, guard, replan
from placement.simulate import ClassSimulator
from placement.tables import tables_of
from tests.placement import make


def _running() -> Problem:
    spot = Spot(reclaims_per_h=0.3, outage_s=1200)
    pools = [
        make.pool("spot", vcpu=4, mem_gb=16, usd_h=0.2, spot=spot),
        make.pool("od", vcpu=4, mem_gb=16, usd_h=0.6),
    ]
    classes = [
        make.cls("a", 40, 60, cv=0.3, out_gb=0.5),
        make.cls("b", 20, 60, cv=0.3, deps=make.after("a")),
    ]
    return make.problem(classes, pools, Deadline(at_s=1500.0))


HELD = Held(pool="spot", count=2, up_s=10.0, ready_s=30.0)


def test_finished_parents_become_input_from_storage() -> None:
    left = remaining(_running(), Observed(now_s=300.0, done={"a": 40}, at={"a": "A"}, held=(HELD,)))

    assert left is not None
    assert [c.name for c in left.classes] == ["b"]
    assert left.classes[0].deps == ()
    assert left.classes[0].in_gb == pytest.approx(40 * 0.5 / 20)
    assert left.now_s == 300.0


def test_nothing_is_left_when_all_is_done() -> None:
    assert remaining(_running(), Observed(now_s=900.0, done={"a": 40, "b": 20})) is None


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(InvalidProblemError, match="unknown class"):
        remaining(_running(), Observed(now_s=1.0, done={"ghost": 1}))


def test_what_runs_stays_and_the_plan_covers_what_is_left() -> None:
    running = _running()
    layout = make.layout(running, Fleet(0, 2, 0.0, (0, 1)), fallback=(1, -1))
    left = remaining(running, Observed(now_s=300.0, done={"a": 20}, held=(HELD,), spent_usd=0.1))
    assert left is not None

    plan = replan(running, layout, left, time_limit_s=0.5)

    check_layout(left, tables_of(left), plan.layout)
    assert any(f.held == 0 for f in plan.layout.fleets)
    assert plan.forecast.hit >= 0.95
    assert plan.forecast.usd > 0.1


def test_the_guard_escalates_to_on_demand_when_the_deadline_is_near() -> None:
    running = _running()
    left = remaining(running, Observed(now_s=1000.0, held=(HELD,), down=("spot",)))
    assert left is not None
    tables = tables_of(left)
    slow = make.layout(left, Fleet(0, 2, None, (0, 1), held=0))

    safe = guard(left, tables, slow)

    luck = make.luck(left, size=32, seed=9)
    before = ClassSimulator(left, tables, luck).run(slow).miss_share(1500.0)
    after = ClassSimulator(left, tables, luck).run(safe).miss_share(1500.0)
    assert before > 0.5
    assert after <= 0.1
    assert any(f.pool == 1 for f in safe.fleets)


def test_the_guard_turns_to_a_dearer_pool_where_the_cheap_one_has_no_more_nodes() -> None:
    pools = [
        make.pool("cheap", vcpu=1, usd_h=0.8, nodes_max=1, provision_s=0, boot_s=0),
        make.pool("dear", vcpu=1, usd_h=8.0, nodes_max=1, provision_s=0, boot_s=0),
    ]
    left = make.problem([make.cls("a", 4, 10.0)], pools, Deadline(at_s=30.0))
    tables = tables_of(left)
    slow = make.layout(left, Fleet(0, 1, None, (0,)))

    safe = guard(left, tables, slow)

    luck = make.luck(left)
    assert ClassSimulator(left, tables, luck).run(slow).miss_share(30.0) == 1.0
    assert ClassSimulator(left, tables, luck).run(safe).miss_share(30.0) == 0.0
    check_layout(left, tables, safe)


def test_the_guard_takes_nodes_of_several_pools_where_one_has_too_few() -> None:
    pools = [
        make.pool(name, vcpu=1, usd_h=usd_h, nodes_max=2, provision_s=0, boot_s=0)
        for name, usd_h in (("cheap", 0.8), ("dear", 8.0), ("dearest", 9.0))
    ]
    left = make.problem([make.cls("a", 12, 10.0)], pools, Deadline(at_s=30.0))
    tables = tables_of(left)
    slow = make.layout(left, Fleet(0, 1, None, (0,)))

    safe = guard(left, tables, slow)

    assert ClassSimulator(left, tables, make.luck(left)).run(safe).miss_share(30.0) == 0.0
    check_layout(left, tables, safe)


def test_what_lost_its_pool_shares_the_last_nodes_of_another() -> None:
    """The other pool has one node, and the plan under way wants it for the class before."""
    pools = [make.pool("lost", vcpu=4, usd_h=2.0), make.pool("last", vcpu=4, usd_h=2.0)]
    classes = [make.cls("a", 16, 1), make.cls("b", 3, 1, deps=make.after("a"))]
    before = make.problem(classes, pools, Deadline(at_s=900.0))
    layout = make.layout(before, Fleet(1, 1, 0.0, (0,)), Fleet(0, 1, 0.0, (1,)), fallback=(-1, -1))
    held = Held(pool="last", count=1, up_s=10.0, ready_s=30.0)
    left = remaining(before, Observed(now_s=60.0, done={}, held=(held,)))
    assert left is not None
    after = replace(left, pools=(replace(pools[0], nodes_max=0), replace(pools[1], nodes_max=1)))

    plan = replan(before, layout, after, time_limit_s=0.0)

    assert {part for fleet in plan.layout.fleets for part in fleet.parts} == {0, 1}
    assert {fleet.pool for fleet in plan.layout.fleets} == {1}


def test_a_replan_without_time_still_answers() -> None:
    running = _running()
    layout = make.layout(running, Fleet(0, 4, 0.0, (0, 1)), fallback=(1, -1))
    left = remaining(running, Observed(now_s=300.0, done={"a": 20}))
    assert left is not None

    plan = replan(running, layout, left, time_limit_s=0.0)

    check_layout(left, tables_of(left), plan.layout)


def _layout(running: Problem, *fleets: Fleet) -> Layout:
    return make.layout(running, *(fleets or (Fleet(0, 6, 0.0, (0, 1)),)), fallback=(1, -1))


def _left(problem: Problem, **seen: Any) -> Problem:
    left = remaining(problem, Observed(**seen))
    assert left is not None
    return left


@pytest.mark.parametrize("seed", range(4))
def test_a_plan_made_again_never_lets_go_of_nodes_that_run(seed: int) -> None:
    """Six nodes run a task each; whatever the search finds, they are in the plan, as they are."""
    running = _running()
    six = Held(pool="spot", count=6, up_s=10.0, ready_s=30.0)
    busy = Running(cls="a", pool="spot", count=6, elapsed_s=20.0)
    left = _left(running, now_s=300.0, done={"a": 20}, held=(six,), running=(busy,))

    plan = replan(running, _layout(running), left, time_limit_s=0.5, seed=seed)

    kept = [f for f in plan.layout.fleets if f.held >= 0]
    assert [(f.pool, f.count, f.held) for f in kept] == [(0, 6, 0)]
    assert plan.event == ""


def test_work_that_runs_is_not_bought_again() -> None:
    """All that is left runs already on held nodes: there is nothing to ask for, in any plan."""
    running = _running()
    five = Held(pool="spot", count=5, up_s=10.0, ready_s=30.0)
    busy = Running(cls="b", pool="spot", count=20, elapsed_s=40.0)
    seen: dict[str, Any] = {"now_s": 300.0, "done": {"a": 40}, "held": (five,)}
    begun = _left(running, **seen, running=(busy,))
    unknown = _left(running, **seen)

    plan = replan(running, _layout(running), begun, time_limit_s=0.3)
    naive = replan(running, _layout(running), unknown, time_limit_s=0.3)

    assert plan.forecast.p50_s < naive.forecast.p50_s
    assert plan.forecast.usd < naive.forecast.usd


class Breaks:
    """A clock that works until it is asked for the n-th time: then it fails, once."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> float:
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("the solver broke")
        return 0.0


@pytest.mark.parametrize("after", [4, 8, 20])
def test_a_solver_that_breaks_leaves_the_guarded_plan_and_says_so(after: int) -> None:
    running = _running()
    left = _left(running, now_s=1000.0, held=(HELD,), down=("spot",))

    plan = replan(running, _layout(running), left, clock=Breaks(after))

    assert plan.event == "RuntimeError: the solver broke"
    assert plan.forecast.hit >= 0.9
    check_layout(left, tables_of(left), plan.layout)
    assert any(f.pool == 1 for f in plan.layout.fleets)


def test_a_solve_that_runs_out_of_time_is_guarded() -> None:
    """The clock jumps past any limit after the first look at it."""
    running = _running()
    left = _left(running, now_s=1000.0, held=(HELD,), down=("spot",))
    ticks = iter([0.0])

    plan = replan(running, _layout(running), left, clock=lambda: next(ticks, 1e9))

    assert plan.forecast.hit >= 0.9
    assert any(f.pool == 1 for f in plan.layout.fleets)


def test_nodes_that_came_for_work_are_not_asked_for_again() -> None:
    running = _running()
    layout = _layout(running, Fleet(0, 2, 0.0, (0, 1)), Fleet(1, 3, None, (1,)))
    came = (HELD, Held(pool="od", count=3, up_s=200.0, ready_s=230.0))
    left = _left(running, now_s=300.0, done={"a": 40}, held=came)

    carried = carried_over(running, layout, left, tables_of(left))

    assert [(f.pool, f.count, f.held) for f in carried.fleets] == [(0, 2, 0), (1, 3, 1)]


def test_one_to_one_output_that_was_read_is_nobodys_input_any_more() -> None:
    """40 parents, of which 20 are done; their 10 readers too: the other 10 read the other 20."""
    chain = make.problem(
        [make.cls("a", 40, out_gb=0.5), make.cls("b", 20, deps=make.after("a", mode="one"))]
    )

    half = _left(chain, now_s=300.0, done={"a": 20, "b": 10})
    none = _left(chain, now_s=300.0, done={"a": 20})

    assert half.classes[1].in_gb == 0.0
    assert none.classes[1].in_gb == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"done": {"a": 41}}, "must be from 0 to 40. where=observed.done['a'], value=41"),
        ({"usd_h": {"ghost": 1.0}}, "unknown pool. where=observed.usd_h, value='ghost'"),
        ({"slower": {"ghost": 1.0}}, "unknown class. where=observed.slower, value='ghost'"),
        ({"usd_h": {"od": math.nan}}, "a finite number is needed. where=pool 'od'.usd_h"),
        ({"running": (Running(cls="a", pool="od", count=1, elapsed_s=1.0),)}, "no node of the"),
        ({"held": (HELD,), "running": (Running(cls="a", pool="spot", count=41, elapsed_s=1.0),)},
         "more tasks run than there are. where=running.count of class 'a', value=41"),
    ],
)  # fmt: skip
def test_an_observation_that_cannot_be_is_refused(seen: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidProblemError) as caught:
        _left(_running(), now_s=1.0, **seen)

    assert words in str(caught.value)


@pytest.mark.parametrize("per_class", [5_000, 50_000])
def test_a_hundred_thousand_tasks_and_a_million_are_planned_again_in_about_the_same_time(
    per_class: int,
) -> None:
    """Twenty stages, thousands of lanes and a deadline at risk: escalation and its confirmation.

    Counted work, which is the same on any machine; the limit is 0.5, and the last look at a layout
    may end after it.
    """
    spot = Spot(reclaims_per_h=0.1, outage_s=900)
    pools = [
        make.pool(f"p{k}", vcpu=4 << (k % 4), mem_gb=64, usd_h=0.2 * (1 << (k % 4)),
                  spot=spot if k % 2 else None, nodes_max=200)
        for k in range(16)
    ]  # fmt: skip
    classes = [
        make.cls(f"s{k}", per_class, 60, cv=0.4, deps=make.after(f"s{k - 1}") if k % 3 else ())
        for k in range(20)
    ]
    running = make.problem(classes, pools, Deadline(at_s=0.5 * per_class + 3000.0))
    layout = make.layout(running, Fleet(3, 150, 0.0, tuple(range(20))), fallback=(-1,) * 16)
    held = Held(pool="p3", count=100, up_s=10.0, ready_s=30.0)
    left = _left(running, now_s=0.1 * per_class, done={"s0": per_class}, held=(held,))

    plan = replan(running, layout, left)

    assert plan.event == ""
    assert plan.used_s <= 0.75
    assert any(f.held == 0 and f.count == 100 for f in plan.layout.fleets)
