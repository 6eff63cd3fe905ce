"""A workload at another size is cut as its planner would cut it."""

import pytest

from connectors.splitting import TARGET_BYTES_MAX
from rayorch.capacity.errors import CapacityError
from rayorch.capacity.scaling import growth_of, scaled_of
from tests.rayorch.capacity import make

MB = make.MB


def test_twice_the_data_is_twice_the_tasks_where_tasks_are_as_large_as_they_get() -> None:
    measured = make.profile(make.stage(tasks=100, task_bytes=125 * MB), runners={"here": 2})

    twice = scaled_of(measured, 2.0, 2)

    assert twice.tasks == pytest.approx(200, abs=4)
    assert twice.stages[0].task_bytes == pytest.approx(125 * MB, rel=0.03)
    assert twice.source_bytes == 2 * measured.source_bytes


def test_small_tasks_grow_before_there_are_more_of_them() -> None:
    measured = make.profile(make.stage(tasks=32, task_bytes=8 * MB), runners={"here": 4})

    larger = scaled_of(measured, 1_000.0, 64)

    assert larger.stages[0].task_bytes > 60 * MB
    assert larger.stages[0].task_bytes <= TARGET_BYTES_MAX * 1.1
    whole = larger.stages[0].task_bytes * larger.tasks
    assert whole == pytest.approx(1_000.0 * measured.source_bytes)


def test_who_said_how_to_cut_gets_more_tasks_of_the_same_size() -> None:
    """A split a file: far from what the rule would have made."""
    measured = make.profile(make.stage(tasks=500, task_bytes=MB // 2), runners={"here": 1})

    assert scaled_of(measured, 10.0, 1).tasks == 5_000


def test_a_cut_that_happens_to_look_like_the_rule_s_is_still_the_author_s() -> None:
    """Or a run of more data would be foretold fewer and larger tasks than it has."""
    by_rule = make.stage(tasks=24, task_bytes=2_400_000)
    said = make.stage(tasks=24, task_bytes=2_400_000, is_said=True)
    two = {"runners": {"here": 2}}

    assert scaled_of(make.profile(by_rule, **two), 3.0, 2).tasks < 72
    assert scaled_of(make.profile(said, **two), 3.0, 2).tasks == 72


def test_a_stage_behind_an_exchange_keeps_the_slots_busy() -> None:
    totals = make.stage("totals", tasks=8, task_bytes=20 * MB, after=(0,))
    measured = make.profile(make.stage(), totals, runners={"here": 4})

    assert scaled_of(measured, 1.0001, 32).stages[1].tasks == 64
    assert scaled_of(measured, 4.0, 32).stages[1].tasks == 64


def test_one_group_stays_one_task() -> None:
    whole = make.stage("whole", tasks=1, task_bytes=900 * MB, after=(0,))

    assert scaled_of(make.profile(make.stage(), whole), 50.0, 64).stages[1].tasks == 1


def test_as_it_was_is_as_it_was() -> None:
    measured = make.profile(make.stage(tasks=37))

    assert scaled_of(measured, 1.0, 500).tasks == 37


def test_data_is_said_as_a_size_or_as_growth_or_both() -> None:
    measured = make.profile(make.stage(tasks=10, task_bytes=100 * MB))

    assert growth_of(measured, 10e9, 1.0) == pytest.approx(10.0)
    assert growth_of(measured, None, 3.0) == 3.0
    assert growth_of(measured, 10e9, 3.0) == pytest.approx(30.0)


def test_a_run_that_read_no_bytes_cannot_be_measured_against_a_size() -> None:
    numbers = make.profile(make.stage(size_bytes=0, files=0))

    with pytest.raises(CapacityError, match="--growth 3x"):
        growth_of(numbers, 10e9, 1.0)
    with pytest.raises(CapacityError, match="beyond what can be reckoned with"):
        growth_of(make.profile(), 1e30, 1.0)
