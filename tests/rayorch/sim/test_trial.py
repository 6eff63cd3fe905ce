"""One run on the real scheduler, and machines that do what they are said to do."""

from typing import Any

import pytest

from rayorch.capacity.rehearsal import Rehearsal, fixed
from rayorch.capacity.scaling import scaled_of
from rayorch.capacity.thinning import thin_of
from rayorch.core.sizes import Size
from rayorch.sim.fleet import TrialPool
from rayorch.sim.trial import Trial, TrialOutcome
from tests.rayorch.capacity import make

FOUR = Size(4.0, 16 * make.GIB)


def outcome(profile: Any = None, *more: TrialPool, seed: int = 1, **pool: Any) -> TrialOutcome:
    """What comes of 40 tasks of 2 s on one machine of four runners, unless said otherwise."""
    profile = profile or make.profile()
    pools = make.pools({}, {"name": "gpu", "gpus": 2})
    thin = thin_of(scaled_of(profile, 1.0, 4), pools, {}, tasks=10_000)
    usual: dict[str, Any] = {"name": "here", "nodes_max": 1, "size": FOUR, "there": 1}
    machines = [TrialPool(**usual | pool), *more]
    return Trial(Rehearsal(fixed(thin, 25.0), seed), machines, seed).go()


def test_a_run_takes_its_waves_and_what_is_around_them() -> None:
    found = outcome()

    assert found.finished
    assert found.committed == 40
    # 10 waves of 2 s; 0.5 s to plan, 0.2 s to publish, and the turns of the scheduler.
    assert found.whole_s == pytest.approx(20.7, abs=0.7)


def test_slow_machines_take_as_much_longer() -> None:
    assert outcome(slowness=2.0).whole_s == pytest.approx(2 * outcome().whole_s, rel=0.1)


def test_the_same_seed_is_the_same_run() -> None:
    skewed = make.profile(make.stage(spread=make.SKEWED))

    assert outcome(skewed) == outcome(skewed)
    assert outcome(skewed, seed=2).whole_s != outcome(skewed).whole_s


def test_a_stage_waits_for_the_one_before_it() -> None:
    two = make.profile(make.stage(), make.stage("totals", 4, 3.0, after=(0,)))

    found = outcome(two)

    assert found.committed == 44
    assert found.whole_s == pytest.approx(outcome().whole_s + 3.0, abs=1.0)


def test_the_first_task_on_a_runner_takes_longer_and_there_is_time_between_two() -> None:
    slow = make.profile(make.stage(first_s=4.0, overhead_s=0.5))

    found = outcome(slow)

    assert found.whole_s == pytest.approx(20.7 + 4.0 + 5.0, abs=1.0)


def test_a_runner_that_reads_ahead_takes_less_than_its_tasks_together() -> None:
    ahead = make.profile(make.stage(overlap=0.25))

    assert outcome(ahead).whole_s == pytest.approx(0.7 + 0.75 * 20.0, abs=0.7)


def test_runners_that_join_late_have_less_of_the_time() -> None:
    """Three of four are done with 15 tasks in ten seconds; four with 25 more in seven waves."""
    late = outcome(joins_s=(0.0, 0.0, 0.0, 10.0))

    assert late.whole_s == pytest.approx(0.7 + 10.0 + 7 * 2.0, abs=0.5)
    assert outcome(joins_s=(10.0,)).whole_s == pytest.approx(outcome().whole_s + 10.0, abs=0.5)


def test_a_task_far_behind_is_cut_and_its_rest_goes_to_others() -> None:
    behind = make.stage(spread=make.SKEWED, pieces=16.0)

    cut, whole = (
        outcome(make.profile(behind)),
        outcome(make.profile(make.stage(spread=make.SKEWED))),
    )

    assert cut.committed > 40
    assert cut.whole_s < whole.whole_s


def test_a_run_without_its_machines_never_ends_and_says_so() -> None:
    found = outcome(gone_s=10.0)

    assert not found.finished
    assert 0 < found.committed < 40
    assert found.lost_nodes == 1


def scored(gpus: float, **fields: Any) -> Any:
    """40 tasks of 2 s, and four of 3 s after them that need a GPU."""
    return make.profile(make.stage(), make.stage("scored", 4, 3.0, after=(0,), gpus=gpus, **fields))


def test_what_needs_a_gpu_waits_for_the_runners_that_have_one() -> None:
    one = TrialPool(name="gpu", nodes_max=1, size=Size(4.0, 16 * make.GIB, 1.0), there=1)

    whole, half = outcome(scored(1.0), one), outcome(scored(0.5), one)

    assert whole.committed == half.committed == 44
    # Four one after the other, or two at once; and not beside each other on those without.
    assert whole.whole_s == pytest.approx(outcome().whole_s + 4 * 3.0, abs=1.0)
    assert half.whole_s == pytest.approx(outcome().whole_s + 2 * 3.0, abs=1.0)


def test_a_machine_full_of_runners_that_have_nothing_to_do_makes_room_for_those_with_a_gpu() -> (
    None
):
    """They have all of its cores: they are ended, and what is asked for then takes their place."""
    found = outcome(scored(0.5), size=Size(4.0, 16 * make.GIB, 2.0), joins_s=(1.0,))

    assert found.finished
    # Four at once, as two devices can be halved; what runners take to start comes twice.
    assert found.whole_s == pytest.approx(outcome().whole_s + 1.0 + 3.0 + 1.0, abs=1.5)
    assert found.lost_nodes == 0


def test_a_stage_has_as_many_runners_as_its_own_size_allows() -> None:
    """One that needs all of a machine goes one after the other, and those before it do not."""
    large = make.stage("sorted", 4, 3.0, after=(0,), memory_bytes=12 * make.GIB)

    found = outcome(make.profile(make.stage(), large))

    assert found.whole_s == pytest.approx(outcome().whole_s + 4 * 3.0, abs=1.5)


def test_work_without_machines_that_could_ever_do_it_is_given_up_at_once() -> None:
    one = TrialPool(
        name="gpu", nodes_max=1, size=Size(4.0, 16 * make.GIB, 1.0), there=1, gone_s=5.0
    )

    found = outcome(scored(1.0), one)

    assert not found.finished
    assert found.whole_s == pytest.approx(5.0, abs=0.5)


def core_s(found: TrialOutcome, pool: str) -> float:
    return 3600.0 * found.core_hours.get(pool, 0.0)


def test_a_machine_that_stands_costs_a_run_from_its_first_use_to_the_end_as_in_the_ledger() -> None:
    """What it waits while stages before have nothing for it is not this run's."""
    one = TrialPool(name="gpu", nodes_max=1, size=Size(4.0, 16 * make.GIB, 1.0), there=1, usd_h=2.0)

    found = outcome(scored(1.0), one, usd_h=0.4)

    # Four tasks of 3 s, and 0.2 s to publish; half a second to plan is before all of it.
    assert core_s(found, "gpu") == pytest.approx(4 * (4 * 3.0 + 0.2), abs=4 * 0.3)
    assert core_s(found, "here") == pytest.approx(4 * (found.whole_s - 0.5), abs=4 * 0.3)
    assert found.usd is not None
    assert found.usd["gpu"] == pytest.approx(2.0 * core_s(found, "gpu") / 4 / 3600.0, rel=1e-6)


def test_a_machine_that_nobody_had_used_costs_its_first_run_what_it_waited_before() -> None:
    waited, used = outcome(stood_s=30.0), outcome()

    assert core_s(waited, "here") == pytest.approx(4 * (30.0 + waited.whole_s), abs=0.1)
    assert core_s(waited, "here") > core_s(used, "here") + 4 * 30.0


@pytest.mark.parametrize("stood_s", [None, 30.0])
def test_a_machine_that_stands_and_is_not_used_costs_a_run_nothing(stood_s: float | None) -> None:
    idle = TrialPool(
        name="gpu", nodes_max=1, size=Size(4.0, 16 * make.GIB, 1.0), there=1, stood_s=stood_s
    )

    found = outcome(None, idle)

    assert core_s(found, "gpu") == 0.0
    assert core_s(found, "here") > 0.0
