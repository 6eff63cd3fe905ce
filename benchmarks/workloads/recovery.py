"""How long a leader needs to know where it stands, from a journal and from a snapshot."""

import subprocess
import sys
from typing import Final

import msgspec

from benchmarks.figures import Check, summary
from benchmarks.session import Session

JOURNAL_S: Final = 20.0
SNAPSHOT_S: Final = 5.0


class Numbers(msgspec.Struct, frozen=True):
    """What `benchmarks.recovery` prints, as far as it is looked at here."""

    tasks: int
    journal_s: float
    journal_cpu_s: float
    snapshot_s: float
    snapshot_cpu_s: float


def recovery(session: Session) -> None:
    """Run the benchmark in a process of its own, so that its memory is its own."""
    command = [sys.executable, "-m", "benchmarks.recovery"]
    runs = []
    for _ in range(session.options.runs):
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        runs.append(msgspec.json.decode(printed, type=Numbers))
        session.say(f"recovery: {runs[-1].journal_s:.1f} s, {runs[-1].snapshot_s:.1f} s")
    journal, snapshot = (
        summary([getattr(run, name) for run in runs]) for name in ("journal_s", "snapshot_s")
    )
    cpu = summary([run.journal_cpu_s for run in runs])
    snapshot_cpu = summary([run.snapshot_cpu_s for run in runs])
    for claim, figure, limit, cpu_s in (
        ("from the journal", journal, JOURNAL_S, cpu.median),
        ("from a snapshot", snapshot, SNAPSHOT_S, snapshot_cpu.median),
    ):
        session.results.check(
            Check(
                workload="recovery",
                claim=claim,
                figure=figure.median,
                limit=limit,
                unit="s",
                note=f"{runs[0].tasks:,} tasks; {cpu_s:.1f} s of CPU",
            )
        )
