"""What the attempts of a finished run did, by stage and runner, read back from its journal."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from rayorch.bench.results import Bar, StageRate
from rayorch.clock import Clock
from rayorch.core.facts import AttemptFinished, Event
from rayorch.core.machine import Machine
from rayorch.home import Home
from rayorch.ids import RunId, new_nonce
from rayorch.journal.log import Journal

BARS_MAX: Final = 600
"""More of them are a grey area on paper, and megabytes in a file."""
GET_USD: Final = 0.4e-6
PUT_USD: Final = 5.0e-6
"""What S3 asks for a request in its cheapest regions, where storage is standard."""


@dataclass(slots=True)
class Attempts:
    """The committed attempts of a run."""

    stages: tuple[StageRate, ...] = ()
    bars: tuple[Bar, ...] = ()
    gets: int = 0
    puts: int = 0
    moved_bytes: int = 0
    is_whole: bool = True
    """False where a snapshot has taken the place of some of them."""

    @property
    def request_usd(self) -> float:
        """Dollars for the requests of the tasks, by the usual price of S3."""
        return self.gets * GET_USD + self.puts * PUT_USD


@dataclass(slots=True)
class _Stage:
    wall_s: list[float] = field(default_factory=list)
    rows: int = 0
    size_bytes: int = 0
    steps: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    start_s: float = float("inf")
    end_s: float = 0.0


def attempts_of(home: Home, clock: Clock, run: RunId) -> Attempts:
    """Return what the committed attempts of a run did. Raises: JournalDamagedError, StoreError."""
    machine = Machine()
    ended: dict[int, tuple[Event, AttemptFinished]] = {}

    def seen(event: Event) -> None:
        machine.fold(event)
        fact = event.fact
        if isinstance(fact, AttemptFinished) and fact.run == run:
            ended.setdefault(fact.task, (event, fact))

    Journal(home.store, clock, new_nonce).replay(seen, machine.restore)
    return _summed(machine, run, list(ended.values()))


def _summed(machine: Machine, run: RunId, ended: list[tuple[Event, AttemptFinished]]) -> Attempts:
    known = machine.runs[run]
    found = Attempts(is_whole=len(ended) == known.committed)
    stages: dict[int, _Stage] = defaultdict(_Stage)
    bars = []
    for event, fact in ended:
        number, output = known.tasks[fact.task].stage, fact.output
        took_s, end_s = output.seconds.total_s, event.at_s - known.submitted_s
        start_s = max(0.0, end_s - took_s)
        _add(stages[number], fact, start_s, end_s)
        found.gets += output.gets + output.cached_gets
        found.puts += output.puts
        found.moved_bytes += output.moved_bytes
        name = known.stages[number].name
        bars.append(Bar(fact.pool or "local", str(fact.runner), name, start_s, end_s))
    if len(bars) <= BARS_MAX:
        found.bars = tuple(sorted(bars, key=lambda bar: (bar.pool, bar.runner, bar.start_s)))
    found.stages = tuple(
        _rate(known.stages[number].name, stages[number]) for number in sorted(stages)
    )
    return found


def _add(stage: _Stage, fact: AttemptFinished, start_s: float, end_s: float) -> None:
    seconds = fact.output.seconds
    stage.wall_s.append(seconds.total_s)
    stage.rows += fact.output.rows_in
    stage.size_bytes += fact.output.bytes_in
    for step in ("wait", "compute", "write", "read", "cpu"):
        stage.steps[step] += getattr(seconds, f"{step}_s")
    stage.start_s = min(stage.start_s, start_s)
    stage.end_s = max(stage.end_s, end_s)


def _rate(name: str, stage: _Stage) -> StageRate:
    mean_s = sum(stage.wall_s) / len(stage.wall_s)
    return StageRate(
        name=name,
        tasks=len(stage.wall_s),
        rows=stage.rows,
        size_bytes=stage.size_bytes,
        wall_s=stage.end_s - stage.start_s,
        steps={step: round(seconds, 4) for step, seconds in stage.steps.items()},
        slowest_over_mean=max(stage.wall_s) / mean_s if mean_s > 0.0 else 1.0,
    )
