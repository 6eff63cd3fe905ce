"""The placement of a run that goes: a first one, and what of it still holds later on.

    plan, histories, pools ---first()---> Standing ---wire()---> PlacementReady, for the core
    Standing + Observed ----look()------> reasons, the problem that is left
    the solver's layout ----follows()---> the next Standing

Pure. Times of a problem are seconds after the submission; those of facts are of the wall clock.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import placement
from placement import Held, InfeasibleError, Layout, Problem, Running, TaskClass, tables_of
from placement.greedy import work_s
from placement.plan import Forecast as PlanForecast
from placement.replan import carried_over
from rayorch.core.facts import PlacementReady
from rayorch.core.placed import (
    ClassPlacement,
    ClassSeen,
    Forecast,
    Observed,
    PoolPrice,
    RunnersWanted,
    pack_classes,
)
from rayorch.home import RunPlan
from rayorch.ids import RunId
from rayorch.plan.estimate import History
from rayorch.plan.planner import Plan, PlannedStage
from rayorch.plan.pools import PoolsSpec
from rayorch.plan.problem import classified
from rayorch.program import Program
from rayorch.spec.objective import Objective

AT_ONCE_USD_H: Final = 1e9
FIRST: Final = "greedy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be placed: a run's plan, and what it is to keep to.

    `done` are tasks that are committed already, `notes` what is to be told of how it was asked.
    """

    run: RunId
    submitted_s: float
    plan: Plan
    histories: Sequence[History]
    pools: PoolsSpec
    objective: Objective | None
    notes: tuple[str, ...] = ()
    done: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A placement in force, and the problem that it was made for.

    `classes` are all classes of the run, as it was first cut: tasks are numbered by them. `done`
    counts, by class, what was committed when `problem` was made; `problem` holds the rest.
    """

    run: RunId
    submitted_s: float
    pools: PoolsSpec
    cores: float
    classes: tuple[TaskClass, ...]
    stages: tuple[str, ...]
    class_of: bytes
    problem: Problem
    layout: Layout
    hit: float
    revision: int = 1
    done: Mapping[str, int]
    placed: Mapping[str, ClassPlacement]
    up_s: Mapping[str, float]
    notes: tuple[str, ...] = ()
    is_final: bool = False


def first(task: Task, now_s: float, revision: int = 1) -> tuple[Standing, PlanForecast]:
    """Return a placement within milliseconds, for a run that begins or has lost its own.

    Raises: InfeasibleError, when a task fits in no pool; PoolsError.
    """
    whole, numbers = classified(task.plan, task.histories, task.pools, task.objective)
    done: dict[str, int] = {}
    for number in (numbers[task_id] for task_id in task.done):
        name = whole.classes[number].name
        done[name] = done.get(name, 0) + 1
    at_s = max(0.0, now_s - task.submitted_s)
    begun, notes = kept_to(whole, at_s)
    problem = placement.remaining(begun, placement.Observed(now_s=at_s, done=done)) or begun
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
        cores=max(stage.cores for stage in task.plan.stages),
        classes=whole.classes,
        stages=tuple(stage.name for stage in task.plan.stages),
        class_of=pack_classes(numbers),
        problem=problem,
        layout=plan.layout,
        hit=plan.forecast.hit,
        revision=revision,
        done=done,
        placed={},
        up_s={},
        notes=(*task.notes, *notes),
    )
    return replace(standing, placed=_placed(standing)), plan.forecast


def follows(
    before: Standing, after: Problem, layout: Layout, hit: float, revision: int
) -> Standing:
    """Return the placement that takes another's place."""
    left = {cls.name: cls.count for cls in after.classes}
    done = {cls.name: cls.count - left.get(cls.name, 0) for cls in before.classes}
    standing = replace(
        before,
        problem=after,
        layout=layout,
        hit=hit,
        revision=revision,
        done=done,
        is_final=True,
    )
    return replace(standing, placed=_placed(standing))


def look(
    standing: Standing, observed: Observed, there: Mapping[str, int]
) -> tuple[tuple[str, ...], Problem | None, Standing]:
    """Return why a placement is to be made anew, what is left to place, and who runs since when.

    `there` has how many one-core slots each pool of the executor has now. No problem: nothing is
    left.
    """
    now_s = max(observed.at_s - observed.submitted_s, standing.problem.now_s)
    limits = {
        pool.name: _nodes(there.get(pool.name, 0), pool.vcpu) for pool in standing.pools.pools
    }
    seen = _seen(standing, observed, now_s, limits)
    standing = replace(standing, up_s={held.pool: held.up_s for held in seen.held})
    before, notes = kept_to(standing.problem, now_s)
    reasons = [
        *notes,
        *placement.reasons_to_replan(before, seen, standing.layout, promised=standing.hit),
    ]
    reasons += _came_and_went(standing, limits)
    after = placement.remaining(before, seen)
    if after is None:
        return (), None, standing
    pools = tuple(
        replace(pool, nodes_max=min(limits[pool.name], spec.max_nodes))
        for pool, spec in zip(after.pools, standing.pools.pools, strict=True)
    )
    return tuple(reasons), replace(after, pools=pools), standing


def guarded(standing: Standing, after: Problem) -> tuple[Layout, Layout]:
    """Return the layout as far as it still holds, and with what the deadline needs on top.

    Milliseconds, no search: what serves when the solver does not.
    """
    tables = tables_of(after)
    carried = carried_over(standing.problem, standing.layout, after, tables)
    return carried, placement.guard(after, tables, carried)


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
    return placement.Weighted(usd_per_h=0.0 if is_budget else AT_ONCE_USD_H)


# --- what is seen -------------------------------------------------------------------------------


def _seen(
    standing: Standing, observed: Observed, now_s: float, limits: Mapping[str, int]
) -> placement.Observed:
    """Say what the core saw in the words of placement: of the classes that the problem has."""
    left = {cls.name: cls.count for cls in standing.problem.classes}
    known = [each for each in observed.classes if each.name in left]
    done = {each.name: each.done - standing.done.get(each.name, 0) for each in known}
    timed = {each.name: each for each in known if each.timed and each.took > 0.0}
    down = [name for name, nodes in limits.items() if not nodes]
    held = _held(standing, observed, now_s, limits)
    return placement.Observed(
        now_s=now_s,
        done={name: min(max(0, count), left[name]) for name, count in done.items()},
        held=held,
        running=_running(standing, known, {each.pool for each in held}),
        down=tuple(down),
        slower={name: each.took / each.timed for name, each in timed.items()},
        measured={name: each.timed for name, each in timed.items()},
        spent_usd=observed.spent_usd,
    )


def _held(
    standing: Standing, observed: Observed, now_s: float, limits: Mapping[str, int]
) -> tuple[Held, ...]:
    runners = dict(observed.runners)
    held = []
    for pool in standing.pools.pools:
        nodes = math.ceil(runners.get(pool.name, 0) / runners_a_node(pool.vcpu, standing.cores))
        nodes = min(nodes, limits[pool.name], pool.max_nodes)
        if nodes:
            up_s = standing.up_s.get(pool.name, now_s)
            held.append(Held(pool=pool.name, count=nodes, up_s=up_s, ready_s=now_s))
    return tuple(held)


def _running(
    standing: Standing, known: Sequence[ClassSeen], held: Collection[str]
) -> tuple[Running, ...]:
    """Say what runs where; nobody knows since when, so that each is taken to be half done."""
    found = []
    for each in known:
        placed = standing.placed[each.name]
        expected_s = dict(zip(placed.pools, placed.expected_s, strict=True))
        for pool, count in each.running:
            if pool in held and pool in expected_s:
                half_s = expected_s[pool] / 2.0
                found.append(Running(cls=each.name, pool=pool, count=count, elapsed_s=half_s))
    return tuple(found)


def _came_and_went(standing: Standing, limits: Mapping[str, int]) -> list[str]:
    """Say which pools have more or fewer machines than the placement knows of."""
    found = []
    for pool, spec in zip(standing.problem.pools, standing.pools.pools, strict=True):
        now = min(limits[pool.name], spec.max_nodes)
        # Pools that are gone or back are told of already.
        if now != pool.nodes_max and now and pool.nodes_max:
            found.append(f"pool {pool.name} has {now} nodes, not {pool.nodes_max}")
    return found


def _nodes(slots: int, vcpu: float) -> int:
    return int(slots // vcpu)


def runners_a_node(vcpu: float, cores: float) -> int:
    """Return how many runners of a run one machine holds."""
    return max(1, int(vcpu // max(cores, 1.0)))


# --- what the core is told ------------------------------------------------------------------------


def wire(
    standing: Standing,
    forecast: PlanForecast,
    *,
    method: str,
    reasons: Sequence[str] = (),
) -> PlacementReady:
    """Return a placement as the core follows it and the journal keeps it."""
    return PlacementReady(
        run=standing.run,
        revision=standing.revision,
        classes=tuple(standing.placed[cls.name] for cls in standing.classes),
        class_of=standing.class_of,
        runners=_runners(standing),
        prices=prices_of(standing.pools),
        forecast=_forecast(standing, forecast),
        method=method,
        reasons=(*reasons, *standing.notes),
        is_final=standing.is_final,
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
        )
    return found


def _runners(standing: Standing) -> tuple[RunnersWanted, ...]:
    """Return when how many runners of each pool are wanted: more at each request, never fewer.

    Nodes go when nothing is left for them, and that is seen as it happens, not planned.
    """
    problem, layout = standing.problem, standing.layout
    now_s = problem.now_s
    later = {fleet.at_s for fleet in layout.fleets if fleet.at_s is not None}
    times = [now_s, *sorted(at_s for at_s in later if at_s > now_s)]
    vcpu = {pool.name: pool.vcpu for pool in problem.pools}
    known: dict[str, int] = {}
    steps = []
    for at_s in times:
        for pool, nodes in placement.nodes_wanted(problem, layout, at_s).items():
            count = nodes * runners_a_node(vcpu[pool], standing.cores)
            if count > known.get(pool, 0):
                known[pool] = count
                steps.append(RunnersWanted(pool, standing.submitted_s + at_s, count))
    return tuple(steps)


def prices_of(pools: PoolsSpec) -> tuple[PoolPrice, ...]:
    """Return what a core of each pool costs, and what it costs to bring data there."""
    return tuple(
        PoolPrice(
            pool=pool.name,
            usd_core_h=None if pool.usd_h is None else pool.usd_h / pool.vcpu,
            egress_usd_gb=pools.egress_usd_gb.get(pools.source, {}).get(pool.location, 0.0),
            get_usd=pools.get_usd,
            put_usd=pools.put_usd,
        )
        for pool in pools.pools
    )


def _forecast(standing: Standing, forecast: PlanForecast) -> Forecast:
    is_priced = standing.pools.is_priced
    core_s = sum(cls.count * cls.work_s * cls.slots for cls in standing.classes)
    return Forecast(
        usd=forecast.usd if is_priced else None,
        core_hours=core_s / 3600.0 if is_priced else forecast.usd,
        p50_s=forecast.p50_s,
        p95_s=forecast.p95_s,
        hit=forecast.hit,
    )


def planned(program: Program, kept: RunPlan) -> Plan:
    """Return a plan that lies under the home as placement reads it."""
    stages = [
        PlannedStage(
            name=stage.name,
            url=stage.source.urls[0],
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
            labels=dict(stage.resources.labels),
        )
        for stage, plan in zip(program.stages, kept.stages, strict=True)
    ]
    return Plan(run_plan=kept, stages=tuple(stages))
