"""Plans in milliseconds: put the work where its data are, and stack pools, cheapest first.

A stack fills the cheapest pool (per unit of this work) to its depth, then the next, until the work
fits before the deadline; its width is then set by simulation.  Several orders of the pools give
several stacks: they are the first candidates, and the incumbent of everything that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.layout import NO_POOL, Fleet, Layout, Part

if TYPE_CHECKING:
    from placement.model import Pool, Problem
    from placement.tables import Bools, Floats, Ints, Tables

_SITE_ROUNDS: Final = 20
_NOTHING: Final = 1e-9
Allowed = Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class Site:
    """Parts that the same machines can serve: one location, with or without GPUs."""

    loc: int
    parts: tuple[int, ...]


def parts_in_order(tables: Tables) -> tuple[Part, ...]:
    """One part a class, the longest way to the end first; parents before children."""
    place = {k: n for n, k in enumerate(tables.order)}
    by_rank = sorted(place, key=lambda k: (-tables.rank_s[k], place[k]))
    return tuple(Part(k, 0, int(tables.count[k])) for k in by_rank)


def data_locations(problem: Problem, tables: Tables) -> Ints:
    """Choose for each class the location with the least egress, by coordinate descent.

    Shapes: (C,), indices of locations.
    """
    classes, locations = len(problem.classes), len(tables.locations)
    usd = tables.egress_usd_gb
    here = np.zeros((classes, locations), dtype=bool)
    for p, loc in enumerate(tables.pool_loc):
        here[:, loc] |= tables.fits[:, p]
    chosen = np.where(
        here[np.arange(classes), tables.source_loc], tables.source_loc, here.argmax(axis=1)
    )
    for _ in range(_SITE_ROUNDS):
        before = chosen.copy()
        for k in tables.order:
            spec = problem.classes[k]
            cost = spec.count * spec.in_gb * usd[tables.source_loc[k]].copy()
            for parent, _, gb in tables.parents[k]:
                cost += spec.count * gb * usd[chosen[parent]]
            for kid in tables.kids[k]:
                gb = sum(g for parent, _, g in tables.parents[kid] if parent == k)
                cost += problem.classes[kid].count * gb * usd[:, chosen[kid]]
            cost = np.where(here[k], cost, np.inf)
            if cost[chosen[k]] > cost.min() + 1e-12:
                chosen[k] = int(cost.argmin())
        if (before == chosen).all():
            break
    return chosen


def sites_of(problem: Problem, tables: Tables, parts: tuple[Part, ...], where: Ints) -> list[Site]:
    """Group parts by location and by whether they need a GPU."""
    groups: dict[tuple[int, bool], list[int]] = {}
    for p, part in enumerate(parts):
        gpu = problem.classes[part.cls].gpus > 0
        groups.setdefault((int(where[part.cls]), gpu), []).append(p)
    return [Site(loc, tuple(ps)) for (loc, _), ps in groups.items()]


def work_s(problem: Problem, tables: Tables) -> Floats:
    """Mean seconds of one task on each pool, inputs read locally.  Shapes: (C, P)."""
    local = tables.read_s_gb[:, np.arange(len(problem.pools)), tables.pool_loc]
    in_gb = np.array(
        [c.in_gb + sum(gb for _, _, gb in tables.parents[k]) for k, c in enumerate(problem.classes)]
    )
    return np.asarray(tables.compute_s + tables.write_s + in_gb[:, None] * local)


def node_seconds(problem: Problem, tables: Tables, parts: tuple[Part, ...], site: Site) -> Floats:
    """Node seconds that the work of a site takes on each pool, perfectly packed; inf: cannot.

    Shapes: (P,).
    """
    each = work_s(problem, tables)
    total = np.zeros(len(problem.pools))
    for p in site.parts:
        cls = parts[p].cls
        lanes = np.maximum(tables.lanes[cls], 1)
        total += np.where(tables.fits[cls], parts[p].count * each[cls] / lanes, np.inf)
    away = tables.pool_loc != site.loc
    if not away.all() and np.isfinite(total[~away]).any():
        total[away] = np.inf
    return total


def on_demand_like(problem: Problem, tables: Tables, served: Bools) -> tuple[int, ...]:
    """For each spot pool the on-demand pool that replaces it: same place and work, soonest done.

    Shapes: served (C, P) says which classes a pool is used for.
    """
    fallback = []
    each = work_s(problem, tables)
    for p, pool in enumerate(problem.pools):
        if pool.spot is None:
            fallback.append(NO_POOL)
            continue
        need = np.flatnonzero(served[:, p])
        options = [
            q
            for q, other in enumerate(problem.pools)
            if other.spot is None and tables.fits[need, q].all() and other.nodes_max > 0
        ]
        same = [q for q in options if tables.pool_loc[q] == tables.pool_loc[p]] or options
        if not same or not need.size:
            fallback.append(NO_POOL)
            continue
        wide = {q: np.minimum(tables.lanes[need, q], tables.lanes[need, p]) for q in same}
        pace = {q: float((each[need, q] / np.maximum(wide[q], 1)).sum()) for q in same}
        best = min(pace.values())
        # Among those about as quick, the cheapest.
        near = [q for q in same if pace[q] <= 1.05 * best]
        fallback.append(min(near, key=lambda q: (problem.pools[q].usd_h, q)))
    return tuple(fallback)


@dataclass(frozen=True, slots=True)
class Stack:
    """Pools of one site in the order in which they are filled, and what the work takes on each."""

    site: Site
    pools: tuple[int, ...]
    node_s: tuple[float, ...]

    def fleets(self, problem: Problem, span_s: float, factor: float) -> list[Fleet]:
        """Nodes for `factor` times the work to end within `span_s` after start-up."""
        left, out = factor, []
        for p, need in zip(self.pools, self.node_s, strict=True):
            pool = problem.pools[p]
            useful = max(span_s - pool.provision_s - pool.boot_s, 0.05 * span_s)
            wanted = max(1, int(np.ceil(left * need / useful - 1e-9)))
            count = min(wanted, pool.nodes_max)
            out.append(Fleet(p, count, problem.now_s, self.site.parts))
            left -= count * useful / need
            if left <= _NOTHING:
                break
        return out


def stack_of(
    problem: Problem,
    tables: Tables,
    parts: tuple[Part, ...],
    site: Site,
    weigh: Callable[[int, float], float],
) -> Stack | None:
    """Order the pools that can do all of a site by `weigh(pool, node seconds)`; inf is never."""
    node_s = node_seconds(problem, tables, parts, site)
    weights = [
        (weigh(int(p), float(node_s[p])), int(p)) for p in np.flatnonzero(np.isfinite(node_s))
    ]
    usable = [(w, p) for w, p in sorted(weights) if np.isfinite(w) and problem.pools[p].nodes_max]
    if not usable:
        return None
    pools = tuple(p for _, p in usable)
    return Stack(site, pools, tuple(float(node_s[p]) for p in pools))


def layout_of(
    problem: Problem, tables: Tables, parts: tuple[Part, ...], fleets: tuple[Fleet, ...]
) -> Layout:
    """Join fleets into a layout with replacements on demand."""
    served = np.zeros(tables.fits.shape, dtype=bool)
    for fleet in fleets:
        for p in fleet.parts:
            served[parts[p].cls, fleet.pool] = True
    blank = Layout(parts, fleets, on_demand_like(problem, tables, served))
    return replace(blank, fleets=within_depth(problem, fleets))


def within_depth(problem: Problem, fleets: tuple[Fleet, ...]) -> tuple[Fleet, ...]:
    """Cut fleets so that no pool is asked for more nodes than it has."""
    left = [pool.nodes_max for pool in problem.pools]
    out = []
    for fleet in fleets:
        count = min(fleet.count, left[fleet.pool])
        if count > 0:
            left[fleet.pool] -= count
            out.append(fleet if count == fleet.count else replace(fleet, count=count))
    return tuple(out)


def shared(tables: Tables, layout: Layout) -> Layout:
    """Let what has no nodes of its own share those of others: its pools may have no more."""
    fleets = list(layout.fleets)
    for number, part in enumerate(layout.parts):
        fitting = [k for k, fleet in enumerate(fleets) if tables.fits[part.cls, fleet.pool]]
        if fitting and not any(number in fleets[k].parts for k in fitting):
            widest = max(fitting, key=lambda k: fleets[k].count)
            fleets[widest] = replace(fleets[widest], parts=(*fleets[widest].parts, number))
    return replace(layout, fleets=tuple(fleets))


def hazard_of(pool: Pool) -> float:
    """Reclaims an hour of a pool, or the share of its trace for which it is away."""
    spot = pool.spot
    if spot is None:
        return 0.0
    if spot.trace_up:
        return 1.0 - sum(spot.trace_up) / len(spot.trace_up)
    return spot.reclaims_per_h


def orders(problem: Problem) -> Iterator[tuple[str, Callable[[int, float], float]]]:
    """Ways to rank pools: by price of the work, by risk, by speed, and blends of them."""
    pools = problem.pools

    def price(p: int, node_s: float) -> float:
        return node_s * pools[p].usd_h

    def hazard(p: int) -> float:
        return hazard_of(pools[p])

    def calm(p: int, most: float) -> bool:
        return hazard(p) <= most

    yield "calm-0.08", lambda p, n: price(p, n) if calm(p, 0.08) else np.inf
    # Deadlines are often set from it: what keeps them when nothing cheaper does.
    yield "fastest-on-demand", lambda p, n: n if calm(p, 0.0) else np.inf
    yield "cheapest", price
    # Where paths and not work are long, nodes idle: small ones do it for less.
    yield "small", lambda p, _: pools[p].usd_h
    yield "on-demand", lambda p, n: price(p, n) if calm(p, 0.0) else np.inf
    yield "quick", lambda p, n: price(p, n) * n
    yield "small-quick", lambda p, _: pools[p].usd_h / max(pools[p].speed.values())
    yield "calm-0.02", lambda p, n: price(p, n) if calm(p, 0.02) else np.inf
    yield "small-calm", lambda p, _: pools[p].usd_h if calm(p, 0.02) else np.inf
    yield "quick-calm", lambda p, n: price(p, n) * n if calm(p, 0.08) else np.inf
