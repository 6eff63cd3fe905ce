"""List schedulers: tasks by a priority, each on the node that a rule likes best.

They are the first schedules of a search, and what it is measured against.  HEFT is the first.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from placement.taskgraph import Graph, Order, upward_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from placement.tables import Floats

# Where a task goes: where it ends first; the same, shy of slow nodes; where it starts first.
Rule = Literal["ends", "quick", "starts"]
# Which of the ready tasks is next: the one that can end first, last, or loses most by waiting.
Choice = Literal["first", "last", "loses"]
# Choices look at every ready task on every node, each time.
_CHOICE_TASKS_MAX: Final = 300


@dataclass(slots=True)
class _Lane:
    """What a node runs, by time."""

    starts: list[float]
    ends: list[float]

    def opening(self, at: float, length: float, *, between: bool) -> float:
        """First moment from `at` on with so many free seconds; at the end, or also in between."""
        if not self.ends:
            return at
        if not between:
            return max(at, self.ends[-1])
        for k in range(bisect_right(self.ends, at), len(self.ends)):
            if at + length <= self.starts[k]:
                return at
            at = max(at, self.ends[k])
        return at

    def add(self, start: float, end: float) -> None:
        k = bisect_right(self.starts, start)
        # A task of no time goes before one that starts with it.
        while k and self.starts[k - 1] == start and self.ends[k - 1] > end:
            k -= 1
        self.starts.insert(k, start)
        self.ends.insert(k, end)


class _Draft:
    """A schedule in the making."""

    def __init__(self, g: Graph, hosts: Sequence[int], rule: Rule, *, between: bool) -> None:
        self._inputs = g.inputs()
        self._run: list[list[float]] = g.run_s.tolist()
        self._hosts = hosts
        self._rule = rule
        self._between = between
        self._lanes = {n: _Lane([], []) for n in hosts}
        self.start = [0.0] * g.tasks
        self.end = [0.0] * g.tasks
        self.node = [0] * g.tasks

    def places(self, task: int) -> list[tuple[float, float, float, int]]:
        """What the rule makes of each node, then end, start and node."""
        run = self._run[task]
        quickest = min(run)
        found = []
        for n in self._hosts:
            at = 0.0
            for parent, sent in self._inputs[task]:
                arrived = self.end[parent] + (sent if self.node[parent] != n else 0.0)
                at = max(at, arrived)
            at = self._lanes[n].opening(at, run[n], between=self._between)
            end = at + run[n]
            key = {"ends": end, "quick": end + run[n] - quickest, "starts": at}[self._rule]
            found.append((key, end, at, n))
        return found

    def put(self, task: int, place: tuple[float, float, float, int]) -> None:
        _, self.end[task], self.start[task], self.node[task] = place
        self._lanes[place[3]].add(place[2], place[1])


def first_schedules(g: Graph) -> Iterator[Order]:
    """Schedules of many list schedulers; HEFT first, then the likeliest.

    Source: HEFT and CPoP (Topcuoglu 2002), their parametric relatives (Coleman 2024), min-min,
    max-min and sufferage (Maheswaran 1999).
    """
    everywhere = tuple(range(g.nodes))
    quickest = tuple(int(n) for n in np.argsort(g.run_s.sum(axis=0), kind="stable"))
    paces = (g.run_s.mean(axis=1), g.run_s.min(axis=1), g.run_s.max(axis=1))
    ranks = [upward_s(g, pace, g.sent_s * part) for pace in paces for part in (1.0, 0.5, 0.0)]
    down = _downward_s(g, paces[0])
    ranks += [ranks[0] + down, ranks[0] - 0.5 * down]
    yield ranked(g, ranks[0], everywhere, "ends")
    for k in sorted({1, 2, 3, max(1, g.nodes // 2)}):
        yield ranked(g, ranks[0], quickest[:k], "ends")
    for rank in ranks:
        for rule in ("ends", "quick", "starts"):
            yield ranked(g, rank, everywhere, rule)
        yield ranked(g, rank, everywhere, "ends", between=False)
    if g.tasks <= _CHOICE_TASKS_MAX:
        for choice in ("first", "last", "loses"):
            yield chosen(g, everywhere, choice)


def ranked(
    g: Graph, rank: Floats, hosts: Sequence[int], rule: Rule, *, between: bool = True
) -> Order:
    """Ready tasks in order of rank, highest first."""
    draft = _Draft(g, hosts, rule, between=between)
    missing = g.is_real.sum(axis=1).tolist()
    ready = [(-float(rank[k]), k) for k in g.topo if not missing[k]]
    heapq.heapify(ready)
    while ready:
        _, task = heapq.heappop(ready)
        draft.put(task, min(draft.places(task)))
        for kid in g.kids[task]:
            missing[kid] -= 1
            if not missing[kid]:
                heapq.heappush(ready, (-float(rank[kid]), kid))
    return _ordered(g, draft)


def chosen(g: Graph, hosts: Sequence[int], choice: Choice) -> Order:
    """Of the ready tasks, always the one that the choice prefers, where it ends first."""
    draft = _Draft(g, hosts, "ends", between=True)
    missing = g.is_real.sum(axis=1).tolist()
    ready = [k for k in g.topo if not missing[k]]
    while ready:
        options = [sorted(draft.places(k))[:2] for k in ready]
        ends = [option[0][0] for option in options]
        if choice == "loses":
            weights = [option[0][0] - option[-1][0] for option in options]
        else:
            weights = ends if choice == "first" else [-end for end in ends]
        at = weights.index(min(weights))
        task = ready.pop(at)
        draft.put(task, options[at][0])
        for kid in g.kids[task]:
            missing[kid] -= 1
            if not missing[kid]:
                ready.append(kid)
    return _ordered(g, draft)


def _downward_s(g: Graph, pace: Floats) -> Floats:
    """Seconds from the begin of the run to the start of each task (downward rank)."""
    rank = np.zeros(g.tasks)
    for k in g.topo:
        for d in np.flatnonzero(g.is_real[k]):
            parent = g.parents[k, d]
            rank[k] = max(rank[k], rank[parent] + pace[parent] + g.sent_s[k, d])
    return rank


def _ordered(g: Graph, draft: _Draft) -> Order:
    place = {k: n for n, k in enumerate(g.topo)}
    # By start; tasks that take no time start with what follows them, so by end and parents next.
    tasks = sorted(range(g.tasks), key=lambda k: (draft.start[k], draft.end[k], place[k]))
    return Order(tuple(tasks), tuple(draft.node), span_s(g, tasks, draft.node))


def span_s(g: Graph, tasks: Sequence[int], node: Sequence[int]) -> float:
    """Makespan when each node runs its tasks in this order, each as soon as its inputs are in."""
    free, end = [0.0] * g.nodes, [0.0] * g.tasks
    inputs = g.inputs()
    for task in tasks:
        host = node[task]
        at = free[host]
        for parent, sent in inputs[task]:
            at = max(at, end[parent] + (sent if node[parent] != host else 0.0))
        free[host] = end[task] = at + float(g.run_s[task, host])
    return max(free)
