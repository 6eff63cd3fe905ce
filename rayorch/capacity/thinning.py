"""A large workload as a small one: of its runners and tasks one in so many, and what these take.

    full size --1 of k runners and tasks--> --m tasks of a runner as one--> what is simulated

With k, as many runners have as many tasks each as before, so that it takes as long and costs a
k-th. What a run waits for in the end is its largest task: that one is kept as it is. With m, a
runner that would work through hundreds of tasks works through some dozens. How far this is off is
measured against the workload as it is (`benchmarks/thinning.py`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from connectors.splits import Discovery, FilePart, Split
from rayorch.capacity.errors import CapacityError
from rayorch.capacity.scaling import Scaled, ScaledStage
from rayorch.core.sizes import Size
from rayorch.home import RunPlan, StagePlan, encode_split
from rayorch.plan.estimate import Estimate, History, Measured, Work, observe
from rayorch.plan.planner import Plan, PlannedStage
from rayorch.plan.pools import PoolSpec, PoolsSpec
from rayorch.plan.profile import LEVELS, Floats, Shape, drawn

RUNNERS: Final = 20
"""Runners that stand for all of them: each is five percent of what there is."""
TASKS: Final = 500
"""Tasks that stand for all of them, as far as each runner has enough."""
WAVES: Final = 8
"""Tasks of a runner that are as good as more: the last wave is a small part of the whole."""
MEASURED_MAX: Final = 200
"""Attempts that the planner is told of where tasks stand for several."""
GETS_MAX: Final = 64
NEAR_LARGEST: Final = 0.9
"""Of the largest task: one that is so large is as large."""
SEED: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinStage:
    """A stage's tasks, in the order of their ids. Shapes: (tasks,); `each_s` at speed 1.

    `line` is what was measured, on pools of the speeds that are stated. `each_s` has, for the tasks
    of full size that one stands for, what each takes (tasks, bundle); 0 where there are fewer.
    """

    stage: ScaledStage
    line: Estimate
    bundle: int
    size_bytes: Floats
    rows: Floats
    each_s: Floats
    count: Floats

    @property
    def tasks(self) -> int:
        """How many there are."""
        return len(self.size_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thin:
    """A workload as it is simulated: `factor` runners are one, on `pools` made so small."""

    scaled: Scaled
    factor: float
    stages: tuple[ThinStage, ...]
    pools: PoolsSpec
    per_node: dict[str, int]
    plan: Plan
    histories: tuple[History, ...]

    @property
    def is_thinned(self) -> bool:
        """Whether anything stands for more than itself."""
        return self.factor > 1.0 or any(stage.bundle > 1 for stage in self.stages)

    def nodes(self, pool: str, count: float) -> int:
        """Return how many machines of full size so many of a thin pool are."""
        if self.factor <= 1.0:
            return math.ceil(count)
        most = next(each.max_nodes for each in self.full_pools.pools if each.name == pool)
        return min(most, math.ceil(count * self.factor / self.per_node[pool] - 1e-9))

    full_pools: PoolsSpec


def per_node(scaled: Scaled, pool: PoolSpec) -> int:
    """Return how many runners of a workload fit on a machine; 0: it is too small."""
    return Size(pool.vcpu, pool.memory).holds(Size(scaled.cores, scaled.memory_bytes))


def fitting(scaled: Scaled, pools: PoolsSpec) -> tuple[PoolsSpec, dict[str, int]]:
    """Return the pools whose machines hold a runner, and how many. Raises: CapacityError."""
    for stage in scaled.stages:
        if stage.profile.gpus:
            problem = f"stage {stage.profile.name!r} needs GPUs, and simulated machines have none"
            raise CapacityError(problem, "`rayorch plan FILE --pools FILE` foretells one run of it")
    rooms = {pool.name: per_node(scaled, pool) for pool in pools.pools if not pool.gpus}
    fit = [pool for pool in pools.pools if rooms.get(pool.name)]
    if not fit:
        need = f"{scaled.cores:g} cores and {scaled.memory_bytes / 2**30:.3g} GiB of memory"
        problem = f"no machine of these pools holds a task: it needs {need}"
        raise CapacityError(problem, "name pools with larger machines: --pools FILE")
    kept = pools.model_copy(update={"pools": fit, "data_location": pools.source})
    return kept, {pool.name: rooms[pool.name] for pool in fit}


def thin_of(scaled: Scaled, pools: PoolsSpec, used_runners: float, *, tasks: int = TASKS) -> Thin:
    """Return a workload as it is simulated, when about so many runners work on it.

    Raises: CapacityError: no machine is large enough.
    """
    full, rooms = fitting(scaled, pools)
    factor = max(1.0, used_runners / RUNNERS, 1.0)
    if scaled.tasks <= tasks:
        factor = 1.0
    speeds = {pool.name: pool.speed for pool in full.pools}
    stages = tuple(
        _stage(scaled, (stage, stage.profile.estimate(speeds)), factor, used_runners, tasks)
        for stage in scaled.stages
    )
    thin = full if factor <= 1.0 else _thin_pools(scaled, full, rooms, factor)
    return Thin(
        scaled=scaled,
        factor=factor,
        stages=stages,
        pools=thin,
        per_node=rooms,
        plan=_plan(stages),
        histories=tuple(_history(stage, speeds) for stage in stages),
        full_pools=full,
    )


def _thin_pools(
    scaled: Scaled, pools: PoolsSpec, rooms: dict[str, int], factor: float
) -> PoolsSpec:
    """Return pools whose machines hold one runner each, a part of those of a machine."""
    made = []
    for pool in pools.pools:
        room = rooms[pool.name]
        changes = {
            "vcpu": scaled.cores,
            "memory": pool.memory // room,
            "usd_h": None if pool.usd_h is None else pool.usd_h / room,
            "net_gbps": pool.net_gbps / room,
            "max_nodes": max(1, round(pool.max_nodes * room / factor)),
        }
        made.append(pool.model_copy(update=changes))
    return pools.model_copy(update={"pools": made})


def _stage(
    scaled: Scaled,
    known: tuple[ScaledStage, Estimate],
    factor: float,
    runners: float,
    tasks: int,
) -> ThinStage:
    stage, line = known
    if not stage.tasks:
        empty = np.zeros(0)
        return ThinStage(
            stage=stage,
            line=line,
            bundle=1,
            size_bytes=empty,
            rows=empty,
            each_s=np.zeros((0, 1)),
            count=empty,
        )
    count = max(1, round(stage.tasks / factor))
    enough = max(tasks * stage.tasks / scaled.tasks, WAVES * max(1.0, runners / factor))
    bundle = max(1, int(count // enough))
    # The order of the files has nothing to do with their sizes; the planner knows them, so that
    # they are the same in every scenario.
    luck = np.random.default_rng(SEED)
    sizes = luck.permutation(drawn(stage.profile.sizes, count))
    overhead_s, gb_s, mrow_s = line.line_s
    bytes_, rows = sizes * stage.task_bytes, sizes * stage.task_rows
    seconds = (overhead_s + gb_s * bytes_ / 1e9 + mrow_s * rows / 1e6) * stage.profile.bias
    ones = np.ones(count)
    return ThinStage(
        stage=stage,
        line=line,
        bundle=bundle,
        size_bytes=_bundled(bytes_, bundle).sum(axis=1),
        rows=_bundled(rows, bundle).sum(axis=1),
        each_s=_bundled(seconds, bundle),
        count=_bundled(ones, bundle).sum(axis=1),
    )


def _bundled(values: Floats, bundle: int) -> Floats:
    groups = -(-values.size // bundle)
    padded = np.zeros(groups * bundle)
    padded[: values.size] = values
    return padded.reshape(groups, bundle)


def spread_s(stage: ThinStage, luck: np.random.Generator) -> Floats:
    """Return the seconds of each task in one scenario, at speed 1: each is off the line."""
    size, shape = stage.each_s.size, stage.stage.profile.spread
    off = luck.permutation(drawn(shape, size)) if size else np.zeros(0)
    if 0 < size < stage.stage.tasks:
        _put_last(off, shape, stage.stage.tasks, luck)
    seconds: Floats = (stage.each_s * off.reshape(stage.each_s.shape)).sum(axis=1)
    return seconds


def _put_last(off: Floats, shape: Shape, tasks: int, luck: np.random.Generator) -> None:
    """Let the largest task come when the last of those that are as large comes at full size.

    Of many, the last one comes late: a run waits for it, and with fewer tasks it would come sooner.
    """
    share = 1.0 - float(np.interp(NEAR_LARGEST * shape[-1], shape, LEVELS))
    as_large = max(1.0, share * tasks)
    at = min(off.size - 1, int(off.size * luck.random() ** (1.0 / as_large)))
    largest = int(off.argmax())
    off[at], off[largest] = off[largest], off[at]


def _plan(stages: tuple[ThinStage, ...]) -> Plan:
    """Return the plan that a planner would have made of the tasks."""
    kept, shown = [], []
    for stage in stages:
        profile = stage.stage.profile
        # What reads an exchange is cut when that has been measured.
        splits = () if profile.after else tuple(_splits(stage))
        found = Discovery(format="profile", schema_ipc=b"", size_bytes=int(stage.size_bytes.sum()))
        kept.append(StagePlan(found, splits))
        shown.append(
            PlannedStage(
                name=profile.name,
                url="",
                format="profile",
                files=profile.files,
                tasks=len(splits),
                size_bytes=found.size_bytes,
                rows=int(stage.rows.sum()),
                task_bytes_max=int(stage.size_bytes.max(initial=0.0)),
                steps=(),
                columns=None,
                predicate="",
                sinks=("",) if profile.out_bytes else (),
                cores=profile.cores,
                memory_bytes=stage.stage.memory_bytes,
                gpus=0.0,
            )
        )
    return Plan(run_plan=RunPlan(tuple(kept)), stages=tuple(shown))


def _splits(stage: ThinStage) -> list[bytes]:
    gets = min(GETS_MAX, round(stage.stage.profile.gets * stage.bundle))
    part = FilePart(key="", size_bytes=0)
    return [
        encode_split(Split(parts=(part,) * gets, rows=round(rows), size_bytes=round(size)))
        for size, rows in zip(stage.size_bytes, stage.rows, strict=True)
    ]


def _history(stage: ThinStage, speeds: Mapping[str, float]) -> History:
    """Return what the planner has measured of the tasks, where one stands for several too."""
    profile = stage.stage.profile
    if stage.bundle == 1:
        return History(profile.name, profile.name, profile.pools)
    line, seconds = stage.line, spread_s(stage, np.random.default_rng(SEED))
    memory, ratio = stage.stage.memory_bytes, line.ratio.mean
    measured = []
    for pool, sums in sorted(profile.pools.items()):
        count = min(MEASURED_MAX, sums.attempts, stage.tasks)
        factor = line.factors.get(pool, 1.0) / speeds.get(pool, 1.0)
        for at in np.linspace(0, stage.tasks - 1, count).astype(int):
            size = round(float(stage.size_bytes[at]))
            work = Work(size, round(float(stage.rows[at])))
            took_s = float(seconds[at]) * factor
            measured.append(Measured(work, pool, took_s, memory, round(size * ratio)))
    return observe(History(profile.name, profile.name), measured)
