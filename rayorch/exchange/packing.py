"""Divide sizes into tasks of nearly equal size. Pure numbers; the same input has one answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

Sizes = NDArray[np.float64]

# Ranges of neighbours are read in one request each; dealt buckets have to earn theirs.
_DEALING_GAIN: Final = 1.05
_LARGE: Final = 0.25
_EVEN: Final = 1.1
_SEARCH_STEPS: Final = 40


@dataclass(frozen=True, slots=True)
class Pour:
    """How much of a hot key a task takes: from where to where, as shares of it."""

    task: int
    item: int
    low: float
    high: float


def groups_of(sizes: Sizes, tasks: int, level: float = 0.0) -> list[list[tuple[int, int]]]:
    """Return ranges of neighbouring items for each task, at most `tasks` of them, none empty.

    Items larger than what is left for a task have one to themselves. The others are ranges, but
    where those are not even enough: then large items are dealt out before the ranges are cut.
    level: what tasks are filled to later, so that it need not be more even than that.
    """
    level = max(level, float(sizes.sum()) / tasks, float(sizes.max(initial=0.0)))
    alone = _larger_than_a_task(sizes, tasks)
    others = np.setdiff1d(np.arange(len(sizes)), alone)
    groups = [[(item, item + 1)] for item in alone]
    if len(others):
        ranges = _even_groups(sizes[others], tasks - len(alone), level)
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


def _even_groups(sizes: Sizes, tasks: int, level: float) -> list[NDArray[np.intp]]:
    items = np.arange(len(sizes))
    neighbours = [items[low:high] for low, high in neighbour_ranges(sizes, tasks)]
    most = max(float(sizes[group].sum()) for group in neighbours)
    if most <= _EVEN * level:
        return neighbours
    dealt = _large_dealt(sizes, tasks)
    most_dealt = max(float(sizes[group].sum()) for group in dealt)
    return neighbours if most_dealt * _DEALING_GAIN >= most else dealt


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
        if _ranges_needed(ends, middle)[0] <= tasks:
            high = middle
        else:
            low = middle
    return _evened(ends, tasks, high)


def _furthest(ends: Sizes, most: float) -> list[int]:
    """Return where a range ends at the latest that begins at each item: one item at the least."""
    # Half a byte of slack, or rounding would open another range.
    last = np.searchsorted(ends, ends[:-1] + most + 0.5, side="right") - 1
    return np.maximum(last, np.arange(1, len(ends))).tolist()  # type: ignore[no-any-return]


def _ranges_needed(ends: Sizes, most: float) -> list[int]:
    """Return how many ranges the items from each on need, every range filled up to `most`."""
    furthest = _furthest(ends, most)
    needed = [0] * len(ends)
    for first in range(len(furthest) - 1, -1, -1):
        needed[first] = 1 + needed[furthest[first]]
    return needed


def _evened(ends: Sizes, tasks: int, most: float) -> list[tuple[int, int]]:
    """Fill ranges to the mean of the rest where `most` and the number of tasks allow it."""
    furthest, needed = _furthest(ends, most), _ranges_needed(ends, most)
    ranges: list[tuple[int, int]] = []
    first, items = 0, len(ends) - 1
    while first < items:
        left, limit = tasks - len(ranges), furthest[first]
        aim = ends[first] + (ends[-1] - ends[first]) / left
        last = int(np.abs(ends[first + 1 : limit + 1] - aim).argmin()) + first + 1
        if left > 1 and needed[last] > left - 1:
            last = limit
        ranges.append((first, last if left > 1 else items))
        first = ranges[-1][1]
    return ranges


def _large_dealt(sizes: Sizes, tasks: int) -> list[NDArray[np.intp]]:
    """Deal large items to whoever has least, then cut the others into ranges that fill up."""
    mean = float(sizes.sum()) / tasks
    is_large = sizes > _LARGE * mean
    groups: list[list[int]] = [[] for _ in range(tasks)]
    heap = [(0.0, task) for task in range(tasks)]
    heapify(heap)
    # Equal sizes in the order of items: the same sizes have one answer.
    for item in np.argsort(-sizes, kind="stable")[: int(is_large.sum())]:
        load, task = heap[0]
        groups[task].append(int(item))
        heapreplace(heap, (load + float(sizes[item]), task))
    small = np.flatnonzero(~is_large)
    if small.size:
        room = np.maximum([mean - load for load, _ in sorted(heap, key=itemgetter(1))], 0.0)
        aims = np.cumsum(room) * (float(sizes[small].sum()) / max(float(room.sum()), 1.0))
        middles = np.cumsum(sizes[small]) - sizes[small] / 2
        owners = np.minimum(np.searchsorted(aims, middles), tasks - 1)
        for item, owner in zip(small.tolist(), owners.tolist(), strict=True):
            groups[owner].append(item)
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
