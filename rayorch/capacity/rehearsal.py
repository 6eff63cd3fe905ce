"""One simulated run of a thinned workload: what its tasks take, and what its planner decides.

The planner is the one that a real run has (`rayorch.plan.placing`, `seeing`), and so is the solver
(`placement`); answers that all scenarios share are reckoned once (`Prepared`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

import placement
from placement import InfeasibleError, Problem
from rayorch.capacity.thinning import Thin, spread_s
from rayorch.core.commands import Lease, PlanStage, SolvePlacement
from rayorch.core.facts import (
    Fact,
    PlacementKept,
    PlacementReady,
    PlanReady,
    RunSubmitted,
    StagePlanned,
)
from rayorch.core.sizes import Size
from rayorch.core.values import AttemptOutput, SinkResult, StageShape, StepSeconds
from rayorch.ids import RunId
from rayorch.plan.deciding import SOLVE_S
from rayorch.plan.placing import Task, first, follows, guarded, moved, prices_of, unsearched, wire
from rayorch.plan.seeing import look
from rayorch.plan.standing import Standing
from rayorch.runner.pieces import REST_MAX
from rayorch.sim.agenda import BEGIN_S
from rayorch.sim.workload import Answer
from rayorch.spec.objective import Objective

if TYPE_CHECKING:
    from rayorch.plan.profile import Floats

RUN: Final = RunId("rehearsed")
SEARCHED_S: Final = 2.0
"""What a search takes in a run: it goes on meanwhile."""
REPLAN_S: Final = 0.05
"""Counted seconds of a search for a plan made again: a run has ten times as much."""
REPLANS_MAX: Final = 2
"""Searches of one scenario; beyond them the plan is carried on, and guarded as in a run."""
LOOKS: Final = 15
"""Looks at the placement over a run, where those of a run (every 5 s) would be more."""
LOOK_S_MIN: Final = 1.0
TURNS: Final = 4_000
TICKS: Final = 400
PATIENCE: Final = 6.0
PATIENCE_S: Final = 1_800.0
"""Times what a run is expected to take, and what comes on top: longer is for ever."""
OVERLAP_MAX: Final = 0.9
"""Of a task's seconds: it takes some of them for itself."""
_REST: Final = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What all scenarios begin with: a first placement, and the one that the solver found."""

    thin: Thin
    begun: Standing | None
    first: PlacementReady
    searched: Standing | None = None
    ready: PlacementReady | None = None
    about_s: float  # how long a run takes, roughly
    is_hopeless: bool = False  # provably, no plan keeps the objective

    @property
    def problem(self) -> Problem:
        """The placement problem."""
        assert self.begun is not None
        return self.begun.problem

    @property
    def foreseen_s(self) -> float:
        """By when 95 % of the runs have read their sources, as the solver foresees it."""
        assert self.ready is not None
        return self.ready.forecast.p95_s


def fixed(thin: Thin, about_s: float) -> Prepared:
    """Return a run that takes its machines as they are, and has no choice among them."""
    prices = prices_of(thin.pools)
    return Prepared(
        thin=thin, begun=None, first=PlacementReady(RUN, 1, prices=prices), about_s=about_s
    )


def prepared(
    thin: Thin,
    objective: Objective | None,
    *,
    there: Mapping[str, int],
    search_s: float = SOLVE_S,
) -> Prepared:
    """Return a run that is placed by the solver; `there` are machines that run already.

    Raises: InfeasibleError, when a task fits in no pool.
    """
    planned_s = thin.scaled.profile.overheads.plan_s
    task = Task(
        run=RUN,
        submitted_s=BEGIN_S,
        plan=thin.plan,
        histories=thin.histories,
        pools=thin.weighted,
        objective=objective,
        prices=prices_of(thin.pools),
        elastic={pool.name: there.get(pool.name, 0) for pool in thin.pools.pools},
    )
    begun, plan = first(task, BEGIN_S + planned_s)
    is_hopeless = False
    try:
        found = placement.solve(begun.problem, time_limit_s=search_s)
    except InfeasibleError:
        # As in a run: what cannot be kept does not stop it.
        found, is_hopeless = plan, True
    searched = replace(follows(begun, begun.problem, found, 2), is_searched=True)
    return Prepared(
        thin=thin,
        begun=begun,
        first=wire(begun, is_final=False),
        searched=searched,
        ready=wire(searched),
        about_s=max(found.forecast.p95_s, _later_s(thin), 1.0),
        is_hopeless=is_hopeless,
    )


def _later_s(thin: Thin) -> float:
    """Return what stages take at least that the solver does not see, since they read others."""
    later_s = 0.0
    for number, size in enumerate(thin.scaled.sizes):
        stage = thin.stages[number]
        if stage.stage.profile.after and stage.tasks:
            most = sum(
                pool.max_nodes * Size(pool.vcpu, pool.memory, pool.gpus).holds(size)
                for pool in thin.pools.pools
                if number in thin.rooms[pool.name].stages
            )
            later_s += float(stage.each_s.sum()) / max(1, min(most, stage.tasks))
    return later_s


class Rehearsal:
    """A `Workload` of `rayorch.sim`: one scenario."""

    def __init__(self, prepared: Prepared, seed: int) -> None:
        self._luck = np.random.default_rng(seed)
        self._prepared = prepared
        self._thin = prepared.thin
        self._profile = prepared.thin.scaled.profile
        self._standing = prepared.begun
        self._replans = 0
        self._first: dict[int, int] = {}
        self._seconds: list[Floats] = [spread_s(stage, self._luck) for stage in self._thin.stages]
        self._lines = [stage.line for stage in self._thin.stages]
        self._speeds = {pool.name: pool.speed for pool in self._thin.pools.pools}
        self._going: dict[int, float] = {}  # task -> seconds at speed 1 of its latest attempt
        about_s = prepared.about_s
        self.turn_s = max(0.002, about_s / TURNS)
        self.tick_s = max(0.25, about_s / TICKS)
        outages = [pool.spot.outage_s for pool in self._thin.pools.pools if pool.spot is not None]
        self.patience_s = PATIENCE * about_s + PATIENCE_S + 2.0 * max(outages, default=0.0)

    # --- the run --------------------------------------------------------------------------------

    def submitted(self) -> RunSubmitted:
        """Return the run."""
        stages, sizes = self._profile.stages, self._thin.scaled.sizes
        feeds = {number for stage in stages for number in stage.after}
        shapes = tuple(
            StageShape(
                name=stage.name,
                cores=size.cores,
                memory_bytes=size.memory_bytes,
                gpus=size.gpus,
                sinks=() if number in feeds else (0,),
                after=stage.after,
            )
            for number, (stage, size) in enumerate(zip(stages, sizes, strict=True))
        )
        return RunSubmitted(RUN, self._profile.pipeline, "v0", shapes, ("out",))

    def planned(self, at_s: float) -> Answer:
        """Return the plan, and the first placement."""
        del at_s
        counts = [len(stage.splits) for stage in self._thin.plan.run_plan.stages]
        first = 0
        for number, count in enumerate(counts):
            self._first[number] = first
            first += count
        plan = PlanReady(RUN, tuple(counts))
        return self._profile.overheads.plan_s, (self._prepared.first, plan)

    def divided(self, command: PlanStage) -> Answer:
        """Return the tasks of a stage that others come before."""
        tasks = self._thin.stages[command.stage].tasks
        planned = StagePlanned(RUN, command.stage, command.revision, tasks)
        return self._profile.overheads.divide_s, (planned,)

    # --- its planner ----------------------------------------------------------------------------

    def placed(self, command: SolvePlacement, there: Mapping[str, int]) -> Answer:
        """Look at the placement, as the host of a run does."""
        if self._standing is None:
            return 0.0, (PlacementKept(RUN),)
        reasons, after, self._standing = look(self._standing, command.observed, there)
        look_s = max(LOOK_S_MIN, self._prepared.about_s / LOOKS)
        if not self._standing.is_searched:
            found = self._prepared.searched
            assert found is not None
            assert self._prepared.ready is not None
            self._standing = replace(
                found,
                awaited=self._standing.awaited,
                ran=self._standing.ran,
                up_s=self._standing.up_s,
            )
            return SEARCHED_S, (self._prepared.ready,)
        if after is None:
            self._standing, news = moved(self._standing, command.revision, reasons)
            return look_s, (news,)
        if not reasons:
            return look_s, (PlacementKept(RUN),)
        return SEARCHED_S, self._made_again(command, after, reasons)

    def _made_again(
        self, command: SolvePlacement, after: Problem, reasons: Sequence[str]
    ) -> tuple[Fact, ...]:
        standing = self._standing
        assert standing is not None
        self._replans += 1
        try:
            if self._replans <= REPLANS_MAX:
                plan = placement.replan(
                    standing.problem, standing.layout, after, time_limit_s=REPLAN_S
                )
            else:
                plan = unsearched(after, guarded(standing, after)[1])
        except InfeasibleError:
            return (PlacementKept(RUN),)
        self._standing = follows(standing, after, plan, command.revision)
        return (wire(self._standing, reasons),)

    # --- its tasks ------------------------------------------------------------------------------

    def publish_s(self) -> float:
        """Return the seconds that it takes to make the outputs visible."""
        return self._profile.overheads.publish_s

    def tasks_each(self, stage: int) -> float:
        """Return how many tasks of full size one stands for."""
        thin = self._thin.stages[stage]
        return max(1.0, thin.stage.tasks / max(1, thin.tasks))

    def attempt_s(self, lease: Lease, first: int | None, rest: bytes, *, is_first: bool) -> float:
        """Return the seconds of an attempt at speed 1."""
        if rest:
            own_s = msgspec.msgpack.decode(rest, type=float)
        else:
            at = lease.task - (self._first[lease.stage] if first is None else first)
            own_s = float(self._seconds[lease.stage][at])
        self._going[lease.task] = own_s
        profile = self._profile.stages[lease.stage]
        # A runner reads ahead: of the tasks that it works through, it takes less than their sum.
        own_s *= 1.0 - min(profile.overlap, OVERLAP_MAX)
        return own_s + profile.first_s if is_first else own_s

    def speed(self, lease: Lease, pool: str) -> float:
        """Return how quick a pool is at a stage's tasks.

        Where its runners stand for fewer than the stage's tasks do, as much longer.
        """
        quick = self._speeds.get(pool, 1.0) / self._lines[lease.stage].factors.get(pool, 1.0)
        return quick * self._thin.rooms[pool].factor / self._thin.stages[lease.stage].factor

    def overhead_s(self, lease: Lease) -> float:
        """Return the seconds that pass on a runner before the next attempt begins."""
        stage = self._thin.stages[lease.stage]
        return self._profile.stages[lease.stage].overhead_s * stage.bundle

    def output(self, lease: Lease, duration_s: float) -> AttemptOutput:
        """Return what an attempt ends with."""
        stage = self._thin.stages[lease.stage]
        profile, times = stage.stage.profile, stage.bundle
        results = (SinkResult(0, rows=1, size_bytes=1),) if profile.out_bytes else ()
        return AttemptOutput(
            results=results,
            seconds=StepSeconds(compute_s=duration_s),
            moved_bytes=round(profile.moved_bytes * stage.stage.share * times),
            gets=round(profile.gets * times),
            puts=round(profile.puts * times),
        )

    def cut(self, lease: Lease, took_s: float, left_s: float) -> tuple[float, tuple[bytes, ...]]:
        """Cut an attempt at the next of its pieces, as a runner does between row groups."""
        stage = self._thin.stages[lease.stage]
        pieces = int(stage.stage.profile.pieces * stage.bundle)
        whole_s = took_s + left_s
        done = int(took_s / whole_s * pieces) + 1 if whole_s > 0.0 else pieces
        rest = pieces - done
        if rest < 1:
            return left_s, ()
        count = min(REST_MAX, rest)
        own = _REST.encode(self._going[lease.task] * rest / pieces / count)
        return whole_s * done / pieces - took_s, (own,) * count
