"""Local search from an incumbent, on common random numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from placement.moves import Surroundings, neighbour

if TYPE_CHECKING:
    import numpy as np

    from placement.budget import Slice
    from placement.evaluate import Evaluator, Scored
    from placement.layout import Layout
    from placement.risk import Goal

# Annealing starts by taking plans that are 1.5 % worse, and ends by taking none.
_HEAT: Final = 0.015
# Random moves in a row that lead nowhere new: the neighbourhood is exhausted, and what each takes.
_STALE_MAX: Final = 400
_STALE_S: Final = 3e-5


def anneal(
    start: Scored, evaluator: Evaluator, goal: Goal, time: Slice, rng: np.random.Generator
) -> list[Scored]:
    """Walk from `start` by random moves; the improvements seen, best last.

    Source: simulated annealing (Kirkpatrick 1983), threshold falling linearly to zero.
    """
    current = start
    bests = [start]
    problem, tables = evaluator.problem, evaluator.tables
    near = Surroundings.of(problem, tables, evaluator.begins_s(current))
    seen: set[Layout] = {current.layout}
    stale = 0
    while (used := time.share) < 1.0 and stale < _STALE_MAX:
        moved = neighbour(current.layout, near, rng)
        stale += 1
        if moved is None or moved in seen:
            evaluator.budget.charge(_STALE_S)
            continue
        stale = 0
        seen.add(moved)
        heat = _HEAT * (1.0 - used) * float(rng.exponential())
        found = evaluator.race(moved, current, goal, heat)
        if found is None:
            continue
        current = found
        near = Surroundings.of(problem, tables, evaluator.begins_s(found))
        if found.score < bests[-1].score:
            bests.append(found)
    return bests
