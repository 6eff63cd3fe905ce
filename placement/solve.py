"""The portfolio: build many plans, improve the best, and return the one that simulates best.

    greedy stacks, menus -> annealing by successive halving -> confirmation on fresh luck

The search runs at class level where tasks are many; what it finds is confirmed at event level.
When the confirmation disagrees, the deadline is tightened by as much and the search goes on.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from placement.bounds import Bounds, bounds_of
from placement.budget import Budget, Clock
from placement.confirm import choose, forecast_of
from placement.errors import InfeasibleError
from placement.evaluate import Evaluator, Scored
from placement.improve import anneal
from placement.layout import Layout, check_layout
from placement.model import Budget as UsdBudget
from placement.model import Deadline, Problem
from placement.plan import Forecast, Plan, shortfall_of
from placement.risk import Goal
from placement.scenarios import mean_scenario
from placement.search import Search, note, rescored
from placement.simulate import ClassSimulator
from placement.starts import first_layout, starts
from placement.tables import Tables, tables_of

_SIZE_MAX: Final = 128
_SIZE_MIN: Final = 8
_SIZE_FIRST: Final = 4
# A search needs about this many evaluations to be worth its name.
_EVALUATIONS: Final = 120
# Starts that are annealed, and the share of the time limit for them: more for fewer.
_HALVING: Final = ((8, 0.14), (4, 0.14), (3, 0.16))

# Share of the time limit that the search leaves for fresh luck.
_KEPT: Final = 0.45
_RUNS_MIN: Final = 3.0


def solve(
    problem: Problem, *, time_limit_s: float = 10.0, seed: int = 0, clock: Clock | None = None
) -> Plan:
    """Give the cheapest plan found that keeps the objective on luck it was not chosen on.

    Units: `time_limit_s` is seconds of a reference machine, counted, unless `clock` (seconds,
    monotonic) is given.  The same problem and seed give the same plan when no clock is given.
    With a limit of 0 the first plan is returned, within milliseconds.
    Raises: InfeasibleError when provably no plan keeps the objective.
    """
    budget = Budget(time_limit_s, clock)
    tables = tables_of(problem)
    bounds = bounds_of(problem, tables)
    _refuse_impossible(problem, bounds)
    end_s = _end_scale_s(problem, bounds)
    size = _search_size(problem, tables, budget, end_s) if time_limit_s > 0 else _SIZE_FIRST
    evaluator = Evaluator(problem, tables, budget, size=size, seed=seed, end_s=end_s)
    search = Search(
        problem=problem,
        tables=tables,
        budget=budget,
        evaluator=evaluator,
        goal=Goal(objective=problem.objective, now_s=problem.now_s),
        seed=seed,
        end_s=end_s,
        rng=np.random.default_rng([seed, 77]),
    )
    if time_limit_s > 0:
        evaluator.choose_level(first_layout(problem, tables, end_s))
        chosen, forecast = choose(search, _improve(search, starts(search)))
    else:
        chosen = evaluator.scored(first_layout(problem, tables, end_s), search.goal)
        note(search, "first", chosen)
        forecast = forecast_of(problem, tables, chosen.sample)
    check_layout(problem, tables, chosen.layout)
    return plan_of(search, chosen, forecast, bound_usd=bounds.usd)


def plan_of(
    search: Search,
    chosen: Scored,
    forecast: Forecast,
    *,
    bound_usd: float | None = None,
    event: str = "",
) -> Plan:
    """Dress a chosen layout as a plan."""
    problem = search.problem
    if bound_usd is None:
        bound_usd = bounds_of(problem, search.tables).usd
    return Plan(
        layout=chosen.layout,
        forecast=forecast,
        bound_usd=problem.spent_usd + bound_usd,
        method=search.names.get(chosen.layout, "search"),
        candidates=tuple(search.candidates),
        evaluations=search.evaluator.evaluations,
        used_s=search.budget.used_s,
        shortfall=shortfall_of(problem, forecast),
        event=event,
    )


def _refuse_impossible(problem: Problem, bounds: Bounds) -> None:
    objective = problem.objective
    if isinstance(objective, Deadline) and bounds.finish_s > objective.at_s:
        raise InfeasibleError(
            f"no machine is fast enough: deadline_s={objective.at_s:g}",
            f"deadline_s={bounds.finish_s:.0f}",
        )
    if isinstance(objective, UsdBudget) and problem.spent_usd + bounds.usd > objective.usd:
        raise InfeasibleError(
            f"the work costs more: budget_usd={objective.usd:g}",
            f"budget_usd={problem.spent_usd + bounds.usd:.4g}",
        )


def _end_scale_s(problem: Problem, bounds: Bounds) -> float:
    """A time by which any sensible plan has ended."""
    if isinstance(problem.objective, Deadline):
        return problem.objective.at_s
    return problem.now_s + 4.0 * (bounds.finish_s - problem.now_s)


def _search_size(problem: Problem, tables: Tables, budget: Budget, end_s: float) -> int:
    """As many scenarios as leave enough evaluations within the limit."""
    simulator = ClassSimulator(problem, tables, mean_scenario(problem))
    simulator.run(first_layout(problem, tables, end_s))
    budget.charge(simulator.work_s)
    room = budget.limit_s / _EVALUATIONS - simulator.base_s
    size = int(room / max(simulator.each_s, 1e-9))
    return min(max(size, _SIZE_MIN), _SIZE_MAX)


def _improve(search: Search, heads: list[Scored]) -> list[Scored]:
    """Anneal all starts for a little, the best few for longer, and the best of all once more.

    Source: successive halving (Jamieson 2016).
    """
    found = list(heads)
    alive = heads
    ends: dict[Layout, Scored] = {}
    for phase, (keep, share) in enumerate(_HALVING):
        if phase and search.evaluator.size > 1:
            # Judged by the luck that it was fitted to, a plan looks better than it is.
            alive = rescored(search, list(ends.values()), phase)
            found = list(alive)
        # A start that cannot be changed a few times is not worth its turn.
        turns = share * search.budget.limit_s / max(search.evaluator.run_s, 1e-9) / _RUNS_MIN
        alive = _field(search, alive, max(1, min(keep, int(turns))))
        grown = []
        for start in alive:
            time = search.budget.slice_of(share / len(alive), keep=_KEPT)
            if time.share >= 1.0:
                grown.append(start)
                continue
            walk = anneal(start, search.evaluator, search.goal, time, search.rng)
            name = search.names.get(start.layout, "search")
            search.names.setdefault(walk[-1].layout, f"{name.removesuffix('+annealed')}+annealed")
            found += walk
            grown.append(walk[-1])
        alive = grown
        ends.update((s.layout, s) for s in grown)
    for scored in alive:
        note(search, search.names.get(scored.layout, "search"), scored)
    return found


def _field(search: Search, alive: list[Scored], keep: int) -> list[Scored]:
    """The best few; at least half of them keep the objective, when so many do.

    What misses it may look cheap for ever, and never be made to keep it.
    """
    ranked = sorted(alive, key=lambda s: s.score)
    kept = [s for s in ranked if search.goal.is_kept(s.sample)][: -(-keep // 2)]
    taken = {s.layout for s in kept}
    rest = [s for s in ranked if s.layout not in taken]
    return [*kept, *rest[: keep - len(kept)]]
