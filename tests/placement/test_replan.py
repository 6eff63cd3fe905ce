"""Planning again: what is left, what has changed, and the guard that never fails."""

import pytest

from placement import Deadline, Held, InvalidProblemError, Observed, Problem, Spot
from placement.layout import Fleet, check_layout
from placement.replan import guard, reasons_to_replan, remaining, replan
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


def test_reclaims_outages_prices_drift_and_new_work_are_reasons_and_noise_is_none() -> None:
    running = _running()
    quiet = Observed(now_s=1.0, slower={"a": 1.05}, measured={"a": 4}, usd_h={"od": 0.6})
    loud = Observed(
        now_s=1.0,
        reclaimed=("spot",),
        down=("spot",),
        usd_h={"od": 0.9},
        slower={"a": 1.4},
        measured={"a": 30},
        new=(make.cls("late"),),
    )

    assert reasons_to_replan(running, quiet) == ()
    assert len(reasons_to_replan(running, loud)) == 5


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


def test_a_replan_without_time_still_answers() -> None:
    running = _running()
    layout = make.layout(running, Fleet(0, 4, 0.0, (0, 1)), fallback=(1, -1))
    left = remaining(running, Observed(now_s=300.0, done={"a": 20}))
    assert left is not None

    plan = replan(running, layout, left, time_limit_s=0.0)

    check_layout(left, tables_of(left), plan.layout)
