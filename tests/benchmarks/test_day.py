import pytest

from benchmarks.day import day, numbers_of


@pytest.mark.slow
def test_a_small_day_is_kept_and_says_what_it_takes() -> None:
    found = day(tasks=8_000, nodes=8, hours=2.0, scenarios=2)

    numbers = numbers_of(found)
    assert numbers["tasks"] == 8_000
    assert not numbers["refused"]
    assert {"the control actor", "memory of the control actor"} <= set(numbers["uses"])
