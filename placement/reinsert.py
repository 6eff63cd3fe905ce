"""Annealing of a task graph's schedule by taking tasks out and putting them back.

A task that is out leaves every other task's head (when it ends) and tail (how long the run goes on
from its start) exact, so that the makespan of each of its places, on each node and between any two
tasks, costs one addition: tens of neighbours for the price of one evaluation.
"""

# Comparisons are written out: in these loops a call of max takes as long as the rest.
# ruff: noqa: FURB136, PLR1730

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from placement.taskgraph import Graph, Order

if TYPE_CHECKING:
    import numpy as np

_DRAWS: Final = 4096
# A place whose longest path is shorter leaves more room, even where the makespan is the same.
_SLACK_WEIGHT: Final = 0.02
_CRITICAL_SHARE: Final = 0.7
# How often several related tasks move together, and how many at most.
_GROUP_SHARE: Final = 0.25
_GROUP_MAX: Final = 5
# One draw picks the kind of relative: a parent, a child, or a neighbour on the node.
_PARENTS_BELOW: Final = 0.4
_KIDS_BELOW: Final = 0.8
_REVERSED_SHARE: Final = 0.5
_OUT: Final = -math.inf
_EPS: Final = 1e-9
_NOWHERE: Final = -1


class Walk:
    """One schedule under annealing; `best` is the shortest that it came by."""

    def __init__(self, g: Graph, begin: Order, rng: np.random.Generator) -> None:
        count = g.tasks
        self._rng = rng
        self._uniforms: list[float] = []
        self._gumbels: list[float] = []
        self._inputs = g.inputs()
        self._outputs: list[list[tuple[int, float]]] = [[] for _ in range(count)]
        for kid, row in enumerate(self._inputs):
            for parent, sent in row:
                self._outputs[parent].append((kid, sent))
        # A task that is out of all nodes counts at its best speed: the last column, node -1.
        self._run = [[*row, min(row)] for row in g.run_s.tolist()]
        self._parents = [sum(1 << p for p in {p for p, _ in row}) for row in self._inputs]
        self._kids = [sum(1 << c for c in {c for c, _ in row}) for row in self._outputs]
        self._order = list(begin.tasks)
        self._node = list(begin.node)
        self._lanes: list[list[int]] = [[] for _ in range(g.nodes)]
        # Before the first and after the last task of a node stands one that takes no time.
        self._before = [count] * (count + 1)
        self._after = [count] * (count + 1)
        self._group: list[int] = []
        self._end = [0.0] * (count + 1)
        self._tail = [0.0] * (count + 1)
        for task in self._order:
            lane = self._lanes[self._node[task]]
            self._link(task, lane, len(lane))
        self._forward(0)
        self._backward(count)
        self.span_s = max(self._end)
        self.best = begin if begin.span_s <= self.span_s else self._taken()

    def step(self, heat: float) -> int:
        """Move a task, or a few; `heat` is a share of the makespan.  How many were moved."""
        if self._uniform() >= _GROUP_SHARE:
            self._take_out([self._pick()])
            self._put_back(heat * self.span_s)
            moved = 1
        else:
            moved = self._move_group(heat)
        if self.span_s < self.best.span_s * (1.0 - _EPS):
            self.best = self._taken()
        return moved

    # -- moves ---------------------------------------------------------------------------------

    def _move_group(self, heat: float) -> int:
        """Take out tasks that are related and put them back in turn; undo what costs too much."""
        group = self._relatives(self._pick())
        kept = (
            self._order[:], self._node[:], [lane[:] for lane in self._lanes],
            self._before[:], self._after[:], self._end[:], self._tail[:], self.span_s,
        )  # fmt: skip
        limit = self.span_s * (1.0 - heat * math.log(max(self._uniform(), 1e-12)))
        self._take_out(group)
        self._put_back(heat * self.span_s)
        if self.span_s > limit:
            (
                self._order, self._node, self._lanes,
                self._before, self._after, self._end, self._tail, self.span_s,
            ) = kept  # fmt: skip
        return len(group)

    def _pick(self) -> int:
        """A task, more often than not one that makes the schedule as long as it is."""
        tasks = self._order
        if self._uniform() < _CRITICAL_SHARE:
            end, tail, run, node = self._end, self._tail, self._run, self._node
            least = self.span_s * (1.0 - _EPS)
            tasks = [t for t in tasks if end[t] + tail[t] - run[t][node[t]] >= least]
        return tasks[int(self._uniform() * len(tasks))]

    def _relatives(self, task: int) -> list[int]:
        """A task with some of its parents, children, or neighbours on its node."""
        group = [task]
        size = 2 + int(self._uniform() * (_GROUP_MAX - 1))
        for _ in range(2 * size):
            of = group[int(self._uniform() * len(group))]
            kind = self._uniform()
            if kind < _PARENTS_BELOW:
                near = [p for p, _ in self._inputs[of]]
            elif kind < _KIDS_BELOW:
                near = [c for c, _ in self._outputs[of]]
            else:
                near = [t for t in (self._before[of], self._after[of]) if t < len(self._order)]
            if near:
                other = near[int(self._uniform() * len(near))]
                if other not in group:
                    group.append(other)
            if len(group) == size:
                break
        return group

    # -- out and back --------------------------------------------------------------------------

    def _take_out(self, group: list[int]) -> None:
        before, after, node = self._before, self._after, self._node
        nothing = len(self._order)
        for task in group:
            self._lanes[node[task]].remove(task)
            ahead, behind = before[task], after[task]
            before[behind], after[ahead] = ahead, behind
            before[nothing] = after[nothing] = nothing
            before[task] = after[task] = nothing
            node[task] = _NOWHERE
        self._group = group

    def _put_back(self, heat_s: float) -> None:
        """Put tasks where they lengthen the run least, or nearly so: by heat, as Gibbs would."""
        order = self._order
        first = min(order.index(t) for t in self._group)
        last = max(order.index(t) for t in self._group)
        waiting = sorted(self._group, key=order.index)
        if len(waiting) > 1 and self._uniform() < _REVERSED_SHARE:
            waiting.reverse()
        stale = len(waiting) > 1
        for task in waiting:
            at = order.index(task)
            del order[at]
            self._end[task] = self._tail[task] = _OUT
            self._forward(first if stale else at)
            self._backward(last if stale else at)
            stale = False
            self._insert(task, at, heat_s)
            order = self._order

    def _insert(self, task: int, at: int, heat_s: float) -> None:
        """Give a task the best of all places, after what it needs and before what needs it."""
        lows = self._upstream(1 << task, at)[1]
        highs = self._needing(task, at)
        arrive = self._arrivals(self._inputs[task], self._end)
        leave = self._arrivals(self._outputs[task], self._tail)
        end, tail, runs = self._end, self._tail, self._run[task]
        rest_s = max(end)
        best = (math.inf, 0, 0, 0.0)
        nothing = len(self._before) - 1
        for host, lane in enumerate(self._lanes):
            come, go, run = arrive[host], leave[host], runs[host]
            low, high = lows[host], len(lane) - highs[host]
            # The lane's neighbours of each place; the ends of a lane meet the task of no time.
            for place in range(low, high + 1):
                ready = end[lane[place - 1] if place else nothing]
                follow = tail[lane[place] if place < len(lane) else nothing]
                through = (ready if ready > come else come) + run + (follow if follow > go else go)
                key = (through if through > rest_s else rest_s) + _SLACK_WEIGHT * through
                if heat_s > 0.0:
                    key -= heat_s * self._gumbel()
                if key < best[0]:
                    best = (key, host, place, through)
        _, host, place, through = best
        self._link_at(task, host, place)
        self.span_s = max(rest_s, through)

    def _link_at(self, task: int, host: int, place: int) -> None:
        """Enter a task in its lane and in the order, and bring heads and tails up to date."""
        lane, order, node = self._lanes[host], self._order, self._node
        # What the task must follow goes ahead of it, in the order that it had; the rest follows.
        seeds = 1 << task
        at = 1 + max((order.index(p) for p, _ in self._inputs[task]), default=-1)
        if place:
            seeds |= 1 << lane[place - 1]
            at = max(at, 1 + order.index(lane[place - 1]))
        early = self._upstream(seeds, at)[0]
        ahead = [t for t in order if early >> t & 1]
        self._order = [*ahead, task, *(t for t in order if not early >> t & 1)]
        node[task] = host
        self._link(task, lane, place)
        self._forward(len(ahead))
        self._backward(len(ahead) + 1)

    def _link(self, task: int, lane: list[int], place: int) -> None:
        nothing = len(self._before) - 1
        ahead = lane[place - 1] if place else nothing
        behind = lane[place] if place < len(lane) else nothing
        lane.insert(place, task)
        self._before[task], self._after[task] = ahead, behind
        if ahead != nothing:
            self._after[ahead] = task
        if behind != nothing:
            self._before[behind] = task

    # -- what the graph and the lanes imply ------------------------------------------------------

    def _forward(self, begin: int) -> None:
        """When each task ends, from a place in the order on."""
        end, node, before, run = self._end, self._node, self._before, self._run
        inputs = self._inputs
        for task in self._order[begin:]:
            host = node[task]
            at = end[before[task]]
            for parent, sent in inputs[task]:
                arrived = end[parent] if node[parent] == host else end[parent] + sent
                if arrived > at:
                    at = arrived
            end[task] = at + run[task][host]

    def _backward(self, stop: int) -> None:
        """How long the run goes on from each task's start, up to a place in the order."""
        tail, node, after, run = self._tail, self._node, self._after, self._run
        outputs = self._outputs
        for task in reversed(self._order[:stop]):
            host = node[task]
            more = tail[after[task]]
            for kid, sent in outputs[task]:
                left = tail[kid] if node[kid] == host else tail[kid] + sent
                if left > more:
                    more = left
            tail[task] = more + run[task][host]

    def _upstream(self, mask: int, at: int) -> tuple[int, list[int]]:
        """Tasks before a place in the order that some of `mask` need, and how many on each node."""
        node, kids = self._node, self._kids
        counts = [0] * (len(self._lanes) + 1)
        for task in reversed(self._order[:at]):
            host = node[task]
            if counts[host] or kids[task] & mask or mask >> task & 1:
                mask |= 1 << task
                if host != _NOWHERE:
                    counts[host] += 1
        return mask, counts

    def _needing(self, task: int, at: int) -> list[int]:
        """How many tasks of each node need this one, itself out of the order at a place."""
        node, parents = self._node, self._parents
        counts = [0] * (len(self._lanes) + 1)
        mask = 1 << task
        for other in self._order[at:]:
            host = node[other]
            if counts[host] or parents[other] & mask:
                mask |= 1 << other
                if host != _NOWHERE:
                    counts[host] += 1
        return counts

    def _arrivals(self, edges: list[tuple[int, float]], ends: list[float]) -> list[float]:
        """When all that comes over some edges is there, for each node."""
        node = self._node
        count = len(self._lanes)
        here = [0.0] * (count + 1)
        sent_from = [0.0] * (count + 1)
        for other, sent in edges:
            host = node[other]
            end = ends[other]
            if end > here[host]:
                here[host] = end
            if end + sent > sent_from[host]:
                sent_from[host] = end + sent
        first = max(sent_from)
        far = sent_from.index(first)
        sent_from[far] = 0.0
        second = max(sent_from)
        return [max(here[n], second if n == far else first) for n in range(count)]

    def _taken(self) -> Order:
        return Order(tuple(self._order), tuple(self._node), self.span_s)

    # -- luck ------------------------------------------------------------------------------------

    def _uniform(self) -> float:
        # Draws one at a time cost more than what they decide.
        if not self._uniforms:
            self._uniforms = self._rng.random(_DRAWS).tolist()
        return self._uniforms.pop()

    def _gumbel(self) -> float:
        if not self._gumbels:
            self._gumbels = self._rng.gumbel(size=_DRAWS).tolist()
        return self._gumbels.pop()
