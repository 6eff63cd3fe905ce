"""How many reduce tasks there are, whether a side is small enough to go to all, and why."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from rayorch.exchange.index import SideIndex
from rayorch.exchange.splits import Take
from rayorch.relational import (
    HashKeys,
    JoinCode,
    OperatorCode,
    RepartitionCode,
    keying_of,
)

TARGET_BYTES: Final = 128 << 20
TASK_BYTES_MIN: Final = 4 << 20
"""Below it, starting a task costs more than its work."""
TASKS_PER_SLOT: Final = 2
"""So that the last tasks of a stage can go to whoever is free."""
REQUESTS_MAX: Final = 200_000
MEMORY_TIMES: Final = 4
"""A kernel needs several times its input: hash tables, the result, the input itself."""
REPLICATED_SHARE_MAX: Final = 0.2
MIB: Final = 1 << 20


class PlanLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the planner may count on."""

    slots: int
    target_bytes: int = TARGET_BYTES
    memory_bytes: int = 1 << 30  # of one task
    request_usd: float = 0.0  # of one read from the store
    requests_max: int = REQUESTS_MAX


class Reason(msgspec.Struct, frozen=True):
    """One decision, and the numbers that led to it."""

    decision: str
    why: str
    numbers: dict[str, float]

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={value:g}" for name, value in self.numbers.items())
        return f"{self.decision}: {self.why}" + (f" ({shown})" if shown else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnTask:
    """One reduce task before it has a number."""

    takes: tuple[tuple[Take, ...], ...]
    rows: tuple[int, ...]
    raw_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a way of dividing came to."""

    tasks: Sequence[DrawnTask]
    broadcast: tuple[bool, ...] = (False, False)
    hot_keys: Sequence[str] = field(default_factory=tuple)


def side_bytes(side: SideIndex) -> int:
    """Return the bytes of a side's rows in memory."""
    return sum(part.raw_bytes for part in side.parts)


def side_rows(side: SideIndex) -> int:
    """Return how many rows a side has."""
    return sum(part.rows for part in side.parts)


def target_bytes(limits: PlanLimits) -> int:
    """Return what a task should have to do with at most."""
    return min(limits.target_bytes, max(limits.memory_bytes // MEMORY_TIMES, 1))


def task_count(
    code: OperatorCode,
    sides: Sequence[SideIndex],
    limits: PlanLimits,
    reasons: list[Reason],
    merged_bytes: int = 0,
) -> int:
    """Return how many tasks of equal size there should be, at least one.

    merged_bytes: of rows that other tasks have read for them.
    """
    total = max(0, sum(side_bytes(side) for side in sides) - merged_bytes)
    parts = sum(len(side.parts) for side in sides)
    numbers: dict[str, float] = {"mib": round(total / MIB, 3), "parts": parts}
    if isinstance(code, RepartitionCode) and code.parts is not None:
        reasons.append(Reason(f"{code.parts} tasks", "the author asked for as many parts", numbers))
        return max(code.parts, 1)
    target = target_bytes(limits)
    if isinstance(code, RepartitionCode) and code.size_bytes is not None:
        target = max(code.size_bytes, 1)
        count = max(1, round(total / target))
        numbers["target_mib"] = round(target / MIB, 3)
        reasons.append(Reason(f"{count} tasks", "the author asked for parts of this size", numbers))
        return count
    if keying_of(code) == HashKeys(()):
        reasons.append(Reason("1 task", "all rows are one group", numbers))
        return 1
    count, is_cut = affordable_count(total, parts, limits)
    numbers |= {"target_mib": round(target / MIB, 3), "slots": limits.slots}
    why = "so many fit in memory and keep the slots busy"
    if is_cut:
        why = "more would ask the store for too many ranges"
        numbers["requests_max"] = limits.requests_max
    reasons.append(Reason(f"{count} task{'s' * (count != 1)}", why, numbers))
    return count


def affordable_count(total_bytes: int, parts: int, limits: PlanLimits) -> tuple[int, bool]:
    """Return how many tasks read so many bytes, and whether requests are why there are no more."""
    by_size = -(-total_bytes // target_bytes(limits))
    by_slots = min(TASKS_PER_SLOT * limits.slots, total_bytes // TASK_BYTES_MIN)
    count = max(by_size, by_slots, 1)
    if count > limits.slots:
        # Whole rounds: or the last one leaves slots idle.
        count = -(-count // limits.slots) * limits.slots
    affordable = max(limits.requests_max // max(parts, 1), by_size, 1)
    return min(count, affordable), count > affordable


def broadcast_choice(
    code: JoinCode,
    sides: Sequence[SideIndex],
    tasks: int,
    limits: PlanLimits,
    reasons: list[Reason],
) -> int | None:
    """Return the side that every task should take whole, or None."""
    sizes = [side_bytes(side) for side in sides]
    small = int(np.argmin(sizes))
    allowed = {"inner": (0, 1), "right": (0,), "full": ()}.get(code.how, (1,))
    numbers = {"small_mib": sizes[small] / MIB, "large_mib": sizes[1 - small] / MIB}
    numbers = {name: round(value, 3) for name, value in numbers.items()}
    if tasks == 1 or small not in allowed:
        return None
    replicated = sizes[small] * (tasks - 1)
    fits = sizes[small] * MEMORY_TIMES <= limits.memory_bytes
    name = ("left", "right")[small]
    if not fits or replicated > REPLICATED_SHARE_MAX * sizes[1 - small]:
        numbers["replicated_mib"] = round(replicated / MIB, 3)
        reasons.append(Reason(f"{name} not broadcast", "copies cost more than they save", numbers))
        return None
    reasons.append(Reason(f"{name} broadcast", "it is small: the other is cut anywhere", numbers))
    return small


def worst_over_mean(tasks: Sequence[DrawnTask]) -> float:
    """Return the bytes of the largest task over their mean."""
    sizes = [sum(task.raw_bytes) for task in tasks]
    return max(sizes) * len(sizes) / sum(sizes) if sum(sizes) else 1.0
