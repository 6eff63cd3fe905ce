"""Makespan of a task graph on unlike nodes: population annealing over node and priority.

A schedule is a priority a task and a node a task; decoding takes tasks by priority, parents first,
and appends each to its node.  Many chains are decoded together, a few numpy operations a task for
all of them, so that a graph of 67 tasks is tried tens of thousands of times a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.budget import Budget, Clock
from placement.errors import InvalidProblemError
from placement.tables import Bools, Floats, Ints

if TYPE_CHECKING:
    from collections.abc import Mapping

CHAINS: Final = 192
_HEAT_FIRST: Final = 0.03
_HEAT_LAST: Final = 0.0005
# Seconds on the reference machine to decode one task in all chains, measured.
_TASK_S: Final = 9e-5
_STEPS_MAX: Final = 200_000
_RESTART_EVERY: Final = 400
# One draw picks the move: another node, another place in the order (both in between), or a swap.
_SHIFT_ABOVE: Final = 0.4
_RENODE_BELOW: Final = 0.6
_SWAP_ABOVE: Final = 0.9
_JOIN_SHARE: Final = 0.3


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
        for a, b, _ in self.edges:
            if a not in self.work_s or b not in self.work_s:
                raise InvalidProblemError("edges", "unknown task", repr((a, b)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Tasks of each node in order, when the last one ends, and what HEFT would have reached."""

    nodes: Mapping[str, tuple[str, ...]]
    makespan_s: float
    heft_s: float


@dataclass(frozen=True, slots=True)
class _Graph:
    """Arrays of a graph.  Shapes: run_s (T, N); parents, sent_s (T, D) padded; is_real (T, D)."""

    run_s: Floats
    parents: Ints
    sent_s: Floats
    is_real: Bools
    kids: tuple[tuple[int, ...], ...]
    topo: tuple[int, ...]

    @property
    def tasks(self) -> int:
        return int(self.run_s.shape[0])

    @property
    def nodes(self) -> int:
        return int(self.run_s.shape[1])


def shortest(
    graph: TaskGraph, *, time_limit_s: float = 10.0, seed: int = 0, clock: Clock | None = None
) -> Schedule:
    """Give the shortest schedule found, never longer than those of the list schedulers.

    Source: HEFT and its ranks (Topcuoglu 2002) as starts, then simulated annealing in parallel
    chains with re-seeding of the worst from the best.
    Raises: InvalidProblemError for a cycle.
    """
    g = _arrays(graph)
    budget = Budget(time_limit_s, clock)
    rng = np.random.default_rng(seed)
    starts = _starts(g)
    heft_s = starts[0][2]
    best = min(starts, key=lambda s: s[2])
    order, node, span = _anneal(g, starts, budget, rng)
    if span < best[2]:
        best = (order, node, span)
    names, hosts = list(graph.work_s), list(graph.speed)
    queues: dict[str, list[str]] = {host: [] for host in hosts}
    for task in best[0]:
        queues[hosts[int(best[1][task])]].append(names[int(task)])
    return Schedule(
        nodes={host: tuple(q) for host, q in queues.items()},
        makespan_s=float(best[2]),
        heft_s=float(heft_s),
    )


def _arrays(graph: TaskGraph) -> _Graph:
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
    return _Graph(
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


# -- starts: list schedulers with insertion ----------------------------------------------


_Start = tuple[Ints, Ints, float]


def _starts(g: _Graph) -> list[_Start]:
    """Insertion-based earliest-finish schedules for several rankings; HEFT is the first."""
    paces = (g.run_s.mean(axis=1), g.run_s.min(axis=1), g.run_s.max(axis=1))
    sent = g.sent_s
    ranks = [_upward(g, pace, sent * share) for pace in paces for share in (1.0, 0.5, 0.0)]
    down = _downward(g, paces[0], sent)
    ranks.append(ranks[0] + down)
    ranks.append(ranks[0] - 0.5 * down)
    starts = [_list_schedule(g, rank, look) for rank in ranks for look in (False, True)]
    starts += [_on_one_node(g, int(n)) for n in np.argsort(g.run_s.sum(axis=0))[:1]]
    return starts


def _upward(g: _Graph, pace: Floats, sent: Floats) -> Floats:
    rank = np.zeros(g.tasks)
    for k in reversed(g.topo):
        rank[k] += pace[k]
        for d in np.flatnonzero(g.is_real[k]):
            parent = g.parents[k, d]
            rank[parent] = max(rank[parent], rank[k] + sent[k, d])
    return rank


def _downward(g: _Graph, pace: Floats, sent: Floats) -> Floats:
    rank = np.zeros(g.tasks)
    for k in g.topo:
        for d in np.flatnonzero(g.is_real[k]):
            parent = g.parents[k, d]
            rank[k] = max(rank[k], rank[parent] + pace[parent] + sent[k, d])
    return rank


def _list_schedule(g: _Graph, rank: Floats, look: bool) -> _Start:
    """Tasks by rank, each inserted where it ends first (with `look`: where its child could)."""
    end, node = np.zeros(g.tasks), np.zeros(g.tasks, dtype=np.intp)
    busy: list[list[tuple[float, float]]] = [[] for _ in range(g.nodes)]
    start = np.zeros(g.tasks)
    missing = g.is_real.sum(axis=1)
    ready = [k for k in g.topo if not missing[k]]
    fastest = g.run_s.min(axis=1)
    while ready:
        k = max(ready, key=lambda t: (rank[t], -t))
        ready.remove(k)
        best = (np.inf, np.inf, 0.0, 0)
        for n in range(g.nodes):
            at = 0.0
            for d in np.flatnonzero(g.is_real[k]):
                parent = g.parents[k, d]
                at = max(at, end[parent] + (g.sent_s[k, d] if node[parent] != n else 0.0))
            at = _gap(busy[n], at, float(g.run_s[k, n]))
            finish = at + float(g.run_s[k, n])
            key = finish + (float(g.run_s[k, n] - fastest[k]) if look else 0.0)
            best = min(best, (key, finish, at, n))
        _, end[k], start[k], node[k] = best
        busy[best[3]].append((best[2], best[1]))
        busy[best[3]].sort()
        for kid in g.kids[k]:
            missing[kid] -= 1
            if not missing[kid]:
                ready.append(kid)
    place = {k: n for n, k in enumerate(g.topo)}
    order = np.array(sorted(range(g.tasks), key=lambda k: (start[k], place[k])), dtype=np.intp)
    return order, node, float(_decode(g, order[None, :], node[None, :])[0])


def _gap(busy: list[tuple[float, float]], at: float, length: float) -> float:
    """First moment from `at` on at which a node has `length` seconds free."""
    for begin, end in busy:
        if at + length <= begin:
            return at
        at = max(at, end)
    return at


def _on_one_node(g: _Graph, n: int) -> _Start:
    order = np.array(g.topo, dtype=np.intp)
    node = np.full(g.tasks, n, dtype=np.intp)
    return order, node, float(_decode(g, order[None, :], node[None, :])[0])


# -- annealing -----------------------------------------------------------------------------


def _decode(g: _Graph, order: Ints, node: Ints) -> Floats:
    """Makespan of each chain.  Shapes: order, node (K, T); result (K,)."""
    chains = order.shape[0]
    row = np.arange(chains)
    free = np.zeros((chains, g.nodes))
    end = np.zeros((chains, g.tasks))
    for position in range(g.tasks):
        task = order[:, position]
        host = node[row, task]
        parents = g.parents[task]
        away = np.take_along_axis(node, parents, axis=1) != host[:, None]
        arrived = np.take_along_axis(end, parents, axis=1) + g.sent_s[task] * away
        arrived = np.where(g.is_real[task], arrived, 0.0).max(axis=1)
        finish = np.maximum(arrived, free[row, host]) + g.run_s[task, host]
        free[row, host] = finish
        end[row, task] = finish
    return np.asarray(free.max(axis=1))


def _anneal(g: _Graph, starts: list[_Start], budget: Budget, rng: np.random.Generator) -> _Start:
    ranked = sorted(starts, key=lambda s: s[2])
    order = np.stack([ranked[c % len(ranked)][0] for c in range(CHAINS)])
    node = np.stack([ranked[c % len(ranked)][1] for c in range(CHAINS)])
    span = np.array([ranked[c % len(ranked)][2] for c in range(CHAINS)])
    best: _Start = (order[0].copy(), node[0].copy(), float(span[0]))
    level = np.geomspace(1.0, 0.15, CHAINS)
    ancestor = _reach(g)
    for step in range(_STEPS_MAX):
        used = min(1.0, budget.used_s / budget.limit_s) if budget.limit_s > 0 else 1.0
        if used >= 1.0:
            break
        heat = _HEAT_FIRST * (_HEAT_LAST / _HEAT_FIRST) ** used * level
        tried_order, tried_node = _mutate(g, order, node, ancestor, rng)
        tried = _decode(g, tried_order, tried_node)
        budget.charge(_TASK_S * g.tasks)
        limit = span * (1.0 + heat * rng.exponential(size=CHAINS))
        take = tried <= limit
        order[take], node[take], span[take] = tried_order[take], tried_node[take], tried[take]
        winner = int(span.argmin())
        if span[winner] < best[2]:
            best = (order[winner].copy(), node[winner].copy(), float(span[winner]))
        if step % _RESTART_EVERY == _RESTART_EVERY - 1:
            _reseed(order, node, span, best)
    return best


def _reseed(order: Ints, node: Ints, span: Floats, best: _Start) -> None:
    """Replace the worst quarter of the chains by the best quarter, and one by the best ever."""
    ranked = np.argsort(span, kind="stable")
    quarter = ranked.size // 4
    losers, winners = ranked[-quarter:], ranked[:quarter]
    order[losers], node[losers], span[losers] = order[winners], node[winners], span[winners]
    last = losers[-1]
    order[last], node[last], span[last] = best


def _reach(g: _Graph) -> Bools:
    """Whether a task is an ancestor of another.  Shapes: (T, T), [a, b] when a comes before b."""
    before = np.zeros((g.tasks, g.tasks), dtype=bool)
    for k in g.topo:
        for d in np.flatnonzero(g.is_real[k]):
            parent = g.parents[k, d]
            before[:, k] |= before[:, parent]
            before[parent, k] = True
    return before


def _mutate(
    g: _Graph, order: Ints, node: Ints, ancestor: Bools, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Move a task of each chain to another node or position, or swap the nodes of two tasks."""
    chains, tasks = order.shape
    row = np.arange(chains)
    order, node = order.copy(), node.copy()
    kind = rng.random(chains)
    task = np.asarray(rng.integers(tasks, size=(chains,)), dtype=np.intp)
    host = np.asarray(rng.integers(g.nodes, size=(chains,)), dtype=np.intp)
    # Some moves join a parent's or child's node, where no bytes have to be sent.
    parent = g.parents[task, 0]
    near = g.is_real[task, 0] & (rng.random(chains) < _JOIN_SHARE)
    host = np.asarray(np.where(near, node[row, parent], host))
    renode = kind < _RENODE_BELOW
    node[row[renode], task[renode]] = host[renode]
    swap = kind > _SWAP_ABOVE
    other = np.asarray(rng.integers(tasks, size=(chains,)), dtype=np.intp)
    a, b = node[row, task].copy(), node[row, other].copy()
    node[row[swap], task[swap]], node[row[swap], other[swap]] = b[swap], a[swap]
    shift = np.flatnonzero((kind > _SHIFT_ABOVE) & (kind < _SWAP_ABOVE))
    for c in shift:
        _shift(order[c], int(task[c]), ancestor, rng)
    return order, node


def _shift(order: Ints, task: int, ancestor: Bools, rng: np.random.Generator) -> None:
    """Move a task to a random position between its last ancestor and its first descendant."""
    at = int(np.flatnonzero(order == task)[0])
    before = ancestor[order, task].nonzero()[0]
    after = ancestor[task, order].nonzero()[0]
    low = int(before[-1]) + 1 if before.size else 0
    high = int(after[0]) - 1 if after.size else order.size - 1
    to = int(rng.integers(low, high + 1))
    if to < at:
        order[to + 1 : at + 1] = order[to:at].copy()
    elif to > at:
        order[at:to] = order[at + 1 : to + 1].copy()
    order[to] = task
