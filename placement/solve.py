"""The portfolio: build many plans, improve the best, and return the one that simulates best.

    greedy stacks, menus -> annealing by successive halving -> confirmation on fresh luck

The search runs at class level where tasks are many; what it finds is confirmed at event level.
When the confirmation disagrees, the deadline is tightened by as much and the search goes on.
Where there are more tasks than the time is enough for, all of this is done on a smaller problem
that stands for it (`coarse.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.bounds import Bounds, bounds_of, earliest_finish_s
from placement.budget import Budget, Clock
from placement.coarse import Coarse, factor_for, smaller
from placement.confirm import choose, forecast_of, widened
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
from placement.starts import first_layout, is_served, starts
from placement.tables import Tables, tables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from placement.sample import Sample

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
# More scenarios take hardly longer, while they take no more than this share of what a run costs.
SIZE_WORTH: Final = 0.5
# Share of what is left of the time for the search of a smaller problem: the large one is looked at
# after it, and many small steps take about twice as long as is counted for them.
COARSE_SHARE: Final = 0.35
# Without time for a search, a first plan that is late is made so much wider, until it is not.
_WIDER_FIRST: Final = (1.3, 1.7, 2.5)
_WIDER: Final = (1.06, 1.15, 1.3, 1.5)
_NARROWER: Final = (0.95, 0.9, 0.85, 0.8)
# A plan is made narrower only while it misses at most this share of what it may miss.
_MISSED_NARROWER: Final = 0.5


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
    coarse = _coarse(problem, tables, bounds, budget)
    if coarse is not None:
        part = Budget(COARSE_SHARE * budget.left_s, clock)
        search = _search_of(coarse.small, tables_of(coarse.small), part, seed)
        chosen, sample = _chosen(search)
        budget.charge(part.used_s)
        plan = enlarged(coarse, plan_of(search, chosen, sample, bound_usd=0.0), sample, budget)
        plan = replace(plan, bound_usd=problem.spent_usd + bounds.usd)
    else:
        search = _search_of(problem, tables, budget, seed)
        plan = plan_of(search, *_chosen(search), bound_usd=bounds.usd)
    check_layout(problem, tables, plan.layout)
    return plan


def _coarse(problem: Problem, tables: Tables, bounds: Bounds, budget: Budget) -> Coarse | None:
    """The smaller problem to solve, if the time is not enough for this one."""
    factor = factor_for(problem, budget.limit_s)
    if factor <= 1.0:
        return None
    coarse = smaller(problem, tables, factor)
    if budget.limit_s <= 0:
        return coarse
    begin = first_layout(
        coarse.small, tables_of(coarse.small), _end_scale_s(problem, bounds.finish_s)
    )
    return coarse.with_room(begin, budget) if coarse.is_worth_it(begin) else None


def _search_of(problem: Problem, tables: Tables, budget: Budget, seed: int) -> Search:
    end_s = _end_scale_s(problem, earliest_finish_s(problem, tables))
    is_timed = budget.limit_s > 0
    size = _search_size(problem, tables, budget, end_s) if is_timed else _SIZE_FIRST
    return Search(
        problem=problem,
        tables=tables,
        budget=budget,
        evaluator=Evaluator(problem, tables, budget, size=size, seed=seed, end_s=end_s),
        goal=Goal(objective=problem.objective, now_s=problem.now_s),
        seed=seed,
        end_s=end_s,
        rng=np.random.default_rng([seed, 77]),
    )


def _chosen(search: Search) -> tuple[Scored, Sample]:
    """The best that the time allows, and what it comes to on luck it was not chosen on."""
    first = first_layout(search.problem, search.tables, search.end_s)
    if search.budget.limit_s > 0:
        search.evaluator.choose_level(first)
        return choose(search, _improve(search, starts(search)))
    chosen = search.evaluator.scored(first, search.goal)
    for factor in _WIDER_FIRST:
        if search.goal.is_kept(chosen.sample):
            break
        wide = search.evaluator.scored(widened(search.problem, first, factor), search.goal)
        chosen = min(chosen, wide, key=lambda s: s.score)
    note(search, "first", chosen)
    return chosen, chosen.sample


def enlarged(
    coarse: Coarse,
    plan: Plan,
    sample: Sample,
    budget: Budget,
    wider: Callable[[Problem, Layout, float], Layout] = widened,
) -> Plan:
    """The plan of a large problem from that of the small one, and from a sample of it.

    Where it is late at full size, by its longest tasks, it is made wider; where it is early, by
    the room that was left for these, narrower.
    """
    problem, grown = coarse.problem, coarse.grown(plan.layout)

    def told(layout: Layout) -> Forecast:
        large = coarse.sample(plan.layout, sample, layout, budget)
        return forecast_of(problem, coarse.tables, large)

    layout, forecast = grown, told(grown)
    objective = problem.objective
    if isinstance(objective, Deadline) and budget.limit_s > 0:
        is_late = bool(shortfall_of(problem, forecast))
        surely = 1.0 - _MISSED_NARROWER * (1.0 - objective.confidence)
        # How wide it would be if all of the time that is used were shared work.
        room_s = objective.at_s - problem.now_s
        wanted = 1.0 + (forecast.p95_s - objective.at_s) / room_s
        for factor in _widths(wanted, is_late=is_late):
            tried = wider(problem, grown, factor)
            if (budget.left_s <= 0 and not is_late) or not is_served(coarse.tables, tried):
                break
            there = told(tried)
            if is_late or (there.hit >= surely and there.usd < forecast.usd):
                layout, forecast = tried, there
                if not shortfall_of(problem, forecast):
                    break
    before_usd = max(plan.forecast.usd, 1e-12)
    return replace(
        plan,
        layout=layout,
        forecast=forecast,
        candidates=tuple(
            replace(c, usd=c.usd * forecast.usd / before_usd) for c in plan.candidates
        ),
        used_s=budget.used_s,
        shortfall=shortfall_of(problem, forecast),
    )


def _widths(wanted: float, *, is_late: bool) -> Iterator[float]:
    """Widths to try in turn: from what is wanted upwards, or from the least that may do."""
    if is_late:
        yield from (f for f in _WIDER if f >= min(wanted, _WIDER[-1]))
    else:
        yield from (f for f in reversed(_NARROWER) if f >= min(wanted, _NARROWER[0]))


def plan_of(
    search: Search,
    chosen: Scored,
    sample: Sample,
    *,
    bound_usd: float,
    event: str = "",
) -> Plan:
    """Dress a chosen layout as a plan."""
    problem = search.problem
    forecast = forecast_of(problem, search.tables, sample)
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


def _end_scale_s(problem: Problem, finish_s: float) -> float:
    """A time by which any sensible plan has ended."""
    if isinstance(problem.objective, Deadline):
        return problem.objective.at_s
    return problem.now_s + 4.0 * (finish_s - problem.now_s)


def _search_size(problem: Problem, tables: Tables, budget: Budget, end_s: float) -> int:
    """As many scenarios as leave enough evaluations within the limit."""
    simulator = ClassSimulator(problem, tables, mean_scenario(problem))
    simulator.run(first_layout(problem, tables, end_s))
    budget.charge(simulator.work_s)
    room = budget.limit_s / _EVALUATIONS - simulator.base_s
    size = int(max(room, SIZE_WORTH * simulator.base_s) / max(simulator.each_s, 1e-9))
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
