"""A check that cannot fail checks nothing: the simulation finds the mistakes that are known."""

import pytest

from rayorch.sim.simulate import simulate
from tests.rayorch.sim.mistakes import MISTAKES, Mistake

pytestmark = pytest.mark.sim

SEEDS_MAX = 2_000
"""A mistake that takes more seeds than this to be found is as good as hidden."""


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: str(mistake.__name__))
def test_a_known_mistake_is_found(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake(monkeypatch)

    assert any(is_found(seed) for seed in range(SEEDS_MAX))


def is_found(seed: int) -> bool:
    outcome = simulate(seed)
    return bool(outcome.violations) or not outcome.finished
