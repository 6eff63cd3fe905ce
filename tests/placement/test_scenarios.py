"""Luck that is drawn once."""

import math

import numpy as np
import pytest

from placement.model import SPLIT_MAX, Spot
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


def test_each_pool_is_lost_as_often_as_is_to_be_expected() -> None:
    """A search would choose the pool that was lost less often by mere luck."""
    spot = Spot(reclaims_per_h=0.3, outage_s=1200.0)
    pools = [make.pool(f"p{k}", spot=spot) for k in range(12)]
    p = make.problem([make.cls()], pools)

    gone = make.luck(p, size=128).gone[:, :, 0]

    lost = (gone < 3600.0).sum(axis=0)
    away = 1200.0 / (3600.0 / 0.3 + 1200.0)
    expected = 128 * (1.0 - (1.0 - away) * math.exp(-0.3))
    assert np.abs(lost - expected).max() <= 1.0


def test_a_few_tasks_are_long_as_often_as_is_to_be_expected() -> None:
    p = make.problem([make.cls(count=4, cv=0.5)])

    noise = make.luck(p, size=200).noise[0]

    assert np.median(noise, axis=0) == pytest.approx(1.0 / math.sqrt(1.25), rel=0.02)
    assert noise.mean(axis=0) == pytest.approx(1.0, rel=0.02)
    assert np.corrcoef(noise[:, 0], noise[:, 1]).min() == pytest.approx(0.0, abs=0.2)
