"""Makespan of a task graph on unlike nodes: annealing over order and node.

A schedule is an order of all tasks, parents first, and a node for each; decoding appends each task
to its node.  Moves prefer the tasks of the critical chain, and decoding stops as soon as a schedule
is known to be too long, so that a graph of 67 tasks is tried tens of thousands of times a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.budget import Budget, Clock
from placement.tables import Floats, Ints
from placement.taskgraph import Graph, TaskGraph, arrays_of, upward_s

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAT_FIRST: Final = 0.02
_HEAT_AGAIN: Final = 0.008
_HEAT_LAST: Final = 0.0002
# Shares of the time for each run: the first few from different starts, the others from the best.
_RUNS: Final = (0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.2)
_FRESH_RUNS: Final = 6
# Seconds on the reference machine for a step and task, measured; many steps between two looks at
# the budget.
_STEP_S: Final = 7e-7
_STEPS: Final = 50
_DRAWS: Final = 4096
# One draw picks the move: another node, another place in the order (both in between), or a swap.
_SHIFT_ABOVE: Final = 0.35
_RENODE_BELOW: Final = 0.6
_SWAP_ABOVE: Final = 0.92
_JOIN_SHARE: Final = 0.3
_CRITICAL_SHARE: Final = 0.6
_EPS: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Tasks of each node in order, when the last one ends, and what HEFT would have reached."""

    nodes: Mapping[str, tuple[str, ...]]
    makespan_s: float
    heft_s: float


def shortest(
    graph: TaskGraph, *, time_limit_s: float = 10.0, seed: int = 0, clock: Clock | None = None
) -> Schedule:
    """Give the shortest schedule found, never longer than those of the list schedulers.

    Source: HEFT and its ranks (Topcuoglu 2002) as starts, then simulated annealing.
    Raises: InvalidProblemError for a cycle.
    """
    g = arrays_of(graph)
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


# -- starts: list schedulers with insertion ----------------------------------------------


_Start = tuple[Ints, Ints, float]


def _starts(g: Graph) -> list[_Start]:
    """Insertion-based earliest-finish schedules for several rankings; HEFT is the first."""
    paces = (g.run_s.mean(axis=1), g.run_s.min(axis=1), g.run_s.max(axis=1))
    sent = g.sent_s
    ranks = [upward_s(g, pace, sent * share) for pace in paces for share in (1.0, 0.5, 0.0)]
    down = _downward(g, paces[0], sent)
    ranks.append(ranks[0] + down)
    ranks.append(ranks[0] - 0.5 * down)
    starts = [_list_schedule(g, rank, look) for rank in ranks for look in (False, True)]
    starts += [_on_one_node(g, int(n)) for n in np.argsort(g.run_s.sum(axis=0))[:1]]
    return starts


def _downward(g: Graph, pace: Floats, sent: Floats) -> Floats:
    rank = np.zeros(g.tasks)
    for k in g.topo:
        for d in np.flatnonzero(g.is_real[k]):
            parent = g.parents[k, d]
            rank[k] = max(rank[k], rank[parent] + pace[parent] + sent[k, d])
    return rank


def _list_schedule(g: Graph, rank: Floats, look: bool) -> _Start:
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
    return order, node, _decode(g, order, node)


def _gap(busy: list[tuple[float, float]], at: float, length: float) -> float:
    """First moment from `at` on at which a node has `length` seconds free."""
    for begin, end in busy:
        if at + length <= begin:
            return at
        at = max(at, end)
    return at


def _on_one_node(g: Graph, n: int) -> _Start:
    order = np.array(g.topo, dtype=np.intp)
    node = np.full(g.tasks, n, dtype=np.intp)
    return order, node, _decode(g, order, node)


def _decode(g: Graph, order: Ints, node: Ints) -> float:
    """Makespan of a schedule."""
    free, end = np.zeros(g.nodes), np.zeros(g.tasks)
    for task in order:
        host = node[task]
        at = free[host]
        for d in np.flatnonzero(g.is_real[task]):
            parent = g.parents[task, d]
            at = max(at, end[parent] + g.sent_s[task, d] * (node[parent] != host))
        free[host] = end[task] = at + g.run_s[task, host]
    return float(free.max())


# -- annealing -----------------------------------------------------------------------------


class _Walk:
    """One schedule under annealing: an order of tasks (parents first) and a node for each."""

    def __init__(self, g: Graph, start: _Start, rng: np.random.Generator) -> None:
        self._inputs = g.inputs()
        self._run = g.run_s.tolist()
        self._tail = g.tail_s().tolist()
        self._kids = g.kids
        self._nodes = g.nodes
        self._order: list[int] = [int(t) for t in start[0]]
        self._node: list[int] = [int(n) for n in start[1]]
        self._rng = rng
        self._draws: list[float] = []
        self.span, self._ends = self._decode(self._order, self._node, math.inf)
        self._critical = self._critical_tasks()
        self.best: _Start = (start[0].copy(), start[1].copy(), self.span)

    def step(self, heat: float) -> None:
        """Try one change; take it when it is at most a little worse."""
        order, node = self._order, self._node
        limit = self.span * (1.0 - heat * math.log(max(self._draw(), 1e-12)))
        task = self._pick()
        moved = list(order)
        changed = node
        kind = self._draw()
        if kind < _RENODE_BELOW:
            changed = list(node)
            changed[task] = self._other_node(task)
        if kind > _SWAP_ABOVE:
            changed = list(node)
            other = self._pick()
            changed[task], changed[other] = node[other], node[task]
        elif kind > _SHIFT_ABOVE:
            self._shift(moved, task)
        span, ends = self._decode(moved, changed, limit)
        if span > limit:
            return
        self._order, self._node, self._ends, self.span = moved, changed, ends, span
        self._critical = self._critical_tasks()
        if span < self.best[2] - 1e-12:
            self.best = (np.array(moved, dtype=np.intp), np.array(changed, dtype=np.intp), span)

    def _draw(self) -> float:
        # Draws one at a time cost more than the decoding of a small graph.
        if not self._draws:
            self._draws = self._rng.random(_DRAWS).tolist()
        return self._draws.pop()

    def _pick(self) -> int:
        tasks = self._critical if self._draw() < _CRITICAL_SHARE else self._order
        return tasks[int(self._draw() * len(tasks))]

    def _other_node(self, task: int) -> int:
        inputs = self._inputs[task]
        if inputs and self._draw() < _JOIN_SHARE:
            return self._node[inputs[int(self._draw() * len(inputs))][0]]
        return int(self._draw() * self._nodes)

    def _shift(self, order: list[int], task: int) -> None:
        """Move a task to a random place between its last parent and its first child."""
        at = order.index(task)
        parents, kids = {p for p, _ in self._inputs[task]}, set(self._kids[task])
        low = at
        while low > 0 and order[low - 1] not in parents:
            low -= 1
        high = at
        while high < len(order) - 1 and order[high + 1] not in kids:
            high += 1
        order.pop(at)
        order.insert(low + int(self._draw() * (high - low + 1)), task)

    def _decode(self, order: list[int], node: list[int], limit: float) -> tuple[float, list[float]]:
        """Makespan and ends; inf as soon as what must follow a task would pass the limit."""
        free = [0.0] * self._nodes
        end = [0.0] * len(order)
        for task in order:
            host = node[task]
            at = free[host]
            for parent, sent in self._inputs[task]:
                arrived = end[parent] if node[parent] == host else end[parent] + sent
                at = max(arrived, at)
            at += self._run[task][host]
            if at + self._tail[task] > limit:
                return math.inf, end
            free[host] = end[task] = at
        return max(free), end

    def _critical_tasks(self) -> list[int]:
        """Tasks of one chain, by inputs and by nodes, that makes the schedule as long as it is."""
        before: dict[int, int] = {}
        last: dict[int, int] = {}
        for task in self._order:
            host = self._node[task]
            if host in last:
                before[task] = last[host]
            last[host] = task
        task = max(last.values(), key=lambda t: self._ends[t])
        chain = [task]
        while True:
            start = self._ends[task] - self._run[task][self._node[task]]
            if start <= _EPS:
                return chain
            task = self._holder(task, start, before)
            chain.append(task)

    def _holder(self, task: int, start: float, before: dict[int, int]) -> int:
        """The task whose end, or whose bytes, another one waited for."""
        held = [(self._ends[before[task]], before[task])] if task in before else []
        for parent, sent in self._inputs[task]:
            away = self._node[parent] != self._node[task]
            held.append((self._ends[parent] + sent * away, parent))
        return min(held, key=lambda h: abs(h[0] - start))[1]


def _anneal(g: Graph, starts: list[_Start], budget: Budget, rng: np.random.Generator) -> _Start:
    """Anneal from several starts in turn, then from the best of what came of them.

    Source: simulated annealing (Kirkpatrick 1983), geometric cooling.
    """
    ranked = sorted(starts, key=lambda s: s[2])
    best = ranked[0]
    for run, share in enumerate(_RUNS):
        begin = ranked[run % len(ranked)] if run < _FRESH_RUNS else best
        hot = _HEAT_FIRST if run < _FRESH_RUNS else _HEAT_AGAIN
        walk = _Walk(g, begin, rng)
        time = budget.slice_of(share)
        while (used := time.share) < 1.0:
            heat = hot * (_HEAT_LAST / hot) ** used
            for _ in range(_STEPS):
                walk.step(heat)
            budget.charge(_STEPS * _STEP_S * g.tasks)
        if walk.best[2] < best[2]:
            best = walk.best
    return best
