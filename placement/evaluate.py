"""Samples of a layout at the level that pays: events for few tasks, classes for many."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.events import EventSimulator
from placement.model import Deadline, Problem
from placement.sample import Sample
from placement.scenarios import Scenarios, draw, is_random, mean_scenario, take
from placement.simulate import ClassSimulator

if TYPE_CHECKING:
    from placement.budget import Budget
    from placement.layout import Layout
    from placement.risk import Goal
    from placement.tables import Floats, Ints, Tables

# The event level is exact: it may take this many times as long as the class level.
_EXACT_WORTH: Final = 2.0
# A race: the latest scenarios first, then a few others, then all; only where there are many.
_TAIL: Final = 8
_FEW: Final = 16
_RACE_MIN: Final = 32
_LOST_EARLY: Final = 0.8
_FAR_OFF: Final = 0.15
# A few scenarios may flatter a layout by this share of its cost beside their standard error.
_DOUBT: Final = 0.005
# Seconds on the reference machine for a task at event level, measured.
EVENT_S: Final = 8e-6
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
        self.redraw(seed)
        self._mean_sim = ClassSimulator(problem, tables, mean_scenario(problem))
        self.evaluations = 0
        self.seconds_each = 0.0

    def redraw(self, seed: int) -> None:
        """Meet other luck from now on: what a search has kept may suit the old one only."""
        problem, tables = self.problem, self.tables
        ahead = horizon_s(problem, self._end_s - problem.now_s)
        self.scenarios = draw(problem, self.size, seed, horizon_s=ahead)
        self._few = np.arange(min(_FEW, self.size))
        self._full_sim = ClassSimulator(problem, tables, self.scenarios)
        self._few_sim = ClassSimulator(problem, tables, take(self.scenarios, self._few))

    def choose_level(self, layout: Layout) -> None:
        """Search at event level when that is about as quick, judged by one run of a layout."""
        self._full_sim.run(layout)
        self.budget.charge(self._full_sim.work_s)
        sim, task_s = self._full_sim, EVENT_S * (self.problem.tasks + 8)
        # Most layouts lose the race in its first block.
        few = min(_TAIL, self.size)
        ran = _LOST_EARLY * few + (1.0 - _LOST_EARLY) * self.size
        self.by_events = ran * task_s <= _EXACT_WORTH * (sim.base_s + ran * sim.each_s)

    def sample(self, layout: Layout) -> Sample:
        """Simulate a layout on all scenarios."""
        sample = self._run(layout, self.scenarios, self._full_sim)
        self.seconds_each = self._full_sim.each_s
        return sample

    @property
    def run_s(self) -> float:
        """Seconds that a layout takes on all scenarios, about."""
        if self.by_events:
            return self.size * EVENT_S * (self.problem.tasks + 8)
        return self._full_sim.work_s

    def _run(
        self, layout: Layout, scenarios: Scenarios, simulator: ClassSimulator | None
    ) -> Sample:
        """Simulate a layout on some scenarios, by a simulator that is made for them if any is."""
        self.evaluations += 1
        if self.by_events:
            self.budget.charge(1e-4 + scenarios.size * EVENT_S * (self.problem.tasks + 8))
            return sample_events(self.problem, self.tables, layout, scenarios, end_s=self._end_s)
        if simulator is None:
            simulator = ClassSimulator(self.problem, self.tables, scenarios)
        sample = simulator.run(layout)
        self.budget.charge(simulator.work_s)
        return sample

    def starts_s(self, layout: Layout) -> Floats:
        """When the parts of a layout can begin without bad luck.  Shapes: (parts,)."""
        ready = self._mean_sim.run(layout).ready_s
        self.budget.charge(self._mean_sim.work_s)
        return ready

    def begins_s(self, scored: Scored) -> Floats:
        """When the parts of a layout begin, on average where that is known.  Shapes: (parts,)."""
        return self.starts_s(scored.layout) if self.by_events else scored.sample.ready_s

    def scored(self, layout: Layout, goal: Goal) -> Scored:
        """Score a layout on all scenarios."""
        sample = self.sample(layout)
        return Scored(goal.score(sample), layout, sample)

    def race(self, layout: Layout, current: Scored, goal: Goal, heat: float) -> Scored | None:
        """Score a layout, unless a few scenarios say that it is worse than the current one.

        Both meet the same luck, so that their difference is known much better than either.  The
        scenarios in which the current one is latest come first: a layout that is too late in more
        of them than may be missed is too late, whatever the others say.  What keeps the objective
        is never given up for what does not: it may be cheap for ever and never be made to keep it.
        """
        bar = current.score * (1.0 + heat)
        was_kept = goal.is_kept(current.sample)
        if self.size >= _RACE_MIN:
            is_new = False
            for block, simulator in (
                (self._tail_of(current), None),
                (self._few, self._few_sim),
            ):
                part = self._run(layout, take(self.scenarios, block), simulator)
                usd, end_s = self._floor(goal, current.sample, part, block)
                if goal.score_of(usd, end_s) > bar or (was_kept and not goal.is_in_time(end_s)):
                    return None
                was = current.sample
                is_new |= bool((part.usd != was.usd[block]).any())
                is_new |= bool((part.end_s != was.end_s[block]).any())
            if not is_new:
                return None
        found = self.scored(layout, goal)
        if found.score > bar or (was_kept and not goal.is_kept(found.sample)):
            return None
        return found

    def is_far_off(self, layout: Layout, goal: Goal) -> bool:
        """Whether a layout is late in far more of a few scenarios than may be missed."""
        deadline = goal.objective
        if self.size < _RACE_MIN or not isinstance(deadline, Deadline):
            return False
        part = self._run(layout, take(self.scenarios, self._few), self._few_sim)
        return part.miss_share(deadline.at_s - goal.tighten_s) > _FAR_OFF

    def _tail_of(self, current: Scored) -> Ints:
        """The scenarios in which the current layout ends latest."""
        return np.argsort(-current.sample.end_s, kind="stable")[:_TAIL]

    def _floor(
        self, goal: Goal, current: Sample, part: Sample, block: Ints
    ) -> tuple[float, Floats]:
        """Mean cost and ends that a layout will hardly be below, from a few scenarios of it."""
        if not (np.isfinite(part.usd).all() and np.isfinite(current.usd).all()):
            # Some execution never ends.
            return np.inf, part.end_s
        gain = part.usd - current.usd[block]
        doubt = float(gain.std()) / math.sqrt(block.size) + _DOUBT * current.mean_usd
        end = current.end_s.copy()
        if goal.is_by_quantile:
            # Where it did not run it may end as early as can be.
            end[:] = -np.inf
        end[block] = part.end_s
        return max(current.mean_usd + float(gain.mean()) - doubt, 0.0), end
