"""Small changes of a layout: the neighbourhood of the local search.

Every move is a function of a layout and a random generator that returns another valid layout, or
None when it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.greedy import work_s
from placement.layout import NO_POOL, Fleet, Layout

if TYPE_CHECKING:
    from placement.model import Problem
    from placement.tables import Floats, Tables

PATIENCES_S: Final = (0.0, 15.0, 60.0, 300.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What moves need to know besides the layout; start_s (parts,) is when parts begin."""

    problem: Problem
    tables: Tables
    each_s: Floats
    start_s: Floats

    @staticmethod
    def of(problem: Problem, tables: Tables, start_s: Floats) -> Surroundings:
        """Surroundings of a problem."""
        return Surroundings(
            problem=problem, tables=tables, each_s=work_s(problem, tables), start_s=start_s
        )


Move = Callable[[Layout, Surroundings, np.random.Generator], Layout | None]


def neighbour(layout: Layout, around: Surroundings, rng: np.random.Generator) -> Layout | None:
    """Apply one random move; None when the result would not be a valid layout."""
    move = MOVES[int(rng.choice(len(MOVES), p=_WEIGHTS))]
    moved = move(layout, around, rng)
    if moved is None or moved == layout or not is_valid(moved, around):
        return None
    return moved


def is_valid(layout: Layout, around: Surroundings) -> bool:
    """Whether every part has a node that it fits, and no pool is asked for more than it has."""
    asked = [0] * len(around.problem.pools)
    served = [False] * len(layout.parts)
    for fleet in layout.fleets:
        if fleet.count < 1 or (not fleet.parts and fleet.held < 0):
            return False
        asked[fleet.pool] += fleet.count
        for p in fleet.parts:
            if not served[p]:
                served[p] = bool(around.tables.fits[layout.parts[p].cls, fleet.pool])
    pools = around.problem.pools
    return all(served) and all(n <= p.nodes_max for n, p in zip(asked, pools, strict=True))


def _chance(rng: np.random.Generator, share: float) -> bool:
    return bool(rng.random() < share)


def _pick(layout: Layout, around: Surroundings, rng: np.random.Generator) -> int:
    """Any fleet, half of the time by what it costs an hour: small ones hardly change the bill."""
    if _chance(rng, 0.5):
        return int(rng.integers(len(layout.fleets)))
    usd = np.array([f.count * around.tables.usd_s[f.pool] + 1e-12 for f in layout.fleets])
    return int(rng.choice(usd.size, p=usd / usd.sum()))


def _with(layout: Layout, f: int, *fleets: Fleet) -> Layout:
    """The layout with fleet f replaced by others (or by none)."""
    return replace(layout, fleets=layout.fleets[:f] + fleets + layout.fleets[f + 1 :])


def _startup_s(around: Surroundings, pool: int) -> float:
    shape = around.problem.pools[pool]
    return shape.provision_s + shape.boot_s


def resize(layout: Layout, around: Surroundings, rng: np.random.Generator) -> Layout | None:
    """Add or remove some nodes of a fleet."""
    f = _pick(layout, around, rng)
    fleet = layout.fleets[f]
    if fleet.held >= 0:
        return None
    step = max(1, int(rng.exponential(0.15 * fleet.count) + 0.5))
    count = fleet.count + (step if _chance(rng, 0.4) else -step)
    return _with(layout, f) if count < 1 else _with(layout, f, replace(fleet, count=count))


def exchange(layout: Layout, around: Surroundings, rng: np.random.Generator) -> Layout | None:
    """Take nodes from one fleet and give as much capacity to another."""
    if len(layout.fleets) == 1:
        return None
    a, b = (int(k) for k in rng.choice(len(layout.fleets), 2, replace=False))
    x, y = layout.fleets[a], layout.fleets[b]
    if x.held >= 0 or y.held >= 0:
        return None
    step = int(rng.integers(1, max(2, x.count // 3 + 1)))
    pools = around.problem.pools
    gain = max(1, round(step * pools[x.pool].vcpu / pools[y.pool].vcpu * rng.uniform(0.7, 1.2)))
    moved = _with(layout, b, replace(y, count=y.count + gain))
    if x.count <= step:
        return _with(moved, a)
    return _with(moved, a, replace(x, count=x.count - step))


def repool(layout: Layout, around: Surroundings, rng: np.random.Generator) -> Layout | None:
    """Give a fleet, or some of its nodes, another pool with about the same capacity."""
    f = _pick(layout, around, rng)
    fleet = layout.fleets[f]
    pool = _other_pool(layout, around, rng, fleet)
    if pool is None or fleet.held >= 0:
        return None
    part = layout.parts[fleet.parts[int(rng.integers(len(fleet.parts)))]].cls
    lanes = around.tables.lanes[part]
    if not lanes[pool] or not lanes[fleet.pool]:
        return None
    pace = lanes / around.each_s[part]
    share = fleet.count if _chance(rng, 0.5) else int(rng.integers(1, fleet.count + 1))
    wanted = max(1, round(share * float(pace[fleet.pool] / pace[pool]) * rng.uniform(0.3, 1.1)))
    asked = sum(x.count for x in layout.fleets if x.pool == pool)
    count = min(wanted, around.problem.pools[pool].nodes_max - asked)
    if count < 1:
        return None
    fresh = replace(fleet, pool=pool, count=count)
    if share == fleet.count:
        return _with(layout, f, fresh)
    return _with(layout, f, replace(fleet, count=fleet.count - share), fresh)


def _other_pool(
    layout: Layout, around: Surroundings, rng: np.random.Generator, fleet: Fleet
) -> int | None:
    """A pool in the same place that can do all, or some, of what the fleet does."""
    tables = around.tables
    classes = [layout.parts[p].cls for p in fleet.parts]
    ok = tables.fits[classes].all(axis=0) if _chance(rng, 0.8) else tables.fits[classes].any(axis=0)
    if _chance(rng, 0.9):
        ok = ok & (tables.pool_loc == tables.pool_loc[fleet.pool])
    options = [int(p) for p in np.flatnonzero(ok) if p != fleet.pool]
    return int(rng.choice(options)) if options else None


def trim(layout: Layout, around: Surroundings, rng: np.random.Generator) -> Layout | None:
    """Let a fleet, or some of its nodes, leave earlier: without its last parts."""
    f = _pick(layout, around, rng)
    fleet = layout.fleets[f]
    if len(fleet.parts) <= 1:
        return None
    keep = int(rng.integers(max(1, len(fleet.parts) - 3), len(fleet.parts)))
    short = replace(fleet, parts=fleet.parts[:keep])
    if fleet.count == 1 or _chance(rng, 0.3) or fleet.held >= 0:
        return _with(layout, f, short)
    early = int(rng.integers(1, fleet.count))
    rest = replace(fleet, count=fleet.count - early)
    return _with(layout, f, rest, replace(short, count=early))


def serve(layout: Layout, around: Surroundings, rng: np.random.Generator) -> Layout | None:
    """Let a fleet serve one part more or one part less."""
    f = _pick(layout, around, rng)
    fleet = layout.fleets[f]
    if _chance(rng, 0.4) and len(fleet.parts) > 1:
        gone = int(rng.integers(len(fleet.parts)))
        return _with(layout, f, replace(fleet, parts=fleet.parts[:gone] + fleet.parts[gone + 1 :]))
    fits = around.tables.fits[[p.cls for p in layout.parts], fleet.pool]
    more = [p for p in np.flatnonzero(fits) if int(p) not in fleet.parts]
    if not more:
        return None
    added = tuple(sorted((*fleet.parts, int(rng.choice(more)))))
    return _with(layout, f, replace(fleet, parts=added))


def retime(layout: Layout, around: Surroundings, rng: np.random.Generator) -> Layout | None:
    """Ask for a fleet earlier, later, when its first part is due, or when that part is ready."""
    f = _pick(layout, around, rng)
    fleet = layout.fleets[f]
    if fleet.held >= 0:
        return None
    now = around.problem.now_s
    due = around.start_s[list(fleet.parts)]
    at: float | None
    if _chance(rng, 0.2):
        at = None
    elif _chance(rng, 0.2):
        at = now
    elif fleet.at_s is None or _chance(rng, 0.55):
        first = float(due[int(rng.integers(due.size))])
        at = first - _startup_s(around, fleet.pool) + float(rng.normal(0.0, 30.0))
    else:
        at = fleet.at_s + float(rng.normal(0.0, 60.0))
    return _with(layout, f, replace(fleet, at_s=None if at is None else round(max(at, now), 1)))


def remove(layout: Layout, around: Surroundings, rng: np.random.Generator) -> Layout | None:
    """Do without a fleet."""
    return _with(layout, _pick(layout, around, rng)) if len(layout.fleets) > 1 else None


def add(layout: Layout, around: Surroundings, rng: np.random.Generator) -> Layout | None:
    """Add a small fleet for some neighbouring parts, asked for when they are due."""
    tables, parts = around.tables, layout.parts
    first = int(rng.integers(len(parts)))
    pools = np.flatnonzero(tables.fits[parts[first].cls])
    pool = int(rng.choice(pools))
    last = int(rng.integers(first, len(parts)))
    serves = tuple(p for p in range(first, last + 1) if tables.fits[parts[p].cls, pool])
    lanes = int(tables.lanes[parts[first].cls, pool])
    most = max(1, min(-(-parts[first].count // lanes), 4))
    at: float | None = max(
        around.problem.now_s, float(around.start_s[first]) - _startup_s(around, pool)
    )
    if _chance(rng, 0.2):
        at = None
    fleet = Fleet(pool, int(rng.integers(1, most + 1)), at, serves)
    return replace(layout, fleets=(*layout.fleets, fleet))


def insure(layout: Layout, around: Surroundings, rng: np.random.Generator) -> Layout | None:
    """Add a late fleet that is only asked for when work is still waiting by then."""
    tables, parts = around.tables, layout.parts
    first = int(rng.integers(len(parts)))
    calm = [
        int(p)
        for p in np.flatnonzero(tables.fits[parts[first].cls])
        if around.problem.pools[p].spot is None
    ]
    if not calm:
        return None
    pool = int(rng.choice(calm))
    serves = tuple(p for p in range(first, len(parts)) if tables.fits[parts[p].cls, pool])
    ends = around.start_s[first] + float(rng.exponential(120.0))
    count = 1 + int(rng.exponential(2.0))
    return replace(
        layout, fleets=(*layout.fleets, Fleet(pool, count, round(float(ends), 1), serves))
    )


def merge(layout: Layout, around: Surroundings, rng: np.random.Generator) -> Layout | None:
    """Make one fleet of two of the same pool."""
    f = _pick(layout, around, rng)
    fleet = layout.fleets[f]
    same = [
        g
        for g, other in enumerate(layout.fleets)
        if g != f and other.pool == fleet.pool and other.held < 0
    ]
    if not same or fleet.held >= 0:
        return None
    g = int(rng.choice(same))
    other = layout.fleets[g]
    joined = replace(
        fleet,
        count=fleet.count + other.count,
        parts=fleet.parts if _chance(rng, 0.5) else tuple(sorted({*fleet.parts, *other.parts})),
    )
    rest = tuple(x for k, x in enumerate(layout.fleets) if k not in {f, g})
    return replace(layout, fleets=(*rest, joined))


def refall(layout: Layout, around: Surroundings, rng: np.random.Generator) -> Layout | None:
    """Replace lost nodes of one spot pool from another pool, or change the patience."""
    if _chance(rng, 0.3):
        return replace(layout, patience_s=float(rng.choice(PATIENCES_S)))
    used = sorted({x.pool for x in layout.fleets if around.problem.pools[x.pool].spot is not None})
    if not used:
        return None
    pool = int(rng.choice(used))
    classes = {layout.parts[p].cls for x in layout.fleets if x.pool == pool for p in x.parts}
    where = around.tables.pool_loc
    # Replacing nodes elsewhere would be rare, and ruinous where data are dear to move.
    ok = around.tables.fits[sorted(classes)].all(axis=0) & (where == where[pool])
    options = [int(q) for q in np.flatnonzero(ok) if q != pool] + [NO_POOL]
    fallback = list(layout.fallback)
    fallback[pool] = int(rng.choice(options))
    return replace(layout, fallback=tuple(fallback))


MOVES: Final[tuple[Move, ...]] = (
    resize, exchange, repool, trim, serve, retime, remove, add, insure, merge, refall,
)  # fmt: skip
_WEIGHTS: Final = np.array([22, 10, 12, 12, 8, 12, 4, 6, 4, 4, 4]) / 98.0
