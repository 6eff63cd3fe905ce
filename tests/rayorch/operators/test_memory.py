"""Four times the memory goes through an operator, in a process of its own."""

import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["sort", "join", "aggregate"])
def test_input_of_four_times_the_memory_spills_and_stays_within_it(operator: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.rayorch.operators.memory_probe", operator],
        check=True,
        capture_output=True,
        text=True,
    )

    found, expected, left_behind, share = ran.stdout.split()
    assert found == expected
    assert left_behind == "0"
    assert float(share) <= 1.2
