"""Cost against finish time, from the fastest plan to the cheapest; every point is a plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.bounds import earliest_finish_s
from placement.errors import InfeasibleError
from placement.model import Deadline, Problem
from placement.solve import solve
from placement.tables import tables_of

if TYPE_CHECKING:
    from placement.budget import Clock
    from placement.plan import Plan

# From a little above the proven earliest finish to where waiting longer hardly saves any more.
_SPAN: Final = (1.15, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The cheapest plan found that ends by `deadline_s` with the confidence asked for."""

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
    """Solve for several deadlines; the points that no other beats in both, fastest first.

    The objective of `problem` is replaced; its confidence is kept when it is a deadline.
    """
    confidence = problem.objective.confidence if isinstance(problem.objective, Deadline) else 0.95
    first = earliest_finish_s(problem, tables_of(problem)) - problem.now_s
    found: list[Point] = []
    for factor in np.geomspace(*_SPAN, points):
        at = problem.now_s + float(factor) * first
        asked = replace(problem, objective=Deadline(at_s=at, confidence=confidence))
        try:
            plan = solve(asked, time_limit_s=time_limit_s / points, seed=seed, clock=clock)
        except InfeasibleError:
            continue
        if plan.shortfall:
            continue
        forecast = plan.forecast
        found.append(Point(deadline_s=at, usd=forecast.usd, p95_s=forecast.p95_s, plan=plan))
    return undominated(found)


def undominated(points: list[Point]) -> tuple[Point, ...]:
    """Drop each point that another beats in cost and in finish time."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.p95_s, p.usd)):
        if not kept or point.usd < kept[-1].usd:
            kept.append(point)
    return tuple(kept)
