"""The answer: a layout, what it is expected to cost and when it ends, and what lost against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placement.model import Budget, Deadline

if TYPE_CHECKING:
    from placement.layout import Layout
    from placement.model import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a layout comes to on scenarios that it was not chosen on.

    Units: USD means: `usd` is the whole run, `spent_usd` what it has cost so far, the rest is for
    nodes, for data that crosses locations and for requests; seconds on the caller's clock; `hit` is
    the share that keeps the deadline and `hit_low` the lower end of its 95 % interval (both 1 where
    there is no deadline).
    """

    usd: float
    egress_usd: float
    request_usd: float
    p50_s: float
    p95_s: float
    hit: float
    hit_low: float
    scenarios: int
    spent_usd: float = 0.0

    @property
    def compute_usd(self) -> float:
        """Mean USD for nodes alone, from now on."""
        return self.usd - self.spent_usd - self.egress_usd - self.request_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A layout that was considered: where it came from and what it came to."""

    name: str
    usd: float
    p95_s: float
    hit: float
    is_kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The chosen layout.

    `bound_usd` is a cost that no plan can be below and `gap` how far above it this one is, as a
    share; `shortfall` says what is wrong when the objective could not be kept, and what would do;
    `event` what went wrong on the way to a plan that stands all the same.
    """

    layout: Layout
    forecast: Forecast
    bound_usd: float
    method: str
    candidates: tuple[Candidate, ...]
    evaluations: int
    used_s: float
    shortfall: str = ""
    event: str = ""

    @property
    def gap(self) -> float:
        """Cost above the bound, as a share of the bound."""
        return self.forecast.usd / self.bound_usd - 1.0 if self.bound_usd > 0 else float("inf")


def shortfall_of(problem: Problem, forecast: Forecast) -> str:
    """Say what is wrong with a plan, and what change would put it right; empty: nothing is."""
    objective = problem.objective
    if isinstance(objective, Deadline) and forecast.hit < objective.confidence:
        kept = f"the deadline is kept in {forecast.hit:.0%} of runs"
        return f"{kept}. nearest=deadline_s={forecast.p95_s:.0f}"
    if isinstance(objective, Budget) and forecast.usd > objective.usd:
        return f"the budget is exceeded. nearest=budget_usd={forecast.usd:.4g}"
    return ""
