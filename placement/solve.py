"""The portfolio: build many plans, improve the best, and return the one that simulates best.

    greedy stacks -> annealing of the best few -> annealing of the best -> confirmation on fresh luck

The search runs at class level where tasks are many; what it finds is confirmed at event level.
When the confirmation disagrees, the deadline is tightened by as much and the search goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from placement.bounds import Bounds, bounds_of
from placement.budget import Budget, Clock
from placement.errors import InfeasibleError
from placement.evaluate import EVENT_S, Evaluator, Scored, horizon_s, sample_events
from placement.greedy import Stack, data_locations, layout_of, orders, parts_in_order, sites_of, stack_of
from placement.improve import anneal
from placement.layout import Layout, Part, check_layout
from placement.model import Budget as UsdBudget
from placement.model import Deadline, Problem
from placement.plan import Candidate, Forecast, Plan
from placement.risk import Goal, hit_interval
from placement.scenarios import draw, is_random
from placement.simulate import ClassSimulator, Sample
from placement.tables import Tables, tables_of

_SEARCH_SIZE: Final = 96
_CONFIRM_SIZE: Final = 300
_FACTORS: Final = (1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
_STARTS: Final = 3
_FINALISTS: Final = 6
_ROUNDS: Final = 4
_ROUND_SHARE: Final = 0.12
# Confirmation at event level may take this share of the time limit.
_CONFIRM_SHARE: Final = 0.25


@dataclass(slots=True)
class _Search:
    """Everything that the phases of one solve share."""

    problem: Problem
    tables: Tables
    budget: Budget
    evaluator: Evaluator
    goal: Goal
    seed: int
    end_s: float
    rng: np.random.Generator
    names: dict[Layout, str]
    candidates: list[Candidate]


def solve(
    problem: Problem, *, time_limit_s: float = 10.0, seed: int = 0, clock: Clock | None = None
) -> Plan:
    """Give the cheapest plan found that keeps the objective on luck it was not chosen on.

    Units: `time_limit_s` is seconds of a reference machine, counted, unless `clock` (seconds,
    monotonic) is given.  The same problem and seed give the same plan when no clock is given.
    Raises: InfeasibleError when provably no plan keeps the objective.
    """
    tables = tables_of(problem)
    bounds = bounds_of(problem, tables)
    _refuse_impossible(problem, bounds)
    budget = Budget(time_limit_s, clock)
    end_s = _end_scale_s(problem, bounds)
    evaluator = Evaluator(problem, tables, budget, size=_SEARCH_SIZE, seed=seed, end_s=end_s)
    goal = Goal(objective=problem.objective, now_s=problem.now_s)
    rng = np.random.default_rng([seed, 77])
    search = _Search(problem, tables, budget, evaluator, goal, seed, end_s, rng, {}, [])
    found = _starts(search)
    found = _improve(search, found)
    chosen, forecast = _confirm(search, found)
    check_layout(problem, tables, chosen.layout)
    return Plan(
        layout=chosen.layout,
        forecast=forecast,
        bound_usd=bounds.usd,
        method=search.names.get(chosen.layout, "search"),
        candidates=tuple(search.candidates),
        evaluations=evaluator.evaluations,
        used_s=budget.used_s,
        shortfall=_shortfall(problem, forecast),
    )


def _refuse_impossible(problem: Problem, bounds: Bounds) -> None:
    objective = problem.objective
    if isinstance(objective, Deadline) and bounds.finish_s > objective.at_s:
        raise InfeasibleError(
            f"no machine is fast enough: deadline_s={objective.at_s:g}",
            f"deadline_s={bounds.finish_s:.0f}",
        )


def _end_scale_s(problem: Problem, bounds: Bounds) -> float:
    """A time by which any sensible plan has ended."""
    if isinstance(problem.objective, Deadline):
        return problem.objective.at_s
    return problem.now_s + 20.0 * (bounds.finish_s - problem.now_s)


def _starts(search: _Search) -> list[Scored]:
    """Greedy stacks of pools, each at the least width that keeps the objective."""
    problem, tables = search.problem, search.tables
    parts = parts_in_order(tables)
    sites = sites_of(problem, tables, parts, data_locations(problem, tables))
    span = search.end_s - problem.now_s
    found: dict[Layout, Scored] = {}
    for name, weigh in orders(problem):
        stacks = [stack_of(problem, tables, parts, site, weigh) for site in sites]
        if any(s is None for s in stacks):
            continue
        whole = [s for s in stacks if s is not None]
        best = _widest_needed(search, parts, whole, span)
        _note(search, name, best)
        found[best.layout] = best
    return sorted(found.values(), key=lambda s: s.score)


def _widest_needed(
    search: _Search, parts: tuple[Part, ...], stacks: list[Stack], span_s: float
) -> Scored:
    """Widen stacks until the objective is kept, or until more width does not help."""
    best: Scored | None = None
    for factor in _FACTORS:
        fleets = [x for s in stacks for x in s.fleets(search.problem, span_s, factor)]
        layout = layout_of(search.problem, search.tables, parts, tuple(fleets))
        scored = search.evaluator.scored(layout, search.goal)
        if best is None or scored.score < best.score:
            best = scored
        if isinstance(search.problem.objective, Deadline) and search.goal.is_kept(scored.sample):
            break
    assert best is not None
    return best


def _note(search: _Search, name: str, scored: Scored) -> None:
    """Remember a candidate for the explanation."""
    sample, objective = scored.sample, search.problem.objective
    hit = 1.0 - sample.miss_share(objective.at_s) if isinstance(objective, Deadline) else 1.0
    search.names.setdefault(scored.layout, name)
    search.candidates.append(
        Candidate(
            name=name,
            usd=sample.mean_usd,
            p95_s=sample.quantile_s(0.95),
            hit=hit,
            is_kept=search.goal.is_kept(sample),
        )
    )


def _improve(search: _Search, starts: list[Scored]) -> list[Scored]:
    """Anneal the best few starts, then the best of what came of them; best last."""
    found: list[Scored] = list(reversed(starts))
    heads = starts[:_STARTS]
    for start in heads:
        time = search.budget.slice_of(0.3 / len(heads))
        walk = anneal(start, search.evaluator, search.goal, time, search.rng)
        _note(search, f"{search.names[start.layout]}+annealed", walk[-1])
        found += walk[-3:]
    best = min(found, key=lambda s: s.score)
    found += anneal(
        best, search.evaluator, search.goal, search.budget.slice_of(0.2), search.rng
    )
    return sorted(found, key=lambda s: -s.score)


def _confirm(search: _Search, found: list[Scored]) -> tuple[Scored, Forecast]:
    """Choose on fresh luck among the best found; search on, tighter, while time and need remain."""
    goal = search.goal
    fresh = _Confirmation(search, search.seed + 1)
    best: tuple[float, Scored, Sample] | None = None
    for _ in range(_ROUNDS):
        ranked = sorted(found, key=lambda s: s.score)
        by_layout = {s.layout: s for s in ranked}
        for layout in list(by_layout)[:_FINALISTS]:
            sample = fresh.sample(layout)
            score = goal.score(sample)
            if best is None or score < best[0]:
                best = (score, by_layout[layout], sample)
        assert best is not None
        if search.budget.left_s <= _ROUND_SHARE * search.budget.limit_s / 2:
            break
        # What was cheapest on the search's luck failed on fresh luck: ask for more.
        late = _overrun(goal, fresh.sample(next(iter(by_layout))))
        search.goal = replace(search.goal, tighten_s=search.goal.tighten_s + late)
        start = search.evaluator.scored(best[1].layout, search.goal)
        time = search.budget.slice_of(_ROUND_SHARE)
        found = anneal(start, search.evaluator, search.goal, time, search.rng)
    assert best is not None
    chosen = best[1]
    unseen = _Confirmation(search, search.seed + 2).sample(chosen.layout)
    return chosen, forecast_of(search.problem, search.tables, unseen)


def _overrun(goal: Goal, sample: Sample) -> float:
    """Seconds by which a sample is too late at the quantile that the goal asks for."""
    objective = goal.objective
    if not isinstance(objective, Deadline):
        return 0.0
    late = sample.quantile_s(1.0 - (1.0 - objective.confidence) * goal.reserve) - objective.at_s
    return min(max(0.0, late), 0.1 * (objective.at_s - goal.now_s))


class _Confirmation:
    """Fresh scenarios, at event level when the budget allows it."""

    def __init__(self, search: _Search, seed: int) -> None:
        problem = search.problem
        self._search = search
        self._size = _CONFIRM_SIZE if is_random(problem) else 1
        ahead = horizon_s(problem, search.end_s - problem.now_s)
        each = EVENT_S * problem.tasks
        budget = _CONFIRM_SHARE * search.budget.limit_s / (_FINALISTS + 2)
        self._by_events = each * self._size <= budget
        self._scenarios = draw(problem, self._size, 1_000_003 + seed, horizon_s=ahead)
        self._classes = ClassSimulator(problem, search.tables, self._scenarios)
        self._known: dict[Layout, Sample] = {}

    def sample(self, layout: Layout) -> Sample:
        """Simulate a layout on the fresh scenarios, once."""
        if layout not in self._known:
            search = self._search
            if self._by_events:
                search.budget.charge(self._size * EVENT_S * search.problem.tasks)
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


def _shortfall(problem: Problem, forecast: Forecast) -> str:
    """What is wrong with the best plan, and what change would make it right; empty when nothing is."""
    objective = problem.objective
    if isinstance(objective, Deadline) and forecast.hit < objective.confidence:
        return f"the deadline is kept in {forecast.hit:.0%} of runs. nearest=deadline_s={forecast.p95_s:.0f}"
    if isinstance(objective, UsdBudget) and forecast.usd > objective.usd:
        return f"the budget is exceeded. nearest=budget_usd={forecast.usd:.4g}"
    return ""
