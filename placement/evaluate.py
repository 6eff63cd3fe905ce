"""Samples of a layout at the level that pays: events for few tasks, classes for many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.events import EventSimulator
from placement.model import Deadline, Problem
from placement.sample import Sample
from placement.scenarios import Scenarios, draw, first, is_random, mean_scenario
from placement.simulate import ClassSimulator

if TYPE_CHECKING:
    from placement.budget import Budget
    from placement.layout import Layout
    from placement.risk import Goal
    from placement.tables import Floats, Tables

# The event level is exact: it may take this many times as long as the class level.
_EXACT_WORTH: Final = 2.0
_QUICK: Final = 16
_HOPELESS: Final = 1.04
# Seconds on the reference machine for a task at event level, measured.
EVENT_S: Final = 9e-6
_HORIZONS: Final = 3.0


def horizon_s(problem: Problem, fallback_s: float) -> float:
    """Seconds ahead over which outages are drawn."""
    if isinstance(problem.objective, Deadline):
        return _HORIZONS * (problem.objective.at_s - problem.now_s)
    return _HORIZONS * fallback_s


@dataclass(frozen=True, slots=True)
class Scored:
    """A layout with its sample and its score; less is better."""

    score: float
    layout: Layout
    sample: Sample


def sample_events(
    problem: Problem, tables: Tables, layout: Layout, scenarios: Scenarios, *, end_s: float
) -> Sample:
    """Run every scenario at event level."""
    simulator = EventSimulator(problem, tables, layout, end_s=end_s)
    runs = [simulator.run(scenarios, s) for s in range(scenarios.size)]
    requests = float((tables.request_usd * tables.count).sum())
    return Sample(
        end_s=np.array([r.end_s for r in runs]),
        usd=np.array([r.usd for r in runs]) + requests,
        egress_usd=np.array([r.egress_usd for r in runs]),
        request_usd=np.full(len(runs), requests),
        ready_s=np.zeros(len(layout.parts)),
        done_s=np.zeros(len(problem.classes)),
        tasks=np.zeros((len(layout.parts), len(layout.fleets))),
    )


class Evaluator:
    """Scores layouts on one set of scenarios, and charges the budget for it."""

    def __init__(
        self,
        problem: Problem,
        tables: Tables,
        budget: Budget,
        *,
        size: int,
        seed: int,
        end_s: float,
    ) -> None:
        self.problem, self.tables, self.budget = problem, tables, budget
        self.size = size if is_random(problem) else 1
        self._end_s = end_s
        self.by_events = False
        ahead = horizon_s(problem, end_s - problem.now_s)
        self.scenarios = draw(problem, self.size, seed, horizon_s=ahead)
        self._quick = first(self.scenarios, _QUICK)
        self._full_sim = ClassSimulator(problem, tables, self.scenarios)
        self._quick_sim = ClassSimulator(problem, tables, self._quick)
        self._mean_sim = ClassSimulator(problem, tables, mean_scenario(problem))
        self.evaluations = 0
        self.seconds_each = 0.0

    def choose_level(self, layout: Layout) -> None:
        """Search at event level when that is about as quick, judged by one run of a layout."""
        self._full_sim.run(layout)
        self.budget.charge(self._full_sim.work_s)
        by_events = self.size * EVENT_S * (self.problem.tasks + 8)
        self.by_events = by_events <= _EXACT_WORTH * self._full_sim.work_s

    def sample(self, layout: Layout, *, quick: bool = False, events: bool | None = None) -> Sample:
        """Simulate a layout, on all scenarios or on the first few."""
        self.evaluations += 1
        scenarios = self._quick if quick else self.scenarios
        if self.by_events if events is None else events:
            self.budget.charge(1e-4 + scenarios.size * EVENT_S * (self.problem.tasks + 8))
            return sample_events(self.problem, self.tables, layout, scenarios, end_s=self._end_s)
        simulator = self._quick_sim if quick else self._full_sim
        sample = simulator.run(layout)
        self.budget.charge(simulator.work_s)
        self.seconds_each = simulator.each_s
        return sample

    def starts_s(self, layout: Layout) -> Floats:
        """When the parts of a layout can begin on average.  Shapes: (parts,)."""
        ready = self._mean_sim.run(layout).ready_s
        self.budget.charge(self._mean_sim.work_s)
        return ready

    def scored(self, layout: Layout, goal: Goal) -> Scored:
        """Score a layout on all scenarios."""
        sample = self.sample(layout)
        return Scored(goal.score(sample), layout, sample)

    def is_hopeless(self, layout: Layout, current: Scored, goal: Goal, slack: float) -> bool:
        """Whether a few scenarios say that a layout is far worse than the current one.

        Both meet the same luck, so that their difference is known much better than either.
        """
        if self.size <= _QUICK or not goal.is_kept(current.sample):
            return False
        quick = self.sample(layout, quick=True)
        before = float(current.sample.usd[:_QUICK].mean())
        if quick.mean_usd > _HOPELESS * before * (1.0 + slack):
            return True
        deadline = goal.objective
        if not isinstance(deadline, Deadline):
            return False
        return quick.miss_share(deadline.at_s - goal.tighten_s) > 2.0 / _QUICK
