"""The placement of a run that goes: a first one, and what of it still holds later on.

    plan, histories, pools ---first()---> Standing ---wire()---> PlacementReady, for the core
    Standing + Observed ----look()------> reasons, the problem that is left
    the solver's layout ----follows()---> the next Standing

Pure. Times of a problem are seconds after the submission; those of facts are of the wall clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import placement
from placement import Held, InfeasibleError, Layout, Problem, tables_of
from placement.confirm import forecast_of
from placement.greedy import work_s
from placement.replan import carried_over
from placement.scenarios import draw
from placement.simulate import ClassSimulator
from rayorch.core.facts import PlacementKept, PlacementReady
from rayorch.core.placed import (
    ClassPlacement,
    Forecast,
    PoolPrice,
    pack_classes,
)
from rayorch.core.sizes import Size
from rayorch.home import RunPlan
from rayorch.ids import RunId
from rayorch.plan.estimate import History
from rayorch.plan.planner import Plan, PlannedStage
from rayorch.plan.pools import PoolsSpec
from rayorch.plan.problem import classified
from rayorch.plan.runners import runners_wanted
from rayorch.plan.standing import Standing
from rayorch.program import Program
from rayorch.spec.objective import Objective

AT_ONCE: Final = placement.Weighted(usd_per_h=1e9)
CHEAPEST: Final = placement.Weighted(usd_per_h=0.0)
CARRIED: Final = "carried over"
FORECAST_SIZE: Final = 16
SEED: Final = 0
HORIZON_S: Final = 86_400.0
"""How far ahead reclaims of spot pools are drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be placed: a run's plan, and what it is to keep to.

    `done` are tasks that are committed already, `notes` what is to be told of how it was asked,
    `prices` what the ledger charges: that of the pools as they were described.
    `elastic` has the machines that each pool has now, of those that more can be asked of; None:
    there are no others than those that are there.
    """

    run: RunId
    submitted_s: float
    plan: Plan
    histories: Sequence[History]
    pools: PoolsSpec
    objective: Objective | None
    notes: tuple[str, ...] = ()
    done: Sequence[int] = ()
    prices: tuple[PoolPrice, ...] = ()
    elastic: Mapping[str, int] | None = None


def first(task: Task, now_s: float, revision: int = 1) -> tuple[Standing, placement.Plan]:
    """Return a placement within milliseconds, for a run that begins or has lost its own.

    Raises: InfeasibleError, when a task fits in no pool; PoolsError.
    """
    whole, numbers = classified(task.plan, task.histories, task.pools, task.objective)
    done: dict[str, int] = {}
    # Behind those that were cut first are tasks of exchanges, and what was left of tasks.
    for number in (numbers[task_id] for task_id in task.done if task_id < len(numbers)):
        name = whole.classes[number].name
        done[name] = done.get(name, 0) + 1
    at_s = max(0.0, now_s - task.submitted_s)
    begun, notes = kept_to(whole, at_s)
    held = tuple(
        Held(pool=pool, count=count, up_s=at_s, ready_s=at_s)
        for pool, count in (task.elastic or {}).items()
        if count
    )
    seen = placement.Observed(now_s=at_s, done=done, held=held)
    left = placement.remaining(begun, seen)
    problem = left or begun
    try:
        plan = placement.solve(problem, time_limit_s=0.0)
    except InfeasibleError as error:
        problem = replace(problem, objective=_as_near(problem))
        plan = placement.solve(problem, time_limit_s=0.0)
        notes = (*notes, f"not to be kept: {error.reason}; it would take {error.nearest}")
    standing = Standing(
        run=task.run,
        submitted_s=task.submitted_s,
        pools=task.pools,
        sizes=tuple(Size(each.cores, each.memory_bytes, each.gpus) for each in task.plan.stages),
        classes=whole.classes,
        stages=tuple(stage.name for stage in task.plan.stages),
        class_of=pack_classes(numbers),
        problem=problem,
        layout=plan.layout,
        forecast=plan.forecast,
        method=plan.method,
        revision=revision,
        done={} if left is None else done,  # A problem has some work: nothing of it is left.
        placed={},
        notes=(*task.notes, *notes),
        prices=task.prices or prices_of(task.pools),
        elastic=frozenset(task.elastic or ()),
    )
    return replace(standing, placed=_placed(standing)), plan


def follows(before: Standing, after: Problem, plan: placement.Plan, revision: int) -> Standing:
    """Return the placement that takes another's place."""
    left = {cls.name: cls.count for cls in after.classes}
    done = {cls.name: cls.count - left.get(cls.name, 0) for cls in before.classes}
    standing = replace(
        before,
        problem=after,
        layout=plan.layout,
        forecast=plan.forecast,
        method=plan.method,
        revision=revision,
        done=done,
    )
    return replace(standing, placed=_placed(standing))


def moved(
    standing: Standing, revision: int, reasons: Sequence[str]
) -> tuple[Standing, PlacementReady | PlacementKept]:
    """Return the placement of a run of which only stages without classes are left, and its news.

    Without reasons it is kept; else those stages have to move, and nothing is to be searched.
    """
    if not reasons:
        return standing, PlacementKept(standing.run)
    standing = replace(standing, revision=revision, method=CARRIED)
    return standing, wire(standing, reasons)


def guarded(standing: Standing, after: Problem) -> tuple[Layout, Layout]:
    """Return the layout as far as it still holds, and with what the deadline needs on top.

    Milliseconds, no search: what serves when the solver does not.
    """
    tables = tables_of(after)
    carried = carried_over(standing.problem, standing.layout, after, tables)
    return carried, placement.guard(after, tables, carried)


def unsearched(problem: Problem, layout: Layout) -> placement.Plan:
    """Return a layout that no search has seen as a plan, with what it comes to."""
    tables = tables_of(problem)
    luck = draw(problem, FORECAST_SIZE, SEED, horizon_s=HORIZON_S)
    forecast = forecast_of(problem, tables, ClassSimulator(problem, tables, luck).run(layout))
    return placement.Plan(
        layout=layout,
        forecast=forecast,
        bound_usd=problem.spent_usd,
        method=CARRIED,
        candidates=(),
        evaluations=1,
        used_s=0.0,
    )


def kept_to(problem: Problem, now_s: float) -> tuple[Problem, tuple[str, ...]]:
    """Return the problem with an objective that can still be asked for, and what became of it."""
    objective = problem.objective
    if isinstance(objective, placement.Deadline) and objective.at_s <= now_s:
        late = "the deadline has passed: the run is to end as soon as it can"
        return replace(problem, objective=_as_near(problem)), (late,)
    return problem, ()


def _as_near(problem: Problem) -> placement.Weighted:
    """Stand for an objective that cannot be kept: the least cost, or the earliest end."""
    is_budget = isinstance(problem.objective, placement.Budget)
    return CHEAPEST if is_budget else AT_ONCE


# --- what the core is told ------------------------------------------------------------------------


def wire(
    standing: Standing, reasons: Sequence[str] = (), *, is_final: bool = True
) -> PlacementReady:
    """Return a placement as the core follows it and the journal keeps it."""
    return PlacementReady(
        run=standing.run,
        revision=standing.revision,
        classes=tuple(standing.placed[cls.name] for cls in standing.classes),
        class_of=standing.class_of,
        runners=runners_wanted(standing),
        prices=standing.prices,
        forecast=_forecast(standing),
        method=standing.method,
        reasons=(*reasons, *standing.notes),
        is_final=is_final,
        is_reviewed=True,
    )


def _placed(standing: Standing) -> dict[str, ClassPlacement]:
    """Return the pools of each class; those of classes that are done stay as they were."""
    problem = standing.problem
    pools_of = placement.pools_of(problem, standing.layout)
    seconds = work_s(problem, tables_of(problem))
    index = {pool.name: number for number, pool in enumerate(problem.pools)}
    rows = {cls.name: number for number, cls in enumerate(problem.classes)}
    found = {}
    for cls in standing.classes:
        before = standing.placed.get(cls.name)
        pools = pools_of.get(cls.name, ())
        expected_s = tuple(float(seconds[rows[cls.name], index[name]]) for name in pools)
        if not pools and before is not None:
            pools, expected_s = before.pools, before.expected_s
        found[cls.name] = ClassPlacement(
            name=cls.name,
            stage=standing.stages.index(cls.stage),
            tasks=cls.count,
            pools=pools,
            expected_s=expected_s,
            cv=cls.cv,
            source=cls.source,
        )
    return found


def prices_of(pools: PoolsSpec) -> tuple[PoolPrice, ...]:
    """Return what a core of each pool costs, and what it costs to bring data there.

    How machines are billed is told where somebody said it, and not what a plan assumes.
    """
    return tuple(
        PoolPrice(
            pool=pool.name,
            usd_core_h=None if pool.usd_h is None else pool.usd_h / pool.vcpu,
            egress_usd_gb=pools.egress_usd_gb.get(pools.source, {}).get(pool.location, 0.0),
            get_usd=pools.get_usd,
            put_usd=pools.put_usd,
            location=pool.location,
            source=pools.source,
            egress=tuple(
                (place, row[pool.location])
                for place, row in pools.egress_usd_gb.items()
                if place != pools.source and row.get(pool.location)
            ),
            bill_s=pool.bill_s if "bill_s" in pool.model_fields_set else 0.0,
            min_bill_s=pool.min_bill_s if "min_bill_s" in pool.model_fields_set else 0.0,
        )
        for pool in pools.pools
    )


def _forecast(standing: Standing) -> Forecast:
    forecast = standing.forecast
    is_priced = standing.pools.is_priced
    core_s = sum(cls.count * cls.work_s * cls.slots for cls in standing.classes)
    return Forecast(
        usd=forecast.usd if is_priced else None,
        core_hours=core_s / 3600.0 if is_priced else forecast.usd,
        p50_s=forecast.p50_s,
        p95_s=forecast.p95_s,
        from_s=standing.problem.now_s,
        # To what ends as soon as it can, no deadline is missed: the one that was asked for is.
        hit=0.0 if standing.problem.objective == AT_ONCE else forecast.hit,
    )


def planned(program: Program, kept: RunPlan) -> Plan:
    """Return a plan that lies under the home as placement reads it."""
    stages = [
        PlannedStage(
            name=stage.name,
            url=stage.files.urls[0] if stage.exchange is None else "",
            format=plan.discovery.format,
            files=len(plan.discovery.files),
            tasks=len(plan.splits),
            size_bytes=plan.discovery.size_bytes,
            rows=plan.discovery.rows,
            task_bytes_max=0,
            steps=tuple(f"{step.kind} {step.name}" for step in stage.steps),
            columns=stage.columns,
            predicate="",
            sinks=tuple(program.sinks[edge.sink].url for edge in stage.sinks),
            cores=stage.resources.cores,
            memory_bytes=stage.resources.memory_bytes,
            gpus=stage.resources.gpus,
            labels=dict(stage.resources.labels),
        )
        for stage, plan in zip(program.stages, kept.stages, strict=True)
    ]
    return Plan(run_plan=kept, stages=tuple(stages))
