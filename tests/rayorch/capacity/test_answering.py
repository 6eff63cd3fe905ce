"""Questions about capacity, answered by simulated runs of the real scheduler and solver."""

import msgspec
import pytest

from rayorch.capacity.answering import capacity, itself_of
from rayorch.capacity.asking import Calibrated
from rayorch.capacity.errors import CapacityError
from rayorch.capacity.tables import basis
from tests.rayorch.capacity import make

PAIR = make.pools(
    {"name": "here", "usd_h": 0.4, "max_nodes": 6},
    {"name": "spot", "usd_h": 0.1, "max_nodes": 6, "spot": {"reclaims_per_h": 6, "outage_s": 600}},
)


def test_a_deadline_is_kept_by_the_runs_that_are_simulated() -> None:
    found = capacity(make.question(deadline_s=180.0, every_s=86_400.0))

    assert not found.refused
    assert found.finish.hit == 1.0
    assert found.finish.p50_s <= found.finish.p95_s <= 180.0
    (pool,) = found.pools
    assert 1 <= pool.nodes <= pool.nodes_most <= pool.nodes_max == 20
    assert found.usd is not None
    assert found.runs_month == pytest.approx(30.4, abs=0.1)
    assert found.usd_month == pytest.approx(30.4 * found.usd, rel=0.01)


def test_machines_of_the_middle_run_come_and_go_and_are_never_more_than_can_be_had() -> None:
    found = capacity(make.question(growth=20.0))

    assert {each.pool for each in found.standing} == {"here"}
    assert max(each.nodes for each in found.standing) <= found.pools[0].nodes_most
    assert found.standing[-1].nodes == 0
    ends = [each.at_s for each in found.standing]
    assert ends == sorted(ends)
    assert ends[-1] == pytest.approx(found.finish.p50_s, rel=0.5)


@pytest.mark.slow
def test_the_same_question_has_the_same_answer() -> None:
    asked = make.question(deadline_s=180.0)

    assert msgspec.to_builtins(capacity(asked)) == msgspec.to_builtins(capacity(asked))


def test_a_deadline_that_nothing_can_meet_is_refused_with_one_that_can_be_met() -> None:
    """Machines take 100 s to start: no run ends within 90 s, and the one that is named is kept."""
    found = capacity(make.question(deadline_s=90.0))

    assert "nothing keeps 90.0 s in 95 % of the runs" in found.refused
    named, _, seconds = found.nearest.partition(" ")
    assert named == "--deadline"
    again = capacity(make.question(deadline_s=float(seconds.rstrip("s,").partition("s")[0])))
    assert not again.refused


@pytest.mark.slow
def test_losing_a_pool_and_twice_the_data_are_shown_with_what_they_cost() -> None:
    long = make.profile(make.stage(tasks=80, task_s=30.0))
    zones = (("us-east-1a", ("here", "spot")),)

    found = capacity(make.question(profile=long, pools=PAIR, deadline_s=1_200.0, zones=zones))

    names = [each.name for each in found.losses]
    assert "without spot from half-way on" in names
    assert "without zone us-east-1a from half-way on" in names
    zone = next(each for each in found.losses if "zone" in each.name)
    assert zone.unfinished  # Both of its pools are there.
    assert found.doubled is not None
    assert found.doubled.p50_s > found.finish.p50_s
    assert found.uses[0].doubled == max(use.doubled for use in found.uses)


def test_a_price_that_nobody_knows_is_not_made_up() -> None:
    found = capacity(make.question(pools=make.pools({"usd_h": None})))

    assert found.usd is None
    assert found.usd_month is None
    assert found.core_hours > 0.0
    assert all(point.usd is None for point in found.frontier)


def test_a_pool_that_nothing_was_measured_on_is_said_and_makes_the_answer_less_sure() -> None:
    known = capacity(make.question(scenarios=10))
    strange = capacity(make.question(scenarios=10, pools=make.pools({"name": "new"})))

    assert not known.unknown
    assert any("pool new: how fast it is was not measured" in each for each in strange.unknown)
    assert strange.headroom > known.headroom


def test_an_answer_says_how_far_the_simulator_is_off_the_profiled_run() -> None:
    """40 tasks of 2 s on four runners."""
    took = make.profile(whole_s=21.2, core_s=80.0)

    simulated_s = float(itself_of(took, 0).whole_s.mean())
    assert simulated_s == pytest.approx(21.2, rel=0.05)
    found = capacity(make.question(profile=took))
    assert (found.measured_s, found.simulated_s) == (21.2, simulated_s)
    assert found.measured_core_s == took.core_s
    off = 100.0 * (found.simulated_core_s / took.core_s - 1.0)
    assert dict(basis(found))["its cost"].endswith(f"({off:+.1f} %)")


def test_a_simulator_that_is_less_sure_makes_the_answer_less_sure() -> None:
    off = Calibrated(version=1, runs=9, whole_median=0.3, whole_worst=0.5, usd_median=0.1)

    sure = capacity(make.question(scenarios=10))
    unsure = capacity(make.question(scenarios=10, calibrated=off))

    assert unsure.headroom > 2 * sure.headroom


def test_a_task_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(CapacityError, match="no machine of these pools holds a task"):
        capacity(make.question(pools=make.pools({"memory": make.GIB // 2})))


def test_a_measured_pool_is_as_fast_as_it_was_whatever_speed_is_stated_for_it() -> None:
    """A stated speed is what is known of a pool until it has been measured."""
    took = make.profile(whole_s=21.2)
    usual = capacity(make.question(profile=took, scenarios=2))

    stated = capacity(
        make.question(profile=took, scenarios=2, pools=make.pools({"name": "here", "speed": 0.5}))
    )

    assert stated.finish.p50_s == pytest.approx(usual.finish.p50_s, rel=0.1)
