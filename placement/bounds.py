"""Costs and times that no plan can beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from placement.errors import SolverError
from placement.exact import Matrix, minimise
from placement.inflight import unstarted
from placement.model import Deadline, Problem
from placement.tables import tables_of

if TYPE_CHECKING:
    from placement.tables import Floats, Ints, Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """`usd`: no plan's mean cost is below; `finish_s`: no plan's mean finish is before."""

    usd: float
    finish_s: float


def bounds_of(problem: Problem, tables: Tables, *, limit_s: float = 10.0) -> Bounds:
    """Bound cost and finish: perfect packing, mean run times, no outage, hardly any rounding.

    What runs already is taken to be done.  Where there is little work, tasks that wait for each
    other, and the one node that there is at least, say more than the sum of the work does.
    """
    left = unstarted(problem)
    if left is None:
        return Bounds(usd=0.0, finish_s=problem.now_s)
    if left is not problem:
        problem, tables = left, tables_of(left)
    finish = earliest_finish_s(problem, tables)
    try:
        usd = least_usd(problem, tables, limit_s=limit_s)
    except SolverError:
        usd = cheapest_node_usd(problem, tables)
    usd = max(usd, _chain_usd(problem, tables), _one_node_usd(problem, tables))
    return Bounds(usd=usd, finish_s=finish)


def _chain_usd(problem: Problem, tables: Tables) -> float:
    """The dearest path through the classes: a whole node is paid for while a task of it runs."""
    seconds = task_seconds(problem, tables)
    usd = np.where(tables.fits, seconds * _unpaid_usd_s(problem, tables), np.inf).min(axis=1)
    path = np.zeros(usd.size)
    for k in tables.order:
        before = max((float(path[parent]) for parent, _, _ in tables.parents[k]), default=0.0)
        path[k] = before + usd[k]
    boot = 0.0 if problem.held else min(p.boot_s * p.usd_h / 3600.0 for p in problem.pools)
    return float(path.max() + boot + (tables.request_usd * tables.count).sum())


def _one_node_usd(problem: Problem, tables: Tables) -> float:
    """What the node of the dearest single task is billed, where none is there yet."""
    if problem.held:
        return 0.0
    pools = problem.pools
    boot = np.array([p.boot_s for p in pools])
    least = np.array([max(p.bill_s, p.min_bill_s) for p in pools])
    billed = np.maximum(task_seconds(problem, tables) + boot, least) * tables.usd_s
    return float(np.where(tables.fits, billed, np.inf).min(axis=1).max())


def _unpaid_usd_s(problem: Problem, tables: Tables) -> Floats:
    """USD a second; nothing where a bill of nodes that are held may cover it.  Shapes: (P,)."""
    held = {h.pool for h in problem.held}
    paid = np.array([p.name in held and p.bill_s > 1 for p in problem.pools])
    return np.where(paid, 0.0, tables.usd_s)


def earliest_finish_s(problem: Problem, tables: Tables) -> float:
    """Longest path through the classes at their best speed, after the soonest start-up.

    A class with more tasks than all pools have lanes takes as many waves.
    """
    start = min(p.provision_s + p.boot_s for p in problem.pools if p.nodes_max > 0)
    if problem.held:
        start = min(start, max(0.0, min(h.ready_s for h in problem.held) - problem.now_s))
    return float(problem.now_s + start + tables.rank_s.max())


def cheapest_node_usd(problem: Problem, tables: Tables) -> float:
    """Every class on its cheapest pool, alone and perfectly packed: weaker, needs no solver."""
    seconds = task_seconds(problem, tables)
    vector = _smallest_share(problem, tables)
    usd = np.where(tables.fits, seconds * vector * tables.usd_s[None, :], np.inf)
    return float((usd.min(axis=1) * tables.count).sum() + (tables.request_usd * tables.count).sum())


def _smallest_share(problem: Problem, tables: Tables) -> Floats:
    """A share that sums to at most 1 however classes are mixed: the mean over the resources."""
    total = np.zeros(tables.fits.shape)
    for k, cls in enumerate(problem.classes):
        for p, pool in enumerate(problem.pools):
            parts = [cls.slots / pool.vcpu]
            if pool.mem_gb:
                parts.append(cls.mem_gb / pool.mem_gb)
            if pool.gpus:
                parts.append(cls.gpus / pool.gpus)
            total[k, p] = sum(parts) / len(parts)
    return total


def task_seconds(problem: Problem, tables: Tables) -> Floats:
    """Mean seconds of a task on each pool, every input as near as can be.  Shapes: (C, P)."""
    in_gb = np.array(
        [c.in_gb + sum(gb for _, _, gb in tables.parents[k]) for k, c in enumerate(problem.classes)]
    )
    nearest = tables.read_s_gb.min(axis=2)
    return np.where(tables.fits, tables.compute_s + tables.write_s + in_gb[:, None] * nearest, 0.0)


def least_usd(problem: Problem, tables: Tables, *, limit_s: float) -> float:
    """Least cost of a fractional assignment: node seconds by resource, pool depth, boot, egress.

    Every node pays its boot for at most the seconds that the deadline leaves it to work.
    Raises: SolverError.
    """
    matrix = Matrix()
    seconds = task_seconds(problem, tables)
    classes, pools = problem.classes, problem.pools
    held = {h.pool for h in problem.held}
    node = []
    for p, pool in enumerate(pools):
        window = np.inf
        if isinstance(problem.objective, Deadline):
            window = problem.objective.at_s - problem.now_s
            if pool.name not in held:
                window -= pool.provision_s + pool.boot_s
        boot = 0.0 if pool.name in held or not np.isfinite(window) else pool.boot_s
        usable = window > 0 and tables.fits[:, p].any()
        price = tables.usd_s[p] * (1.0 + boot / window) if usable else 0.0
        price = 0.0 if pool.name in held and pool.bill_s > 1 else price
        depth = pool.nodes_max * window if usable else 0.0
        node.append(matrix.column(price, high=depth))
    x = np.full((len(classes), len(pools)), -1)
    for k, cls in enumerate(classes):
        for p in np.flatnonzero(tables.fits[k]).tolist():
            usd = cls.in_gb * tables.egress_usd_gb[tables.source_loc[k], tables.pool_loc[p]]
            x[k, p] = matrix.column(float(usd + tables.request_usd[k]), high=cls.count)
        terms = [(int(j), 1.0) for j in x[k] if j >= 0]
        matrix.row(terms, cls.count, cls.count)
    for p, pool in enumerate(pools):
        for name, size in (("slots", pool.vcpu), ("mem_gb", pool.mem_gb), ("gpus", pool.gpus)):
            terms = [
                (int(x[k, p]), float(getattr(cls, name) * seconds[k, p]))
                for k, cls in enumerate(classes)
                if x[k, p] >= 0 and getattr(cls, name) > 0
            ]
            if terms:
                matrix.row([*terms, (node[p], -size)], -np.inf, 0.0)
    _egress_rows(problem, tables, matrix, x)
    return max(0.0, minimise(matrix, limit_s=limit_s, name="cost bound").bound)


def _egress_rows(
    problem: Problem,
    tables: Tables,
    matrix: Matrix,
    x: Ints,
) -> None:
    """Gigabytes between locations for every dependency: what is made there and read here."""
    locations = len(tables.locations)
    if locations == 1 or not tables.egress_usd_gb.any():
        return
    at = [np.flatnonzero(tables.pool_loc == loc) for loc in range(locations)]
    for k, cls in enumerate(problem.classes):
        for parent, _, gb in tables.parents[k]:
            total = cls.count * gb
            if total <= 0:
                continue
            flow = [
                [matrix.column(float(tables.egress_usd_gb[a, b])) for b in range(locations)]
                for a in range(locations)
            ]
            parent_count = problem.classes[parent].count
            for a in range(locations):
                made = [
                    (int(x[parent, p]), -total / parent_count) for p in at[a] if x[parent, p] >= 0
                ]
                matrix.row([(flow[a][b], 1.0) for b in range(locations)] + made, 0.0, 0.0)
                read = [(int(x[k, p]), -total / cls.count) for p in at[a] if x[k, p] >= 0]
                matrix.row([(flow[b][a], 1.0) for b in range(locations)] + read, 0.0, 0.0)
