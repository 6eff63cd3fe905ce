"""A thinned workload has as much to do for each runner, and the largest task as it is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from rayorch.capacity.errors import CapacityError
from rayorch.capacity.fitting import fitting
from rayorch.capacity.scaling import scaled_of
from rayorch.capacity.thinning import RUNNERS, spread_s, thin_of
from rayorch.plan.estimate import History, Measured, Work, observe
from rayorch.plan.profile import Profile, StageProfile
from tests.rayorch.capacity import make


def test_a_small_workload_is_simulated_as_it_is() -> None:
    scaled = scaled_of(make.profile(), 1.0, 4)

    thin = thin_of(scaled, make.pools(), {"here": 80.0})

    assert not thin.is_thinned
    assert thin.stages[0].tasks == 40
    assert thin.pools == make.pools(data_location="")


def test_of_many_runners_and_tasks_each_stands_for_as_many() -> None:
    scaled = scaled_of(make.profile(make.stage(tasks=100_000, spread=make.SKEWED)), 1.0, 4)

    thin = thin_of(scaled, make.pools({"max_nodes": 1_000}), {"here": 4_000.0})

    (stage,) = thin.stages
    assert thin.factor == 4_000 / RUNNERS
    whole_s = float(spread_s(stage, np.random.default_rng(3)).sum()) * thin.factor
    assert whole_s == pytest.approx(100_000 * 2.0, rel=0.02)
    assert stage.count.sum() == pytest.approx(100_000 / thin.factor, abs=1)
    (pool,) = thin.pools.pools
    assert (pool.vcpu, pool.usd_h) == (1.0, 0.1)
    assert pool.max_nodes == 1_000 * 4 / thin.factor
    assert thin.nodes("here", pool.max_nodes) == 1_000


def test_the_largest_task_is_there_whatever_is_thinned() -> None:
    scaled = scaled_of(make.profile(make.stage(tasks=200_000, spread=make.SKEWED)), 1.0, 4)

    thin = thin_of(scaled, make.pools({"max_nodes": 1_000}), {"here": 100.0})

    seconds = spread_s(thin.stages[0], np.random.default_rng(3))
    assert thin.stages[0].bundle > 1
    assert seconds.max() >= 2.0 * make.SKEWED[-1]


GPU = {"name": "gpu", "gpus": 4, "vcpu": 8, "usd_h": 8.0, "max_nodes": 5}
MIXED = (make.stage(tasks=100_000), make.stage("scored", 400, 5.0, after=(0,), gpus=0.5))


def test_a_few_machines_with_gpus_stay_what_they_are_among_a_thousand_without() -> None:
    scaled = scaled_of(make.profile(*MIXED), 1.0, 4)
    pools = make.pools({"max_nodes": 1_000}, GPU)

    thin = thin_of(scaled, pools, {"here": 4_000.0, "gpu": 40.0})

    lines, scored = thin.stages
    assert (lines.factor, scored.factor) == (4_000 / RUNNERS, 1.0)
    assert scored.tasks == 400
    plain, gpu = thin.pools.pools
    assert (plain.vcpu, plain.gpus, plain.max_nodes) == (1.0, 0.0, 20)
    assert gpu == pools.pools[1]
    assert (thin.nodes("here", 20), thin.nodes("gpu", 3)) == (1_000, 3)
    # A machine is weighed for as many as it stands for: one of 200 times a quarter, and one.
    weighed = [pool.usd_h for pool in thin.weighted.pools]
    assert weighed == [pytest.approx(0.1), pytest.approx(8.0 / thin.factor)]


def test_many_machines_with_gpus_are_cut_into_parts_that_have_a_runner_each() -> None:
    many = make.stage("scored", 40_000, 5.0, gpus=0.5)
    scaled = scaled_of(make.profile(many), 1.0, 4)

    thin = thin_of(scaled, make.pools(GPU | {"max_nodes": 100}), {"gpu": 800.0})

    (pool,) = thin.pools.pools
    assert (pool.vcpu, pool.gpus, pool.usd_h) == (1.0, 0.5, 1.0)
    assert pool.max_nodes == 100 * 8 / thin.factor
    assert thin.nodes("gpu", pool.max_nodes) == 100


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([(1.0, 1.0), (1.0, 0.5)], 4),  # four of one, eight of the other
        ([(1.0, 0.0), (1.0, 0.5)], 8),
        ([(1.0, 0.0), (3.0, 0.0)], 2),  # eight, and two: four a part, and one
        ([(5.0, 0.0), (1.0, 0.0)], 1),
        ([(0.5, 0.0)], 8),  # of sixteen, two a part: less than a core is no machine
    ],
)
def test_a_machine_is_cut_so_that_no_runners_are_lost(
    sizes: list[tuple[float, float]], parts: int
) -> None:
    stages = [
        make.stage(f"s{at}", cores=cores, gpus=gpus, memory_bytes=make.GIB + at)
        for at, (cores, gpus) in enumerate(sizes)
    ]

    machine = GPU if any(gpus for _, gpus in sizes) else GPU | {"gpus": 0}
    _, rooms = fitting(scaled_of(make.profile(*stages), 1.0, 4), make.pools(machine))

    assert rooms["gpu"].parts == parts


def test_runners_share_a_machine_by_cores_and_by_memory() -> None:
    heavy = make.profile(make.stage(memory_bytes=6 * make.GIB))

    _, rooms = fitting(scaled_of(heavy, 1.0, 4), make.pools({"vcpu": 8}))

    assert (rooms["here"].runners, rooms["here"].parts) == (2, 2)


def on(profile: Profile, *pools: dict[str, Any]) -> dict[str, tuple[int, list[int]]]:
    """How many runners a machine of each pool has, and the stages that are thinned with it."""
    _, rooms = fitting(scaled_of(profile, 1.0, 4), make.pools(*pools))
    return {pool: (room.runners, sorted(room.stages)) for pool, room in rooms.items()}


def test_what_needs_gpus_goes_to_machines_with_gpus_and_nothing_else_does() -> None:
    plain, gpu = {"name": "plain"}, {"name": "gpu", "gpus": 1}

    assert on(make.profile(*MIXED), plain, gpu) == {"plain": (4, [0]), "gpu": (2, [1])}
    assert on(make.profile(MIXED[0]), plain, gpu) == {"plain": (4, [0])}


def test_where_all_machines_have_gpus_what_needs_none_takes_turns_with_what_does() -> None:
    assert on(make.profile(*MIXED), {"name": "gpu", "gpus": 1}) == {"gpu": (4, [0, 1])}


def test_what_only_a_machine_with_a_gpu_is_large_enough_for_goes_there() -> None:
    large = make.stage("large", memory_bytes=12 * make.GIB)
    plain, gpu = {"name": "plain", "memory": 8 * make.GIB}, {"name": "gpu", "gpus": 1}

    found = on(make.profile(*MIXED, large), plain, gpu)

    assert found == {"plain": (4, [0]), "gpu": (2, [1, 2])}


def test_machines_too_small_for_a_task_are_left_out() -> None:
    scaled = scaled_of(make.profile(make.stage(cores=4.0)), 1.0, 4)

    kept, _ = fitting(scaled, make.pools({}, {"name": "small", "vcpu": 2}))

    assert [pool.name for pool in kept.pools] == ["here"]


@pytest.mark.parametrize(
    ("stages", "pools", "said", "remedy"),
    [
        (
            MIXED,
            [{}],
            "'scored': it needs 1 core, 1 GiB and 0.5 GPUs; here has 4 cores, 16 GiB and no GPU",
            "name a pool with GPUs (`gpus: 1` in a file of pools, `resources: {GPU: 1}` in a ",
        ),
        (
            [make.stage("scored", gpus=2.0)],
            [{"gpus": 1}],
            "'scored': it needs 1 core, 1 GiB and 2 GPUs; here has 4 cores, 16 GiB and 1 GPU",
            "name pools with larger machines: --pools FILE",
        ),
        (
            MIXED[:1],
            [{"gpus": 1}],
            "16 GiB and 1 GPU, and machines with GPUs are for runs that need one",
            "name a pool without GPUs, too: --pools FILE",
        ),
        (
            [make.stage(cores=4.0)],
            [{"vcpu": 2}],
            "'lines': it needs 4 cores, 1 GiB and no GPU; here has 2 cores, 16 GiB and no GPU",
            "name pools with larger machines: --pools FILE",
        ),
    ],
)
def test_what_fits_on_no_machine_is_refused_with_what_it_needs_and_what_there_is(
    stages: Sequence[StageProfile], pools: Sequence[dict[str, Any]], said: str, remedy: str
) -> None:
    with pytest.raises(CapacityError) as caught:
        fitting(scaled_of(make.profile(*stages), 1.0, 4), make.pools(*pools))
    assert "no machine of these pools holds a task of '" in str(caught.value)
    assert said in str(caught.value)
    assert remedy in str(caught.value)


def test_stages_of_which_the_same_was_said_have_runners_of_one_size() -> None:
    """The largest of all their tasks fits in each: one that was measured to take 2 GiB."""
    took = [Measured(Work(60 * make.MB, 1_000 + at), "here", 2.0, 2 * make.GIB) for at in range(9)]
    large = make.stage("totals", after=(0,), pools=observe(History("v"), took).pools)

    first, second = scaled_of(make.profile(make.stage(), large), 1.0, 4).sizes

    assert first == second
    assert first.memory_bytes >= 2 * make.GIB
