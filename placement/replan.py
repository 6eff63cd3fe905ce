"""Planning again while a run goes on: what runs stays, what has not begun may move.

observed --remaining()--> the problem that is left --replan()--> a plan that holds on to its nodes
                                                   --guard()---> on demand when the deadline is near
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.budget import Budget, Clock
from placement.confirm import choose
from placement.errors import InvalidProblemError, PlacementError
from placement.evaluate import Evaluator, Scored
from placement.greedy import layout_of, parts_in_order, within_depth, work_s
from placement.improve import anneal
from placement.layout import Fleet, Layout, check_layout
from placement.model import Deadline, Dep, Held, Problem, TaskClass
from placement.risk import Goal
from placement.scenarios import draw
from placement.search import Search, note
from placement.simulate import ClassSimulator
from placement.solve import plan_of
from placement.starts import held_fleets, is_served, starts
from placement.tables import Tables, tables_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from placement.plan import Plan

_GUARD_SIZE: Final = 16
_GUARD_FACTORS: Final = (0.5, 1.0, 1.5, 2.5, 4.0, 8.0)
_SEARCH_SIZE: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is known of a run at `now_s`.

    `done` tasks per class and where their output is (`at`, location by class); `held` nodes;
    `down` spot pools that are gone; `usd_h` prices that changed; `slower` factor by which the tasks
    of a class took longer than expected, with `measured` how many were timed; `new` more classes.
    Running tasks count as not done: their nodes are held, and at worst they are run again.
    """

    now_s: float
    done: Mapping[str, int] = field(default_factory=dict)
    at: Mapping[str, str] = field(default_factory=dict)
    held: tuple[Held, ...] = ()
    down: tuple[str, ...] = ()
    usd_h: Mapping[str, float] = field(default_factory=dict)
    slower: Mapping[str, float] = field(default_factory=dict)
    measured: Mapping[str, int] = field(default_factory=dict)
    new: tuple[TaskClass, ...] = ()
    reclaimed: tuple[str, ...] = ()
    spent_usd: float = 0.0


def reasons_to_replan(problem: Problem, observed: Observed) -> tuple[str, ...]:
    """Say what has changed enough to plan again; empty when the plan still describes the run."""
    pools = {p.name: p for p in problem.pools}
    out = [f"pool {name} was reclaimed" for name in observed.reclaimed]
    out += [f"pool {name} is gone" for name in observed.down if name not in problem.down]
    for name, usd in observed.usd_h.items():
        if usd != pools[name].usd_h:
            out.append(f"pool {name} now costs {usd:g} USD/h, not {pools[name].usd_h:g}")
    classes = {c.name: c for c in problem.classes}
    for name, factor in observed.slower.items():
        sigma = classes[name].cv / max(1, observed.measured.get(name, 1)) ** 0.5
        if abs(factor - 1.0) > max(sigma, 1e-9):
            out.append(f"class {name} takes {factor:.2f} times as long as expected")
    out += [f"class {cls.name} is new" for cls in observed.new]
    return tuple(out)


def remaining(problem: Problem, observed: Observed) -> Problem | None:
    """Give the problem that is left, or None when all is done.

    Output of finished parents becomes input that lies in the store of its location.
    Raises: InvalidProblemError for a class or count that the problem does not have.
    """
    known = {c.name for c in problem.classes}
    for name in observed.done:
        if name not in known:
            raise InvalidProblemError("observed.done", "unknown class", repr(name))
    left = {
        c.name: c.count - observed.done.get(c.name, 0) for c in (*problem.classes, *observed.new)
    }
    every = {c.name: c for c in (*problem.classes, *observed.new)}
    classes = tuple(_left_over(every[n], every, left, observed) for n in every if left[n] > 0)
    if not classes:
        return None
    pools = tuple(replace(p, usd_h=observed.usd_h.get(p.name, p.usd_h)) for p in problem.pools)
    return replace(
        problem,
        classes=classes,
        pools=pools,
        now_s=observed.now_s,
        held=observed.held,
        down=observed.down,
        spent_usd=observed.spent_usd,
    )


def _left_over(
    cls: TaskClass, every: Mapping[str, TaskClass], left: Mapping[str, int], observed: Observed
) -> TaskClass:
    """A class without its finished tasks, reading from storage what its parents have finished."""
    deps: list[Dep] = []
    in_gb, source = cls.in_gb, cls.source
    for dep in cls.deps:
        parent = every[dep.parent]
        finished = parent.count - left[dep.parent]
        read = finished * parent.out_gb / cls.count
        in_gb += read
        if read > cls.in_gb and dep.parent in observed.at:
            source = observed.at[dep.parent]
        if left[dep.parent] > 0:
            deps.append(dep)
    return replace(
        cls,
        count=left[cls.name],
        work_s=cls.work_s * observed.slower.get(cls.name, 1.0),
        in_gb=in_gb,
        source=source,
        deps=tuple(deps),
    )


def carried_over(before: Problem, layout: Layout, after: Problem, tables: Tables) -> Layout:
    """The layout as far as it still applies: nodes that run, and requests still to be made.

    Held nodes keep serving the classes that fleets of their pool served.
    """
    parts = parts_in_order(tables)
    place = {after.classes[part.cls].name: p for p, part in enumerate(parts)}
    pools = {p.name: k for k, p in enumerate(after.pools)}
    served: dict[int, set[int]] = {}
    later: list[Fleet] = []
    for fleet in layout.fleets:
        names = {before.classes[layout.parts[p].cls].name for p in fleet.parts}
        pool = pools[before.pools[fleet.pool].name]
        mine = tuple(sorted(place[n] for n in names if n in place))
        served.setdefault(pool, set()).update(mine)
        if mine and (fleet.at_s is None or fleet.at_s > after.now_s) and fleet.held < 0:
            later.append(replace(fleet, pool=pool, parts=mine))
    kept = []
    for fleet in held_fleets(after, tables, parts):
        mine = tuple(sorted(served.get(fleet.pool, set()))) or fleet.parts
        kept.append(replace(fleet, parts=mine))
    joined = layout_of(after, tables, parts, tuple(kept) + within_depth(after, tuple(later)))
    return replace(joined, patience_s=layout.patience_s)


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
    nodes when it would miss the deadline: never no plan.
    """
    budget = Budget(time_limit_s, clock)
    tables = tables_of(after)
    safe = guard(after, tables, carried_over(before, layout, after, tables), seed=seed)
    end_s = after.objective.at_s if isinstance(after.objective, Deadline) else after.now_s + 3600.0
    search = Search(
        problem=after,
        tables=tables,
        budget=budget,
        evaluator=Evaluator(after, tables, budget, size=_SEARCH_SIZE, seed=seed, end_s=end_s),
        goal=Goal(objective=after.objective, now_s=after.now_s),
        seed=seed,
        end_s=end_s,
        rng=np.random.default_rng([seed, 78]),
    )
    found = [search.evaluator.scored(safe, search.goal)]
    note(search, "carried over", found[0])
    try:
        found += _improved(search, found[0])
        chosen, forecast = choose(search, found)
        check_layout(after, tables, chosen.layout)
    except PlacementError as err:
        chosen, forecast = choose(search, found[:1])
        return plan_of(search, chosen, forecast, event=str(err))
    return plan_of(search, chosen, forecast)


def _improved(search: Search, carried: Scored) -> list[Scored]:
    found = [carried]
    if search.budget.left_s > 0:
        found += starts(search)
    best = min(found, key=lambda s: s.score)
    time = search.budget.slice_of(0.5)
    return found + anneal(best, search.evaluator, search.goal, time, search.rng)


def guard(problem: Problem, tables: Tables, layout: Layout, *, seed: int = 0) -> Layout:
    """Escalate to on-demand nodes, now, when the layout would miss its deadline too often.

    Needs no solver and a few milliseconds, so that it can run between solves.
    """
    parts_served = is_served(tables, layout)
    if not isinstance(problem.objective, Deadline):
        return layout if parts_served else _escalated(problem, tables, layout, 1.0)
    span = problem.objective.at_s - problem.now_s
    scenarios = draw(problem, _GUARD_SIZE, seed, horizon_s=2.0 * span)
    simulator = ClassSimulator(problem, tables, scenarios)
    allowed = 1.0 - problem.objective.confidence
    best, least = layout, np.inf
    for factor in (0.0, *_GUARD_FACTORS):
        tried = layout if factor <= 0 else _escalated(problem, tables, layout, factor)
        if not is_served(tables, tried):
            continue
        sample = simulator.run(tried)
        if sample.miss_share(problem.objective.at_s) <= allowed:
            return tried
        late = sample.quantile_s(1.0 - allowed)
        if late < least:
            best, least = tried, late
    return best if is_served(tables, best) else _escalated(problem, tables, layout, 1.0)


def _escalated(problem: Problem, tables: Tables, layout: Layout, factor: float) -> Layout:
    """Add the quickest on-demand nodes for `factor` times all of the work that is left."""
    each = work_s(problem, tables)
    span = 3600.0
    if isinstance(problem.objective, Deadline):
        span = problem.objective.at_s - problem.now_s
    fleets = list(layout.fleets)
    wanted: dict[int, list[int]] = {}
    for p, part in enumerate(layout.parts):
        calm = [
            q for q in np.flatnonzero(tables.fits[part.cls]) if problem.pools[q].spot is None
        ] or list(np.flatnonzero(tables.fits[part.cls]))
        quick = min(calm, key=lambda q: (each[part.cls, q], tables.usd_s[q]))
        wanted.setdefault(int(quick), []).append(p)
    for pool, serves in wanted.items():
        shape = problem.pools[pool]
        useful = max(span - shape.provision_s - shape.boot_s, 0.05 * span)
        seconds = sum(
            layout.parts[p].count
            * each[layout.parts[p].cls, pool]
            / max(1, tables.lanes[layout.parts[p].cls, pool])
            for p in serves
        )
        count = int(np.ceil(factor * seconds / useful))
        fleets.append(Fleet(pool, max(1, count), problem.now_s, tuple(serves)))
    return replace(layout, fleets=within_depth(problem, tuple(fleets)))
