"""Where each stage of a plan goes, when, for how much, what lost against it, and what else is open.

Dollars are None where a pool's price is not known: placement then saves core hours, and nobody is
told that they are money.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np

import placement
from placement import ClassChoice, InfeasibleError, Plan, Point, Problem, TaskClass
from placement.frontier import point_of, undominated

SOLVE_S: Final = 0.8
"""Seconds of search, counted on a reference machine, so that the same question has one answer."""
POINT_S: Final = 0.12
POINTS: Final = 6
SHARE_MIN: Final = 1e-6
BUDGET_MARGIN: Final = 1.05
"""A budget that is named as enough must be, on other luck too."""


class PoolUse(msgspec.Struct, frozen=True):
    """One pool for one stage, chosen (it has tasks) or not.

    `usd` and `egress_usd` are of the whole stage on this pool, perfectly packed; `loss` is the
    chance that the pool goes away meanwhile.
    """

    pool: str
    tasks: float
    nodes: int
    task_s: float
    usd: float | None
    egress_usd: float | None
    moved_gb: float
    loss: float
    reason: str


class StageChoice(msgspec.Struct, frozen=True):
    """Where a stage goes and when. Dollars are its share of the plan's, idle and start-up too."""

    name: str
    tasks: int
    start_s: float
    finish_s: float
    compute_usd: float | None
    egress_usd: float | None
    request_usd: float | None
    moved_gb: float
    chosen: tuple[PoolUse, ...]
    lost: tuple[PoolUse, ...]


class Lost(msgspec.Struct, frozen=True):
    """A plan that was considered: `above` is its cost over the chosen one's, as a share."""

    name: str
    usd: float | None
    above: float
    p95_s: float
    hit: float
    is_kept: bool


class FrontierPoint(msgspec.Struct, frozen=True):
    """The cheapest plan found for a finish time; `cost` is USD, or core hours without prices."""

    p95_s: float
    usd: float | None
    cost: float
    pools: dict[str, int]


class Decision(msgspec.Struct, frozen=True):
    """A placed plan, or the reason why there is none.

    `refused` says what cannot be kept and `nearest` what could; `hit` is the share of simulated
    runs that keep the deadline, `gap` the cost above a bound that no plan can be below.
    """

    objective: str
    is_priced: bool
    stages: tuple[StageChoice, ...] = ()
    usd: float | None = None
    compute_usd: float | None = None
    egress_usd: float | None = None
    request_usd: float | None = None
    core_hours: float | None = None
    p50_s: float = 0.0
    p95_s: float = 0.0
    hit: float = 0.0
    hit_low: float = 0.0
    scenarios: int = 0
    gap: float | None = None
    method: str = ""
    candidates: tuple[Lost, ...] = ()
    frontier: tuple[FrontierPoint, ...] = ()
    refused: str = ""
    nearest: str = ""


def decide(
    problem: Problem, *, is_priced: bool, budget_usd: float | None = None, points: int = POINTS
) -> Decision:
    """Solve a placement problem and tell all that there is to tell about the answer.

    `budget_usd` is checked on top of a deadline: the cheapest plan that keeps it may cost more.
    """
    return solved(problem, is_priced=is_priced, budget_usd=budget_usd, points=points)[0]


def solved(
    problem: Problem, *, is_priced: bool, budget_usd: float | None = None, points: int = POINTS
) -> tuple[Decision, Plan | None]:
    """Decide, and return the plan that is to be followed too; None where there is none."""
    objective = _objective_text(problem)
    try:
        plan = placement.solve(problem, time_limit_s=SOLVE_S)
    except InfeasibleError as error:
        found = _frontier(problem, points)
        refusal = Decision(
            objective=objective,
            is_priced=is_priced,
            refused=error.reason,
            nearest=_nearest(problem, found, is_priced=is_priced) or error.nearest,
            frontier=tuple(_point(problem, each, is_priced=is_priced) for each in found),
        )
        return refusal, None
    found = undominated([*_frontier(problem, points), point_of(plan)]) if points else ()
    plan = _within_budget(problem, plan, found)
    refused, nearest = plan.shortfall, ""
    if refused:
        nearest = _nearest(problem, found, is_priced=is_priced)
        refused = refused.partition(". nearest=")[0]
    elif budget_usd is not None and plan.forecast.usd > budget_usd:
        refused = f"the cheapest plan found for the deadline costs {plan.forecast.usd:.4g} USD"
        nearest = f"--budget {plan.forecast.usd:.4g}"
    decision = msgspec.structs.replace(
        told(problem, plan, is_priced=is_priced),
        frontier=tuple(_point(problem, each, is_priced=is_priced) for each in found),
        refused=refused,
        nearest=nearest,
    )
    return decision, plan


def _within_budget(problem: Problem, plan: Plan, found: Sequence[Point]) -> Plan:
    """Return the plan, or the fastest point within the budget when the plan costs more than that.

    A search for the earliest finish may miss the slow plans that a tight budget leaves.
    """
    objective = problem.objective
    if not isinstance(objective, placement.Budget) or not plan.shortfall:
        return plan
    for point in found:
        if point.usd <= objective.usd:
            return replace(point.plan, candidates=plan.candidates, shortfall="")
    return plan


def told(problem: Problem, plan: Plan, *, is_priced: bool) -> Decision:
    """Tell of a plan: where each stage goes, what it comes to, and what was considered."""
    forecast = plan.forecast
    stages = _stages(problem, plan, is_priced=is_priced)
    return Decision(
        objective=_objective_text(problem),
        is_priced=is_priced,
        stages=stages,
        usd=forecast.usd if is_priced else None,
        compute_usd=forecast.compute_usd if is_priced else None,
        egress_usd=forecast.egress_usd if is_priced else None,
        request_usd=forecast.request_usd if is_priced else None,
        core_hours=None if is_priced else forecast.usd,
        p50_s=forecast.p50_s,
        p95_s=forecast.p95_s,
        hit=forecast.hit,
        hit_low=forecast.hit_low,
        scenarios=forecast.scenarios,
        gap=plan.gap if np.isfinite(plan.gap) else None,
        method=plan.method,
        candidates=_candidates(plan, is_priced=is_priced),
    )


def _candidates(plan: Plan, *, is_priced: bool) -> tuple[Lost, ...]:
    """The plans that were considered, without those that come to the same."""
    usd = max(plan.forecast.usd, 1e-12)
    seen: dict[tuple[float, float], Lost] = {}
    for each in plan.candidates:
        key = (round(each.usd, 9), round(each.p95_s, 3))
        lost = Lost(
            name=each.name,
            usd=each.usd if is_priced else None,
            above=each.usd / usd - 1.0,
            p95_s=each.p95_s,
            hit=each.hit,
            is_kept=each.is_kept,
        )
        if each.name != plan.method:
            seen.setdefault(key, lost)
    return tuple(sorted(seen.values(), key=lambda each: (not each.is_kept, each.above)))


# --- stages -------------------------------------------------------------------------------------


def _stages(problem: Problem, plan: Plan, *, is_priced: bool) -> tuple[StageChoice, ...]:
    by_stage: dict[str, list[tuple[TaskClass, ClassChoice]]] = {}
    choices = placement.explain(problem, plan.layout)
    for cls, choice in zip(problem.classes, choices, strict=True):
        by_stage.setdefault(cls.stage, []).append((cls, choice))
    packed = {stage: _summed(own, "usd") for stage, own in by_stage.items()}
    egress = {stage: _summed(own, "egress_usd") for stage, own in by_stage.items()}
    asked = {stage: _asked_usd(problem, own) for stage, own in by_stage.items()}
    # What nodes cost while they start, wait and work again is shared out by the work done, and
    # what is read again after a reclaim by what is read.
    forecast = plan.forecast
    compute_usd = _shared(forecast.compute_usd, packed, packed)
    egress_usd = _shared(forecast.egress_usd, egress, packed)
    request_usd = _shared(forecast.request_usd, asked, packed)
    made = []
    for stage, own in by_stage.items():
        uses = _uses(problem, plan, stage, own, is_priced=is_priced)
        made.append(
            StageChoice(
                name=stage,
                tasks=sum(cls.count for cls, _ in own),
                start_s=min(choice.start_s for _, choice in own),
                finish_s=max(choice.finish_s for _, choice in own),
                compute_usd=compute_usd[stage] if is_priced else None,
                egress_usd=egress_usd[stage] if is_priced else None,
                request_usd=request_usd[stage] if is_priced else None,
                moved_gb=_summed(own, "moved_gb"),
                chosen=tuple(use for use in uses if use.tasks > SHARE_MIN),
                lost=tuple(use for use in uses if use.tasks <= SHARE_MIN),
            )
        )
    return tuple(made)


def _shared(
    usd: float, weights: Mapping[str, float], otherwise: Mapping[str, float]
) -> dict[str, float]:
    """Share out dollars among stages by weights, or by others where these are all zero."""
    some = weights if sum(weights.values()) > 0.0 else otherwise
    whole, even = sum(some.values()), 1.0 / max(1, len(some))
    return {stage: usd * (w / whole if whole > 0.0 else even) for stage, w in some.items()}


def _asked_usd(problem: Problem, own: Sequence[tuple[TaskClass, ClassChoice]]) -> float:
    """USD for a stage's requests to the store."""
    get_usd, put_usd = problem.network.get_usd, problem.network.put_usd
    return sum(cls.count * (cls.gets * get_usd + cls.puts * put_usd) for cls, _ in own)


def _summed(own: Sequence[tuple[TaskClass, ClassChoice]], field: str) -> float:
    return sum(_paid(cls, choice, field) for cls, choice in own)


def _paid(cls: TaskClass, choice: ClassChoice, field: str) -> float:
    """What a class comes to over the pools that it runs on: an option is of the whole class."""
    return float(
        sum(
            getattr(each, field) * each.tasks / cls.count
            for each in choice.options
            if each.tasks > 0
        )
    )


def _uses(
    problem: Problem,
    plan: Plan,
    stage: str,
    own: Sequence[tuple[TaskClass, ClassChoice]],
    *,
    is_priced: bool,
) -> list[PoolUse]:
    """Return a stage's pools, those with most tasks first, then the cheapest."""
    made = []
    for pool in problem.pools:
        options = [each for _, c in own for each in c.options if each.pool == pool.name]
        tasks = sum(each.tasks for each in options)
        count = sum(cls.count for cls, _ in own)
        weights = [cls.count for cls, _ in own]
        fits = all(np.isfinite(each.task_s) and np.isfinite(each.usd) for each in options)
        reasons = [each.reason for each in options if each.reason != "chosen"]
        made.append(
            PoolUse(
                pool=pool.name,
                tasks=tasks,
                nodes=_nodes(problem, plan, stage, pool.name),
                task_s=sum(w * e.task_s for w, e in zip(weights, options, strict=True)) / count
                if fits
                else 0.0,
                usd=sum(each.usd for each in options) if fits and is_priced else None,
                egress_usd=sum(each.egress_usd for each in options) if is_priced else None,
                moved_gb=sum(each.moved_gb for each in options),
                loss=max(each.loss for each in options),
                reason="chosen" if tasks > SHARE_MIN else reasons[0],
            )
        )
    # Sorting is stable: pools that come to the same stay in the order of the file.
    made.sort(key=lambda use: (-use.tasks, use.task_s == 0.0, use.usd or 0.0, use.task_s))
    return made


def _nodes(problem: Problem, plan: Plan, stage: str, pool: str) -> int:
    """Return how many nodes of a pool serve a stage in the layout, some of them perhaps shared."""
    layout = plan.layout
    own = {
        index for index, part in enumerate(layout.parts) if problem.classes[part.cls].stage == stage
    }
    return sum(
        fleet.count
        for fleet in layout.fleets
        if problem.pools[fleet.pool].name == pool and own.intersection(fleet.parts)
    )


# --- what else is open --------------------------------------------------------------------------


def frontier_points(
    problem: Problem, *, is_priced: bool, points: int = POINTS
) -> tuple[FrontierPoint, ...]:
    """Return cost against time, from the fastest plan to the cheapest."""
    found = _frontier(problem, points)
    return tuple(_point(problem, each, is_priced=is_priced) for each in found)


def _frontier(problem: Problem, points: int) -> tuple[Point, ...]:
    try:
        return placement.frontier(problem, points=points, time_limit_s=points * POINT_S)
    except InfeasibleError:
        # A class that fits nowhere: the refusal of the plan itself names it.
        return ()


def _point(problem: Problem, point: Point, *, is_priced: bool) -> FrontierPoint:
    pools: dict[str, int] = {}
    for fleet in point.plan.layout.fleets:
        name = problem.pools[fleet.pool].name
        pools[name] = pools.get(name, 0) + fleet.count
    return FrontierPoint(
        p95_s=point.p95_s, usd=point.usd if is_priced else None, cost=point.usd, pools=pools
    )


def _nearest(problem: Problem, found: Sequence[Point], *, is_priced: bool) -> str:
    """Return the option that would make the objective one that a plan found can keep."""
    if not found:
        return ""
    if isinstance(problem.objective, placement.Budget):
        cheapest = found[-1]
        return f"--budget {_ceil(BUDGET_MARGIN * cheapest.usd):g}"
    fastest = found[0]
    cost = f" (about {fastest.usd:.4g} USD)" if is_priced else ""
    return f"--deadline {int(np.ceil(fastest.p95_s))}s{cost}"


def _ceil(usd: float) -> float:
    """Round up to three digits that count."""
    digits = 2 - int(np.floor(np.log10(max(usd, 1e-9))))
    return float(np.ceil(usd * 10.0**digits) / 10.0**digits)


def _objective_text(problem: Problem) -> str:
    match problem.objective:
        case placement.Deadline() as deadline:
            share = f"{deadline.confidence:.0%} of runs"
            return f"cheapest that ends within {deadline.at_s:.12g} s in {share}"
        case placement.Budget() as budget:
            return f"earliest that costs {budget.usd:g} USD on average"
        case placement.Weighted() as weighted:
            return f"least cost with an hour worth {weighted.usd_per_h:.4g}"
