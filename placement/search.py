"""What the phases of one solve share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from placement.model import Deadline, Problem
from placement.plan import Candidate

if TYPE_CHECKING:
    import numpy as np

    from placement.budget import Budget
    from placement.evaluate import Evaluator, Scored
    from placement.layout import Layout
    from placement.risk import Goal
    from placement.tables import Tables


@dataclass(slots=True, kw_only=True)
class Search:
    """One solve under way.

    `goal` is tightened when fresh luck disagrees with the search; `safe` are starts that kept the
    objective, for when nothing else does; `noted` are those with a name, for the explanation.
    """

    problem: Problem
    tables: Tables
    budget: Budget
    evaluator: Evaluator
    goal: Goal
    seed: int
    end_s: float
    rng: np.random.Generator
    names: dict[Layout, str] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    safe: list[Scored] = field(default_factory=list)
    noted: list[Scored] = field(default_factory=list)


_HARDER: Final = 1.4
# The time limit is enough for at least so many runs on the most scenarios.
_RUNS_WIDE: Final = 600.0
# Luck of the phases of a search is this far apart, away from that of the confirmation.
_SEED_STEP: Final = 10_007


def rescored(search: Search, found: list[Scored], phase: int, *, size_max: int = 0) -> list[Scored]:
    """The same layouts on luck that they have not met, which the search goes on with.

    With `size_max` more scenarios, where the time allows, and lateness weighs more from now on.
    """
    evaluator = search.evaluator
    if size_max:
        search.goal = replace(search.goal, severity=_HARDER * search.goal.severity)
    if size_max and evaluator.size > 1:
        run_s = search.budget.limit_s / _RUNS_WIDE
        size = int(run_s / max(evaluator.run_s, 1e-9) * evaluator.size)
        evaluator.size = max(evaluator.size, min(size, size_max))
    evaluator.redraw(search.seed + _SEED_STEP * phase)
    return [search.evaluator.scored(s.layout, search.goal) for s in found]


def note(search: Search, name: str, scored: Scored) -> None:
    """Remember a candidate for the explanation."""
    sample, objective = scored.sample, search.problem.objective
    hit = 1.0 - sample.miss_share(objective.at_s) if isinstance(objective, Deadline) else 1.0
    search.names.setdefault(scored.layout, name)
    search.noted = sorted((*search.noted, scored), key=lambda s: s.score)
    search.candidates.append(
        Candidate(
            name=name,
            usd=search.problem.spent_usd + sample.mean_usd,
            p95_s=sample.quantile_s(0.95),
            hit=hit,
            is_kept=search.goal.is_kept(sample),
        )
    )
