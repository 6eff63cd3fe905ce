"""A thinned workload has as much to do for each runner, and the largest task as it is."""

import numpy as np
import pytest

from rayorch.capacity.errors import CapacityError
from rayorch.capacity.scaling import scaled_of
from rayorch.capacity.thinning import RUNNERS, fitting, spread_s, thin_of
from tests.rayorch.capacity import make


def test_a_small_workload_is_simulated_as_it_is() -> None:
    scaled = scaled_of(make.profile(), 1.0, 4)

    thin = thin_of(scaled, make.pools(), 80.0)

    assert not thin.is_thinned
    assert thin.stages[0].tasks == 40
    assert thin.pools == make.pools(data_location="")


def test_of_many_runners_and_tasks_each_stands_for_as_many() -> None:
    scaled = scaled_of(make.profile(make.stage(tasks=100_000, spread=make.SKEWED)), 1.0, 4)

    thin = thin_of(scaled, make.pools({"max_nodes": 1_000}), 4_000.0)

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

    thin = thin_of(scaled, make.pools({"max_nodes": 1_000}), 100.0)

    seconds = spread_s(thin.stages[0], np.random.default_rng(3))
    assert thin.stages[0].bundle > 1
    assert seconds.max() >= 2.0 * make.SKEWED[-1]


def test_runners_share_a_machine_by_cores_and_by_memory() -> None:
    heavy = make.profile(make.stage(memory_bytes=6 * make.GIB))

    _, rooms = fitting(scaled_of(heavy, 1.0, 4), make.pools({"vcpu": 8}))

    assert rooms == {"here": 2}


def test_machines_too_small_for_a_task_are_left_out_and_none_is_refused() -> None:
    scaled = scaled_of(make.profile(make.stage(cores=4.0)), 1.0, 4)

    kept, _ = fitting(scaled, make.pools({}, {"name": "small", "vcpu": 2}))

    assert [pool.name for pool in kept.pools] == ["here"]
    with pytest.raises(CapacityError, match="no machine of these pools holds a task: it needs 4"):
        fitting(scaled, make.pools({"vcpu": 2}))


def test_a_workload_that_needs_gpus_is_refused() -> None:
    """To simulate it on machines without would foretell what cannot be."""
    scaled = scaled_of(make.profile(make.stage(gpus=0.5)), 1.0, 4)

    with pytest.raises(CapacityError, match="'lines' needs GPUs") as caught:
        fitting(scaled, make.pools())
    assert "rayorch plan FILE --pools FILE" in str(caught.value)
