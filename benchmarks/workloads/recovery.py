"""How long a leader needs to know where it stands, from a journal and from a snapshot."""

from typing import Final

import msgspec

from benchmarks.session import Session, Target, printed
from rayorch.bench.figures import summary

TASKS: Final = 1_000_000
JOURNAL_S: Final = 20.0
SNAPSHOT_S: Final = 5.0


class Numbers(msgspec.Struct, frozen=True):
    """What `benchmarks.recovery` prints, as far as it is looked at here."""

    journal_bytes: int
    append_s: float
    journal_s: float
    journal_cpu_s: float
    snapshot_s: float
    snapshot_cpu_s: float


def recovery(session: Session) -> None:
    """Run the benchmark in a process of its own, so that its memory is its own."""
    tasks = session.options.scaled(TASKS)
    runs = []
    for _ in range(session.options.runs):
        runs.append(printed("recovery", Numbers, "--tasks", str(tasks)))
        session.say(f"recovery: {runs[-1].journal_s:.1f} s, {runs[-1].snapshot_s:.1f} s")
    for claim, limit, seconds, cpu in (
        (
            "from the journal",
            JOURNAL_S,
            [run.journal_s for run in runs],
            [run.journal_cpu_s for run in runs],
        ),
        (
            "from a snapshot",
            SNAPSHOT_S,
            [run.snapshot_s for run in runs],
            [run.snapshot_cpu_s for run in runs],
        ),
    ):
        note = f"{tasks:,} tasks; {summary(cpu).median:.1f} s of CPU"
        target = Target(limit=session.options.at_full(limit), unit="s", note=note)
        session.figure("recovery", claim, seconds, target)
    each = [run.journal_bytes / tasks for run in runs]
    session.figure("journal", "bytes a task", each, Target(unit="B"))
    rates = [tasks / run.append_s for run in runs]
    session.figure("journal", "commits a second, 100 a segment", rates, Target(at_least=True))
