"""The real planner and solver, for a share of the worlds of `rayorch.sim`.

Whose runs are placed by them is decided by the seed. Tasks are as the simulator makes them: alike,
a second long at the median, on pools of the speeds that it has; what is measured of them is known.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

import placement
from connectors.splits import Discovery, Split
from placement import InfeasibleError, Problem
from rayorch.core.commands import SolvePlacement
from rayorch.core.facts import Fact, PlacementFailed, PlacementKept, PlacementReady
from rayorch.core.run import Run
from rayorch.core.task import TaskState
from rayorch.core.values import ErrorInfo
from rayorch.home import RunPlan, StagePlan, encode_split
from rayorch.plan.estimate import History, Measured, Work, observe
from rayorch.plan.placing import Task, first, follows, guarded, moved, unsearched, wire
from rayorch.plan.planner import Plan, PlannedStage
from rayorch.plan.pools import PoolSpec, PoolsSpec
from rayorch.plan.seeing import look
from rayorch.plan.standing import Standing
from rayorch.sim.config import SimConfig
from rayorch.sim.machines import EXTRA_MAX, NODE_RUNNERS
from rayorch.spec.objective import Deadline, Objective, Weighted

if TYPE_CHECKING:
    from rayorch.ids import RunId

SOLVE_S: Final = 0.02
"""Counted seconds of one search: a world is small, and there are many."""
SIZE_BYTES: Final = 1 << 20
DEADLINE: Final = timedelta(seconds=90)
OBJECTIVES: Final[tuple[Objective | None, ...]] = (Deadline(DEADLINE), Weighted(0.5), None)
MEASURED: Final = 3


class RealPlacer:
    """Places the runs of one simulated control actor; another one begins anew, as in a cluster."""

    def __init__(self, config: SimConfig, *, elastic: bool) -> None:
        self._config = config
        self._is_elastic = elastic
        self._standing: dict[RunId, Standing] = {}

    def first(
        self, run: Run, counts: Collection[int], there: Mapping[str, int], at_s: float
    ) -> tuple[Fact, ...]:
        """Return a run's first placement, made in milliseconds."""
        try:
            standing, _ = first(self._task(run, counts, there), at_s)
        except InfeasibleError as error:
            return (PlacementFailed(run.id, 1, ErrorInfo(str(error))),)
        self._standing[run.id] = standing
        return (wire(standing, is_final=False),)

    def look(
        self, command: SolvePlacement, run: Run, there: Mapping[str, int], at_s: float
    ) -> tuple[Fact, ...]:
        """Look at a run's placement, as a host does: search, search again, or keep it."""
        try:
            if run.id not in self._standing:
                task = self._task(run, run.task_counts, there)
                self._standing[run.id], _ = first(task, at_s, command.revision - 1)
                observed = msgspec.structs.replace(command.observed, classes=())
                command = msgspec.structs.replace(command, observed=observed)
            return (self._looked(command, there),)
        except InfeasibleError as error:
            return (PlacementFailed(run.id, command.revision, ErrorInfo(str(error))),)

    def guard(self, command: SolvePlacement, there: Mapping[str, int]) -> tuple[Fact, ...]:
        """Return what serves while the solver fails: the layout, with what a deadline needs."""
        error = ErrorInfo("simulated: the solver crashed")
        failed = PlacementFailed(command.run, command.revision, error)
        standing = self._standing.get(command.run)
        if standing is None:
            return (failed,)
        reasons, after, standing = look(standing, command.observed, there)
        if after is None:
            self._standing[command.run], news = moved(standing, command.revision, reasons)
            return failed, news
        carried, safe = guarded(standing, after)
        if safe == carried:
            return failed, PlacementKept(command.run)
        plan = unsearched(after, safe)
        self._standing[command.run] = follows(standing, after, plan, command.revision)
        return failed, wire(self._standing[command.run], ("guarded",))

    def _looked(self, command: SolvePlacement, there: Mapping[str, int]) -> Fact:
        reasons, after, standing = look(self._standing[command.run], command.observed, there)
        self._standing[command.run] = standing
        if after is None:
            self._standing[command.run], news = moved(standing, command.revision, reasons)
            return news
        if standing.is_searched and not reasons:
            return PlacementKept(command.run)
        plan = self._searched(standing, after)
        found = replace(follows(standing, after, plan, command.revision), is_searched=True)
        self._standing[command.run] = found
        ready: PlacementReady = wire(found, reasons)
        return ready

    @staticmethod
    def _searched(standing: Standing, after: Problem) -> placement.Plan:
        if not standing.is_searched:
            return placement.solve(after, time_limit_s=SOLVE_S)
        return placement.replan(standing.problem, standing.layout, after, time_limit_s=SOLVE_S)

    def _task(self, run: Run, counts: Collection[int], there: Mapping[str, int]) -> Task:
        pools = self._pools()
        machines = {
            pool.name: int(there.get(pool.name, 0) // pool.vcpu)
            for pool in pools.pools
            if self._is_elastic
        }
        return Task(
            run=run.id,
            submitted_s=run.submitted_s,
            plan=_plan(run, counts),
            histories=[self._history(stage.name) for stage in run.stages],
            pools=pools,
            objective=OBJECTIVES[int(run.id.rpartition("-")[2]) % len(OBJECTIVES)],
            done=[task.id for task in run.tasks if task.state is TaskState.COMMITTED],
            elastic=machines if self._is_elastic else None,
        )

    def _pools(self) -> PoolsSpec:
        extra = EXTRA_MAX if self._is_elastic else 0
        return PoolsSpec(
            pools=[
                PoolSpec(
                    name=pool.name,
                    vcpu=pool.cores * NODE_RUNNERS,
                    memory=pool.memory_bytes * NODE_RUNNERS,
                    usd_h=pool.usd_core_h * pool.cores * NODE_RUNNERS,
                    speed=pool.speed,
                    provision_s=pool.startup_s,
                    boot_s=0.0,
                    max_nodes=-(-pool.runners // NODE_RUNNERS) + extra,
                )
                for pool in self._config.pools
            ]
        )

    def _history(self, stage: str) -> History:
        work = Work(SIZE_BYTES, 1)
        measured = [
            Measured(work, pool.name, self._config.task_s / pool.speed)
            for pool in self._config.pools
            for _ in range(MEASURED)
        ]
        return observe(History(stage, stage), measured)


def _plan(run: Run, counts: Collection[int]) -> Plan:
    split = encode_split(Split(parts=(), rows=1, size_bytes=SIZE_BYTES))
    found = Discovery(format="simulated", schema_ipc=b"")
    return Plan(
        run_plan=RunPlan(tuple(StagePlan(found, (split,) * count) for count in counts)),
        stages=tuple(
            PlannedStage(
                name=stage.name,
                url="",
                format="simulated",
                files=count,
                tasks=count,
                size_bytes=count * SIZE_BYTES,
                rows=count,
                task_bytes_max=SIZE_BYTES,
                steps=(),
                columns=None,
                predicate="",
                sinks=("",),
                cores=stage.cores,
                memory_bytes=stage.memory_bytes,
                gpus=0.0,
            )
            for stage, count in zip(run.stages, counts, strict=True)
        ),
    )
