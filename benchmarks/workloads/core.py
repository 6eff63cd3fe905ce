"""The core alone: a million tasks to their end, no Ray, no journal."""

import subprocess
import sys
from typing import Final

import msgspec

from benchmarks.figures import Check, summary
from benchmarks.session import Session

RATE: Final = 40_000.0
LIMIT_MB: Final = 1_500.0


class Numbers(msgspec.Struct, frozen=True):
    """What `benchmarks.core_events` prints, as far as it is looked at here."""

    tasks: int
    events_per_s: float
    peak_mb: float


def core(session: Session) -> None:
    """Run the benchmark of the core in a process of its own, so that its memory is its own."""
    command = [sys.executable, "-m", "benchmarks.core_events"]
    runs = []
    for _ in range(session.options.runs):
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        runs.append(msgspec.json.decode(printed, type=Numbers))
        session.say(f"core: {runs[-1].events_per_s:,.0f} events a second")
    rate = summary([run.events_per_s for run in runs])
    note = f"{runs[0].tasks:,} tasks; {rate.least:,.0f} - {rate.most:,.0f}"
    checks = (
        Check(
            workload="core",
            claim="events a second",
            figure=rate.median,
            limit=RATE,
            at_least=True,
            note=note,
        ),
        Check(
            workload="core",
            claim="peak RSS",
            figure=max(run.peak_mb for run in runs),
            limit=LIMIT_MB,
            unit="MB",
        ),
    )
    for check in checks:
        session.results.check(check)
