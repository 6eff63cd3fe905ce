"""Planning again while a run goes on: what runs stays, what has not begun may move.

observed --remaining()--> the problem that is left --replan()--> a plan that holds on to its nodes
                                                   --guard()---> on demand when the deadline is near

`observed.py` has the first step, `reasons.py` says when to take it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.bounds import bounds_of
from placement.budget import Budget, Clock
from placement.coarse import carried, factor_for, smaller
from placement.confirm import choose, forecast_of, on_fresh_luck, widened
from placement.errors import InvalidPlanError, PlacementError
from placement.evaluate import Evaluator, Scored
from placement.greedy import layout_of, parts_in_order, shared, within_depth, work_s
from placement.improve import anneal
from placement.layout import Fleet, Layout, check_layout
from placement.model import Deadline, Problem
from placement.plan import Plan, shortfall_of
from placement.risk import Goal
from placement.scenarios import draw
from placement.search import Search, note
from placement.simulate import ClassSimulator
from placement.solve import COARSE_SHARE, SIZE_WORTH, enlarged, plan_of
from placement.starts import held_fleets, is_served, starts
from placement.tables import Tables, tables_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placement.sample import Sample
    from placement.tables import Floats

_GUARD_SIZE: Final = 16
_GUARD_TASKS: Final = 60_000
_GUARD_FACTORS: Final = (0.25, 0.5, 1.0, 1.5, 2.5, 4.0, 8.0)
_SEARCH_SIZE: Final = 24
_SEARCH_SIZE_MIN: Final = 4
_GUARD_SIZE_MIN: Final = 8
# So few scenarios must end this many of their standard deviations before the deadline.
_GUARD_MARGIN: Final = 0.5
# Times all of the work for which nodes are added, where fresh luck says that it is late.
_MORE: Final = (0.1, 0.3, 0.8)
# Simulations that a plan made again is worth at least, those that other starts take, and a walk.
_EVALUATIONS: Final = 12
_STARTS: Final = 12
_WALK: Final = 3
# Scenarios that confirm a plan (40), with some room; confirmations that are worth a choice.
_CONFIRMED: Final = 48
_CHOICE: Final = 6
# On-demand machines that are about as quick as the quickest: the cheapest of them will do.
_ABOUT_AS_QUICK: Final = 1.5
# What a search that is at fault may end in.  The run goes on with the plan that stands, and the
# event says what happened: whoever stops a run (KeyboardInterrupt) is not among them.
_CRASHES: Final = (
    PlacementError,
    ArithmeticError,
    AssertionError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def carried_over(before: Problem, layout: Layout, after: Problem, tables: Tables) -> Layout:
    """The layout as far as it still applies: nodes that run, and requests still to be made.

    Held nodes keep serving the classes that fleets of their pool served.  A fleet that waited for
    work may have come meanwhile: what is held beyond the fleets that were due is taken to be its.
    """
    parts = parts_in_order(tables)
    place = {after.classes[part.cls].name: p for p, part in enumerate(parts)}
    pools = {p.name: k for k, p in enumerate(after.pools)}
    served: dict[int, set[int]] = {}
    later: list[Fleet] = []
    there = _beyond_due(before, layout, after)
    for fleet in layout.fleets:
        names = {before.classes[layout.parts[p].cls].name for p in fleet.parts}
        pool = pools[before.pools[fleet.pool].name]
        mine = tuple(sorted(place[n] for n in names if n in place))
        served.setdefault(pool, set()).update(mine)
        if not mine or _is_due(fleet, after.now_s):
            continue
        come = min(max(0, there.get(pool, 0)), fleet.count) if fleet.at_s is None else 0
        there[pool] = there.get(pool, 0) - come
        if fleet.count > come:
            later.append(replace(fleet, pool=pool, parts=mine, count=fleet.count - come))
    kept = []
    for fleet in held_fleets(after, tables, parts):
        mine = tuple(sorted(served.get(fleet.pool, set()))) or fleet.parts
        kept.append(replace(fleet, parts=mine))
    joined = layout_of(after, tables, parts, tuple(kept) + within_depth(after, tuple(later)))
    return replace(joined, patience_s=layout.patience_s)


def _is_due(fleet: Fleet, now_s: float) -> bool:
    """Whether the nodes of a fleet were there, or asked for, by now."""
    return fleet.held >= 0 or (fleet.at_s is not None and fleet.at_s <= now_s)


def _beyond_due(before: Problem, layout: Layout, after: Problem) -> dict[int, int]:
    """Nodes by pool that are held beyond those of the fleets that were due; less than 0: lost."""
    pools = {p.name: k for k, p in enumerate(after.pools)}
    beyond: dict[int, int] = {}
    for held in after.held:
        beyond[pools[held.pool]] = beyond.get(pools[held.pool], 0) + held.count
    for fleet in layout.fleets:
        if _is_due(fleet, after.now_s):
            pool = pools[before.pools[fleet.pool].name]
            beyond[pool] = beyond.get(pool, 0) - fleet.count
    return beyond


def replan(
    before: Problem,
    layout: Layout,
    after: Problem,
    *,
    time_limit_s: float = 0.5,
    seed: int = 0,
    clock: Clock | None = None,
) -> Plan:
    """Plan what is left, starting from the plan that is under way; guarded whatever happens.

    A solver that fails or runs out of time leaves the carried-over plan, escalated to on-demand
    nodes when it would miss the deadline: never no plan.  `Plan.event` then says what happened.
    """
    budget = Budget(time_limit_s, clock)
    tables = tables_of(after)
    layout = carried_over(before, layout, after, tables)
    factor = factor_for(after, time_limit_s)
    coarse, small = None, layout
    if factor > 1.0:
        coarse, small = carried(smaller(after, tables, factor), layout)
    if coarse is not None and time_limit_s > 0 and coarse.is_worth_it(small):
        coarse = coarse.with_room(small, budget)
        part = Budget(COARSE_SHARE * budget.left_s, clock)
        found, sample = _replanned(coarse.small, tables_of(coarse.small), small, part, seed)
        budget.charge(part.used_s)
        plan = enlarged(coarse, found, sample, budget, _wider)
    else:
        plan, _ = _replanned(after, tables, layout, budget, seed)
    check_layout(after, tables, plan.layout)
    _check_kept(after, plan.layout)
    return plan if plan.event else replace(plan, bound_usd=_bound_usd(after, tables))


def _wider(problem: Problem, layout: Layout, factor: float) -> Layout:
    """The layout for `factor` times the work: what is held stays as wide as it is."""
    if factor <= 1.0:
        return widened(problem, layout, factor)
    return _escalated(problem, tables_of(problem), layout, factor - 1.0)


def _bound_usd(problem: Problem, tables: Tables) -> float:
    return problem.spent_usd + bounds_of(problem, tables).usd


def _replanned(
    after: Problem, tables: Tables, layout: Layout, budget: Budget, seed: int
) -> tuple[Plan, Sample]:
    """The best plan that the time allows, whatever happens: at least the guarded one."""
    size = max(_GUARD_SIZE_MIN, min(_GUARD_SIZE, _GUARD_TASKS // after.tasks))
    safe, seen, simulator = _guarded(after, tables, layout, size, seed, budget)
    try:
        size = _affordable(simulator, budget)
        return _searched(after, tables, (safe, layout), budget, size, seed)
    except _CRASHES as err:
        forecast = forecast_of(after, tables, seen)
        plan = Plan(
            layout=safe,
            forecast=forecast,
            bound_usd=after.spent_usd,
            method="carried over",
            candidates=(),
            evaluations=1,
            used_s=budget.used_s,
            shortfall=shortfall_of(after, forecast),
            event=f"{type(err).__name__}: {err}",
        )
        return plan, seen


def _searched(
    after: Problem,
    tables: Tables,
    begin: tuple[Layout, Layout],
    budget: Budget,
    size: int,
    seed: int,
) -> tuple[Plan, Sample]:
    """The best plan that the time allows; the safe one unless another is better on fresh luck.

    It begins with the safe plan and with the one that was guarded, which may do all the same: a
    guard looks at few scenarios, and has to be on the safe side.
    """
    safe, bare = begin
    end_s = after.objective.at_s if isinstance(after.objective, Deadline) else after.now_s + 3600.0
    search = Search(
        problem=after,
        tables=tables,
        budget=budget,
        evaluator=Evaluator(after, tables, budget, size=size, seed=seed, end_s=end_s),
        goal=Goal(objective=after.objective, now_s=after.now_s),
        seed=seed,
        end_s=end_s,
        rng=np.random.default_rng([seed, 78]),
    )
    before_s = budget.used_s
    first = search.evaluator.scored(safe, search.goal)
    run_s = budget.used_s - before_s
    note(search, "carried over" if safe == bare else "guarded", first)
    heads = [first]
    if safe != bare and is_served(tables, bare):
        heads.append(search.evaluator.scored(bare, search.goal))
        note(search, "carried over", heads[-1])
    found = _improved(search, heads, run_s)
    if budget.left_s > _CHOICE * _CONFIRMED * search.evaluator.seconds_each:
        chosen, sample = choose(search, found)
    else:
        chosen = min(found, key=lambda s: s.score)
        sample = on_fresh_luck(search, chosen.layout)
    chosen, sample = _in_time(search, (chosen, first), sample)
    check_layout(after, tables, chosen.layout)
    _check_kept(after, chosen.layout)
    return plan_of(search, chosen, sample, bound_usd=0.0), sample


def _in_time(search: Search, found: tuple[Scored, Scored], sample: Sample) -> tuple[Scored, Sample]:
    """What was chosen if fresh luck keeps its deadline, else the safe plan, else a wider one."""
    (chosen, safe), objective = found, search.problem.objective
    if not isinstance(objective, Deadline):
        return chosen, sample
    tried = [safe.layout] if safe.layout != chosen.layout else []
    tried += [_escalated(search.problem, search.tables, safe.layout, more) for more in _MORE]
    best = (sample.miss_share(objective.at_s), sample.mean_usd, chosen, sample)
    for layout in tried:
        if best[0] <= 1.0 - objective.confidence:
            break
        other = on_fresh_luck(search, layout)
        there = (other.miss_share(objective.at_s), other.mean_usd)
        if there < best[:2]:
            best = (*there, Scored(search.goal.score(other), layout, other), other)
    return best[2], best[3]


def _affordable(simulator: ClassSimulator, budget: Budget) -> int:
    """As many scenarios as leave time for some evaluations, judged by what a run has taken."""
    room = budget.limit_s / _EVALUATIONS - simulator.base_s
    size = int(max(room, SIZE_WORTH * simulator.base_s) / max(simulator.each_s, 1e-9))
    return min(max(size, _SEARCH_SIZE_MIN), _SEARCH_SIZE)


def _improved(search: Search, heads: list[Scored], run_s: float) -> list[Scored]:
    """The heads, and what is found from them: `run_s` is what a simulation was seen to take."""
    found = list(heads)
    # Other starts take some evaluations each: worth it only while time for the search remains.
    if search.budget.left_s > _STARTS * run_s:
        found += starts(search)
    best = min(found, key=lambda s: s.score)
    # What is found must be confirmed within the limit too, and a walk is some evaluations long.
    each_s = search.evaluator.seconds_each
    room_s = search.budget.left_s - _CONFIRMED * each_s
    if room_s <= _WALK * search.evaluator.size * each_s:
        return found
    time = search.budget.slice_of(min(0.5, room_s / search.budget.limit_s))
    return found + anneal(best, search.evaluator, search.goal, time, search.rng)


def _check_kept(problem: Problem, layout: Layout) -> None:
    """Refuse a layout that lets go of nodes on which tasks run.

    Raises: InvalidPlanError, naming the pool.
    """
    kept = {f.held: f for f in layout.fleets if f.held >= 0}
    busy = {run.pool for run in problem.running}
    for h, held in enumerate(problem.held):
        if held.pool in busy and (h not in kept or kept[h].count != held.count):
            raise InvalidPlanError("nodes that run tasks are let go", f"pool={held.pool}")


def guard(problem: Problem, tables: Tables, layout: Layout, *, seed: int = 0) -> Layout:
    """Escalate to on-demand nodes, now, when the layout would miss its deadline too often.

    Needs no solver and a few milliseconds, so that it can run between solves.
    """
    return _guarded(problem, tables, layout, _GUARD_SIZE, seed, Budget(0.0))[0]


def _guarded(
    problem: Problem, tables: Tables, layout: Layout, size: int, seed: int, budget: Budget
) -> tuple[Layout, Sample, ClassSimulator]:
    """The least escalation that keeps the deadline, or else the one that ends soonest."""
    objective = problem.objective
    at_s = objective.at_s if isinstance(objective, Deadline) else np.inf
    allowed = 1.0 - objective.confidence if isinstance(objective, Deadline) else 0.0
    span = at_s - problem.now_s if np.isfinite(at_s) else 3600.0
    simulator = ClassSimulator(problem, tables, draw(problem, size, seed, horizon_s=2.0 * span))
    best: tuple[float, Layout, Sample] | None = None
    needed = 0.0
    for factor in (0.0, *_GUARD_FACTORS):
        if factor < min(needed, _GUARD_FACTORS[-1]):
            continue
        tried = layout if factor <= 0 else _escalated(problem, tables, layout, factor)
        if not is_served(tables, tried):
            continue
        sample = simulator.run(tried)
        budget.charge(simulator.work_s)
        late = sample.quantile_s(1.0 - allowed)
        overrun_s = late + _GUARD_MARGIN * _spread_s(sample) - at_s
        if overrun_s <= 0 or np.isinf(at_s):
            return tried, sample, simulator
        if factor <= 0 and np.isfinite(late):
            # The least that is enough, if nothing but shared work were left.
            needed = overrun_s / span
        if best is None or late < best[0]:
            best = (late, tried, sample)
    assert best is not None  # escalation serves every class that fits anywhere
    return best[1], best[2], simulator


def _spread_s(sample: Sample) -> float:
    """Standard deviation of the ends of those scenarios that have one."""
    ends = sample.end_s[np.isfinite(sample.end_s)]
    return float(ends.std()) if ends.size else 0.0


def _escalated(problem: Problem, tables: Tables, layout: Layout, factor: float) -> Layout:
    """Add the quickest on-demand nodes for `factor` times all of the work that is left.

    What a pool has too few nodes for goes to the next one.
    """
    each = work_s(problem, tables)
    span = 3600.0
    if isinstance(problem.objective, Deadline):
        span = problem.objective.at_s - problem.now_s
    fleets = list(layout.fleets)
    room = [pool.nodes_max for pool in problem.pools]
    for fleet in fleets:
        room[fleet.pool] -= fleet.count
    left = dict.fromkeys(range(len(layout.parts)), factor)  # part -> times its work
    while left:
        wanted: dict[int, list[int]] = {}
        for p in left:
            open_to = _open_to(problem, tables, layout.parts[p].cls, room)
            wanted.setdefault(_quick(tables, each, layout.parts[p].cls, open_to), []).append(p)
        more: dict[int, float] = {}
        for pool, serves in wanted.items():
            shape = problem.pools[pool]
            useful = max(span - shape.provision_s - shape.boot_s, 0.05 * span)
            seconds = sum(
                left[p]
                * layout.parts[p].count
                * each[layout.parts[p].cls, pool]
                / max(1, tables.lanes[layout.parts[p].cls, pool])
                for p in serves
            )
            count = max(1, int(np.ceil(seconds / useful)))
            given = max(1, min(count, room[pool]))
            fleets.append(Fleet(pool, given, problem.now_s, tuple(serves)))
            room[pool] -= given
            if given < count:
                more |= {p: left[p] * (1.0 - given / count) for p in serves}
        left = {
            p: share
            for p, share in more.items()
            if any(room[q] > 0 for q in _open_to(problem, tables, layout.parts[p].cls, room))
        }
    return shared(tables, replace(layout, fleets=within_depth(problem, tuple(fleets))))


def _open_to(problem: Problem, tables: Tables, cls: int, room: Sequence[int]) -> list[int]:
    """Return on-demand pools with nodes left, or else those without; spot ones if need be."""
    fits = [int(q) for q in np.flatnonzero(tables.fits[cls])]
    calm = [q for q in fits if problem.pools[q].spot is None] or fits
    return [q for q in calm if room[q] > 0] or calm


def _quick(tables: Tables, each: Floats, cls: int, pools: Sequence[int]) -> int:
    """Return the cheapest of the pools that are about as quick as the quickest."""
    soonest = min(each[cls, q] for q in pools)
    near = [q for q in pools if each[cls, q] <= _ABOUT_AS_QUICK * soonest]
    usd = each[cls] * tables.usd_s * tables.share[cls]
    return min(near, key=lambda q: (usd[q], each[cls, q]))
