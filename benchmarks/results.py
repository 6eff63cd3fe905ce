"""What was measured: one JSON line for each run of each side, and the verdicts."""

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.driver import Measured
from benchmarks.figures import Check
from benchmarks.processes import load

LIBRARIES: Final = ("rayorch", "ray", "daft", "pyarrow", "duckdb", "deltalake", "numpy")


class Machine(msgspec.Struct, frozen=True, tag="machine"):
    """Where it was measured."""

    python: str
    system: str
    cores: int
    versions: dict[str, str]
    load_minute: float
    busy: float


class RunLine(msgspec.Struct, frozen=True, tag="run"):
    """One run of one side."""

    workload: str
    side: str
    number: int
    measured: Measured
    busy: float  # share of the machine's cores in use just before


class FailureLine(msgspec.Struct, frozen=True, tag="failure"):
    """A side that failed, or was left out."""

    workload: str
    side: str
    why: str
    skipped: bool = False
    at_least_s: float = 0.0  # what its job took at least, if it was stopped for being slow


class CheckLine(msgspec.Struct, frozen=True, tag="check"):
    """A verdict."""

    check: Check
    verdict: str


Line = Machine | RunLine | FailureLine | CheckLine


class Results:
    """Collects lines, and appends each to a file as it comes."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.lines: list[Line] = []

    def add(self, line: Line) -> None:
        """Keep a line."""
        self.lines.append(line)
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(line) + b"\n")

    def check(self, check: Check) -> None:
        """Keep a verdict."""
        self.add(CheckLine(check, check.verdict))

    def runs(self, workload: str, side: str) -> list[Measured]:
        """Return the runs of one side."""
        return [
            line.measured
            for line in self.lines
            if isinstance(line, RunLine) and (line.workload, line.side) == (workload, side)
        ]

    def walls(self, workload: str, side: str) -> tuple[list[float], bool]:
        """Return the wall seconds of a side, and whether they are only known to be no less."""
        slow = [
            line.at_least_s
            for line in self.failures()
            if (line.workload, line.side) == (workload, side) and line.at_least_s
        ]
        found = walls(self.runs(workload, side))
        return (found, False) if found else (slow, bool(slow))

    def failures(self) -> list[FailureLine]:
        """Return what failed or was left out."""
        return [line for line in self.lines if isinstance(line, FailureLine)]

    def checks(self) -> list[Check]:
        """Return the verdicts."""
        return [line.check for line in self.lines if isinstance(line, CheckLine)]

    @property
    def sides(self) -> list[tuple[str, str]]:
        """Return (workload, side) of all that ran, in the order they first did."""
        runs = [line for line in self.lines if isinstance(line, RunLine)]
        return list(dict.fromkeys((line.workload, line.side) for line in runs))


def walls(runs: Sequence[Measured]) -> list[float]:
    """Return the wall seconds of some runs."""
    return [run.wall_s for run in runs]


def cpus(runs: Sequence[Measured]) -> list[float]:
    """Return the CPU seconds of some runs."""
    return [run.cpu_s for run in runs]


def told(runs: Sequence[Measured], name: str) -> list[float]:
    """Return a number that the side itself told of some runs."""
    return [float(run.told[name]) for run in runs]


def this_machine() -> Machine:
    """Return where we are, and how busy it is."""
    minute, busy = load()
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=len(os.sched_getaffinity(0)),
        versions={name: found for name in LIBRARIES if (found := version_of(name))},
        load_minute=minute,
        busy=busy,
    )


def version_of(library: str) -> str:
    """Return the version of a library, empty if it is not installed."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""
