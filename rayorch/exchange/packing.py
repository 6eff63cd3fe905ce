"""Divide sizes into tasks of nearly equal size. Pure numbers; the same input has one answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import Final

import numpy as np
from numpy.typing import NDArray

Sizes = NDArray[np.float64]

# Ranges of neighbours are read in one request each; scattered buckets have to earn theirs.
_SCATTER_GAIN: Final = 1.05
_EVEN: Final = 1.1
_SEARCH_STEPS: Final = 40


@dataclass(frozen=True, slots=True)
class Pour:
    """How much of a hot key a task takes: from where to where, as shares of it."""

    task: int
    item: int
    low: float
    high: float


def groups_of(sizes: Sizes, tasks: int) -> list[list[tuple[int, int]]]:
    """Return ranges of neighbouring items for each task, at most `tasks` of them, none empty.

    Items larger than what is left for a task have one to themselves. The others are ranges, but
    where those are not even enough: then the largest goes first to whoever has least.
    """
    alone = _larger_than_a_task(sizes, tasks)
    others = np.setdiff1d(np.arange(len(sizes)), alone)
    groups = [[(item, item + 1)] for item in alone]
    if len(others):
        ranges = _even_groups(sizes[others], tasks - len(alone))
        groups += [_as_ranges(others[group].tolist()) for group in ranges]
    return sorted(groups)


def _larger_than_a_task(sizes: Sizes, tasks: int) -> list[int]:
    found: list[int] = []
    left = float(sizes.sum())
    for item in np.argsort(-sizes, kind="stable"):
        if tasks - len(found) == 1 or sizes[item] * (tasks - len(found)) <= left:
            break
        found.append(int(item))
        left -= float(sizes[item])
    return sorted(found)


def _even_groups(sizes: Sizes, tasks: int) -> list[NDArray[np.intp]]:
    items = np.arange(len(sizes))
    neighbours = [items[low:high] for low, high in neighbour_ranges(sizes, tasks)]
    most = max(float(sizes[group].sum()) for group in neighbours)
    if most <= _EVEN * float(sizes.sum()) / tasks:
        return neighbours
    scattered = _largest_first(sizes, tasks)
    most_scattered = max(float(sizes[group].sum()) for group in scattered)
    return neighbours if most_scattered * _SCATTER_GAIN >= most else scattered


def neighbour_ranges(sizes: Sizes, tasks: int) -> list[tuple[int, int]]:
    """Return at most `tasks` ranges that cover all items, the largest as small as possible.

    Source: binary search on the largest sum, each range filled greedily (the linear partition
    problem); then every range is filled up to the mean of what is left.
    """
    if not len(sizes):
        return []
    ends = np.concatenate([[0.0], np.cumsum(sizes)])
    low, high = max(float(sizes.max()), float(ends[-1]) / tasks), float(ends[-1])
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        if len(_filled(ends, middle)) <= tasks:
            high = middle
        else:
            low = middle
    return _evened(ends, tasks, high)


def _filled(ends: Sizes, most: float) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    first, items = 0, len(ends) - 1
    while first < items:
        # Half a byte of slack, or rounding would open another range.
        last = int(np.searchsorted(ends, ends[first] + most + 0.5, side="right")) - 1
        last = max(last, first + 1)
        ranges.append((first, last))
        first = last
    return ranges


def _evened(ends: Sizes, tasks: int, most: float) -> list[tuple[int, int]]:
    """Fill ranges to the mean of the rest where `most` and the number of tasks allow it."""
    ranges: list[tuple[int, int]] = []
    first, items = 0, len(ends) - 1
    while first < items:
        left = tasks - len(ranges)
        limit = int(np.searchsorted(ends, ends[first] + most + 0.5, side="right")) - 1
        limit = max(limit, first + 1)
        aim = ends[first] + (ends[-1] - ends[first]) / left
        last = int(np.abs(ends[first + 1 : limit + 1] - aim).argmin()) + first + 1
        if left > 1 and len(_filled(ends[last:] - ends[last], most)) > left - 1:
            last = limit
        ranges.append((first, last if left > 1 else items))
        first = ranges[-1][1]
    return ranges


def _largest_first(sizes: Sizes, tasks: int) -> list[NDArray[np.intp]]:
    groups: list[list[int]] = [[] for _ in range(min(tasks, len(sizes)))]
    loads = [(0.0, task) for task in range(len(groups))]
    heapify(loads)
    # Equal sizes in the order of items: the same sizes have one answer.
    for item in np.argsort(-sizes, kind="stable"):
        load, task = loads[0]
        groups[task].append(int(item))
        heapreplace(loads, (load + float(sizes[item]), task))
    return [np.array(sorted(group), dtype=np.intp) for group in groups if group]


def _as_ranges(items: Sequence[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for item in items:
        if ranges and ranges[-1][1] == item:
            ranges[-1] = (ranges[-1][0], item + 1)
        else:
            ranges.append((item, item + 1))
    return ranges


def poured(loads: Sequence[float], hot: Sequence[float], extra: Sequence[float]) -> list[Pour]:
    """Pour divisible sizes into tasks up to one common level; a piece also costs its `extra`.

    Shapes: loads (tasks,); hot, extra (items,).
    """
    tasks = len(loads)
    held = np.array(loads, dtype=np.float64)
    pours: list[Pour] = []
    level = (float(held.sum()) + float(np.sum(hot))) / tasks
    for item in np.argsort(-np.asarray(hot), kind="stable"):
        size, share = float(hot[item]), 0.0
        # What a piece replicates is paid in each task, so that more of them raise the level.
        pieces = max(1, round(size / max(level, 1.0)))
        level += float(extra[item]) * pieces / tasks
        while share < 1.0:
            task = int(held.argmin())
            room = max(level - float(held[task]) - float(extra[item]), size / (4 * tasks))
            part = min(room / size, 1.0 - share) if size else 1.0
            end = 1.0 if 1.0 - share - part < 1 / (8 * tasks) else share + part
            pours.append(Pour(task, int(item), share, end))
            held[task] += (end - share) * size + float(extra[item])
            share = end
    return pours
