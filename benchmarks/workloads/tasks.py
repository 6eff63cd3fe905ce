"""Workloads about tasks: their balance, their rate, how soon the first one starts."""

import subprocess
import sys
import time
from typing import Final

from benchmarks.figures import Check, makespan_bound_s, summary
from benchmarks.jobs import TASKS, pareto_turns, spin
from benchmarks.results import told
from benchmarks.session import Session, Work, alternate, own, peer_sides

PARETO_LIMIT: Final = 1.1
NOOPS: Final = 100_000
NOOP_RATE: Final = 15_000.0
NOOP_BYTES: Final = 600e6
SUBMIT_S: Final = 0.3


def pareto(session: Session) -> None:
    """400 tasks of pure-Python CPU work, the slowest 30 x the median: how near to the bound."""
    slowest_s = _slowest_s()
    work = Work(name="pareto", tasks=TASKS)
    alternate(session, work, [own("pareto"), *peer_sides("pareto", session.options.peers)])
    results = session.results
    ours = results.runs("pareto", "rayorch")
    slots = session.options.slots
    ratios = [
        run.wall_s / makespan_bound_s(float(run.told["attempt_cpu_s"]), slowest_s, slots)
        for run in ours
    ]
    figure = summary(ratios).median if ratios else None
    claim = "makespan / max(total / slots, slowest)"
    note = f"slowest alone {slowest_s:.2f} s"
    results.check(
        Check(workload="pareto", claim=claim, figure=figure, limit=PARETO_LIMIT, note=note)
    )


def _slowest_s() -> float:
    """Return the CPU seconds of the slowest task, run alone."""
    turns = max(pareto_turns())
    seconds = []
    for _ in range(3):
        began_s = time.process_time()
        spin(turns)
        seconds.append(time.process_time() - began_s)
    return min(seconds)


def noop(session: Session) -> None:
    """100,000 tasks that do nothing: what a task costs, and what the control actor weighs."""
    work = Work(name="noop", tasks=NOOPS)
    alternate(session, work, [own("noop")])
    results = session.results
    runs = results.runs("noop", "rayorch")
    rate = peak = None
    note = ""
    if runs:
        rate = NOOPS / summary(told(runs, "run_s")).median
        peak = max(told(runs, "control_peak_bytes")) / 1e6
        cpu_s = summary(told(runs, "control_cpu_s")).median
        note = f"control actor: {cpu_s / NOOPS * 1e6:.0f} CPU us a task"
    results.check(
        Check(
            workload="noop",
            claim="tasks a second, planning included",
            figure=rate,
            limit=NOOP_RATE,
            at_least=True,
            note=note,
        )
    )
    results.check(
        Check(
            workload="noop",
            claim="control actor, peak RSS",
            figure=peak,
            limit=NOOP_BYTES / 1e6,
            unit="MB",
        )
    )


def submit(session: Session) -> None:
    """Small runs one after the other: from the call of submit until the first task starts."""
    alternate(session, Work(name="submit", tasks=4), [own("submit")])
    runs = session.results.runs("submit", "rayorch")
    figure = summary(told(runs, "median_s")).median if runs else None
    note = f"worst {max(told(runs, 'worst_s')):.2f} s" if runs else ""
    session.results.check(
        Check(
            workload="submit",
            claim="submit to first start",
            figure=figure,
            limit=SUBMIT_S,
            unit="s",
            note=note,
        )
    )


def startup(session: Session) -> None:
    """How long `rayorch --help` and `import rayorch` take."""
    commands = {
        "rayorch --help": [sys.executable, "-m", "rayorch", "--help"],
        "import rayorch": [sys.executable, "-c", "import rayorch"],
    }
    for name, command in commands.items():
        seconds = []
        for _ in range(4 * session.options.runs):
            began_s = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - began_s)
        found = summary(seconds)
        session.results.check(
            Check(
                workload="startup",
                claim=name,
                figure=found.median,
                limit=0.4,
                unit="s",
                note=f"best {found.least:.2f} s, worst {found.most:.2f} s of {found.runs}",
            )
        )
