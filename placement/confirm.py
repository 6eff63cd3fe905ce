"""The last word on a plan: fresh luck, at event level where that can be afforded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from placement.evaluate import EVENT_S, Scored, horizon_s, sample_events
from placement.improve import anneal
from placement.model import Deadline, Problem
from placement.plan import Forecast
from placement.risk import Goal, hit_interval
from placement.scenarios import draw, first, is_random
from placement.simulate import ClassSimulator, Sample

if TYPE_CHECKING:
    from placement.layout import Layout
    from placement.search import Search
    from placement.tables import Tables

_SIZE_MAX: Final = 300
_SIZE_MIN: Final = 32
_FINALISTS: Final = 6
_ROUNDS: Final = 4
_ROUND_SHARE: Final = 0.12
# All the confirmations of a solve together may take this share of its time limit.
_SHARE: Final = 0.25


def choose(search: Search, found: list[Scored]) -> tuple[Scored, Forecast]:
    """Choose on fresh luck among the best found; search on, tighter, while time remains."""
    goal = search.goal
    fresh = Confirmation(search, search.seed + 1)
    best: tuple[tuple[bool, float], Scored, Sample] | None = None
    for _ in range(_ROUNDS):
        ranked = sorted(found, key=lambda s: s.score)
        by_layout = {s.layout: s for s in ranked}
        for layout in list(by_layout)[:_FINALISTS]:
            sample = fresh.sample(layout)
            score = (not goal.is_kept(sample), goal.score(sample))
            if best is None or score < best[0]:
                best = (score, by_layout[layout], sample)
            if search.budget.left_s <= 0:
                break
        assert best is not None
        if search.budget.left_s <= _ROUND_SHARE * search.budget.limit_s / 2:
            break
        # What was cheapest on the search's luck may have failed on fresh luck: ask for more.
        late = _overrun_s(goal, fresh.sample(next(iter(by_layout))))
        search.goal = replace(search.goal, tighten_s=search.goal.tighten_s + late)
        start = search.evaluator.scored(best[1].layout, search.goal)
        time = search.budget.slice_of(_ROUND_SHARE)
        found = anneal(start, search.evaluator, search.goal, time, search.rng)
    assert best is not None
    if best[0][0]:
        # Nothing found by the search keeps its promise: the safest of what it began with may.
        for scored in search.safe:
            sample = fresh.sample(scored.layout)
            score = (not goal.is_kept(sample), goal.score(sample))
            if score < best[0]:
                best = (score, scored, sample)
    return best[1], forecast_on_fresh_luck(search, best[1].layout)


def forecast_on_fresh_luck(search: Search, layout: Layout) -> Forecast:
    """Forecast a layout on scenarios that took no part in choosing it."""
    sample = Confirmation(search, search.seed + 2).sample(layout)
    return forecast_of(search.problem, search.tables, sample)


def _overrun_s(goal: Goal, sample: Sample) -> float:
    """Seconds by which a sample is too late at the quantile that the goal asks for."""
    objective = goal.objective
    if not isinstance(objective, Deadline):
        return 0.0
    late = sample.quantile_s(1.0 - (1.0 - objective.confidence) * goal.reserve) - objective.at_s
    return min(max(0.0, late), 0.1 * (objective.at_s - goal.now_s))


class Confirmation:
    """Fresh scenarios; each layout is simulated on them once."""

    def __init__(self, search: Search, seed: int) -> None:
        problem, evaluator = search.problem, search.evaluator
        self._search = search
        share = _SHARE * search.budget.limit_s / (2 * _FINALISTS)
        self.size = self._affordable(share / max(EVENT_S * problem.tasks, 1e-9))
        self.by_events = self.size == _SIZE_MAX
        if not self.by_events:
            each = max(evaluator.seconds_each, 1e-9)
            self.size = self._affordable(share / each)
        if not is_random(problem):
            self.size = 1
        ahead = horizon_s(problem, search.end_s - problem.now_s)
        scenarios = draw(problem, self.size, 1_000_003 + seed, horizon_s=ahead)
        self._scenarios = first(scenarios, self.size)
        self._classes = ClassSimulator(problem, search.tables, self._scenarios)
        self._known: dict[Layout, Sample] = {}

    def _affordable(self, size: float) -> int:
        return int(min(max(size, _SIZE_MIN), _SIZE_MAX))

    def sample(self, layout: Layout) -> Sample:
        """Simulate a layout on the fresh scenarios."""
        if layout not in self._known:
            search = self._search
            if self.by_events:
                search.budget.charge(self.size * EVENT_S * search.problem.tasks)
                self._known[layout] = sample_events(
                    search.problem, search.tables, layout, self._scenarios, end_s=search.end_s
                )
            else:
                self._known[layout] = self._classes.run(layout)
                search.budget.charge(self._classes.work_s)
        return self._known[layout]


def forecast_of(problem: Problem, tables: Tables, sample: Sample) -> Forecast:
    """Summarise a sample as a forecast."""
    objective, size = problem.objective, sample.end_s.size
    hit, low = 1.0, 1.0
    if isinstance(objective, Deadline):
        hit = 1.0 - sample.miss_share(objective.at_s)
        low = hit_interval(round(hit * size), size)[0]
    return Forecast(
        usd=problem.spent_usd + sample.mean_usd,
        egress_usd=float(sample.egress_usd.mean()),
        request_usd=float((tables.request_usd * tables.count).sum()),
        p50_s=sample.quantile_s(0.5),
        p95_s=sample.quantile_s(0.95),
        hit=hit,
        hit_low=low,
        scenarios=size,
    )
