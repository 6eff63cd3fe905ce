"""Divide buckets into tasks, and cut the keys that are too large for one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from rayorch.exchange.index import SideIndex
from rayorch.exchange.packing import Pour, Sizes, groups_of, poured
from rayorch.exchange.sizing import Drawn, DrawnTask, Reason
from rayorch.exchange.splits import Buckets, HotKey, HotRows, Take
from rayorch.relational import AggregateCode, AsofCode, JoinCode, OperatorCode

HOT_SHARE: Final = 0.25
"""A heavy key of this share of a task's mean is cut, or given to whom has room for it."""


class Hot(NamedTuple):
    """A heavy key that is large enough to be planned by itself."""

    bucket: int
    key_hash: int
    rows: int
    raw_bytes: float
    text: str


@dataclass(frozen=True, slots=True)
class MeasuredSide:
    """What one side has in each bucket."""

    rows: Sizes
    raw_bytes: Sizes


def hash_tasks(
    code: OperatorCode,
    sides: Sequence[SideIndex],
    tasks: int,
    merged: Sequence[HotKey],
    reasons: list[Reason],
) -> Drawn:
    """Return tasks of whole buckets, and of pieces of hot keys where the operator allows it.

    merged: keys of an aggregate whose states other tasks have merged; those of files are left out.
    """
    measured = measured_sides(sides)
    total = float(sum(side.raw_bytes.sum() for side in measured))
    if not total:
        return Drawn(tasks=[])
    mean = total / tasks
    cut_side, refusal = _side_to_cut(code, sides)
    found = hot_keys(sides, measured, cut_side, HOT_SHARE * mean)
    if merged:
        return _without(sides, measured, merged, tasks)
    if cut_side is None:
        _say_uncut(found, refusal, mean, reasons)
        hot: list[Hot] = []
    else:
        hot = _worth_cutting(found, measured, cut_side, mean, reasons)
    sizes = np.sum([side.raw_bytes for side in measured], axis=0)
    for key in hot:
        sizes[key.bucket] -= key.raw_bytes
    sizes = np.maximum(sizes, 0.0)
    groups = groups_of(sizes, tasks, mean if hot else 0.0)
    loads = [sum(float(sizes[low:high].sum()) for low, high in group) for group in groups]
    loads += [0.0] * (tasks - len(loads))
    groups += [[] for _ in range(tasks - len(groups))]
    extra = [_other_bytes(measured, cut_side, key.bucket) for key in hot]
    pours = poured(loads, [key.raw_bytes for key in hot], extra)
    drawn = [
        drawn_task(measured, group, [pour for pour in pours if pour.task == number], hot, cut_side)
        for number, group in enumerate(groups)
    ]
    return Drawn(
        tasks=[task for task in drawn if any(task.rows)],
        broadcast=(False,) * len(sides),
        hot_keys=[key.text for key in hot],
    )


def _without(
    sides: Sequence[SideIndex],
    measured: Sequence[MeasuredSide],
    merged: Sequence[HotKey],
    tasks: int,
) -> Drawn:
    """Return tasks of whole buckets, without what the files hold of keys that were merged first."""
    wanted = {(key.bucket, key.key_hash) for key in merged}
    found = hot_keys(sides, measured, None, 0.0)
    hot = [key for key in found if (key.bucket, key.key_hash) in wanted]
    sizes = measured[0].raw_bytes.copy()
    for key in hot:
        sizes[key.bucket] -= key.raw_bytes
    groups = groups_of(np.maximum(sizes, 0.0), tasks)
    drawn = [drawn_task(measured, group, (), hot, 0) for group in groups]
    return Drawn(tasks=drawn, broadcast=(False,), hot_keys=[key.text for key in hot])


def measured_sides(sides: Sequence[SideIndex]) -> list[MeasuredSide]:
    """Return what each side has in each bucket."""
    buckets = next((part.buckets for side in sides for part in side.parts), 1)
    return [_measured(side, buckets) for side in sides]


def _measured(side: SideIndex, buckets: int) -> MeasuredSide:
    rows = np.zeros(buckets)
    raw_bytes = np.zeros(buckets)
    for run in side.runs:
        rows += np.diff(run.bucket_starts)
        raw_bytes += run.bucket_bytes
    return MeasuredSide(rows, raw_bytes)


def _side_to_cut(code: OperatorCode, sides: Sequence[SideIndex]) -> tuple[int | None, str]:
    """Return the side of which a key's rows may be divided, or why there is none."""
    if isinstance(code, AsofCode):
        # Each left row looks for its match alone.
        return 0, ""
    if isinstance(code, AggregateCode):
        return None, "each task before merged what it could of it"
    if not isinstance(code, JoinCode):
        return None, f"{code.kind} needs all rows of a key in one task"
    if code.how == "full":
        return None, "a full join finds unmatched rows of both sides in one task"
    if code.how != "inner":
        return (1 if code.how == "right" else 0), ""
    # One side for all keys: pieces of both could meet in a task, and match twice.
    heavy = [_heavy_rows(side) for side in sides]
    return int(heavy[1] > heavy[0]), ""


def _heavy_rows(side: SideIndex) -> int:
    return sum(key.rows for run in side.runs for key in run.segment.heavy)


def hot_keys(
    sides: Sequence[SideIndex],
    measured: Sequence[MeasuredSide],
    cut_side: int | None,
    bytes_min: float,
) -> list[Hot]:
    """Return the heavy keys of the side to cut, or the first, with so many bytes: largest first."""
    number = cut_side or 0
    side = measured[number]
    rows: dict[tuple[int, int], int] = {}
    sizes: dict[tuple[int, int], float] = {}
    texts: dict[tuple[int, int], str] = {}
    for run in sides[number].runs:
        for key in run.segment.heavy:
            name = (key.bucket, key.key_hash)
            by_rows = key.rows * side.raw_bytes[key.bucket] / max(side.rows[key.bucket], 1.0)
            rows[name] = rows.get(name, 0) + key.rows
            sizes[name] = sizes.get(name, 0.0) + float(key.raw_bytes or by_rows)
            texts.setdefault(name, key.text)
    found = [
        Hot(*name, count, sizes[name], texts[name])
        for name, count in rows.items()
        if sizes[name] >= bytes_min
    ]
    return sorted(found, key=lambda key: (-key.raw_bytes, key.bucket, key.key_hash))


def _say_uncut(found: list[Hot], refusal: str, mean: float, reasons: list[Reason]) -> None:
    for key in found:
        if key.raw_bytes > mean:
            numbers = {"rows": key.rows, "over_mean": round(key.raw_bytes / mean, 3)}
            reasons.append(Reason(f"key {key.text} not cut", refusal, numbers))


def _worth_cutting(
    found: list[Hot],
    measured: Sequence[MeasuredSide],
    cut_side: int,
    mean: float,
    reasons: list[Reason],
) -> list[Hot]:
    """Leave out keys whose other side is so large that copies of it cost more than balance."""
    kept = []
    for key in found:
        other = _other_bytes(measured, cut_side, key.bucket)
        numbers = {"rows": key.rows, "over_mean": round(key.raw_bytes / mean, 3)}
        if other > key.raw_bytes / 2:
            numbers["copied_mib"] = round(other / (1 << 20), 3)
            reasons.append(Reason(f"key {key.text} not cut", "copies cost more", numbers))
            continue
        if key.raw_bytes > mean:
            reasons.append(Reason(f"key {key.text} cut", "it is larger than a task", numbers))
        kept.append(key)
    return kept


def _other_bytes(measured: Sequence[MeasuredSide], cut_side: int | None, bucket: int) -> float:
    others = (side for number, side in enumerate(measured) if number != cut_side)
    return float(sum(side.raw_bytes[bucket] for side in others))


def drawn_task(
    measured: Sequence[MeasuredSide],
    group: Sequence[tuple[int, int]],
    pours: Sequence[Pour],
    hot: Sequence[Hot],
    cut_side: int | None,
) -> DrawnTask:
    """Return a task of groups of buckets, and of what is poured into it of hot keys."""
    takes: list[tuple[Take, ...]] = []
    rows, raw_bytes = [], []
    for number, side in enumerate(measured):
        is_cut = number == cut_side
        taken, size, count = _whole(side, group, hot if is_cut else ())
        for pour in pours:
            key = hot[pour.item]
            if is_cut:
                first, last = round(pour.low * key.rows), round(pour.high * key.rows)
                taken.append(HotRows(key.bucket, key.key_hash, first, last))
                count += last - first
                size += key.raw_bytes * (last - first) / key.rows
            elif not any(low <= key.bucket < high for low, high in group):
                # Other keys of the bucket come along and match nothing: it is one of many.
                taken.append(Buckets(key.bucket, key.bucket + 1))
                count += side.rows[key.bucket]
                size += side.raw_bytes[key.bucket]
        takes.append(tuple(taken))
        rows.append(round(count))
        raw_bytes.append(round(size))
    return DrawnTask(takes=tuple(takes), rows=tuple(rows), raw_bytes=tuple(raw_bytes))


def _whole(
    side: MeasuredSide, group: Sequence[tuple[int, int]], hot: Sequence[Hot]
) -> tuple[list[Take], float, float]:
    """Return what whole buckets come to, without their hot keys."""
    taken: list[Take] = []
    size = count = 0.0
    for low, high in group:
        inside = [key for key in hot if low <= key.bucket < high]
        taken.append(Buckets(low, high, tuple(key.key_hash for key in inside)))
        size += float(side.raw_bytes[low:high].sum()) - sum(key.raw_bytes for key in inside)
        count += float(side.rows[low:high].sum()) - sum(key.rows for key in inside)
    return taken, max(size, 0.0), count
