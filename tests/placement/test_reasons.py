"""What is a reason to plan again, and what is noise."""

import numpy as np
import pytest

from placement import (
    Deadline,
    Held,
    InvalidProblemError,
    Observed,
    Problem,
    Spot,
    reasons_to_replan,
    remaining,
)
from placement.layout import Fleet, Layout
from tests.placement import make

HELD = Held(pool="spot", count=6, up_s=10.0, ready_s=30.0)


def _running() -> Problem:
    spot = Spot(reclaims_per_h=0.05, outage_s=1200)
    pools = [
        make.pool("spot", vcpu=4, mem_gb=16, usd_h=0.2, spot=spot),
        make.pool("od", vcpu=4, mem_gb=16, usd_h=0.6),
    ]
    classes = [
        make.cls("a", 40, 60, cv=0.3, out_gb=0.5),
        make.cls("b", 20, 60, cv=0.3, deps=make.after("a")),
    ]
    return make.problem(classes, pools, Deadline(at_s=900.0))


def _layout(running: Problem) -> Layout:
    return make.layout(running, Fleet(0, 6, 0.0, (0, 1)), fallback=(1, -1))


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


def test_the_mean_of_what_was_measured_decides_and_not_chance() -> None:
    """A fifth slower is luck for nine tasks and not for ninety."""
    running = _running()

    few = Observed(now_s=1.0, slower={"a": 1.2}, measured={"a": 9})
    many = Observed(now_s=1.0, slower={"a": 1.2}, measured={"a": 90})

    assert reasons_to_replan(running, few) == ()
    assert reasons_to_replan(running, many) == ("class a takes 1.20 times as long as expected",)


def test_luck_alone_is_no_reason_at_any_look() -> None:
    """A hundred runs that go as planned, looked at after every task: a plan is hardly ever left."""
    running = _running()
    sigma = np.sqrt(np.log1p(0.3**2))
    left = 0
    for seed in range(100):
        took = np.random.default_rng(seed).lognormal(-(sigma**2) / 2, sigma, 40)
        means = took.cumsum() / np.arange(1, 41)
        seen = (
            Observed(now_s=1.0, slower={"a": float(mean)}, measured={"a": n})
            for n, mean in enumerate(means, 1)
        )
        left += any(reasons_to_replan(running, each) for each in seen)

    assert left <= 8


def test_a_plan_that_was_made_again_for_a_reason_is_not_made_again_for_the_same() -> None:
    running = _running()
    seen = Observed(
        now_s=100.0,
        slower={"a": 1.4},
        measured={"a": 30},
        usd_h={"od": 0.9},
        down=("spot",),
        held=(HELD,),
    )
    assert len(reasons_to_replan(running, seen)) == 3
    after = remaining(running, seen)
    assert after is not None

    # The same prices and pools; what is measured from now on agrees with what was planned.
    again = Observed(
        now_s=110.0, slower={"a": 1.03}, measured={"a": 40}, usd_h={"od": 0.9}, down=("spot",)
    )
    assert reasons_to_replan(after, again) == ()


def test_a_pool_that_is_back_is_a_reason() -> None:
    running = make.problem(None, [make.pool("spot", spot=Spot()), make.pool("od")], down=("spot",))

    assert reasons_to_replan(running, Observed(now_s=1.0)) == ("pool spot is back",)


def test_a_price_that_hardly_moved_is_none() -> None:
    assert reasons_to_replan(_running(), Observed(now_s=1.0, usd_h={"od": 0.605})) == ()


def test_a_deadline_at_risk_is_a_reason_while_the_plan_promised_to_keep_it() -> None:
    running, layout = _running(), _layout(_running())
    in_time = Observed(now_s=150.0, done={"a": 30}, held=(HELD,))
    late = Observed(now_s=800.0, done={"a": 10}, held=(HELD,))

    assert reasons_to_replan(running, in_time, layout) == ()
    (reason,) = reasons_to_replan(running, late, layout)
    assert reason == "the deadline is kept in 0% of runs, not 95%"
    # Planned again, and still late: nothing new to plan for.
    assert reasons_to_replan(running, late, layout, promised=0.0) == ()


def test_a_deadline_that_has_passed_is_told_and_not_simulated() -> None:
    seen = Observed(now_s=901.0, held=(HELD,))

    assert reasons_to_replan(_running(), seen, _layout(_running())) == ("the deadline has passed",)


def test_a_factor_that_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidProblemError, match="must be above 0"):
        reasons_to_replan(_running(), Observed(now_s=1.0, slower={"a": 0.0}))
