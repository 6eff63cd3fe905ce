"""Where a search begins: stacks of pools at the least width that keeps the objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from placement.errors import SolverError
from placement.greedy import (
    Stack,
    data_locations,
    hazard_of,
    layout_of,
    orders,
    parts_in_order,
    sites_of,
    stack_of,
)
from placement.layout import Fleet, Layout, Part
from placement.menu import menu_layout
from placement.model import Deadline, Problem
from placement.search import Search, note
from placement.spine import Spine, spine_layout, spines
from placement.tiny import is_tiny, tiny_layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from placement.budget import Slice
    from placement.evaluate import Scored
    from placement.tables import Bools, Tables

    Weigh = Callable[[int, float], float]

_FACTORS: Final = (1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
# With nodes that are there already, less than all of the work may need new ones.
_FACTORS_HELD: Final = (0.0, 0.25, 0.5, 0.75)
_FIRST_FACTOR: Final = 1.3
_HORIZONS: Final = (0.92, 0.84, 0.76, 0.68, 0.6, 0.5)
# Menus of pools whose hazard is at most so much: with all of them, the calm ones, on demand.
_HAZARDS: Final = (0.02, np.inf, 0.0)
_EXACT_SHARE: Final = 0.15
_MENU_SHARE: Final = 0.05
_MENUS_SHARE: Final = 0.08
_MENU_LIMIT_MIN_S: Final = 0.2
_MENU_CLASSES_MAX: Final = 40
# Seconds on the reference machine for a class and pool of a menu, measured.
_MENU_CELL_S: Final = 1e-3
# The starts may take this share of the time limit.
_SHARE: Final = 0.25


def first_layout(problem: Problem, tables: Tables, end_s: float) -> Layout:
    """A sound plan without any simulation: calm cheap pools, a third wider than needed."""
    parts = parts_in_order(tables)
    choices = dict(orders(problem))
    for name in ("calm-0.08", "on-demand", "cheapest"):
        stacks = _stacks(problem, tables, parts, name, choices)
        if stacks:
            return _layout(problem, tables, parts, stacks, (end_s - problem.now_s, _FIRST_FACTOR))
    return _every_class_its_own(problem, tables, parts, end_s)


def starts(search: Search) -> list[Scored]:
    """Greedy stacks of pools, best first; at least one, more while the time allows."""
    problem, tables = search.problem, search.tables
    parts = parts_in_order(tables)
    choices = dict(orders(problem))
    time = search.budget.slice_of(_SHARE)
    found: dict[Layout, Scored] = {}
    for name in choices:
        if found and time.share >= 1.0:
            break
        stacks = _stacks(problem, tables, parts, name, choices)
        if stacks:
            best = _widest_needed(search, _widened(search, parts, stacks))
            note(search, name, best)
            found[best.layout] = best
    for name, layout in _exact(search):
        found[layout] = search.evaluator.scored(layout, search.goal)
        note(search, name, found[layout])
    others = (
        *_spines(search, parts, choices, time),
        *_alone(search, parts, choices, time),
        *_menus(search),
    )
    for name, scored in others:
        if scored.layout not in found:
            note(search, name, scored)
        found[scored.layout] = scored
    if not found:
        alone = _every_class_its_own(problem, tables, parts, search.end_s)
        scored = search.evaluator.scored(alone, search.goal)
        note(search, "class-by-class", scored)
        found[alone] = scored
    ranked = sorted(found.values(), key=lambda s: s.score)
    search.safe = [s for s in ranked if search.goal.is_kept(s.sample)]
    return ranked


def _exact(search: Search) -> Iterator[tuple[str, Layout]]:
    """The cheapest static schedule, where the problem is small and certain enough for one."""
    if not is_tiny(search.problem):
        return
    limit = _EXACT_SHARE * search.budget.limit_s
    try:
        layout, _ = tiny_layout(search.problem, search.tables, limit_s=limit)
    except SolverError:
        return
    finally:
        search.budget.charge(limit / 2)
    yield "exact", layout


def _spines(
    search: Search, parts: tuple[Part, ...], choices: Mapping[str, Weigh], time: Slice
) -> Iterator[tuple[str, Scored]]:
    """Few quick nodes for what is narrow, many cheap ones for what is wide, site by site."""
    problem, tables = search.problem, search.tables
    sites = sites_of(problem, tables, parts, data_locations(problem, tables))
    if len(sites) > 1 or problem.held:
        return
    span_s = search.end_s - problem.now_s
    for name, spine in spines(problem, tables, parts, sites[0], choices, span_s):
        if time.share >= 1.0:
            return

        def wide(factor: float, mine: Spine = spine) -> Layout:
            starts_s = search.evaluator.starts_s
            return spine_layout(problem, tables, parts, mine, factor, starts_s)

        yield name, _widest_needed(search, wide)


def _alone(
    search: Search, parts: tuple[Part, ...], choices: Mapping[str, Weigh], time: Slice
) -> Iterator[tuple[str, Scored]]:
    """Each pool alone for all that it can do, the fastest on demand for the rest."""
    problem, tables = search.problem, search.tables
    sites = sites_of(problem, tables, parts, data_locations(problem, tables))
    rest = [stack_of(problem, tables, parts, s, choices["fastest-on-demand"]) for s in sites]
    for p, pool in enumerate(problem.pools):
        if time.share >= 1.0:
            return

        def only(other: int, node_s: float, mine: int = p) -> float:
            return node_s if other == mine else np.inf

        alone = [stack_of(problem, tables, parts, s, only) for s in sites]
        stacks = [a or r for a, r in zip(alone, rest, strict=True)]
        whole = [s for s in stacks if s is not None]
        if any(alone) and len(whole) == len(sites):
            yield f"only-{pool.name}", _widest_needed(search, _widened(search, parts, whole))


def _menus(search: Search) -> Iterator[tuple[str, Scored]]:
    """Layouts of the time-cost menu, at the latest horizons that keep the objective."""
    problem = search.problem
    cells = len(problem.classes) * len(problem.pools)
    limit = _MENU_SHARE * search.budget.limit_s
    if limit < _MENU_LIMIT_MIN_S or len(problem.classes) > _MENU_CLASSES_MAX:
        return
    time = search.budget.slice_of(_MENUS_SHARE)
    hazards = np.array([hazard_of(pool) for pool in problem.pools])
    for most in _HAZARDS:
        for share in _HORIZONS:
            if time.share >= 1.0:
                return
            search.budget.charge(cells * _MENU_CELL_S)
            scored = _menu(search, share, hazards <= most, limit)
            if scored is not None:
                yield f"menu-{share:g}-{most:g}", scored
                if search.goal.is_kept(scored.sample):
                    break


def _menu(search: Search, share: float, allowed: Bools, limit_s: float) -> Scored | None:
    """Solve one menu; none when it has no solution."""
    problem, tables = search.problem, search.tables
    span = search.end_s - problem.now_s
    try:
        layout = menu_layout(problem, tables, share * span, allowed, limit_s=limit_s)
    except SolverError:
        return None
    if not is_served(tables, layout):
        return None
    return search.evaluator.scored(layout, search.goal)


def _stacks(
    problem: Problem,
    tables: Tables,
    parts: tuple[Part, ...],
    name: str,
    choices: Mapping[str, Weigh],
) -> list[Stack]:
    """One stack a site, or none when some site has no pool in this order."""
    sites = sites_of(problem, tables, parts, data_locations(problem, tables))
    stacks = [stack_of(problem, tables, parts, site, choices[name]) for site in sites]
    whole = [s for s in stacks if s is not None]
    return whole if len(whole) == len(stacks) else []


def _layout(
    problem: Problem,
    tables: Tables,
    parts: tuple[Part, ...],
    stacks: list[Stack],
    width: tuple[float, float],
) -> Layout:
    """Stacks as wide as `factor` times the work within `span_s`, beside the nodes already held."""
    span_s, factor = width
    fleets = [x for s in stacks for x in s.fleets(problem, span_s, factor)] if factor > 0 else []
    return layout_of(problem, tables, parts, (*held_fleets(problem, tables, parts), *fleets))


def held_fleets(problem: Problem, tables: Tables, parts: tuple[Part, ...]) -> tuple[Fleet, ...]:
    """The nodes that are there already, each serving all that fits."""
    pools = {p.name: k for k, p in enumerate(problem.pools)}
    out = []
    for h, held in enumerate(problem.held):
        pool = pools[held.pool]
        serves = tuple(p for p, part in enumerate(parts) if tables.fits[part.cls, pool])
        out.append(Fleet(pool, held.count, None, serves, held=h))
    return tuple(out)


def _widened(
    search: Search, parts: tuple[Part, ...], stacks: list[Stack]
) -> Callable[[float], Layout]:
    problem, tables = search.problem, search.tables

    def wide(factor: float) -> Layout:
        return _layout(problem, tables, parts, stacks, (search.end_s - problem.now_s, factor))

    return wide


def _widest_needed(search: Search, wide: Callable[[float], Layout]) -> Scored:
    """Widen a start until the objective is kept, or until more width does not help."""
    problem, tables = search.problem, search.tables
    factors = (*_FACTORS_HELD, *_FACTORS) if problem.held else _FACTORS
    best: Scored | None = None
    tried: Layout | None = None
    for factor in factors:
        layout = wide(factor)
        if layout == tried or not is_served(tables, layout):
            continue
        tried = layout
        if search.evaluator.is_far_off(layout, search.goal):
            continue
        scored = search.evaluator.scored(layout, search.goal)
        if best is None or scored.score < best.score:
            best = scored
        if isinstance(problem.objective, Deadline) and search.goal.is_kept(scored.sample):
            break
    if best is None:
        # However wide, it is late: it may still be mended.
        assert tried is not None
        best = search.evaluator.scored(tried, search.goal)
    return best


def is_served(tables: Tables, layout: Layout) -> bool:
    """Whether every part has a fleet whose nodes it fits."""
    served = {p for f in layout.fleets for p in f.parts if tables.fits[layout.parts[p].cls, f.pool]}
    return len(served) == len(layout.parts)


def _every_class_its_own(
    problem: Problem, tables: Tables, parts: tuple[Part, ...], end_s: float
) -> Layout:
    """Each class on the cheapest pool that it fits, where no pool fits a whole site."""
    span = 0.5 * (end_s - problem.now_s)
    room = [pool.nodes_max for pool in problem.pools]
    wanted: dict[int, list[int]] = {}
    need_s: dict[int, float] = {}
    for p, part in enumerate(parts):
        usd = np.where(
            tables.fits[part.cls],
            tables.compute_s[part.cls] * tables.share[part.cls] * tables.usd_s,
            np.inf,
        )
        pool = int(usd.argmin())
        wanted.setdefault(pool, []).append(p)
        lanes = max(1, int(tables.lanes[part.cls, pool]))
        seconds = float(tables.compute_s[part.cls, pool]) * part.count / lanes
        need_s[pool] = need_s.get(pool, 0.0) + seconds
    fleets = [
        Fleet(pool, max(1, min(int(need_s[pool] / span) + 1, room[pool])), problem.now_s, tuple(ps))
        for pool, ps in wanted.items()
    ]
    return layout_of(problem, tables, parts, (*held_fleets(problem, tables, parts), *fleets))
