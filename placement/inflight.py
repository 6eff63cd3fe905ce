"""Tasks that run already: how long they still take, and which lanes of held nodes they keep busy.

The first tasks of a class are those that run, in the order of `Problem.running`.  They stay where
they are: a layout decides about all the others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placement.fate import Fate
    from placement.model import Problem, Running
    from placement.tables import Floats

# A task that has run for longer than any that was drawn is expected to take this share of its
# time so far: what a heavy tail leaves, and never nothing.
_OVERDUE_SHARE: Final = 0.1
_DRAWS_MAX: Final = 4_096


def flying(problem: Problem) -> Iterator[tuple[Running, int, int, int]]:
    """Give what runs with the index of its class, of its pool, and of its first task."""
    classes = {c.name: k for k, c in enumerate(problem.classes)}
    pools = {p.name: k for k, p in enumerate(problem.pools)}
    begun: dict[int, int] = {}
    for run in problem.running:
        k = classes[run.cls]
        lo = begun.get(k, 0)
        begun[k] = lo + run.count
        yield run, k, pools[run.pool], lo


def left_s(problem: Problem, noise: tuple[Floats, ...], slow: Floats) -> tuple[Floats, ...]:
    """Draw what running tasks still take, given that they have not ended by now.

    Shapes: noise[c] (S, N); slow (S, P); result, one for each of `Problem.running`: (S, count).
    Units: seconds of computing, the writing apart.
    """
    found = []
    for run, k, pool, lo in flying(problem):
        cls = problem.classes[k]
        tasks = np.arange(lo, lo + run.count) % noise[k].shape[1]
        whole = cls.work_s / problem.pools[pool].speed[cls.kind] * slow[:, pool]
        so_far = run.elapsed_s / np.maximum(whole, 1e-9)
        draws = np.sort(noise[k].ravel()[:_DRAWS_MAX])
        # The same luck as ever, in rank, among the draws that are long enough.
        rank = np.searchsorted(draws, noise[k][:, tasks], side="left") / draws.size
        shorter = np.searchsorted(draws, so_far, side="right")[:, None]
        pick = shorter + (rank * (draws.size - shorter)).astype(np.intp)
        drawn = draws[np.minimum(pick, draws.size - 1)]
        overdue = so_far[:, None] * (1.0 + _OVERDUE_SHARE)
        total = np.where(shorter == draws.size, overdue, drawn)
        found.append(np.asarray((total - so_far[:, None]) * whole[:, None]))
    return tuple(found)


def unstarted(problem: Problem) -> Problem | None:
    """The problem without the tasks that run, for bounds; None when there are no others."""
    if not problem.running:
        return problem
    running: dict[str, int] = {}
    for run in problem.running:
        running[run.cls] = running.get(run.cls, 0) + run.count
    left = {c.name: c.count - running.get(c.name, 0) for c in problem.classes}
    classes = tuple(
        replace(c, count=left[c.name], deps=tuple(d for d in c.deps if left[d.parent]))
        for c in problem.classes
        if left[c.name]
    )
    return replace(problem, classes=classes, running=()) if classes else None


def through_losses(fate: Fate, ends: Floats, again_s: Floats) -> tuple[Floats, Floats]:
    """Ends of running tasks when their nodes may be reclaimed, and when a lost one began again.

    Shapes: ends, result (S, n), -inf where nothing was lost; again_s (S, n, phases) is what a lost
    task takes in each phase of its fleet.
    """
    begun = np.full(ends.shape, -np.inf)
    for phase in range(1, fate.pool.shape[1]):
        lost = ends > fate.lost_s[:, phase - 1, None]
        if not lost.any():
            break
        ready = fate.ready_s[:, phase, None]
        begun = np.where(lost, ready, begun)
        ends = np.where(lost, ready + again_s[:, :, phase], ends)
    return ends, begun


def occupy(free_s: Floats, taken: list[int], ends: Floats, width: int) -> None:
    """Keep lanes of held nodes busy until some tasks end, as evenly over the nodes as they come.

    Shapes: free_s (S, nodes, slots), written in place; ends (S, n).  `taken` counts the slots that
    each node has given away; more tasks than slots share them, and the last end counts.
    """
    nodes, slots = free_s.shape[1], free_s.shape[2]
    by_room = np.argsort(taken, kind="stable")
    for at in range(0, ends.shape[1], nodes):
        some = ends[:, at : at + nodes]
        which = by_room[: some.shape[1]]
        for w in range(width):
            slot = (np.array(taken)[which] + w) % slots
            free_s[:, which, slot] = np.maximum(free_s[:, which, slot], some)
        for node in which:
            taken[int(node)] += width
