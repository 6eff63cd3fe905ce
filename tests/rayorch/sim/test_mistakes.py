"""A check that cannot fail checks nothing: the simulation finds the mistakes that are known."""

import pytest

from rayorch.sim.simulate import simulate
from tests.rayorch.sim.mistakes import MISTAKES, RARE, WHERE, Mistake

pytestmark = pytest.mark.sim

SEEDS_MAX = 2_000
"""A mistake that takes more seeds than this to be found is as good as hidden."""


def name_of(mistake: Mistake) -> str:
    return str(mistake.__name__)


def is_found(mistake: Mistake) -> bool:
    for seed in range(SEEDS_MAX):
        outcome = simulate(seed, WHERE.get(mistake))
        if outcome.violations or not outcome.finished:
            return True
    return False


@pytest.mark.parametrize("mistake", MISTAKES, ids=name_of)
def test_a_known_mistake_is_found(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake(monkeypatch)

    assert is_found(mistake)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mistake", RARE, ids=name_of)
def test_a_mistake_that_rarely_shows_is_found(
    mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch)

    assert is_found(mistake)
