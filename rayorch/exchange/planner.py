"""From what the map tasks measured to reduce tasks of equal size, and why they are what they are.

Pure: parts in, plan out, and the same parts give the same plan in every process.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

import msgspec

from rayorch.exchange.hash_plan import hash_tasks, hot_keys, measured_sides
from rayorch.exchange.index import SideIndex
from rayorch.exchange.merge_plan import merge_tasks
from rayorch.exchange.parts import ExchangePart
from rayorch.exchange.range_plan import range_tasks, row_tasks
from rayorch.exchange.sharing import shared_requests, tasks_together
from rayorch.exchange.sizing import (
    Drawn,
    DrawnTask,
    PlanLimits,
    Reason,
    broadcast_choice,
    task_count,
    worst_over_mean,
)
from rayorch.exchange.splits import HotKey, HotParts, HotRows, ReduceSplit, RowRange, Take
from rayorch.relational import (
    AggregateCode,
    JoinCode,
    OperatorCode,
    RangeKeys,
    SortCode,
    Spread,
    keying_of,
    sides_of,
)

MAP_SIDES: Final = 2


class ExchangePlan(msgspec.Struct, frozen=True):
    """The tasks that read an exchange."""

    splits: tuple[ReduceSplit, ...]
    broadcast: tuple[bool, ...]  # by side
    hot_keys: tuple[str, ...]  # that were cut
    slowest_over_mean: float  # of bytes
    requests: int
    together: int  # tasks that read their files at once, when one runner has them
    reasons: tuple[Reason, ...]
    merged: tuple[HotKey, ...] = ()  # whose states the tasks merge, of those that come first
    by_value: bool = False  # and each has all rows of the values that it has


def plan_merges(
    code: AggregateCode, parts: Sequence[ExchangePart], limits: PlanLimits
) -> ExchangePlan:
    """Divide what hot keys are too large for one task: their states are merged in pieces first.

    Each task merges what it takes and writes it as one more part of the side, with the side's own
    keying and buckets, where no key stands apart. Those parts come last in what is planned next.
    """
    assert sides_of(code) == 1
    side = SideIndex(parts)
    reasons: list[Reason] = []
    found = merge_tasks(side, limits, reasons)
    if not found.hot:
        return ExchangePlan((), (False,), (), 1.0, 0, 1, tuple(reasons))
    plan = _finished(found.drawn, [side], limits, reasons)
    return msgspec.structs.replace(plan, merged=found.hot, by_value=found.by_value)


def plan_exchange(
    code: OperatorCode,
    sides: Sequence[Sequence[ExchangePart]],
    limits: PlanLimits,
    merged: Sequence[HotKey] = (),
) -> ExchangePlan:
    """Divide an exchange into reduce tasks of nearly equal measured size.

    merged: keys whose states were merged first; the side's last parts hold what became of them.
    """
    assert len(sides) == sides_of(code)
    indices = [SideIndex(parts) for parts in sides]
    reasons: list[Reason] = []
    merged_bytes = _bytes_of(indices, merged)
    tasks = task_count(code, indices, limits, reasons, merged_bytes)
    drawn = _drawn(code, indices, tasks, limits, merged, reasons)
    return _finished(drawn, indices, limits, reasons)


def _bytes_of(sides: Sequence[SideIndex], merged: Sequence[HotKey]) -> int:
    if not merged:
        return 0
    found = hot_keys(sides, measured_sides(sides), None, 0.0)
    wanted = {(key.bucket, key.key_hash) for key in merged}
    return round(sum(key.raw_bytes for key in found if (key.bucket, key.key_hash) in wanted))


def _drawn(
    code: OperatorCode,
    indices: Sequence[SideIndex],
    tasks: int,
    limits: PlanLimits,
    merged: Sequence[HotKey],
    reasons: list[Reason],
) -> Drawn:
    keying = keying_of(code)
    if isinstance(keying, RangeKeys):
        cuts_equal = isinstance(code, SortCode)
        return range_tasks(indices[0], keying.keys, tasks, cuts_equal=cuts_equal, reasons=reasons)
    if isinstance(keying, Spread):
        whole = [1] if len(indices) == MAP_SIDES else []
        return row_tasks(indices, 0, whole, tasks)
    if isinstance(code, JoinCode):
        chosen = broadcast_choice(code, indices, tasks, limits, reasons)
        if chosen is not None:
            return row_tasks(indices, 1 - chosen, [chosen], tasks)
    return hash_tasks(code, indices, tasks, merged, reasons)


def _finished(
    drawn: Drawn, sides: Sequence[SideIndex], limits: PlanLimits, reasons: list[Reason]
) -> ExchangePlan:
    splits = tuple(_split(number, task, sides) for number, task in enumerate(drawn.tasks))
    runs = [len(side.runs) for side in sides]
    together = tasks_together(splits, runs, limits.memory_bytes)
    splits = shared_requests(splits, runs, together, limits.memory_bytes)
    requests = sum(split.requests for split in splits)
    reasons.append(_requests_reason(requests, together, limits))
    even = worst_over_mean(drawn.tasks)
    numbers = {"slowest_over_mean": round(even, 4)}
    reasons.append(Reason("tasks of even size", "measured bytes of each", numbers))
    return ExchangePlan(
        splits=splits,
        broadcast=drawn.broadcast[: len(sides)],
        hot_keys=tuple(drawn.hot_keys),
        slowest_over_mean=even,
        requests=requests,
        together=together,
        reasons=tuple(reasons),
    )


def _requests_reason(requests: int, together: int, limits: PlanLimits) -> Reason:
    numbers: dict[str, float] = {}
    why = "buckets of one file that are neighbours are one range"
    if together > 1:
        numbers["tasks_at_once"] = together
        why = "small tasks are leased together, and read each file at once"
    if limits.request_usd:
        numbers["usd"] = requests * limits.request_usd
    return Reason(f"{requests} ranges read", why, numbers)


def _split(number: int, task: DrawnTask, sides: Sequence[SideIndex]) -> ReduceSplit:
    # A take is one range of each run that has some of it, whatever buckets and blocks it spans.
    requests = sum(
        _runs_with(take, side)
        for takes, side in zip(task.takes, sides, strict=True)
        for take in takes
    )
    return ReduceSplit(
        index=number,
        sides=task.takes,
        rows=task.rows,
        raw_bytes=task.raw_bytes,
        requests=requests,
    )


def _runs_with(take: Take, side: SideIndex) -> int:
    if isinstance(take, HotParts):
        return len(side.heavy_starts[take.bucket, take.key_hash])
    if isinstance(take, HotRows):
        found = side.heavy_starts[take.bucket, take.key_hash]
        starts = [before for before, _ in found]
        return bisect_left(starts, take.last) - bisect_right(starts, take.first) + 1
    if isinstance(take, RowRange):
        starts = side.run_starts[:-1].tolist()
        return bisect_left(starts, take.last) - bisect_right(starts, take.first) + 1
    return len(side.runs)
