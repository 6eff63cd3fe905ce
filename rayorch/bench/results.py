"""What was measured, as a file of JSON lines: `rayorch bench run -o FILE` appends, others read.

Each line has a `type`:

    machine   where and when it was measured, with which versions, and how busy the machine was
    run       one run of one side: seconds, CPU seconds, start-up, memory, what it told
    figure    a number that no side but ours has, each repetition of it
    failure   a side that was skipped, failed, was too slow, or ran out of memory
    check     a figure held against its target

`schema` of the machine line counts the versions of all of them. Units are in the names: seconds,
bytes; a `figure` says its own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from rayorch.bench.errors import ResultsError
from rayorch.bench.figures import Check

SCHEMA: Final = 2
KIND: Final = "rayorch-bench"
Told = dict[str, float | str]
Why = Literal["skipped", "failed", "slow", "memory"]


class Machine(msgspec.Struct, frozen=True, tag="machine"):
    """Where and when it was measured. `asked` is what the suite was told to do."""

    python: str
    system: str
    cores: int
    versions: dict[str, str]
    load_minute: float
    busy: float  # share of the cores that others used
    kind: str = KIND
    schema: int = SCHEMA
    at: str = ""
    processor: str = ""
    memory_bytes: int = 0
    asked: dict[str, str] = {}


class Bar(msgspec.Struct, frozen=True):
    """An attempt on its runner. Units: seconds since the submission."""

    pool: str
    runner: str
    stage: str
    start_s: float
    end_s: float


class StageRate(msgspec.Struct, frozen=True):
    """What the attempts of one stage did, and in which of their steps the seconds went."""

    name: str
    tasks: int
    rows: int
    size_bytes: int
    wall_s: float  # from its first attempt's start to its last one's end
    steps: dict[str, float]
    slowest_over_mean: float = 1.0


class Measured(msgspec.Struct, frozen=True):
    """What one run of one side took; `startup_s` until it was connected and warm, before that."""

    wall_s: float
    cpu_s: float
    told: Told = {}
    peak_bytes: int = 0
    startup_s: float = 0.0
    stages: tuple[StageRate, ...] = ()
    bars: tuple[Bar, ...] = ()


class RunLine(msgspec.Struct, frozen=True, tag="run"):
    """One run of one side. `busy` is the share of the machine's cores in use just before."""

    workload: str
    side: str
    number: int
    measured: Measured
    busy: float


class FigureLine(msgspec.Struct, frozen=True, tag="figure"):
    """A number of ours, as often as it was measured; `at` is what it depends on, if it is drawn."""

    workload: str
    name: str
    values: tuple[float, ...]
    unit: str = ""
    more_is_better: bool = False
    at: float | None = None


class FailureLine(msgspec.Struct, frozen=True, tag="failure"):
    """A side that has no (further) run of a workload."""

    workload: str
    side: str
    why: str
    kind: Why = "failed"
    at_least_s: float = 0.0  # what its job took at least, if it was stopped for being slow


class CheckLine(msgspec.Struct, frozen=True, tag="check"):
    """A verdict."""

    check: Check
    verdict: str


Line = Machine | RunLine | FigureLine | FailureLine | CheckLine


class _Head(msgspec.Struct, frozen=True):
    """What the first line of every version has."""

    kind: str = ""
    schema: int = 0


class Results:
    """Collects lines, and appends each to a file as it comes."""

    def __init__(self, path: Path | None, lines: Sequence[Line] = ()) -> None:
        self._path = path
        self.is_interrupted = False
        """Somebody ended it before all was measured."""
        self.lines: list[Line] = list(lines)

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

    def machines(self) -> list[Machine]:
        """Return where it was measured: once for each call that appended."""
        return [line for line in self.lines if isinstance(line, Machine)]

    def failures(self) -> list[FailureLine]:
        """Return what failed or was left out."""
        return [line for line in self.lines if isinstance(line, FailureLine)]

    def figures(self) -> list[FigureLine]:
        """Return the numbers that are no side's runs."""
        return [line for line in self.lines if isinstance(line, FigureLine)]

    def checks(self) -> list[Check]:
        """Return the verdicts."""
        return [line.check for line in self.lines if isinstance(line, CheckLine)]

    @property
    def sides(self) -> list[tuple[str, str]]:
        """Return (workload, side) of all that ran, in the order they first did."""
        runs = [line for line in self.lines if isinstance(line, RunLine)]
        return list(dict.fromkeys((line.workload, line.side) for line in runs))


def read_results(path: Path) -> Results:
    """Return what a file of results holds.

    Raises: ResultsError: it cannot be read, is something else, of another version, or cut short.
    """
    try:
        rows = path.read_bytes().splitlines()
    except OSError as error:
        raise ResultsError(f"it cannot be read: {(error.strerror or '').lower()}", path) from None
    decoder = msgspec.json.Decoder(Line)
    lines: list[Line] = []
    for number, row in enumerate(rows, 1):
        if number == 1:
            _check_head(row, path)
        try:
            lines.append(decoder.decode(row))
        except msgspec.DecodeError as error:
            raise ResultsError(f"line {number} is damaged: {error}", path) from None
    if not lines:
        raise ResultsError("it is empty", path)
    return Results(None, lines)


def _check_head(row: bytes, path: Path) -> None:
    try:
        head = msgspec.json.decode(row, type=_Head)
    except msgspec.DecodeError:
        head = _Head()
    if head.kind != KIND:
        raise ResultsError("it holds no results of a benchmark", path)
    if head.schema != SCHEMA:
        problem = f"its schema is version {head.schema}, and version {SCHEMA} is read here"
        raise ResultsError(problem, path)


def walls(runs: Sequence[Measured]) -> list[float]:
    """Return the wall seconds of some runs."""
    return [run.wall_s for run in runs]


def cpus(runs: Sequence[Measured]) -> list[float]:
    """Return the CPU seconds of some runs."""
    return [run.cpu_s for run in runs]


def told(runs: Sequence[Measured], name: str) -> list[float]:
    """Return a number that the side itself told of some runs."""
    return [float(run.told[name]) for run in runs]
