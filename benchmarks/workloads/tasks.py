"""Workloads about tasks: their balance, their rate, how soon the first one starts."""

import time
from typing import Final

from benchmarks.jobs import TASKS, pareto_turns, spin, spun
from benchmarks.peers import ONE_PROCESS, own, peer_sides
from benchmarks.session import Session, Target, Work, alternate
from rayorch.bench.figures import makespan_bound_s
from rayorch.bench.results import told

PARETO_LIMIT: Final = 1.1
NOOPS: Final = 100_000
NOOP_RATE: Final = 15_000.0
NOOP_BYTES: Final = 600e6
SUBMIT_S: Final = 0.3


def pareto(session: Session) -> None:
    """Tasks of pure-Python CPU work, the slowest 30 x the median: how near to the bound."""
    slowest_s = _slowest_s()
    tasks = session.options.scaled(TASKS, TASKS // 4)
    peers = [name for name in session.options.peers if name not in ONE_PROCESS]
    # Our own tasks are discarded, as nobody reads them: peers return what they computed.
    counted = sum(spun(turns) for turns in pareto_turns(tasks))
    work = Work(name="pareto", tasks=tasks, counted=counted)
    alternate(session, work, [own("pareto"), *peer_sides("pareto", peers)])
    slots = session.options.slots
    ratios = [
        run.wall_s / makespan_bound_s(float(run.told["attempt_cpu_s"]), slowest_s, slots)
        for run in session.results.runs("pareto", "rayorch")
    ]
    target = Target(limit=PARETO_LIMIT, note=f"slowest alone {slowest_s:.2f} s")
    session.figure("pareto", "makespan / max(total / slots, slowest)", ratios, target)


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
    """Tasks that do nothing: what a task costs, and what the control actor weighs."""
    tasks = session.options.scaled(NOOPS)
    alternate(session, Work(name="noop", tasks=tasks), [own("noop")])
    runs = session.results.runs("noop", "rayorch")
    rates = [tasks / seconds for seconds in told(runs, "run_s")]
    cpu_us = [seconds / tasks * 1e6 for seconds in told(runs, "control_cpu_s")]
    peaks = [size / 1e6 for size in told(runs, "control_peak_bytes")]
    at_full = session.options.at_full
    rate = Target(limit=at_full(NOOP_RATE), at_least=True, note=f"{tasks:,} tasks")
    session.figure("noop", "tasks a second, planning included", rates, rate)
    session.figure("noop", "CPU of the control actor, a task", cpu_us, Target(unit="us"))
    peak = Target(limit=at_full(NOOP_BYTES / 1e6), unit="MB")
    session.figure("noop", "control actor, peak RSS", peaks, peak)


def submit(session: Session) -> None:
    """Small runs one after the other: from the call of submit until the first task starts."""
    alternate(session, Work(name="submit", tasks=4), [own("submit")])
    runs = session.results.runs("submit", "rayorch")
    note = f"worst {max(told(runs, 'worst_s')):.2f} s" if runs else ""
    target = Target(limit=SUBMIT_S, unit="s", note=note)
    session.figure("submit", "submit to first start", told(runs, "median_s"), target)
