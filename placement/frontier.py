"""Cost against finish time, from the fastest plan to the cheapest; every point is a plan."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.errors import InfeasibleError
from placement.model import Deadline, Objective, Problem, Weighted
from placement.solve import solve
from placement.tables import tables_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from placement.budget import Clock
    from placement.plan import Plan

# An hour that is worth more than any machine: the plan that ends first, at whatever price.
_HURRY_USD_H: Final = 1e9
# Finish times are quantiles of samples: a deadline just at one would be missed by chance.
_SLACK: Final = 1.02
# The slowest plan may take this many times as long as the fastest: by then nothing is in a hurry.
_STRETCH: Final = 20.0
_ENDS: Final = 2
# Of the fastest plan's cost: where time saves less, no plan in between is worth its search.
_SAVING_MIN: Final = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A plan, its cost, and when it ends in 95 % of runs, which is a deadline that it keeps."""

    deadline_s: float
    usd: float
    p95_s: float
    plan: Plan


def frontier(
    problem: Problem,
    *,
    points: int = 7,
    time_limit_s: float = 10.0,
    seed: int = 0,
    clock: Clock | None = None,
) -> tuple[Point, ...]:
    """Give plans that no other of them beats in both cost and finish, fastest and dearest first.

    The fastest and the cheapest plan found are the ends, so that there is always a plan; from the
    one to the other deadlines are tried, at equal ratios, for up to `points` plans in all; none
    where time saves nothing.  The objective of `problem` is replaced; its confidence is kept when
    it is a deadline.
    Raises: InfeasibleError when some class fits in no pool.
    """
    if points <= 0:
        return ()
    limit_s = time_limit_s / points
    confidence = problem.objective.confidence if isinstance(problem.objective, Deadline) else 0.95

    def ask(objective: Objective) -> Point | None:
        asked = replace(problem, objective=objective)
        try:
            plan = solve(asked, time_limit_s=limit_s, seed=seed, clock=clock)
        except InfeasibleError:
            return None
        return point_of(plan)

    def by(span_s: float) -> Point | None:
        return ask(Deadline(at_s=problem.now_s + span_s, confidence=confidence))

    tables_of(problem)  # refuses a class that fits nowhere, which no deadline would put right
    fastest = ask(Weighted(usd_per_h=_HURRY_USD_H))
    assert fastest is not None  # without a deadline or a budget nothing is refused
    found = [fastest]
    first_s = (fastest.p95_s - problem.now_s) * _SLACK
    if points >= _ENDS and math.isfinite(first_s) and (cheapest := by(_STRETCH * first_s)):
        found.append(cheapest)
        if cheapest.usd > fastest.usd * (1.0 - _SAVING_MIN):
            return undominated(found)
        last_s = max(cheapest.p95_s - problem.now_s, first_s)
        found += filter(None, map(by, np.geomspace(first_s, last_s, points)[: points - _ENDS]))
    return undominated(found)


def point_of(plan: Plan) -> Point:
    """A plan as a point, with its own finish as its deadline."""
    forecast = plan.forecast
    return Point(deadline_s=forecast.p95_s, usd=forecast.usd, p95_s=forecast.p95_s, plan=plan)


def undominated(points: Iterable[Point]) -> tuple[Point, ...]:
    """Drop each point that another beats in cost and in finish time, or that may never end."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.p95_s, p.usd)):
        if math.isfinite(point.p95_s) and (not kept or point.usd < kept[-1].usd):
            kept.append(point)
    return tuple(kept)
