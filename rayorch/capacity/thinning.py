"""A large workload as a small one: of its runners and tasks one in so many, and what these take.

    full size --1 of k runners and tasks--> --m tasks of a runner as one--> what is simulated

With k, as many runners have as many tasks each as before, so that it takes as long and costs a
k-th. What a run waits for in the end is its largest task: that one is kept as it is. With m, a
runner that would work through hundreds of tasks works through some dozens. How far this is off is
measured against the workload as it is (`benchmarks/thinning.py`).

Stages that have no pool in common are thinned apart, each for what works on it: of a few machines
with GPUs beside a thousand without, each stays what it is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from connectors.splits import Discovery, FilePart, Split
from rayorch.capacity.fitting import Room, fitting
from rayorch.capacity.scaling import Scaled, ScaledStage
from rayorch.core.sizes import Size
from rayorch.home import RunPlan, StagePlan, encode_split
from rayorch.plan.estimate import Estimate, History, Measured, Work, observe
from rayorch.plan.planner import Plan, PlannedStage
from rayorch.plan.pools import PoolsSpec
from rayorch.plan.problem import CORE_HOUR
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
class _Share:
    """How stages that share their machines are thinned: `factor` runners and tasks are one.

    `kept` of all their `tasks` are enough, and so are `enough` of one stage.
    """

    factor: float
    tasks: int
    kept: int
    enough: float


NOTHING: Final = _Share(factor=1.0, tasks=1, kept=1, enough=1.0)
"""For a stage without tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinStage:
    """A stage's tasks, in the order of their ids. Shapes: (tasks,); `each_s` at speed 1.

    `line` is what was measured, on pools of the speeds that are stated. Of `factor` tasks one is
    left, and `bundle` of these are one. `each_s` has what each of those takes (tasks, bundle); 0
    where there are fewer.
    """

    stage: ScaledStage
    line: Estimate
    factor: float
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
    """A workload as it is simulated, on `pools` made so small; `rooms` has how small, by pool."""

    scaled: Scaled
    stages: tuple[ThinStage, ...]
    pools: PoolsSpec
    rooms: dict[str, Room]
    plan: Plan
    histories: tuple[History, ...]

    @property
    def factor(self) -> float:
        """How many runners are one, where these are most."""
        return max(room.factor for room in self.rooms.values())

    @property
    def weighted(self) -> PoolsSpec:
        """The pools at prices that can be weighed: of a machine, for as many as it stands for.

        In parts of `factor`, so that they are what they were where all are thinned alike.
        """
        made = []
        for pool in self.pools.pools:
            weight = self.rooms[pool.name].factor / self.factor
            usd_h = pool.vcpu * CORE_HOUR if pool.usd_h is None else pool.usd_h
            made.append(
                pool if weight == 1.0 else pool.model_copy(update={"usd_h": usd_h * weight})
            )
        return self.pools.model_copy(update={"pools": made})

    @property
    def is_thinned(self) -> bool:
        """Whether anything stands for more than itself."""
        return self.factor > 1.0 or any(stage.bundle > 1 for stage in self.stages)

    def nodes(self, pool: str, count: float) -> int:
        """Return how many machines of full size so many of a thin pool are."""
        room = self.rooms[pool]
        if room.factor <= 1.0:
            return math.ceil(count)
        most = next(each.max_nodes for each in self.full_pools.pools if each.name == pool)
        return min(most, math.ceil(count * room.factor / room.parts - 1e-9))

    full_pools: PoolsSpec


def thin_of(
    scaled: Scaled, pools: PoolsSpec, used: Mapping[str, float], *, tasks: int = TASKS
) -> Thin:
    """Return a workload as it is simulated, when about so many runners of each pool work on it.

    Raises: CapacityError: no machine is large enough.
    """
    full, rooms = fitting(scaled, pools)
    at_work = {
        room.stages: sum(
            used.get(pool, 0.0) for pool, each in rooms.items() if each.stages == room.stages
        )
        for room in rooms.values()
    }
    speeds = {pool.name: pool.speed for pool in full.pools}
    shares = {stages: _share(scaled, stages, runners, tasks) for stages, runners in at_work.items()}
    rooms = {pool: replace(room, factor=shares[room.stages].factor) for pool, room in rooms.items()}
    stages = tuple(
        _stage(
            (stage, stage.profile.estimate(speeds)),
            next((share for some, share in shares.items() if number in some), NOTHING),
        )
        for number, stage in enumerate(scaled.stages)
    )
    return Thin(
        scaled=scaled,
        stages=stages,
        pools=_thin_pools(full, rooms),
        rooms=rooms,
        plan=_plan(stages, scaled.sizes),
        histories=tuple(_history(stage, speeds) for stage in stages),
        full_pools=full,
    )


def _share(scaled: Scaled, stages: frozenset[int], runners: float, tasks: int) -> _Share:
    """Return how some stages are thinned, which share their machines with no others."""
    own = sum(scaled.stages[number].tasks for number in stages)
    # More runners than tasks would have nothing to do.
    runners = min(runners, float(own))
    factor = max(1.0, runners / RUNNERS) if own > tasks else 1.0
    enough = WAVES * max(1.0, runners / factor)
    return _Share(factor=factor, tasks=own, kept=tasks, enough=enough)


def _thin_pools(pools: PoolsSpec, rooms: Mapping[str, Room]) -> PoolsSpec:
    """Return pools whose machines are a part of a machine each."""
    made = []
    for pool in pools.pools:
        room = rooms[pool.name]
        if room.factor <= 1.0:
            made.append(pool)
            continue
        changes = {
            "vcpu": pool.vcpu / room.parts,
            "gpus": pool.gpus / room.parts,
            "memory": pool.memory // room.parts,
            "usd_h": None if pool.usd_h is None else pool.usd_h / room.parts,
            "net_gbps": pool.net_gbps / room.parts,
            "max_nodes": max(1, round(pool.max_nodes * room.parts / room.factor)),
        }
        made.append(pool.model_copy(update=changes))
    return pools.model_copy(update={"pools": made})


def _stage(known: tuple[ScaledStage, Estimate], share: _Share) -> ThinStage:
    stage, line = known
    if not stage.tasks:
        empty = np.zeros(0)
        return ThinStage(
            stage=stage,
            line=line,
            factor=1.0,
            bundle=1,
            size_bytes=empty,
            rows=empty,
            each_s=np.zeros((0, 1)),
            count=empty,
        )
    count = max(1, round(stage.tasks / share.factor))
    enough = max(share.kept * stage.tasks / share.tasks, share.enough)
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
        factor=share.factor,
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


def _plan(stages: tuple[ThinStage, ...], sizes: tuple[Size, ...]) -> Plan:
    """Return the plan that a planner would have made of the tasks."""
    kept, shown = [], []
    for stage, size in zip(stages, sizes, strict=True):
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
                cores=size.cores,
                memory_bytes=size.memory_bytes,
                gpus=size.gpus,
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
