"""Makespan of a task graph on unlike nodes: list schedulers, then annealing from the best of them.

No schedule is longer than the best of the list schedulers.  What comes of a start shows only after
a while, so several are annealed a little, the better ones longer, and the best one longest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.budget import Budget, Clock
from placement.listrules import first_schedules
from placement.reinsert import Walk
from placement.taskgraph import Graph, Order, TaskGraph, arrays_of

if TYPE_CHECKING:
    from collections.abc import Mapping

# Rounds of annealing: how many schedules go on, the share of the time, and the heat it begins with.
_ROUNDS: Final = ((8, 0.4, 0.02), (3, 0.25, 0.008), (1, 0.35, 0.008))
_HEAT_LAST: Final = 0.0002
# List schedulers stop at this share of the time; HEFT and the quickest nodes are always tried.
_STARTS_SHARE: Final = 0.25
_STARTS_MIN: Final = 3
# Seconds on the reference machine for a task put on every node, and for a task of a graph in which
# one is moved: about what they take on a busy machine, so that a limit in seconds is about that.
_PLACE_S: Final = 4e-5
_STEP_S: Final = 1.2e-6
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

    Source: list schedulers as starts, simulated annealing (Kirkpatrick 1983) by best insertion of
    a task (Mastrolilli 2000 for job shops), successive halving (Jamieson 2016).
    Raises: InvalidProblemError for a cycle.
    """
    g = arrays_of(graph)
    budget = Budget(time_limit_s, clock)
    starts = _starts(g, budget)
    best = _anneal(g, starts, budget, np.random.default_rng(seed))
    names, hosts = list(graph.work_s), list(graph.speed)
    queues: dict[str, list[str]] = {host: [] for host in hosts}
    for task in best.tasks:
        queues[hosts[best.node[task]]].append(names[task])
    return Schedule(
        nodes={host: tuple(q) for host, q in queues.items()},
        makespan_s=best.span_s,
        heft_s=starts[0].span_s,
    )


def _starts(g: Graph, budget: Budget) -> list[Order]:
    """Schedules of the list schedulers, HEFT first; fewer where the time is short."""
    time = budget.slice_of(_STARTS_SHARE)
    starts: list[Order] = []
    for start in first_schedules(g):
        starts.append(start)
        budget.charge(_PLACE_S * g.tasks)
        if time.share >= 1.0 and len(starts) >= _STARTS_MIN:
            break
    return starts


def _anneal(g: Graph, starts: list[Order], budget: Budget, rng: np.random.Generator) -> Order:
    """Anneal the best starts; in each round fewer of them, and longer."""
    floor_s = g.floor_s() * (1.0 + _EPS)
    going = _distinct(starts)
    left = budget.left_s / budget.limit_s if budget.limit_s > 0 else 0.0
    for keep, share, hot in _ROUNDS:
        going = going[:keep]
        walked: list[Order] = []
        for begin in going:
            if going[0].span_s <= floor_s:
                return going[0]
            walk = Walk(g, begin, rng)
            time = budget.slice_of(share * left / len(going))
            while (used := time.share) < 1.0 and walk.best.span_s > floor_s:
                moved = walk.step(hot * (_HEAT_LAST / hot) ** used)
                budget.charge(_STEP_S * g.tasks * (moved + 1))
            walked.append(walk.best)
        going = _distinct(walked)
    return going[0]


def _distinct(orders: list[Order]) -> list[Order]:
    """The shortest first, one of each length; sorting is stable, so a seed gives one answer."""
    ranked = sorted(orders, key=lambda o: o.span_s)
    kept = ranked[:1]
    for order in ranked[1:]:
        if order.span_s > kept[-1].span_s * (1.0 + _EPS):
            kept.append(order)
    return kept
