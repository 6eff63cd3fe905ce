"""Large problems, a good deal smaller: a hundred thousand tasks on thousands of nodes as 5,000.

    problem --smaller()--> Coarse.small --solve, replan--> layout --grown()--> of the problem itself

Of alike tasks on alike nodes, each stands for so many.  What a plan of the small problem comes to
is what it comes to in the large one, but for rounding and for the longest tasks, which are longer
among many: by how much is measured, before a search for its deadline and after it for the forecast.
A search then looks at a hundred plans in the time that the large problem takes for a handful.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.greedy import within_depth
from placement.layout import Fleet, Layout, Part
from placement.model import Budget, Deadline, Held, Running, Weighted
from placement.scenarios import draw
from placement.simulate import ClassSimulator
from placement.tables import fits_pool, tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from placement.budget import Budget as TimeBudget
    from placement.model import Objective, Pool, Problem, TaskClass
    from placement.sample import Sample
    from placement.tables import Floats, Tables

# Tasks that a search of so many seconds has the time for: fewer say too little about long tasks.
_TASKS_A_SECOND: Final = 3_000
_TASKS_MIN: Final = 3_000
# A problem that is not this much larger is left as it is.
_FACTOR_MIN: Final = 2.5
# Sizes of a node that are tried, to stand for those of a pool.
_NODES_MORE: Final = 4
# Scenarios without outages that tell a small layout from the large one.
_RUNS_SMALL: Final = 16
_RUNS_LARGE: Final = 2
# With more tasks a lane than these, a large class is simulated as quickly as a small one.
_WAVES_MAX: Final = 6
# Full size is large enough with so many tasks: luck has no more than some thousand draws a class.
_TASKS_FULL: Final = 30_000
_SEED: Final = 31
# A search is asked to end at most this share of the time sooner, for what is later at full size.
_ROOM_MAX: Final = 0.25
_EPS: Final = 1e-9
_ROUNDED: Final = 1e-6


def factor_for(problem: Problem, time_limit_s: float) -> float:
    """How many tasks each task is to stand for; 1 when the time is enough for all of them."""
    factor = problem.tasks / max(_TASKS_MIN, _TASKS_A_SECOND * time_limit_s)
    factor = min(factor, _room(problem))
    return factor if factor >= _FACTOR_MIN else 1.0


def _room(problem: Problem) -> float:
    """How many tasks of any class run at once, where most do: one must fit in what is left.

    Source: a pool of n nodes with L lanes shrinks to one node of n * L / factor lanes at most.
    """
    room = [
        max((p.nodes_max * _lanes(c, p) for p in problem.pools if fits_pool(c, p)), default=1.0)
        for c in problem.classes
    ]
    return min(room, default=1.0) * (1.0 - _ROUNDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coarse:
    """A problem, and the small one that stands for it.

    Of tasks, `factor` are one there; of the nodes of each pool about as many, `stands_for` (P,).
    `before` has, for fleets of the small layout that a search begins with, those that they are in
    the large one: what it leaves as it is, goes back to what it was.
    """

    problem: Problem
    tables: Tables
    small: Problem
    factor: float
    stands_for: tuple[float, ...]
    before: tuple[tuple[Fleet, tuple[Fleet, ...]], ...] = ()
    _small: dict[Layout, Sample] = field(default_factory=dict, init=False, compare=False)

    def grown(self, layout: Layout) -> Layout:
        """The layout of the large problem; no fleet has more nodes than its tasks can use."""
        parts = tuple(self._part(p) for p in layout.parts)
        known = dict(self.before)
        fleets: list[Fleet] = []
        for fleet in layout.fleets:
            if fleet.held >= 0:
                fleets += self._held(fleet)
            elif fleet in known:
                fleets += known.pop(fleet)
            else:
                count = round(fleet.count * self.stands_for[fleet.pool])
                count = min(count, self._useful(parts, fleet))
                fleets.append(replace(fleet, count=max(1, count)))
        return replace(layout, parts=parts, fleets=within_depth(self.problem, tuple(fleets)))

    def _part(self, part: Part) -> Part:
        large = self.problem.classes[part.cls].count
        small = self.small.classes[part.cls].count
        return Part(part.cls, part.lo * large // small, part.hi * large // small)

    def _held(self, fleet: Fleet) -> Iterator[Fleet]:
        """All the nodes that are held of a pool, each entry a fleet of its own."""
        name = self.problem.pools[fleet.pool].name
        for h, held in enumerate(self.problem.held):
            if held.pool == name:
                yield replace(fleet, count=held.count, held=h)

    def _useful(self, parts: tuple[Part, ...], fleet: Fleet) -> int:
        """Nodes of a fleet that hold all of its tasks at once."""
        nodes = sum(
            parts[p].count / max(1, int(self.tables.lanes[parts[p].cls, fleet.pool]))
            for p in fleet.parts
            if self.tables.fits[parts[p].cls, fleet.pool]
        )
        return math.ceil(nodes - 1e-9)

    def with_room(self, layout: Layout, budget: TimeBudget) -> Coarse:
        """The same with an earlier deadline, by as much as a layout is later at full size."""
        objective, now_s = self.small.objective, self.problem.now_s
        if budget.limit_s <= 0 or not isinstance(objective, Deadline):
            return self
        small, large = self._both(layout, self.grown(layout), budget)
        later_s = float(large.end_s.mean() - small.end_s.mean())
        most_s = _ROOM_MAX * (objective.at_s - now_s)
        if not math.isfinite(later_s) or later_s <= 0.0:
            return self
        sooner = replace(objective, at_s=objective.at_s - min(later_s, most_s))
        return replace(self, small=replace(self.small, objective=sooner))

    def is_worth_it(self, layout: Layout) -> bool:
        """Whether a small layout takes much less of a search's time than the large one.

        Many tasks a lane are poured at full size, and dealt out one by one in the small one.
        """
        few = 0
        for p, part in enumerate(layout.parts):
            lanes = self.tables.lanes[part.cls]
            there = sum(int(lanes[f.pool]) * f.count for f in layout.fleets if p in f.parts)
            few += part.count if part.count <= _WAVES_MAX * there else 0
        return few >= self.small.tasks / 2

    def sample(self, layout: Layout, sample: Sample, grown: Layout, budget: TimeBudget) -> Sample:
        """What a sample of a small layout says of the large one, by what both come to undisturbed.

        Without any time, one is taken to be as many times the other as it has tasks.
        """
        if budget.limit_s <= 0:
            return _times(sample, self.factor)
        small, large = self._both(layout, grown, budget)
        later_s = float(large.end_s.mean() - small.end_s.mean())
        return replace(
            sample,
            end_s=sample.end_s + later_s,
            usd=sample.usd * large.mean_usd / max(small.mean_usd, 1e-12),
            egress_usd=sample.egress_usd * _ratio(large.egress_usd, small.egress_usd),
            request_usd=sample.request_usd * _ratio(large.request_usd, small.request_usd),
        )

    def _both(self, layout: Layout, grown: Layout, budget: TimeBudget) -> tuple[Sample, Sample]:
        """The small and the large layout without outages.

        Run times vary, but of so many tasks a few scenarios say when they end.
        """
        if layout not in self._small:
            tables = tables_of(self.small)
            self._small[layout] = _undisturbed(self.small, tables, layout, _RUNS_SMALL, budget)
        small = self._small[layout]
        factor = min(self.problem.tasks / _TASKS_FULL, _room(self.problem))
        if factor < _FACTOR_MIN:
            return small, _undisturbed(self.problem, self.tables, grown, _RUNS_LARGE, budget)
        # With so many tasks, more of them say nothing more.
        middle, layout = carried(smaller(self.problem, self.tables, factor), grown)
        tables = tables_of(middle.small)
        large = _undisturbed(middle.small, tables, layout, _RUNS_LARGE, budget)
        return small, _times(large, factor)


def _times(sample: Sample, factor: float) -> Sample:
    return replace(
        sample,
        usd=sample.usd * factor,
        egress_usd=sample.egress_usd * factor,
        request_usd=sample.request_usd * factor,
    )


def _stands_for(problem: Problem, pool: Pool, held: int, factor: float) -> float:
    """How many nodes of a pool are one: about `factor`, so that little is lost or added.

    A dozen nodes of which each stands for ten would be one or two: a sixth too few, or two thirds
    too many.  So the node is made a little larger or smaller, for the depth of the pool, for what
    is held of it, and for the tasks that a node has room for.
    """
    options = [
        whole / count
        for whole in (pool.nodes_max, held)
        if whole
        for count in range(max(1, int(whole / factor)), max(1, int(whole / factor)) + _NODES_MORE)
    ]
    wholes = sorted({lanes for cls in problem.classes if (lanes := _lanes(cls, pool)) >= 1.0})
    return min(
        options, key=lambda o: _error(o, (pool.nodes_max, held), wholes, factor), default=1.0
    )


def _error(
    stands_for: float, nodes: tuple[int, int], lanes: Sequence[float], factor: float
) -> float:
    """What is lost or added, as a share: of the pool, of what is held, of the worst class."""
    size = stands_for / factor
    off = sum(abs(_shrunk(n, stands_for) * stands_for - n) / n for n in nodes if n)
    return off + max((1.0 - int(size * x + _EPS) / (size * x) for x in lanes), default=0.0)


def _lanes(cls: TaskClass, pool: Pool) -> float:
    """Tasks of a class that a node has room for, and the share of one more."""
    lanes = pool.vcpu / cls.slots
    lanes = min(lanes, pool.mem_gb / cls.mem_gb) if cls.mem_gb else lanes
    return min(lanes, pool.gpus / cls.gpus) if cls.gpus else lanes


def _resized(pool: Pool, stands_for: float, factor: float) -> Pool:
    # A hair more: what is exactly one task must not round to less than one.
    size = stands_for / factor * (1.0 + _EPS)
    return replace(
        pool,
        nodes_max=_shrunk(pool.nodes_max, stands_for) if pool.nodes_max else 0,
        vcpu=pool.vcpu * size,
        mem_gb=pool.mem_gb * size,
        gpus=pool.gpus * size,
        net_gbps=pool.net_gbps * size,
        usd_h=pool.usd_h * size,
    )


def _ratio(large: Floats, small: Floats) -> float:
    return float(large.mean() / small.mean()) if small.any() else 1.0


def _undisturbed(
    problem: Problem, tables: Tables, layout: Layout, size: int, budget: TimeBudget
) -> Sample:
    luck = draw(problem, size, _SEED, horizon_s=0.0)
    never = np.full_like(luck.gone, np.inf)
    simulator = ClassSimulator(problem, tables, replace(luck, gone=never, back=never))
    sample = simulator.run(layout)
    budget.charge(simulator.work_s)
    return sample


def smaller(problem: Problem, tables: Tables, factor: float) -> Coarse:
    """The problem with one task for `factor` of each class, and one node for as many."""
    classes = tuple(replace(c, count=_shrunk(c.count, factor)) for c in problem.classes)
    there = {p.name: sum(h.count for h in problem.held if h.pool == p.name) for p in problem.pools}
    stands_for = {p.name: _stands_for(problem, p, there[p.name], factor) for p in problem.pools}
    small = replace(
        problem,
        classes=classes,
        pools=tuple(_resized(p, stands_for[p.name], factor) for p in problem.pools),
        objective=_objective(problem.objective, factor),
        held=tuple(_held(problem, stands_for)),
        running=tuple(_running(problem, factor)),
        spent_usd=problem.spent_usd / factor,
    )
    return Coarse(
        problem=problem,
        tables=tables,
        small=small,
        factor=factor,
        stands_for=tuple(stands_for[p.name] for p in problem.pools),
    )


def carried(coarse: Coarse, layout: Layout) -> tuple[Coarse, Layout]:
    """A layout of the large problem in the small one, to begin a search with."""
    problem, small = coarse.problem, coarse.small
    index = {h.pool: k for k, h in enumerate(small.held)}
    parts = tuple(_small_part(coarse, p) for p in layout.parts)
    held: dict[int, Fleet] = {}
    later: dict[tuple[int, float | None, tuple[int, ...]], list[Fleet]] = {}
    for fleet in layout.fleets:
        if fleet.held < 0:
            later.setdefault((fleet.pool, fleet.at_s, fleet.parts), []).append(fleet)
            continue
        k = index[problem.pools[fleet.pool].name]
        before = held.get(k)
        serves = fleet.parts if before is None else {*before.parts, *fleet.parts}
        fresh = replace(fleet, held=k, count=small.held[k].count, parts=tuple(sorted(serves)))
        held[k] = fresh
    merged = {}
    for same in later.values():
        whole, pool = sum(f.count for f in same), same[0].pool
        count = _shrunk(whole, coarse.stands_for[pool])
        merged[replace(same[0], count=count)] = tuple(same)
    fleets = within_depth(small, (*held.values(), *merged))
    known = tuple((f, merged[f]) for f in fleets if f in merged)
    return replace(coarse, before=known), replace(layout, parts=parts, fleets=fleets)


def _small_part(coarse: Coarse, part: Part) -> Part:
    large = coarse.problem.classes[part.cls].count
    small = coarse.small.classes[part.cls].count
    return Part(part.cls, part.lo * small // large, part.hi * small // large)


def _shrunk(count: int, factor: float) -> int:
    return max(1, round(count / factor))


def _objective(objective: Objective, factor: float) -> Objective:
    if isinstance(objective, Budget):
        return Budget(usd=objective.usd / factor)
    if isinstance(objective, Weighted):
        return Weighted(usd_per_h=objective.usd_per_h / factor)
    return objective


def _held(problem: Problem, stands_for: Mapping[str, float]) -> Iterator[Held]:
    """One entry a pool: since when its nodes are paid for on average, usable when all are."""
    by_pool: dict[str, list[Held]] = {}
    for held in problem.held:
        by_pool.setdefault(held.pool, []).append(held)
    for pool, some in by_pool.items():
        count = sum(h.count for h in some)
        yield Held(
            pool=pool,
            count=_shrunk(count, stands_for[pool]),
            up_s=sum(h.count * h.up_s for h in some) / count,
            ready_s=max(h.ready_s for h in some),
        )


def _running(problem: Problem, factor: float) -> Iterator[Running]:
    """Every so many of the tasks that run, by how long they have."""
    by_place: dict[tuple[str, str], list[Running]] = {}
    for run in problem.running:
        by_place.setdefault((run.cls, run.pool), []).append(run)
    left = {c.name: _shrunk(c.count, factor) for c in problem.classes}
    for (cls, pool), some in by_place.items():
        ages = sorted(some, key=lambda r: r.elapsed_s)
        # Each one that is left stands for the tasks about it.
        at = taken = 0.0
        for run in ages:
            at += run.count / factor
            count = min(round(at - taken), left[cls])
            if count > 0:
                taken += count
                left[cls] -= count
                yield Running(cls=cls, pool=pool, count=count, elapsed_s=run.elapsed_s)
