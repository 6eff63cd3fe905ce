"""Slow a process down: it is stopped and let go on many times a second, from outside.

What a busy neighbour or a smaller machine does to a runner, without the rights that a control group
would need. A process at a share of 0.2 of its core does a fifth of the work.
"""

import os
import signal
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import psutil

PERIOD_S: Final = 0.05
"""Short beside a batch, long beside what it takes to wake a process."""


class Throttle:
    """Processes at a share of their speed each, as long as the context lasts."""

    def __init__(self, shares: Mapping[int, float]) -> None:
        assert all(0.0 < share <= 1.0 for share in shares.values()), shares
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._pulse, args=(pid, share), daemon=True)
            for pid, share in shares.items()
            if share < 1.0
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _pulse(self, pid: int, share: float) -> None:
        """Let a process run for its share of each period, by the clock: pauses do not add up."""
        began_s = time.monotonic()
        allowed_s = 0.0
        try:
            while not self._stopping.is_set():
                os.kill(pid, signal.SIGCONT)
                resumed_s = time.monotonic()
                self._stopping.wait(PERIOD_S * share)
                os.kill(pid, signal.SIGSTOP)
                now_s = time.monotonic()
                allowed_s += now_s - resumed_s
                # Until all that it ran is its share of all that has passed.
                self._stopping.wait(max(0.0, allowed_s / share - (now_s - began_s)))
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            return  # It ended: nothing is left to slow down.


def runners_of(root: int) -> list[int]:
    """Return the processes of rayorch's runners in a family, by their number."""
    children = psutil.Process(root).children(recursive=True)
    return sorted(child.pid for child in children if _is_runner(child))


def _is_runner(process: psutil.Process) -> bool:
    try:
        return " ".join(process.cmdline()).startswith("ray::RunnerActor")
    except psutil.NoSuchProcess:
        return False
