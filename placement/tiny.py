"""The cheapest static schedule of a tiny problem: counts per node, whole billing units, one MILP.

Each candidate node runs its classes in topological order, in waves of as many tasks as fit at once.
That is exact where run times are certain and an order by class is optimal (chains, map-reduce).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.exact import Matrix, Solution, minimise
from placement.greedy import layout_of, work_s
from placement.layout import Fleet, Layout, Part
from placement.model import Deadline, Problem

if TYPE_CHECKING:
    from placement.tables import Tables

TASKS_MAX: Final = 24
CLASSES_MAX: Final = 4
NODES_MAX: Final = 20
# Below this a bill is as good as continuous, and whole units would only slow the solver.
_COARSE_S: Final = 30.0
_GAP: Final = 1e-3


@dataclass(frozen=True, slots=True)
class _Node:
    """Columns of one candidate node: tasks (C,) per class, when it is asked for."""

    pool: int
    tasks: tuple[int, ...]
    at: int


def is_tiny(problem: Problem) -> bool:
    """Whether the exact model is worth building."""
    certain = all(c.cv == 0 for c in problem.classes)
    steady = all(p.spot is None for p in problem.pools)
    near = len({p.loc for p in problem.pools}) == 1
    small = problem.tasks <= TASKS_MAX and len(problem.classes) <= CLASSES_MAX
    nodes = sum(min(p.nodes_max, problem.tasks) for p in problem.pools)
    dated = isinstance(problem.objective, Deadline)
    return certain and steady and near and small and nodes <= NODES_MAX and dated


def tiny_layout(problem: Problem, tables: Tables, *, limit_s: float) -> tuple[Layout, Solution]:
    """Solve a tiny problem; its layout, and the solution with its proven bound.

    Raises: SolverError when no static schedule meets the deadline, or none was found in time.
    """
    assert isinstance(problem.objective, Deadline)
    matrix = Matrix()
    horizon = problem.objective.at_s - problem.now_s
    done = [matrix.column(high=horizon) for _ in problem.classes]
    nodes: list[_Node] = []
    for p, pool in enumerate(problem.pools):
        group = [
            _node_rows(problem, tables, matrix, (p, horizon), done)
            for _ in range(min(pool.nodes_max, problem.tasks))
        ]
        # Alike nodes are interchangeable: the busier ones come first.
        for a, b in itertools.pairwise(group):
            more = [(j, 1.0) for j in a.tasks if j >= 0] + [(j, -1.0) for j in b.tasks if j >= 0]
            if more:
                matrix.row(more, 0.0, np.inf)
        nodes += group
    for k, cls in enumerate(problem.classes):
        terms = [(n.tasks[k], 1.0) for n in nodes if n.tasks[k] >= 0]
        matrix.row(terms, cls.count, cls.count)
    found = minimise(matrix, limit_s=limit_s, name="tiny schedule", gap=_GAP)
    return _layout(problem, tables, nodes, found), found


def _node_rows(
    problem: Problem, tables: Tables, matrix: Matrix, where: tuple[int, float], done: list[int]
) -> _Node:
    """Variables and rows of one candidate node."""
    p, horizon = where
    pool, each = problem.pools[p], work_s(problem, tables)
    used = matrix.column(high=1.0, whole=True)
    at = matrix.column(high=horizon)
    free_at, offset = at, pool.provision_s + pool.boot_s
    tasks = [-1] * len(problem.classes)
    for k in tables.order:
        if not tables.fits[k, p]:
            continue
        count = float(problem.classes[k].count)
        tasks[k] = matrix.column(high=count, whole=True)
        waves = matrix.column(high=count, whole=True)
        some = matrix.column(high=1.0, whole=True)
        end = matrix.column(high=2 * horizon)
        seconds = float(each[k, p])
        matrix.row([(tasks[k], 1.0), (some, -count)], -np.inf, 0.0)
        matrix.row([(some, 1.0), (used, -1.0)], -np.inf, 0.0)
        matrix.row([(waves, float(tables.lanes[k, p])), (tasks[k], -1.0)], 0.0, np.inf)
        matrix.row([(end, 1.0), (free_at, -1.0), (waves, -seconds)], offset, np.inf)
        for parent, _, _ in tables.parents[k]:
            terms = [(end, 1.0), (done[parent], -1.0), (waves, -seconds), (some, -horizon)]
            matrix.row(terms, -horizon, np.inf)
        matrix.row([(done[k], 1.0), (end, -1.0), (some, -2 * horizon)], -2 * horizon, np.inf)
        free_at, offset = end, 0.0
    unit = pool.bill_s if pool.bill_s >= _COARSE_S else 1.0
    bills = matrix.column(tables.usd_s[p] * unit, whole=pool.bill_s >= _COARSE_S)
    matrix.row(
        [(bills, unit), (free_at, -1.0), (at, 1.0), (used, -2 * horizon)],
        -pool.provision_s - 2 * horizon,
        np.inf,
    )
    matrix.row([(bills, unit), (used, -pool.min_bill_s)], 0.0, np.inf)
    return _Node(p, tuple(tasks), at)


def _layout(problem: Problem, tables: Tables, nodes: list[_Node], found: Solution) -> Layout:
    """Give each node its own range of each class that it runs."""
    begin = [0] * len(problem.classes)
    parts: list[Part] = []
    fleets: list[Fleet] = []
    serves: list[list[int]] = [[] for _ in nodes]
    for k in tables.order:
        for n, node in enumerate(nodes):
            count = round(found.x[node.tasks[k]]) if node.tasks[k] >= 0 else 0
            if count > 0:
                serves[n].append(len(parts))
                parts.append(Part(k, begin[k], begin[k] + count))
                begin[k] += count
    for n, node in enumerate(nodes):
        if serves[n]:
            at = problem.now_s + max(0.0, float(found.x[node.at]))
            fleets.append(Fleet(node.pool, 1, at, tuple(serves[n])))
    return layout_of(problem, tables, tuple(parts), tuple(fleets))
