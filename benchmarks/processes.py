"""What a family of processes uses: CPU seconds, with those of processes that ended, and memory.

CPU seconds are read from /proc some times a second. A process that ends between two looks loses
what it used since the last one: at most `LOOK_S` for each process that ended.
"""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Self

import psutil

LOOK_S: Final = 0.1
MEMORY_LOOK_S: Final = 0.25
_TICK_S: Final = 1.0 / os.sysconf("SC_CLK_TCK")


class Key(NamedTuple):
    """A process, told from a later one that was given the same pid."""

    pid: int
    started: int


class Usage(NamedTuple):
    """What a process has used since it began."""

    parent: int
    cpu_s: float


def parse_stat(line: str) -> tuple[Key, Usage]:
    """Return what a line of /proc/<pid>/stat says.

    The name is in brackets and may hold anything, brackets and blanks too.
    """
    pid, _, rest = line.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) * _TICK_S
    return Key(int(pid), int(fields[19])), Usage(int(fields[1]), cpu_s)


def all_processes() -> dict[Key, Usage]:
    """Return every process of this machine."""
    found: dict[Key, Usage] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            line = Path("/proc", name, "stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # It ended while we looked.
        key, usage = parse_stat(line)
        found[key] = usage
    return found


def family(processes: dict[Key, Usage], roots: Iterable[int]) -> set[Key]:
    """Return the processes with these pids and all that descend from them."""
    children: dict[int, list[Key]] = defaultdict(list)
    by_pid = {key.pid: key for key in processes}
    for key, usage in processes.items():
        children[usage.parent].append(key)
    found: set[Key] = set()
    todo = [by_pid[pid] for pid in roots if pid in by_pid]
    while todo:
        key = todo.pop()
        if key not in found:
            found.add(key)
            todo += children[key.pid]
    return found


@dataclass(slots=True)
class CpuAccount:
    """Adds up what a family used since the first look, whoever of it still lives."""

    roots: Sequence[int]
    _first: dict[Key, float] = field(default_factory=dict)
    _last: dict[Key, float] = field(default_factory=dict)
    _members: set[Key] = field(default_factory=set)
    _began: bool = False

    def look(self, processes: dict[Key, Usage]) -> None:
        """Take in the state of all processes."""
        # Once of the family, always: a process whose parent ended is given another one.
        self._members |= family(processes, self.roots)
        for key in self._members:
            usage = processes.get(key)
            if usage is None:
                continue
            # One that began after the first look used all of it in our time.
            self._first.setdefault(key, 0.0 if self._began else usage.cpu_s)
            self._last[key] = usage.cpu_s
        self._began = True

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the whole family since the first look."""
        return sum(self._last[key] - first for key, first in self._first.items())


class CpuSampler:
    """Watches a family from a thread while something is measured."""

    def __init__(self, roots: Sequence[int]) -> None:
        self._account = CpuAccount(roots)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cpu-sampler", daemon=True)

    def __enter__(self) -> Self:
        self._account.look(all_processes())
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._account.look(all_processes())

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            self._account.look(all_processes())

    @property
    def cpu_s(self) -> float:
        """CPU seconds between entering and leaving."""
        return self._account.cpu_s


def members(roots: Iterable[int]) -> Iterator[psutil.Process]:
    """Yield the living processes of a family."""
    for key in family(all_processes(), roots):
        try:
            yield psutil.Process(key.pid)
        except psutil.NoSuchProcess:
            continue


def end_descendants() -> None:
    """Kill every process that descends from this one: what they do is of no use any more.

    All are stopped first, or one could start another between our look and its end.
    """
    stopped: set[psutil.Process] = set()
    while new := set(psutil.Process().children(recursive=True)) - stopped:
        for process in new:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        stopped |= new
    for process in stopped:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def memory_bytes(roots: Iterable[int]) -> int:
    """Return the proportional set size of a family: what several share is counted once."""
    total = 0
    for process in members(roots):
        try:
            total += int(process.memory_full_info().pss)
        except psutil.NoSuchProcess:
            continue
    return total


def held_bytes(roots: Iterable[int]) -> int:
    """Return the same without pages of files: those the system takes back when it needs room."""
    total = 0
    for process in members(roots):
        try:
            text = Path("/proc", str(process.pid), "smaps_rollup").read_text(encoding="ascii")
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += _kib(text, "Pss_Anon:") + _kib(text, "Pss_Shmem:")
    return total << 10


def _kib(text: str, field: str) -> int:
    """Return a field of smaps_rollup; none, of a process that is about to end."""
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(field)), 0)


class MemorySampler:
    """Keeps the highest memory of a family. Looking costs, so nothing is timed meanwhile."""

    def __init__(
        self, roots: Sequence[int], measure: Callable[[Iterable[int]], int] = memory_bytes
    ) -> None:
        self._roots = roots
        self._measure = measure
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-sampler", daemon=True)
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, self._measure(self._roots))
            if self._stopping.wait(MEMORY_LOOK_S):
                return


def load() -> tuple[float, float]:
    """Return the machine's load average of a minute, and the share of its cores now in use."""
    before = psutil.cpu_times()
    time.sleep(0.5)
    after = psutil.cpu_times()
    spent = sum(after) - sum(before)
    idle = (after.idle - before.idle) + (after.iowait - before.iowait)
    return os.getloadavg()[0], (1.0 - idle / spent) if spent else 0.0
