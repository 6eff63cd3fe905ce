"""A task graph, and the same as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from placement.errors import InvalidProblemError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from placement.tables import Bools, Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGraph:
    """Tasks with seconds at speed 1, edges with bytes, nodes with a speed, bytes per second."""

    work_s: Mapping[str, float]
    edges: tuple[tuple[str, str, float], ...]
    speed: Mapping[str, float]
    bandwidth: float

    def __post_init__(self) -> None:
        if not self.work_s or not self.speed:
            raise InvalidProblemError("graph", "at least one task and one node are needed", "none")
        for name, value in (*self.work_s.items(), *self.speed.items()):
            if not np.isfinite(value) or value < 0:
                raise InvalidProblemError(name, "must be finite and not negative", repr(value))
        if min(self.speed.values()) <= 0:
            raise InvalidProblemError("speed", "must be above 0", repr(min(self.speed.values())))
        if not self.bandwidth > 0:
            raise InvalidProblemError("bandwidth", "must be above 0", repr(self.bandwidth))
        for a, b, size in self.edges:
            if not np.isfinite(size) or size < 0:
                raise InvalidProblemError("edges", "bytes must be finite, at least 0", repr(size))
            if a not in self.work_s or b not in self.work_s:
                raise InvalidProblemError("edges", "unknown task", repr((a, b)))


@dataclass(frozen=True, slots=True)
class Graph:
    """Arrays of a graph.  Shapes: run_s (T, N); parents, sent_s (T, D) padded; is_real (T, D)."""

    run_s: Floats
    parents: Ints
    sent_s: Floats
    is_real: Bools
    kids: tuple[tuple[int, ...], ...]
    topo: tuple[int, ...]

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return int(self.run_s.shape[0])

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return int(self.run_s.shape[1])

    def inputs(self) -> list[list[tuple[int, float]]]:
        """For each task its parents and the seconds that their bytes take between nodes."""
        return [
            [(int(self.parents[k, d]), float(self.sent_s[k, d])) for d in np.flatnonzero(real)]
            for k, real in enumerate(self.is_real)
        ]

    def floor_s(self) -> float:
        """No schedule is shorter: the longest path at best speed, and all nodes always busy."""
        path = upward_s(self, self.run_s.min(axis=1), np.zeros_like(self.sent_s)).max()
        longest = self.run_s[self.run_s[:, 0].argmax()]
        if longest[0] <= 0:
            return float(path)
        busy = self.run_s[:, 0].sum() / (longest[0] / longest).sum()
        return float(max(path, busy))


@dataclass(frozen=True, slots=True)
class Order:
    """All tasks, parents first, a node for each, and the makespan when nodes keep the order."""

    tasks: tuple[int, ...]
    node: tuple[int, ...]
    span_s: float


def arrays_of(graph: TaskGraph) -> Graph:
    """Turn a graph into arrays.  Raises: InvalidProblemError for a cycle."""
    names = {name: k for k, name in enumerate(graph.work_s)}
    work, speed = np.array(list(graph.work_s.values())), np.array(list(graph.speed.values()))
    inputs: list[list[tuple[int, float]]] = [[] for _ in names]
    kids: list[list[int]] = [[] for _ in names]
    for a, b, size in graph.edges:
        inputs[names[b]].append((names[a], size / graph.bandwidth))
        kids[names[a]].append(names[b])
    width = max(1, *(len(i) for i in inputs))
    parents = np.zeros((len(names), width), dtype=np.intp)
    sent = np.zeros((len(names), width))
    real = np.zeros((len(names), width), dtype=bool)
    for k, row in enumerate(inputs):
        for d, (parent, seconds) in enumerate(row):
            parents[k, d], sent[k, d], real[k, d] = parent, seconds, True
    return Graph(
        run_s=work[:, None] / speed[None, :],
        parents=parents,
        sent_s=sent,
        is_real=real,
        kids=tuple(tuple(k) for k in kids),
        topo=_topological(inputs, kids, list(names)),
    )


def _topological(
    inputs: list[list[tuple[int, float]]], kids: list[list[int]], names: list[str]
) -> tuple[int, ...]:
    missing = [len(i) for i in inputs]
    order = [k for k, n in enumerate(missing) if n == 0]
    for k in order:  # grows while it is read
        for kid in kids[k]:
            missing[kid] -= 1
            if missing[kid] == 0:
                order.append(kid)
    stuck = [names[k] for k, n in enumerate(missing) if n > 0]
    if stuck:
        raise InvalidProblemError("edges", "tasks depend on each other in a cycle", repr(stuck[:8]))
    return tuple(order)


def upward_s(g: Graph, pace: Floats, sent: Floats) -> Floats:
    """Seconds from the start of each task to the end of the run (upward rank)."""
    rank = np.zeros(g.tasks)
    for k in reversed(g.topo):
        rank[k] += pace[k]
        for d in np.flatnonzero(g.is_real[k]):
            parent = g.parents[k, d]
            rank[parent] = max(rank[parent], rank[k] + sent[k, d])
    return rank
