"""Tasks that merge states of an aggregate's hot keys, before the tasks that make values of them.

Most states shrink to a row a key where they are made. Some do not: a count of values that hardly
repeat, or what an author's own aggregate keeps. Of a hot key, they would all go to one task.

    its rows, parted by value     each task has all rows of some values, and counts them for good
    its rows, as they came        each task has the states of some map tasks, and merges those
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from rayorch.exchange.hash_plan import HOT_SHARE, Hot, hot_keys, measured_sides
from rayorch.exchange.index import SideIndex
from rayorch.exchange.layout import KEY_PARTS
from rayorch.exchange.packing import Pour, poured
from rayorch.exchange.parts import Counts, unpacked
from rayorch.exchange.sizing import (
    MIB,
    Drawn,
    DrawnTask,
    PlanLimits,
    Reason,
    affordable_count,
    side_bytes,
)
from rayorch.exchange.splits import HotKey, HotParts, HotRows, Take

STATES_MIN: Final = 4
"""States of a key that a task merges at least: with fewer it hands on nearly what it read."""


class Merges(NamedTuple):
    """The tasks that come first, of which keys, and whether each has all rows of its values."""

    drawn: Drawn
    hot: tuple[HotKey, ...] = ()
    by_value: bool = False


def merge_tasks(side: SideIndex, limits: PlanLimits, reasons: list[Reason]) -> Merges:
    """Return tasks that merge states of keys that are too large for one task, if there are any."""
    found, wanted = _too_large(side, limits, reasons)
    if not found:
        return Merges(Drawn(tasks=[]))
    parts = {key: _part_rows(side, key) for key in found}
    by_value = all(rows.size for rows in parts.values())
    states = sum(key.rows for key in found)
    count = min(wanted, KEY_PARTS * len(found) if by_value else states // STATES_MIN)
    numbers = {
        "keys": len(found),
        "mib": round(sum(key.raw_bytes for key in found) / MIB, 3),
        "states": states,
    }
    if count < 2:  # noqa: PLR2004 - one task is what there would be without.
        why = "each has few states, so that to merge some of them first saves nothing"
        reasons.append(Reason(f"{_texts(found)} not cut", why, numbers))
        return Merges(Drawn(tasks=[]))
    pours = poured([0.0] * count, [key.raw_bytes for key in found], [0.0] * len(found))
    drawn = [
        _task(found, parts, [pour for pour in pours if pour.task == task], by_value=by_value)
        for task in range(count)
    ]
    drawn = [task for task in drawn if task.rows[0]]
    how = "each counts some of its values" if by_value else "each merges the states of some tasks"
    why = f"larger than a task; {how}, and what is left is merged after that"
    reasons.append(Reason(f"{_texts(found)} cut into {len(drawn)} tasks", why, numbers))
    hot = tuple(HotKey(key.bucket, key.key_hash) for key in found)
    names = [key.text for key in found]
    return Merges(Drawn(tasks=drawn, broadcast=(False,), hot_keys=names), hot, by_value)


def _too_large(side: SideIndex, limits: PlanLimits, reasons: list[Reason]) -> tuple[list[Hot], int]:
    """Return the keys to merge first, and by how many tasks; none where all fit in tasks."""
    total, parts = side_bytes(side), len(side.parts)
    tasks, _ = affordable_count(total, parts, limits)
    mean = total / tasks
    measured = measured_sides([side])
    found = hot_keys([side], measured, None, min(HOT_SHARE * mean, mean))
    numbers: dict[str, float] = {"mib": round(total / MIB, 3), "tasks": tasks}
    if found and mean:
        numbers["largest_over_mean"] = round(found[0].raw_bytes / mean, 3)
    if tasks == 1 or not found or found[0].raw_bytes <= mean:
        why = "no key is larger than a task" if tasks > 1 else "all of it is for one task"
        reasons.append(Reason("nothing merged first", why, numbers))
        return [], 0
    hot_bytes = sum(key.raw_bytes for key in found)
    return found, max(2, affordable_count(round(hot_bytes), parts, limits)[0])


def _part_rows(side: SideIndex, key: Hot) -> Counts:
    """Return how many rows each part of a key has; nothing, where it is not parted by value."""
    found = [
        unpacked(heavy.parts)
        for _, number in side.heavy_starts[key.bucket, key.key_hash]
        for heavy in side.runs[number].segment.heavy
        if (heavy.bucket, heavy.key_hash) == (key.bucket, key.key_hash) and heavy.parts
    ]
    return np.sum(found, axis=0) if found else np.empty(0, dtype=np.int64)


def _task(
    found: Sequence[Hot], parts: dict[Hot, Counts], pours: Sequence[Pour], *, by_value: bool
) -> DrawnTask:
    takes: list[Take] = []
    rows, size_bytes = 0, 0.0
    for pour in pours:
        key = found[pour.item]
        if by_value:
            ends = np.concatenate([[0], np.cumsum(parts[key])])
            first, last = (_nearest(ends, share) for share in (pour.low, pour.high))
            count = int(ends[last] - ends[first])
            take: Take = HotParts(key.bucket, key.key_hash, first, last)
        else:
            first, last = round(pour.low * key.rows), round(pour.high * key.rows)
            count = last - first
            take = HotRows(key.bucket, key.key_hash, first, last)
        if first < last:
            takes.append(take)
            rows += count
            size_bytes += key.raw_bytes * count / key.rows
    return DrawnTask(takes=(tuple(takes),), rows=(rows,), raw_bytes=(round(size_bytes),))


def _nearest(ends: Counts, share: float) -> int:
    """Return the part before which a share of the rows is, as nearly as parts allow."""
    return int(np.abs(ends - share * ends[-1]).argmin())


def _texts(found: Sequence[Hot]) -> str:
    shown = ", ".join(key.text or "(all rows)" for key in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""  # noqa: PLR2004 - as above.
    return f"key{'s' * (len(found) > 1)} {shown}{more}"
