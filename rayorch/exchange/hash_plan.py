"""Divide buckets into tasks, and cut the keys that are too large for one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from rayorch.exchange.index import SideIndex
from rayorch.exchange.packing import Pour, Sizes, groups_of, poured
from rayorch.exchange.sizing import Drawn, DrawnTask, PlanLimits, Reason
from rayorch.exchange.splits import Buckets, HotRows, Take
from rayorch.relational import AggregateCode, AsofCode, JoinCode, OperatorCode

HOT_SHARE: Final = 0.25
"""A heavy key of this share of a task's mean is cut, or given to whom has room for it."""


class _Hot(NamedTuple):
    bucket: int
    key_hash: int
    rows: int
    raw_bytes: float
    text: str


@dataclass(frozen=True, slots=True)
class _Side:
    """What one side has in each bucket."""

    rows: Sizes
    raw_bytes: Sizes


def hash_tasks(
    code: OperatorCode,
    sides: Sequence[SideIndex],
    tasks: int,
    limits: PlanLimits,
    reasons: list[Reason],
) -> Drawn:
    """Return tasks of whole buckets, and of pieces of hot keys where the operator allows it."""
    buckets = next((part.buckets for side in sides for part in side.parts), 1)
    measured = [_measured(side, buckets) for side in sides]
    total = float(sum(side.raw_bytes.sum() for side in measured))
    if not total:
        return Drawn(tasks=[])
    mean = total / tasks
    cut_side, refusal = _side_to_cut(code, sides)
    found = _hot_keys(sides, measured, cut_side, HOT_SHARE * mean)
    if isinstance(code, AggregateCode) and not limits.merges_first:
        _say_uncut(found, "each task before merged what it could of it", mean, reasons)
        hot: list[_Hot] = []
    elif cut_side is None:
        _say_uncut(found, refusal, mean, reasons)
        hot = []
    else:
        hot = _worth_cutting(found, measured, cut_side, mean, reasons)
    if isinstance(code, AggregateCode):
        return _aggregated_before(measured, hot, tasks, reasons)
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
        _task(measured, group, [pour for pour in pours if pour.task == number], hot, cut_side)
        for number, group in enumerate(groups)
    ]
    return Drawn(
        tasks=[task for task in drawn if any(task.rows)],
        broadcast=(False,) * len(sides),
        hot_keys=[key.text for key in hot],
    )


def _measured(side: SideIndex, buckets: int) -> _Side:
    rows = np.zeros(buckets)
    raw_bytes = np.zeros(buckets)
    for run in side.runs:
        rows += np.diff(run.bucket_starts)
        raw_bytes += np.diff(run.raw_bytes(run.bucket_starts))
    return _Side(rows, raw_bytes)


def _side_to_cut(code: OperatorCode, sides: Sequence[SideIndex]) -> tuple[int | None, str]:
    """Return the side of which a key's rows may be divided, or why there is none."""
    if isinstance(code, AggregateCode | AsofCode):
        # Each left row of an as-of join looks for its match alone.
        return 0, ""
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


def _hot_keys(
    sides: Sequence[SideIndex], measured: Sequence[_Side], cut_side: int | None, bytes_min: float
) -> list[_Hot]:
    number = cut_side or 0
    rows: dict[tuple[int, int], int] = {}
    texts: dict[tuple[int, int], str] = {}
    for run in sides[number].runs:
        for key in run.segment.heavy:
            name = (key.bucket, key.key_hash)
            rows[name] = rows.get(name, 0) + key.rows
            texts.setdefault(name, key.text)
    side = measured[number]
    found = []
    for (bucket, key_hash), count in rows.items():
        size = count * side.raw_bytes[bucket] / max(side.rows[bucket], 1.0)
        if size >= bytes_min:
            found.append(_Hot(bucket, key_hash, count, float(size), texts[bucket, key_hash]))
    return sorted(found, key=lambda key: (-key.rows, key.bucket, key.key_hash))


def _say_uncut(found: list[_Hot], refusal: str, mean: float, reasons: list[Reason]) -> None:
    for key in found:
        if key.raw_bytes > mean:
            numbers = {"rows": key.rows, "over_mean": round(key.raw_bytes / mean, 3)}
            reasons.append(Reason(f"key {key.text} not cut", refusal, numbers))


def _worth_cutting(
    found: list[_Hot],
    measured: Sequence[_Side],
    cut_side: int,
    mean: float,
    reasons: list[Reason],
) -> list[_Hot]:
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


def _other_bytes(measured: Sequence[_Side], cut_side: int | None, bucket: int) -> float:
    others = (side for number, side in enumerate(measured) if number != cut_side)
    return float(sum(side.raw_bytes[bucket] for side in others))


def _task(
    measured: Sequence[_Side],
    group: Sequence[tuple[int, int]],
    pours: Sequence[Pour],
    hot: Sequence[_Hot],
    cut_side: int | None,
) -> DrawnTask:
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
    side: _Side, group: Sequence[tuple[int, int]], hot: Sequence[_Hot]
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


def _aggregated_before(
    measured: Sequence[_Side], hot: Sequence[_Hot], tasks: int, reasons: list[Reason]
) -> Drawn:
    """Return tasks that merge pieces of hot keys first, and tasks of whole buckets for the rest."""
    (side,) = measured
    sizes = side.raw_bytes.copy()
    for key in hot:
        sizes[key.bucket] -= key.raw_bytes
    hot_bytes = sum(key.raw_bytes for key in hot)
    count = max(1, round(hot_bytes * tasks / float(side.raw_bytes.sum())))
    groups = groups_of(np.maximum(sizes, 0.0), max(1, tasks - count) if hot else tasks)
    pours = poured([0.0] * count, [key.raw_bytes for key in hot], [0.0] * len(hot))
    before = [
        _task(measured, (), [pour for pour in pours if pour.task == number], hot, 0)
        for number in range(count if hot else 0)
    ]
    if hot:
        numbers = {"keys": len(hot), "mib": round(hot_bytes / (1 << 20), 3)}
        why = "partial states of hot keys are merged in pieces first"
        reasons.append(Reason(f"{len(before)} tasks before", why, numbers))
    return Drawn(
        tasks=[_task(measured, group, (), hot, 0) for group in groups],
        before=before,
        broadcast=(False,),
        hot_keys=[key.text for key in hot],
    )
