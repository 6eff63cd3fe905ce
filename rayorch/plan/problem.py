"""From a cut plan, estimates, pools and an objective to a problem that placement solves.

Tasks of a stage that take about as long are one class: a hundred thousand tasks become a handful
of classes. Each stage is a kind of work of its own, so that a pool can be quick at one and slow at
another, as it was measured.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

import placement
from placement import InfeasibleError, Pool, Problem, TaskClass, bounds_of, tables_of
from rayorch.errors import PoolsError
from rayorch.home import StagePlan, decode_split
from rayorch.plan.estimate import GB, Estimate, Floats, History, estimate_of
from rayorch.plan.history import work_of
from rayorch.plan.locating import sources_of
from rayorch.plan.planner import Plan, PlannedStage
from rayorch.plan.pools import PoolSpec, PoolsSpec, no_price, pool_of
from rayorch.spec.objective import Budget, Deadline, Objective, Weighted

BUCKETS_MAX: Final = 8
BUCKET_FACTOR: Final = 2.0
"""Tasks of a class take no more than this times as long as each other, where buckets suffice."""
SLOTS_MIN: Final = 0.01
WORK_S_MIN: Final = 1e-3
WEIGHT_USUAL: Final = 0.5
"""Between the cheapest plan (0) and the fastest (1), when nothing else is asked for."""
FASTEST: Final = 1e4
"""What an hour is worth against the whole cost, for who wants the fastest plan at any price."""
CORE_HOUR: Final = 1.0
"""Stands for a price where none is known: then cores times hours are what a plan saves."""
MEASURED_HERE: Final = ("in-process", "local", "default")
"""Names under which runners of this machine were measured."""
TRANSFER_SHARE_MAX: Final = 0.95


@dataclass(frozen=True, slots=True)
class _Task:
    size_bytes: int
    mean_s: float
    gets: int
    source: str


def problem_of(
    plan: Plan, histories: Sequence[History], pools: PoolsSpec, objective: Objective | None
) -> Problem:
    """Return the placement problem of a plan.

    Raises: PoolsError, when a budget is asked for and a price is not known.
    """
    return classified(plan, histories, pools, objective)[0]


def classified(
    plan: Plan, histories: Sequence[History], pools: PoolsSpec, objective: Objective | None
) -> tuple[Problem, list[int]]:
    """Return the placement problem of a plan, and the number of each task's class in it.

    Raises: PoolsError, when a budget is asked for and a price is not known.
    """
    if isinstance(objective, Budget) and not pools.is_priced:
        raise PoolsError(no_price(pools), "", "usd_h", "")
    speeds = {pool.name: pool.speed for pool in pools.pools}
    estimates = [estimate_of(_renamed(each, pools), speeds) for each in histories]
    stages = list(zip(plan.stages, estimates, strict=True))
    tasks = [
        _tasks(stage, each, pools)
        for stage, each in zip(plan.run_plan.stages, estimates, strict=True)
    ]
    classes: list[TaskClass] = []
    numbers: list[int] = []
    for (stage, estimate), some in zip(stages, tasks, strict=True):
        made, of_task = _classes(stage, estimate, some)
        numbers += [len(classes) + number for number in of_task]
        classes += made
    means_gb = {
        stage.name: sum(task.size_bytes for task in some) / GB / max(1, len(some))
        for stage, some in zip(plan.stages, tasks, strict=True)
    }
    problem = Problem(
        classes=tuple(classes),
        pools=tuple(_pool(pool, stages, means_gb) for pool in pools.pools),
        objective=placement.Weighted(usd_per_h=0.0),
        network=pools.network(),
        spares_gpus=True,
    )
    return replace(problem, objective=_objective(problem, objective)), numbers


def _renamed(history: History, pools: PoolsSpec) -> History:
    """Let what was measured on this machine speak for the pool that is this machine."""
    names = [pool.name for pool in pools.pools]
    if "local" not in names:
        return history
    for name in MEASURED_HERE:
        if name in history.pools:
            others = {pool: sums for pool, sums in history.pools.items() if pool != name}
            return History(history.version, history.stage, {"local": history.pools[name], **others})
    return history


def _tasks(stage: StagePlan, estimate: Estimate, pools: PoolsSpec) -> list[_Task]:
    found = []
    for data, source in zip(stage.splits, sources_of(stage, pools), strict=True):
        split = decode_split(data)
        mean_s = estimate.mean_s(work_of(split))
        found.append(_Task(split.size_bytes, mean_s, len(split.parts), source))
    return found


def _classes(
    stage: PlannedStage, estimate: Estimate, tasks: list[_Task]
) -> tuple[list[TaskClass], list[int]]:
    """Return a stage's classes, and the place in them of each task's own.

    Tasks of a class take about as long, and their input lies in one place.
    """
    # What reads an exchange has no tasks before that was measured: it is placed then.
    if not tasks:
        return [], []
    seconds = np.maximum([task.mean_s for task in tasks], WORK_S_MIN)
    sizes = np.array([task.size_bytes for task in tasks])
    gets = np.array([task.gets for task in tasks], dtype=float)
    places = sorted({task.source for task in tasks})
    of_place = np.array([places.index(task.source) for task in tasks])
    of_bucket = of_place * BUCKETS_MAX + _buckets(seconds)
    made = []
    buckets, of_task = np.unique(of_bucket, return_inverse=True)
    for number, bucket in enumerate(buckets, 1):
        own = of_bucket == bucket
        mean_s, in_gb = float(seconds[own].mean()), float(sizes[own].mean()) / GB
        memory_bytes = estimate.memory_bytes_at(int(sizes[own].max()))
        between = float(seconds[own].var()) / mean_s**2
        made.append(
            TaskClass(
                name=stage.name if buckets.size == 1 else f"{stage.name}/{number}",
                count=int(own.sum()),
                work_s=mean_s,
                cv=math.sqrt(estimate.cv**2 * (1.0 + between) + between),
                kind=stage.name,
                stage=stage.name,
                slots=max(stage.cores, SLOTS_MIN),
                mem_gb=max(stage.memory_bytes, memory_bytes) / GB,
                gpus=stage.gpus,
                labels=stage.labels,
                in_gb=in_gb,
                source=places[int(bucket) // BUCKETS_MAX],
                out_gb=in_gb * estimate.ratio.mean,
                gets=float(gets[own].mean()),
                puts=float(len(stage.sinks)),
            )
        )
    return made, [int(number) for number in of_task]


def _buckets(seconds: Floats) -> Floats:
    """Return the bucket of each task, by how long it takes: geometric, as few as serve."""
    least, most = float(seconds.min()), float(seconds.max())
    doublings = math.log(most / least) / math.log(BUCKET_FACTOR)
    width = max(1.0, (doublings + 1e-9) / BUCKETS_MAX)
    buckets = np.floor(np.log(seconds / least) / math.log(BUCKET_FACTOR) / width)
    return np.minimum(buckets, BUCKETS_MAX - 1)


def _pool(
    spec: PoolSpec, stages: list[tuple[PlannedStage, Estimate]], means_gb: Mapping[str, float]
) -> Pool:
    """Return a pool with the speed that each stage has on it, measured or stated."""
    speed = {stage.name: _speed(spec, stage, each, means_gb[stage.name]) for stage, each in stages}
    unsure = max(each.scale_cv.get(spec.name, each.scale_cv[""]) for _, each in stages)
    usd_h = spec.vcpu * CORE_HOUR if spec.usd_h is None else spec.usd_h
    pool = pool_of(spec, speed, speed_cv=unsure, usd_h=usd_h)
    if spec.labels is not None:
        return pool
    asked = {key: value for stage, _ in stages for key, value in stage.labels.items()}
    gpus = pool.gpus if "gpus" in spec.model_fields_set else max(stage.gpus for stage, _ in stages)
    return replace(pool, labels=asked, gpus=gpus)


def _speed(spec: PoolSpec, stage: PlannedStage, estimate: Estimate, in_gb: float) -> float:
    if spec.name not in estimate.factors:
        return spec.speed
    speed = spec.speed / estimate.factors[spec.name]
    # What was measured here holds the reading and the writing that placement adds: take it out.
    overhead_s, gb_s, _ = estimate.line_s
    whole_s = (overhead_s + gb_s * in_gb) / speed
    gbps = spec.net_gbps * min(1.0, max(stage.cores, SLOTS_MIN) / spec.vcpu)
    moved_s = in_gb * (1.0 + estimate.ratio.mean) * 8.0 / gbps
    share = min(moved_s / whole_s, TRANSFER_SHARE_MAX) if whole_s > 0.0 else 0.0
    return speed / (1.0 - share)


def _objective(problem: Problem, objective: Objective | None) -> placement.model.Objective:
    match objective:
        case Deadline():
            return placement.Deadline(at_s=objective.within.total_seconds())
        case Budget():
            return placement.Budget(usd=objective.usd)
        case Weighted():
            return _weighted(problem, objective.weight)
        case None:
            return _weighted(problem, WEIGHT_USUAL)


def _weighted(problem: Problem, weight: float) -> placement.Weighted:
    """Trade the least cost against the earliest finish, each in units of its own bound."""
    try:
        bounds = bounds_of(problem, tables_of(problem))
    except InfeasibleError:
        # What fits nowhere is refused when it is solved, whatever the objective.
        return placement.Weighted(usd_per_h=0.0)
    hours = max(bounds.finish_s, 1.0) / 3600.0
    ratio = min(weight / (1.0 - weight), FASTEST) if weight < 1.0 else FASTEST
    return placement.Weighted(usd_per_h=ratio * max(bounds.usd, 1e-9) / hours)
