"""How long the control actor is busy with what it is told: it has one core, and a task takes some.

A task that stands for many ends at once, where the many would have ended one after the other while
it ran: what they take is spread over that time, and only what is left at its end is waited for.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

TASK_CPU_S: Final = 220e-6
"""Of the control actor for one task: `python -m benchmarks.core_scale`."""


class Told(NamedTuple):
    """An attempt that has ended: how many tasks it stands for, and how long it ran."""

    tasks: float
    duration_s: float


class ControlCpu:
    """The core of a control actor, as far as it is taken."""

    def __init__(self, task_cpu_s: float = TASK_CPU_S) -> None:
        self._task_cpu_s = task_cpu_s
        self._free_s = float("-inf")

    def through_s(self, now_s: float, told: Iterable[Told]) -> float:
        """Return when it is through with what it is told now, and before."""
        for each in told:
            spread_s = each.duration_s * (1.0 - 1.0 / max(1.0, each.tasks))
            begun_s = max(self._free_s, now_s - spread_s)
            self._free_s = begun_s + each.tasks * self._task_cpu_s
        return max(now_s, self._free_s)
