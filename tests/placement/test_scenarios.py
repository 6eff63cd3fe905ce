"""Luck that is drawn once."""

import numpy as np
import pytest

from placement.model import SPLIT_MAX
from placement.scenarios import draw
from tests.placement import make


@pytest.mark.parametrize("cv", [0.3, 2.0])
def test_tasks_that_can_be_split_are_never_longer_than_twice_the_mean(cv: float) -> None:
    whole = draw(make.problem([make.cls(count=500, cv=cv)]), 8, 0, horizon_s=1000.0).noise[0]
    cut_problem = make.problem([make.cls(count=500, cv=cv, splittable=True)])
    cut = draw(cut_problem, 8, 0, horizon_s=1000.0).noise[0]

    assert cut.max() <= SPLIT_MAX + 1e-9
    # What is cut off is done by the others: the work of every scenario is the same.
    assert cut.mean(axis=1) == pytest.approx(np.minimum(whole.mean(axis=1), SPLIT_MAX))
