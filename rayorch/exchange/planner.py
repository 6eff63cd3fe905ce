"""From what the map tasks measured to reduce tasks of equal size, and why they are what they are.

Pure: parts in, plan out, and the same parts give the same plan in every process.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

import msgspec

from rayorch.exchange.hash_plan import hash_tasks
from rayorch.exchange.index import SideIndex
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
from rayorch.exchange.splits import HotRows, ReduceSplit, RowRange, Take
from rayorch.relational import (
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
    """The reduce tasks of an exchange.

    before: tasks that come first, of an aggregate whose hot keys were cut: each merges the partial
    states that it takes to one a key, and writes them as one more part of the side, with the side's
    own keying and buckets. `splits` are then of an index whose side ends with those parts.
    """

    splits: tuple[ReduceSplit, ...]
    before: tuple[ReduceSplit, ...]
    broadcast: tuple[bool, ...]  # by side
    hot_keys: tuple[str, ...]  # that were cut
    slowest_over_mean: float  # of bytes
    requests: int
    together: int  # tasks that read their files at once, when one runner has them
    reasons: tuple[Reason, ...]


def plan_exchange(
    code: OperatorCode, sides: Sequence[Sequence[ExchangePart]], limits: PlanLimits
) -> ExchangePlan:
    """Divide an exchange into reduce tasks of nearly equal measured size."""
    assert len(sides) == sides_of(code)
    indices = [SideIndex(parts) for parts in sides]
    reasons: list[Reason] = []
    tasks = task_count(code, indices, limits, reasons)
    drawn = _drawn(code, indices, tasks, limits, reasons)
    return _finished(drawn, indices, limits, reasons)


def _drawn(
    code: OperatorCode,
    indices: Sequence[SideIndex],
    tasks: int,
    limits: PlanLimits,
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
    return hash_tasks(code, indices, tasks, limits, reasons)


def _finished(
    drawn: Drawn, sides: Sequence[SideIndex], limits: PlanLimits, reasons: list[Reason]
) -> ExchangePlan:
    before = tuple(_split(number, task, sides) for number, task in enumerate(drawn.before))
    splits = tuple(_split(number, task, sides) for number, task in enumerate(drawn.tasks))
    runs = [len(side.runs) for side in sides]
    together = tasks_together(splits, runs, limits.memory_bytes)
    splits = shared_requests(splits, runs, together, limits.memory_bytes)
    requests = sum(split.requests for split in (*before, *splits))
    reasons.append(_requests_reason(requests, together, limits))
    even = max(worst_over_mean(drawn.tasks), worst_over_mean(drawn.before))
    numbers = {"slowest_over_mean": round(even, 4)}
    reasons.append(Reason("tasks of even size", "measured bytes of each", numbers))
    return ExchangePlan(
        splits=splits,
        before=before,
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
    if isinstance(take, HotRows):
        found = side.heavy_starts[take.bucket, take.key_hash]
        starts = [before for before, _ in found]
        return bisect_left(starts, take.last) - bisect_right(starts, take.first) + 1
    if isinstance(take, RowRange):
        starts = side.run_starts[:-1].tolist()
        return bisect_left(starts, take.last) - bisect_right(starts, take.first) + 1
    return len(side.runs)
