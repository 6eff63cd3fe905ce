"""The core alone: a million tasks to their end, no Ray, no journal."""

from typing import Final

import msgspec

from benchmarks.session import Session, Target, printed

TASKS: Final = 1_000_000
RATE: Final = 40_000.0
LIMIT_MB: Final = 1_500.0


class Numbers(msgspec.Struct, frozen=True):
    """What `benchmarks.core_events` prints, as far as it is looked at here."""

    events_per_s: float
    peak_mb: float


def core(session: Session) -> None:
    """Run the benchmark of the core in a process of its own, so that its memory is its own."""
    tasks = session.options.scaled(TASKS)
    runs = []
    for _ in range(session.options.runs):
        runs.append(printed("core_events", Numbers, "--tasks", str(tasks)))
        session.say(f"core: {runs[-1].events_per_s:,.0f} events a second")
    rates, peaks = [run.events_per_s for run in runs], [max(run.peak_mb for run in runs)]
    rate = Target(limit=RATE, at_least=True, note=f"{tasks:,} tasks")
    session.figure("core", "events a second", rates, rate)
    peak = Target(limit=session.options.at_full(LIMIT_MB), unit="MB")
    session.figure("core", "peak RSS", peaks, peak)
