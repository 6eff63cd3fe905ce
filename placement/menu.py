"""The time-cost menu: which stage gets how long, on nodes of which pools, as one MILP.

Each class picks one duration of a short menu; node counts per pool follow from whole waves within
it, paths end by the horizon, and nodes that a parent does not hand over pay their boot.  Tasks
never appear, so a hundred thousand of them solve like a hundred.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.exact import Matrix, minimise
from placement.greedy import data_locations, layout_of, parts_in_order, work_s
from placement.layout import Fleet, Layout, Part

if TYPE_CHECKING:
    from placement.model import Problem
    from placement.tables import Bools, Floats, Ints, Tables

_DURATIONS: Final = 7
_POOLS_PER_CLASS: Final = 8
# Up to this many waves, tasks only fit in whole ones.
_WHOLE_WAVES: Final = 4.0
_TAIL_SHARE: Final = 0.7
_GAP: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """What the MILP chose.  Shapes: start_s, length_s (C,); nodes (C, P)."""

    start_s: Floats
    length_s: Floats
    nodes: Floats
    usd: float


@dataclass(frozen=True, slots=True)
class _Offer:
    """One line of the menu: class k within `length_s`; tasks that a node of each pool gets done."""

    k: int
    length_s: float
    tasks_per_node: Floats


def menu_layout(
    problem: Problem, tables: Tables, horizon_s: float, allowed: Bools, *, limit_s: float
) -> Layout:
    """Solve the menu for a horizon and turn its node counts into fleets.

    Shapes: allowed (P,).  Units: `horizon_s` counts from now.
    Raises: SolverError when no choice ends within the horizon, or the solver gives up.
    """
    menu = solve_menu(problem, tables, horizon_s, allowed, limit_s=limit_s)
    return fleets_of_menu(problem, tables, menu)


def solve_menu(
    problem: Problem, tables: Tables, horizon_s: float, allowed: Bools, *, limit_s: float
) -> Menu:
    """Choose durations and node counts at least cost.  Raises: SolverError."""
    usable = _usable(problem, tables, allowed)
    each = work_s(problem, tables)
    classes = range(len(problem.classes))
    first = min((p.provision_s + p.boot_s for p in problem.pools), default=0.0)
    matrix = Matrix()
    start = [matrix.column(low=first, high=horizon_s) for _ in classes]
    nodes: Ints = np.full(tables.fits.shape, -1, dtype=np.intp)
    for k, p in zip(*np.nonzero(usable), strict=True):
        nodes[k, p] = matrix.column(high=float(problem.pools[p].nodes_max))
    picks: list[list[tuple[int, float]]] = []
    for k in classes:
        offers = _offers(problem, each, tables, k, (horizon_s - first, usable[k]))
        picks.append(_offer_rows(problem, tables, matrix, offers, nodes[k]))
    for k in classes:
        length = picks[k]
        matrix.row([(start[k], 1.0), *length], -np.inf, horizon_s)
        for parent, _, _ in tables.parents[k]:
            terms = [(start[k], 1.0), (start[parent], -1.0)]
            matrix.row(terms + [(j, -d) for j, d in picks[parent]], 0.0, np.inf)
    _boot_rows(problem, tables, matrix, nodes)
    found = minimise(matrix, limit_s=limit_s, name="time-cost menu", gap=_GAP)
    return Menu(
        start_s=np.array([found.x[j] for j in start]),
        length_s=np.array([sum(found.x[j] * d for j, d in pick) for pick in picks]),
        nodes=np.where(nodes >= 0, found.x[np.maximum(nodes, 0)], 0.0),
        usd=found.cost,
    )


def _usable(problem: Problem, tables: Tables, allowed: Bools) -> Bools:
    """For each class its few cheapest allowed pools where its data are, and its quickest."""
    each, where = work_s(problem, tables), data_locations(problem, tables)
    usd = np.where(
        tables.fits & allowed[None, :],
        each / np.maximum(tables.lanes, 1) * tables.usd_s[None, :],
        np.inf,
    )
    usable = np.zeros(tables.fits.shape, dtype=bool)
    for k in range(len(problem.classes)):
        local = np.where(tables.pool_loc == where[k], usd[k], np.inf)
        row = local if np.isfinite(local).any() else usd[k]
        ranked = [p for p in np.argsort(row, kind="stable") if np.isfinite(row[p])]
        usable[k, ranked[:_POOLS_PER_CLASS]] = True
        if ranked:
            usable[k, min(ranked, key=lambda p: (each[k, p], row[p]))] = True
    return usable


def _offers(
    problem: Problem, each: Floats, tables: Tables, k: int, frame: tuple[float, Bools]
) -> list[_Offer]:
    """Durations from one wave at the quickest pool to the whole horizon."""
    horizon_s, usable = frame
    cls = problem.classes[k]
    sigma = np.sqrt(np.log1p(cls.cv**2))
    # The longest of n lognormal draws is about this many means long.
    longest = float(np.exp(sigma * np.sqrt(2 * np.log(max(cls.count, 2)) * 0.8) - sigma**2 / 2))
    longest = max(1.0, longest) if cls.cv > 0 else 1.0
    quick = float(each[k][usable].min()) if usable.any() else np.inf
    shortest = quick * longest
    if shortest > horizon_s:
        return []
    lengths = np.unique(np.geomspace(shortest, horizon_s, _DURATIONS))
    offers = []
    for length in lengths:
        one = np.where(usable, np.maximum(each[k], 1e-9), 1.0)
        waves = (length - _TAIL_SHARE * (longest - 1.0) * one) / one
        waves = np.where(waves < _WHOLE_WAVES, np.floor(waves + 1e-9), waves - 0.5)
        tasks = np.where(usable, np.maximum(waves, 0.0) * tables.lanes[k], 0.0)
        offers.append(_Offer(k, float(length), tasks))
    return offers


def _offer_rows(
    problem: Problem,
    tables: Tables,
    matrix: Matrix,
    offers: list[_Offer],
    nodes: Ints,
) -> list[tuple[int, float]]:
    """One offer is picked; its nodes do all the tasks of the class."""
    picks: list[tuple[int, float]] = []
    rented: dict[int, list[tuple[int, float]]] = {}
    for offer in offers:
        pick = matrix.column(high=1.0, whole=True)
        picks.append((pick, offer.length_s))
        count = problem.classes[offer.k].count
        done = [(pick, -float(count))]
        for p in np.flatnonzero(offer.tasks_per_node > 0):
            most = float(problem.pools[p].nodes_max)
            n = matrix.column(float(tables.usd_s[p]) * offer.length_s, high=most)
            done.append((n, float(offer.tasks_per_node[p])))
            rented.setdefault(int(p), []).append((n, -1.0))
            matrix.row([(n, 1.0), (pick, -most)], -np.inf, 0.0)
        matrix.row(done, 0.0, np.inf)
    matrix.row([(j, 1.0) for j, _ in picks], 1.0, 1.0)
    for pool, terms in rented.items():
        matrix.row([(int(nodes[pool]), 1.0), *terms], 0.0, 0.0)
    return picks


def _boot_rows(
    problem: Problem,
    tables: Tables,
    matrix: Matrix,
    nodes: Ints,
) -> None:
    """Nodes of a class that none of its parents hands over pay for their boot."""
    for k, p in zip(*np.nonzero(nodes >= 0), strict=True):
        boot = matrix.column(float(tables.usd_s[p] * problem.pools[p].boot_s))
        handed = [(int(nodes[q, p]), 1.0) for q, _, _ in tables.parents[k] if nodes[q, p] >= 0]
        matrix.row([(boot, 1.0), (int(nodes[k, p]), -1.0), *handed], 0.0, np.inf)


def fleets_of_menu(problem: Problem, tables: Tables, menu: Menu) -> Layout:
    """Give each node the classes whose count reaches it; alike nodes are a fleet."""
    parts = parts_in_order(tables)
    fleets: list[Fleet] = []
    for p in range(len(problem.pools)):
        counts = np.ceil(menu.nodes[:, p] - 0.05).astype(int)
        # What is spread thinly over several pools would be rounded away: its first pool keeps it.
        counts = np.maximum(counts, (menu.nodes.argmax(axis=1) == p) & (menu.nodes[:, p] > 0))
        levels: dict[tuple[int, ...], int] = {}
        for level in range(1, int(counts.max(initial=0)) + 1):
            serves = tuple(n for n, part in enumerate(parts) if counts[part.cls] >= level)
            levels[serves] = levels.get(serves, 0) + 1
        for serves, count in levels.items():
            fleets += _split_at_gaps(problem, menu, parts, (p, serves, count))
    return layout_of(problem, tables, parts, tuple(fleets))


def _split_at_gaps(
    problem: Problem, menu: Menu, parts: tuple[Part, ...], fleet: tuple[int, tuple[int, ...], int]
) -> list[Fleet]:
    """Let nodes go where waiting for their next class costs more than another boot."""
    pool, serves, count = fleet
    shape = problem.pools[pool]
    startup = shape.provision_s + shape.boot_s
    runs: list[list[int]] = []
    free_at = -np.inf
    for part in sorted(serves, key=lambda n: float(menu.start_s[parts[n].cls])):
        begin = float(menu.start_s[parts[part].cls])
        if not runs or begin - free_at > 2.0 * startup:
            runs.append([])
        runs[-1].append(part)
        free_at = max(free_at, begin + float(menu.length_s[parts[part].cls]))
    out = []
    for run in runs:
        begin = min(float(menu.start_s[parts[n].cls]) for n in run)
        at = problem.now_s + max(0.0, begin - startup)
        out.append(Fleet(pool, count, round(at, 1), tuple(sorted(run))))
    return out
