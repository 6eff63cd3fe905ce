"""A profile at another size: how many tasks there will be, of how many bytes each.

The tasks of a stage are counted by the same rules that cut the measured run: a source by the size
that a split aims at, an exchange by what fits in a task and keeps the slots busy. Where the run was
not cut by these rules (its author said how), tasks keep their size, and there are more of them.
"""

from dataclasses import dataclass
from typing import Final

from connectors.splitting import OPEN_COST_BYTES, target_bytes
from rayorch.capacity.errors import CapacityError
from rayorch.core.sizes import Size
from rayorch.exchange.sizing import PlanLimits, affordable_count
from rayorch.plan.asking import SLOTS_MAX
from rayorch.plan.estimate import Work
from rayorch.plan.profile import Profile, StageProfile

NEAR: Final = (0.4, 1.6)
"""A run whose tasks are so large, over what a split aims at, was cut by that rule."""
GROWTH_MAX: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledStage:
    """A stage at full size: `tasks` of `task_bytes` and `task_rows` on average."""

    profile: StageProfile
    tasks: int
    task_bytes: float
    task_rows: float

    @property
    def share(self) -> float:
        """How large a task is, over the measured ones."""
        before = self.profile.size_bytes / max(1, self.profile.tasks)
        return self.task_bytes / before if before > 0.0 else 1.0

    @property
    def largest(self) -> Work:
        """The largest task."""
        most = self.profile.sizes[-1]
        return Work(round(self.task_bytes * most), round(self.task_rows * most))

    @property
    def memory_bytes(self) -> int:
        """What a task may take of memory, as far as was measured and asked for."""
        measured = self.profile.estimate().memory_bytes_at(self.largest.size_bytes)
        return max(self.profile.memory_bytes, measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """A workload at full size; `growth` is how much more of it there is than was measured."""

    profile: Profile
    growth: float
    stages: tuple[ScaledStage, ...]

    @property
    def tasks(self) -> int:
        """Tasks of all stages."""
        return sum(stage.tasks for stage in self.stages)

    @property
    def source_bytes(self) -> float:
        """Bytes of all sources."""
        return self.profile.source_bytes * self.growth

    @property
    def sizes(self) -> tuple[Size, ...]:
        """What a runner of each stage must have.

        Stages for which the same was said share their runners: each is as large as the largest of
        their tasks needs.
        """
        profiles = [stage.profile for stage in self.stages]
        said = [Size(each.cores, each.memory_bytes, each.gpus) for each in profiles]
        most: dict[Size, int] = {}
        for stage, size in zip(self.stages, said, strict=True):
            needs = stage.memory_bytes if stage.tasks else size.memory_bytes
            most[size] = max(most.get(size, 0), needs)
        return tuple(size._replace(memory_bytes=most[size]) for size in said)


def growth_of(profile: Profile, data_bytes: float | None, growth: float) -> float:
    """Return how much more there is to do than was measured. Raises: CapacityError."""
    if data_bytes is not None:
        if not profile.source_bytes:
            problem = "the measured run read no bytes: how large its data was is not known"
            raise CapacityError(problem, "say how much more there is instead: --growth 3x")
        growth *= data_bytes / profile.source_bytes
    if not 0.0 < growth <= GROWTH_MAX:
        problem = f"{growth:g} times the measured data is beyond what can be reckoned with"
        raise CapacityError(problem, "check --data and --growth")
    return growth


def scaled_of(profile: Profile, growth: float, slots: int) -> Scaled:
    """Return a workload at full size, cut for so many slots."""
    before = max(1, sum(profile.runners.values()))
    stages: list[ScaledStage] = []
    for stage in profile.stages:
        tasks = _tasks(stage, stages, growth, before, slots)
        stages.append(
            ScaledStage(
                profile=stage,
                tasks=tasks,
                task_bytes=stage.size_bytes * growth / max(1, tasks),
                task_rows=stage.rows * growth / max(1, tasks),
            )
        )
    return Scaled(profile=profile, growth=growth, stages=tuple(stages))


def _tasks(
    stage: StageProfile, earlier: list[ScaledStage], growth: float, before: int, slots: int
) -> int:
    if not stage.tasks or growth == 1.0:
        return stage.tasks
    by_size = max(1, round(stage.tasks * growth))
    if not stage.after:
        return _source_tasks(stage, growth, before, min(slots, SLOTS_MAX)) or by_size
    parts = sum(earlier[number].profile.tasks for number in stage.after)
    more_parts = sum(earlier[number].tasks for number in stage.after)
    was = affordable_count(stage.size_bytes, parts, _limits(stage, before))[0]
    if was == stage.tasks:
        size_bytes = round(stage.size_bytes * growth)
        return affordable_count(size_bytes, more_parts, _limits(stage, slots))[0]
    # All rows are one group, or the author said how many parts there are to be.
    return 1 if stage.tasks == 1 else by_size


def _limits(stage: StageProfile, slots: int) -> PlanLimits:
    return PlanLimits(slots=slots, memory_bytes=stage.memory_bytes)


def _source_tasks(stage: StageProfile, growth: float, before: int, slots: int) -> int:
    """Return how many splits there are; 0 where the measured run was cut in another way."""
    if stage.is_said or not stage.files or not stage.size_bytes:
        return 0
    cost_bytes = stage.size_bytes + stage.files * OPEN_COST_BYTES
    aimed = target_bytes(stage.size_bytes, stage.files, before)
    part = cost_bytes / stage.tasks / aimed
    if not NEAR[0] <= part <= NEAR[1]:
        return 0
    files = max(1, round(stage.files * growth))
    aims = target_bytes(round(stage.size_bytes * growth), files, slots)
    # A source of few files is as many tasks as files at least, where these are not small.
    return max(1, round(cost_bytes * growth / (part * aims)))
