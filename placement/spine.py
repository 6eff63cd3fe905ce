"""First plans for work that is wide here and narrow there: a spine of few nodes, ribs of many.

    narrow classes     one quick small node or two from the start to the end: they decide how long
                       it takes, and hardly what it costs
    wide classes       fleets of the cheapest pools, each there only while its classes are wide

One stack for all of it is either slow where the work is narrow, or dear where it is wide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.greedy import Site, layout_of, stack_of, within_depth, work_s
from placement.layout import Fleet, Layout, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from placement.model import Pool, Problem
    from placement.tables import Floats, Tables

    Weigh = Callable[[int, float], float]
    Starts = Callable[[Layout], Floats]

# A class is narrow when so many nodes of the smallest kind hold all of it.
_NARROW_NODES: Final = 1.0
# However long the narrow classes take, the wide ones get this share of the time.
_WIDE_SHARE_MIN: Final = 0.25
_POOLS_MAX: Final = 4
_ORDERS: Final = ("cheapest", "calm-0.08", "quick")


@dataclass(frozen=True, slots=True)
class Spine:
    """A pool for the narrow classes of a site, and how the pools of the wide ones are ranked."""

    site: Site
    pool: int
    weigh: Weigh
    span_s: float


def spines(
    problem: Problem,
    tables: Tables,
    parts: tuple[Part, ...],
    site: Site,
    choices: Mapping[str, Weigh],
    span_s: float,
) -> Iterator[tuple[str, Spine]]:
    """Spines of quick and of cheap small pools, with ribs of cheap, calm and quick ones."""
    for pool in _pools(problem, tables, parts, site):
        for order in _ORDERS:
            if order in choices:
                name = f"spine-{problem.pools[pool].name}-{order}"
                yield name, Spine(site, pool, choices[order], span_s)


def spine_layout(
    problem: Problem,
    tables: Tables,
    parts: tuple[Part, ...],
    spine: Spine,
    factor: float,
    starts_s: Starts,
) -> Layout:
    """Nodes for `factor` times the work; ribs are asked for so that they are up when it begins."""
    narrow = _narrow(tables, parts, spine.site, spine.pool)
    each = work_s(problem, tables)
    pool = problem.pools[spine.pool]
    chain_s = _chain_s(tables, {parts[p].cls for p in narrow}, each[:, spine.pool])
    need_s = sum(
        parts[p].count * each[parts[p].cls, spine.pool] * tables.share[parts[p].cls, spine.pool]
        for p in narrow
    )
    serves = tuple(p for p in spine.site.parts if tables.fits[parts[p].cls, spine.pool])
    count = max(1, int(np.ceil(factor * need_s / spine.span_s)))
    fleets = [Fleet(spine.pool, count, problem.now_s, serves)]
    wide_s = spine.span_s - max(chain_s + _startup_s(pool), 0.0)
    wide_s = max(wide_s, _WIDE_SHARE_MIN * spine.span_s)
    fleets += _ribs(problem, tables, parts, (spine, factor, wide_s, narrow))
    lazy = layout_of(problem, tables, parts, tuple(fleets))
    return _timed(problem, lazy, starts_s(lazy))


def _pools(
    problem: Problem, tables: Tables, parts: tuple[Part, ...], site: Site
) -> tuple[int, ...]:
    """Pools of a site that no other beats both in seconds for narrow work and in USD an hour."""
    each, found = work_s(problem, tables), []
    for q, pool in enumerate(problem.pools):
        if tables.pool_loc[q] != site.loc or not pool.nodes_max:
            continue
        narrow = _narrow(tables, parts, site, q)
        if narrow and len(narrow) == len(_narrow_somewhere(tables, parts, site)):
            chain_s = _chain_s(tables, {parts[p].cls for p in narrow}, each[:, q])
            found.append((chain_s, pool.usd_h, pool.spot is not None, q))
    front = [
        (chain_s, q)
        for chain_s, usd_h, is_spot, q in found
        if not any(
            c <= chain_s and u <= usd_h and (c, u) != (chain_s, usd_h) and s <= is_spot
            for c, u, s, _ in found
        )
    ]
    return tuple(q for _, q in sorted(front)[:_POOLS_MAX])


def _narrow(tables: Tables, parts: tuple[Part, ...], site: Site, pool: int) -> tuple[int, ...]:
    """Parts of a site all of whose tasks run at once on a node of a pool."""
    return tuple(
        p
        for p in site.parts
        if tables.fits[parts[p].cls, pool]
        and parts[p].count * tables.share[parts[p].cls, pool] <= _NARROW_NODES + 1e-9
    )


def _narrow_somewhere(tables: Tables, parts: tuple[Part, ...], site: Site) -> tuple[int, ...]:
    """Parts of a site that are narrow on the pool where most of a node goes to a task of theirs."""
    here = tables.pool_loc == site.loc
    out = []
    for p in site.parts:
        shares = tables.share[parts[p].cls][here & tables.fits[parts[p].cls]]
        if shares.size and parts[p].count * shares.max() <= _NARROW_NODES + 1e-9:
            out.append(p)
    return tuple(out)


def _chain_s(tables: Tables, classes: set[int], each_s: Floats) -> float:
    """Seconds of some classes along the longest way through the graph."""
    end: dict[int, float] = {}
    for k in tables.order:
        before = max((end[q] for q, _, _ in tables.parents[k]), default=0.0)
        end[k] = before + (float(each_s[k]) if k in classes else 0.0)
    return max(end.values(), default=0.0)


def _ribs(
    problem: Problem,
    tables: Tables,
    parts: tuple[Part, ...],
    wanted: tuple[Spine, float, float, tuple[int, ...]],
) -> list[Fleet]:
    """Fleets for each run of wide parts, its share of the time as its share of the work."""
    spine, factor, wide_s, narrow = wanted
    stacks = []
    for run in _runs(spine.site.parts, set(narrow)):
        stack = stack_of(problem, tables, parts, Site(spine.site.loc, run), spine.weigh)
        if stack is not None:
            stacks.append(stack)
    total = sum(min(s.node_s) for s in stacks)
    fleets: list[Fleet] = []
    for stack in stacks:
        share = min(stack.node_s) / total if total > 0 else 1.0
        startup_s = _startup_s(problem.pools[stack.pools[0]])
        fleets += stack.fleets(problem, share * wide_s + startup_s, factor)
    return [replace(fleet, at_s=None) for fleet in fleets]


def _runs(ordered: tuple[int, ...], narrow: set[int]) -> list[tuple[int, ...]]:
    """Wide parts, divided where narrow ones come between them."""
    runs: list[list[int]] = [[]]
    for p in ordered:
        if p not in narrow:
            runs[-1].append(p)
        elif runs[-1]:
            runs.append([])
    return [tuple(run) for run in runs if run]


def _timed(problem: Problem, layout: Layout, ready_s: Floats) -> Layout:
    """Ask for each fleet so early that it is up when the first of its parts can begin."""
    fleets = []
    for fleet in layout.fleets:
        if fleet.at_s is None and fleet.held < 0:
            at_s = float(ready_s[fleet.parts[0]]) - _startup_s(problem.pools[fleet.pool])
            fleets.append(replace(fleet, at_s=max(problem.now_s, at_s)))
        else:
            fleets.append(fleet)
    return replace(layout, fleets=within_depth(problem, tuple(fleets)))


def _startup_s(pool: Pool) -> float:
    return pool.provision_s + pool.boot_s
