"""What a scheduler asks of a plan while it follows it: how many nodes, and which pool for what."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.fleets import deep_enough
from placement.greedy import work_s
from placement.layout import NO_POOL, Fleet, Layout
from placement.scenarios import mean_scenario
from placement.simulate import ClassSimulator
from placement.tables import tables_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from placement.model import Problem, TaskClass
    from placement.sample import Sample
    from placement.tables import Floats

_KNOWN: Final[deque[tuple[Problem, Layout, Sample]]] = deque(maxlen=8)


def nodes_wanted(
    problem: Problem,
    layout: Layout,
    now_s: float,
    *,
    started: Mapping[str, int] | None = None,
    done: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Give for every pool how many nodes should exist (asked for, starting or up) at `now_s`.

    Every pool of the problem is a key; 0 says to ask for none.  `started` and `done` count tasks
    by class since the plan was made (a class that is not named: 0; `started` holds what is done
    too).  With them, a fleet that waits for work is asked for once an input of it is there, and one
    whose parts have all been started is asked for no more: its nodes end what they run and go.
    Without them, the mean run of the plan says when.
    Units: seconds on the caller's clock, that of `problem.now_s`; nodes.
    """
    wanted = {pool.name: 0 for pool in problem.pools}
    if not layout.fleets:
        return wanted  # Of a problem that fits nowhere any more, too.
    if started is None and done is None:
        ready_s, left = _expected(problem, layout, now_s)
    else:
        ready_s, left = _counted(problem, layout, started or {}, done or {})
    for fleet in layout.fleets:
        if _is_wanted(fleet, now_s, ready_s, left):
            wanted[problem.pools[fleet.pool].name] += fleet.count
    return wanted


def _is_wanted(fleet: Fleet, now_s: float, ready_s: Floats, left: Floats) -> bool:
    """Whether the nodes of a fleet have been due, and have something left to start."""
    parts = list(fleet.parts)
    if not parts or not (left[parts] > 0).any():
        return False
    if fleet.held >= 0:
        return True
    if fleet.at_s is not None:
        return fleet.at_s <= now_s
    return bool((ready_s[parts][left[parts] > 0] <= now_s).any())


def _expected(problem: Problem, layout: Layout, now_s: float) -> tuple[Floats, Floats]:
    """When each part is ready in the mean run, and whether it still has tasks to start by then.

    Shapes: (parts,).
    """
    sample = _mean_run(problem, layout)
    done_s = sample.done_s[[part.cls for part in layout.parts]]
    return sample.ready_s, np.where(done_s > now_s, 1.0, 0.0)


def _mean_run(problem: Problem, layout: Layout) -> Sample:
    """The mean run of a plan.  It is asked for at every look at a run, and stays the same."""
    for before, laid, sample in _KNOWN:
        if before is problem and laid is layout:
            return sample
    sample = ClassSimulator(problem, tables_of(problem), mean_scenario(problem)).run(layout)
    _KNOWN.append((problem, layout, sample))
    return sample


def _counted(
    problem: Problem, layout: Layout, started: Mapping[str, int], done: Mapping[str, int]
) -> tuple[Floats, Floats]:
    """When each part is ready (-inf: it is, inf: not yet), and its tasks that are not started.

    Tasks of a class are taken to be started in order, so that its parts end one after the other.
    Shapes: (parts,).
    """
    by_name = {cls.name: cls for cls in problem.classes}
    ready_s, left = np.full(len(layout.parts), np.inf), np.zeros(len(layout.parts))
    for p, part in enumerate(layout.parts):
        cls = problem.classes[part.cls]
        if _has_input(cls, by_name, done):
            ready_s[p] = -np.inf
        left[p] = max(0, part.hi - max(part.lo, started.get(cls.name, 0)))
    return ready_s, left


def _has_input(cls: TaskClass, by_name: Mapping[str, TaskClass], done: Mapping[str, int]) -> bool:
    """Whether some task of a class can begin: every input has come, or a first one, one to one."""
    return all(
        done.get(dep.parent, 0) >= (1 if dep.mode == "one" else by_name[dep.parent].count)
        for dep in cls.deps
    )


def pools_of(problem: Problem, layout: Layout) -> dict[str, tuple[str, ...]]:
    """Give for every class the pools that serve it, best first; each pool once, none that lacks.

    First those that run most of its tasks in the mean run, then standing ones that it needs only
    when others fail (cheapest for a task first), last the pools that replace what is reclaimed.
    """
    tables = tables_of(problem)
    sample = ClassSimulator(problem, tables, mean_scenario(problem)).run(layout)
    each_usd = work_s(problem, tables) * tables.share * tables.usd_s
    tasks = np.zeros(tables.fits.shape)
    serves = np.zeros(tables.fits.shape, dtype=bool)
    for f, fleet in enumerate(layout.fleets):
        for p in fleet.parts:
            k = layout.parts[p].cls
            serves[k, fleet.pool] = tables.fits[k, fleet.pool]
            tasks[k, fleet.pool] += sample.tasks[p, f]
    fallback = deep_enough(problem, layout)
    found = {}
    for k, cls in enumerate(problem.classes):
        mine = sorted(np.flatnonzero(serves[k]), key=lambda p: (-tasks[k, p], each_usd[k, p], p))
        chain = [int(p) for p in mine]
        for p in chain:  # grows while it is read: a replacement may have one of its own
            other = fallback[p]
            if other != NO_POOL and other not in chain and tables.fits[k, other]:
                chain.append(other)
        found[cls.name] = tuple(problem.pools[p].name for p in chain)
    return found
