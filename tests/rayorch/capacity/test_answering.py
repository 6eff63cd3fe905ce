"""Questions about capacity, answered by simulated runs of the real scheduler and solver."""

import re
from functools import cache, partial

import msgspec
import pytest

from rayorch.capacity import answering, trading
from rayorch.capacity.answering import capacity
from rayorch.capacity.asking import Calibrated, Capacity
from rayorch.capacity.errors import CapacityError
from rayorch.capacity.itself import itself_of
from rayorch.capacity.scenarios import scenarios_for, surely_kept
from rayorch.capacity.tables import (
    basis,
    frontier_rows,
    headrooms,
    machine_rows,
    stage_text,
    use_rows,
    what_if_rows,
)
from rayorch.observe.figures import times_text
from rayorch.plan.profile import RunnersSeen
from rayorch.sim import trial
from rayorch.sim.turns import ControlCpu
from tests.rayorch.capacity import make

PAIR = make.pools(
    {"name": "here", "usd_h": 0.4, "max_nodes": 6},
    {"name": "spot", "usd_h": 0.1, "max_nodes": 6, "spot": {"reclaims_per_h": 6, "outage_s": 600}},
)


@cache
def _usual() -> Capacity:
    """The answer that others are compared with."""
    return capacity(make.question(scenarios=10))


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


def test_a_stage_behind_an_exchange_goes_on_elsewhere_when_its_pool_is_lost() -> None:
    """Its sources are read by then: no plan has anything left to place."""
    stages = make.stage("read", 20), make.stage("sums", 400, after=(0,))
    pools = make.pools({"name": "here", "usd_h": 0.2}, {"name": "other", "usd_h": 0.6})

    found = capacity(make.question(profile=make.profile(*stages), pools=pools))

    without = next(each for each in found.losses if each.name == "without here from half-way on")
    assert not without.unfinished
    assert without.nodes["other"] > 0


def test_a_price_that_nobody_knows_is_not_made_up() -> None:
    found = capacity(make.question(pools=make.pools({"usd_h": None})))

    assert found.usd is None
    assert found.usd_month is None
    assert found.core_hours > 0.0
    assert all(point.usd is None for point in found.frontier)


def test_a_pool_that_nothing_was_measured_on_is_said_and_makes_the_answer_less_sure() -> None:
    known = _usual()
    strange = capacity(make.question(scenarios=10, pools=make.pools({"name": "new"})))

    assert not known.unknown
    assert any("pool new: how fast it is was not measured" in each for each in strange.unknown)
    assert strange.headroom > known.headroom


def test_a_pool_that_nothing_uses_is_said_to_be_unused_and_what_is_not_known_of_it_in_a_word() -> (
    None
):
    """None of its machines has the memory that a task needs, whatever else is lost."""
    pools = make.pools({}, {"name": "small", "memory": 1 << 20})
    unknown = (
        ("here", (("speed", "speed is not known; 1 is reckoned with"),)),
        ("small", (("usd_h", "usd_h is not known; dollars are not shown"),)),
    )

    found = capacity(make.question(pools=pools, unknown_of=unknown))

    assert machine_rows(found).rows[1][:3] == ["small", "unused", ""]
    assert found.unknown == (
        "pool here: speed is not known; 1 is reckoned with",
        "pool small: nothing uses it (not known of it: usd_h, how fast it is)",
    )


def test_a_column_in_which_nothing_is_said_is_not_shown() -> None:
    """Without a deadline no run is in time, or late."""
    found = capacity(make.question())

    assert "in time>" not in what_if_rows(found).columns
    assert {len(row) for row in what_if_rows(found).rows} == {len(what_if_rows(found).columns)}


def test_cost_against_time_has_what_stages_behind_an_exchange_add_to_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The solver sees what reads sources: runs of the whole are simulated, of each of its plans."""
    monkeypatch.setattr(trading, "TRIED", 1)
    monkeypatch.setattr(trading, "POINTS", 3)
    read, sums = make.stage(task_s=6.0), make.stage("sums", 20, 30.0, after=(0,))
    asked = {"search_s": 0.05, "scenarios": 1}

    sources = capacity(make.question(profile=make.profile(read), **asked)).frontier
    found = capacity(make.question(profile=make.profile(read, sums), **asked))

    assert {each.runs for each in sources} == {0}
    assert all(each.runs for each in found.frontier)
    # 600 s of work on cores at 0.1 USD an hour, and a wave of 30 s at least: with good luck.
    later_usd = 20 * 30.0 * 0.1 / 3600.0
    assert min(each.cost for each in found.frontier) > sources[-1].cost + 0.9 * later_usd
    assert found.frontier[0].p95_s > sources[0].p95_s + 0.8 * 30.0
    ends, costs = ([getattr(each, name) for each in found.frontier] for name in ("p95_s", "cost"))
    assert len(ends) > 1
    assert ends == sorted(ends)
    assert costs == sorted(costs, reverse=True)
    assert not found.unknown
    # What was asked is a part of it: nothing there is later and dearer.
    assert found.usd is not None
    assert not [p for p in found.frontier if p.p95_s > found.finish.p95_s and p.cost > found.usd]
    asks = [row[2] for row in frontier_rows(found).rows]
    assert all(re.fullmatch(r"--deadline \d+s|no deadline", each) for each in asks)


def test_cost_against_time_is_of_one_unit_where_some_plans_use_a_pool_without_a_price(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who has time runs on what has a price alone; dollars are no less than core hours."""
    monkeypatch.setattr(trading, "TRIED", 1)
    monkeypatch.setattr(trading, "POINTS", 2)
    pools = make.pools({"max_nodes": 2}, {"name": "unpriced", "usd_h": None})
    read, sums = make.stage(tasks=200, task_s=6.0), make.stage("sums", 20, 30.0, after=(0,))
    profile = make.profile(read, sums)

    found = capacity(make.question(profile=profile, pools=pools, search_s=0.05, scenarios=1))

    assert found.usd is not None  # Nothing was asked to be done by when.
    *_, cheapest = found.frontier
    assert [bool(each.pools["unpriced"]) for each in found.frontier] == [True, False]
    assert [each.usd for each in found.frontier] == [None, None]
    assert cheapest.cost == pytest.approx(found.core_hours, rel=0.2)


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

    sure = _usual()
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


def test_no_answer_promises_more_than_one_control_actor_can_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Forty tasks of half a second: machines could do them in no time, a slow scheduler not."""
    monkeypatch.setattr(trial, "ControlCpu", partial(ControlCpu, 20.0))
    monkeypatch.setattr(answering, "TASK_CPU_S", 20.0)
    blink = make.profile(make.stage(task_s=0.5))

    found = capacity(make.question(profile=blink, deadline_s=150.0, scenarios=2))

    assert found.finish.p50_s >= 40 * 20.0
    assert "because one control actor schedules 0 tasks a second and takes" in found.refused
    assert "larger tasks, or the data in several runs" in found.nearest


def test_cost_against_time_is_no_sooner_than_one_control_actor_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the plans that it holds up to the same end, the cheapest is left."""
    asked = {"profile": make.profile(make.stage(task_s=0.5)), "search_s": 0.05, "scenarios": 1}
    free = capacity(make.question(**asked)).frontier
    monkeypatch.setattr(trading, "TASK_CPU_S", free[-1].p95_s / 40)

    (held,) = capacity(make.question(**asked)).frontier

    assert len(free) > 1
    assert (held.p95_s, held.ask_s) == pytest.approx((free[-1].p95_s, free[-1].p95_s))
    assert held.cost == pytest.approx(free[-1].cost)


@pytest.mark.parametrize(("kept", "runs", "least"), [(50, 50, 0.9418), (49, 50, 0.9086), (0, 9, 0)])
def test_some_runs_tell_of_all_what_is_known_to_statistics(
    kept: int, runs: int, least: float
) -> None:
    assert surely_kept(kept, runs) == pytest.approx(least, abs=1e-4)


def test_too_few_runs_for_a_promise_are_said() -> None:
    few = capacity(make.question(scenarios=10, confidence=0.99, deadline_s=600.0))
    enough = capacity(make.question(scenarios=10, confidence=0.9, deadline_s=600.0))

    [said] = [each for each in few.unknown if "simulated ones" in each]
    assert said == (
        "whether 99 % of the runs keep the promise: 10 simulated ones tell up to 90 % "
        "(--scenarios 100)"
    )
    assert not [each for each in enough.unknown if "simulated ones" in each]
    assert few.finish.hit == 1.0
    assert few.finish.hit_surely == pytest.approx(0.741, abs=1e-3)
    assert (scenarios_for(0.99), scenarios_for(0.95), scenarios_for(0.5)) == (100, 20, 2)


def test_the_headroom_of_99_percent_is_always_said() -> None:
    found = capacity(make.question(scenarios=10, confidence=0.5))

    assert found.headroom == 0.0
    assert found.headroom_99 == found.finish.p99_s / found.finish.p50_s - 1.0
    assert [share for share, _ in headrooms(found)] == [0.5, 0.99]


@pytest.mark.slow
def test_machines_of_all_pools_together_are_no_more_than_there_can_be() -> None:
    two = make.pools({"name": "here", "max_nodes": 3}, {"name": "there", "max_nodes": 3})
    asked = {"pools": two, "growth": 4.0, "deadline_s": 118.0, "scenarios": 2}

    free = capacity(make.question(**asked))
    held = capacity(make.question(**asked, nodes_max=4))

    assert sum(need.nodes_most for need in free.pools) > 4
    assert sum(need.nodes_most for need in held.pools) <= 4
    [said] = [each for each in held.unknown if "4 machines can be had of all pools" in each]
    assert "held to " in said
    assert any(use.name == "machines in all" for use in held.uses)
    assert held.finish.p50_s > free.finish.p50_s


SCORED = make.stage("scored", 16, 6.0, after=(0,), gpus=0.5)
SIZED = {"here": (RunnersSeen(4, 1.0), RunnersSeen(2, 1.0, gpus=0.5))}


def test_stages_that_need_gpus_are_planned_on_machines_that_have_them() -> None:
    profile = make.profile(make.stage(), SCORED, runners={"here": 6}, sized=SIZED, whole_s=70.0)
    pools = make.pools({}, {"name": "gpu", "gpus": 1, "usd_h": 2.0, "vcpu": 8, "max_nodes": 4})

    found = capacity(make.question(profile=profile, pools=pools, scenarios=2))

    assert found.refused == ""
    nodes = {each.pool: (each.nodes_most, each.gpus) for each in found.pools}
    # Sixteen tasks at once, two of them on a GPU: more machines than can be had.
    assert nodes == {"here": (nodes["here"][0], 0.0), "gpu": (4, 1.0)}
    assert [(stage.name, stage.gpus) for stage in found.stages] == [("lines", 0.0), ("scored", 0.5)]
    assert machine_rows(found).rows[1] == ["gpu", "4", "4", "4", "1"]
    assert stage_text(found.stages[1]).endswith("each, with 1 core, 1 GiB and 0.5 GPUs")
    without = next(each for each in found.losses if each.name == "without gpu from half-way on")
    assert without.unfinished  # Nothing else can do it.
    assert not [each for each in found.unknown if "GPU" in each]


def test_the_profiled_run_is_simulated_with_the_runners_of_each_size_that_it_had() -> None:
    """Four without a GPU and then two with one: ten waves of 2 s, and eight of 6 s."""
    profile = make.profile(make.stage(), SCORED, runners={"here": 6}, sized=SIZED)

    found = itself_of(profile, 0)

    assert float(found.whole_s.mean()) == pytest.approx(20.0 + 8 * 6.0, abs=3.0)


def test_a_profile_that_does_not_say_who_had_a_gpu_is_taken_with_a_word_about_it() -> None:
    """Of before GPUs were counted: all of a pool's runners are taken to have had one."""
    old = make.profile(make.stage(gpus=1.0))

    found = capacity(make.question(profile=old, pools=make.pools({"gpus": 4}), scenarios=2))

    assert found.simulated_s == pytest.approx(21.2, rel=0.05)
    [said] = [each for each in found.unknown if "GPU" in each]
    assert "`rayorch profile`" in said


@pytest.mark.slow
def test_simulated_runners_that_stand_for_unlike_numbers_are_told_by_pool() -> None:
    many = make.profile(make.stage(tasks=4_000), make.stage("scored", 100, 4.0, gpus=1.0))
    pools = make.pools({"max_nodes": 200}, {"name": "gpu", "gpus": 4, "max_nodes": 2})

    found = capacity(make.question(profile=many, pools=pools, scenarios=2))

    assert found.runners_by_pool["here"] > found.runners_by_pool["gpu"] == 1.0
    assert re.search(
        r"stands for [0-9.]+ of here, 1 of gpu, one task", dict(basis(found))["thinned"]
    )
    assert {each.pool for each in found.pools if each.nodes} == {"here", "gpu"}


def test_next_to_nothing_of_something_is_said_in_words_and_a_lot_of_growth_in_full() -> None:
    found = capacity(make.question())

    assert [
        row[1] for row in use_rows(found).rows if row[0].startswith("memory of the control")
    ] == ["under 0.01 %"]
    assert [times_text(each) for each in (0.5, 3.0, 6_923.4)] == ["0.5", "3", "6,923"]
