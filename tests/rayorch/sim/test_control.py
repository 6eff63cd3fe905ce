"""A simulated control actor draws its luck in bulk, and a seed means what it meant before."""

from random import Random

import pytest

from rayorch.sim.control import picks


@pytest.mark.parametrize("below", [1, 2, 3, 4, 7, 200])
def test_numbers_in_bulk_are_those_of_one_after_the_other(below: int) -> None:
    """Seeds that found a bug are kept: not a bit of luck may be drawn more, or otherwise."""
    bulk, single = Random(below), Random(below)

    assert picks(bulk, below, 999) == [single.randrange(below) for _ in range(999)]

    assert bulk.random() == single.random()


def test_no_number_takes_no_luck() -> None:
    luck = Random(1)

    assert picks(luck, 3, 0) == []

    assert luck.random() == Random(1).random()
