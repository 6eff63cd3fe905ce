"""How cost grows: the scheduler's with tasks, a run's speed with runners, an answer's with size."""

from dataclasses import replace
from typing import Final

import msgspec

from benchmarks.peers import own
from benchmarks.session import Session, Target, Work, alternate, printed
from rayorch.bench.figures import ratio

SIZES: Final = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
FROM: Final = 10_000
"""Of fewer tasks, what a run costs at all is most of it."""
GROWS_MAX: Final = 1.3
FLEET: Final = ("--runners", "1000", "--pools", "10", "--runs", "1", "--tenants", "1")
PACE: Final = ("--rate", "500")

TASKS: Final = 400
SCENARIOS: Final = 50
CAPACITY_S: Final = 60.0


class Scheduled(msgspec.Struct, frozen=True):
    """What `benchmarks.core_scale` prints, as far as it is looked at here."""

    cpu_us_per_task: float
    peak_mb: float


class Answered(msgspec.Struct, frozen=True):
    """What `benchmarks.capacity_scale` prints, as far as it is looked at here."""

    cpu_s: float
    simulated_tasks: int
    refused: str


def scale(session: Session) -> None:
    """Schedule from ten tasks to a million: what each costs of the scheduler's CPU."""
    most = session.options.scaled(SIZES[-1], FROM)
    sizes = [size for size in SIZES if size < most] + [most]
    costs: dict[int, list[float]] = {}
    for size in sizes:
        for _ in range(session.options.runs):
            found = printed("core_scale", Scheduled, "--tasks", str(size), *FLEET, *PACE)
            costs.setdefault(size, []).append(found.cpu_us_per_task)
        session.say(f"scale: {costs[size][-1]:.0f} us a task of {size:,}")
        session.figure("scale", "CPU a task over tasks", costs[size], Target(unit="us", at=size))
    if most > FROM:
        grown = ratio(costs[most], costs[FROM])
        limit = session.options.at_full(GROWS_MAX)
        target = Target(limit=limit, note=f"{most:,} tasks over {FROM:,}")
        values = [] if grown is None else [grown]
        session.figure("scale", f"CPU a task, of {most:,} tasks / of {FROM:,}", values, target)


def runners(session: Session) -> None:
    """Do the same work with one runner, and so on to as many as are slots here."""
    usual = session.options
    most = max(usual.slots, session.cores)
    tasks = usual.scaled(TASKS, TASKS // 4)
    rates: dict[int, list[float]] = {}
    try:
        for count in range(1, most + 1):
            # A Ray of so many slots: what is warm has as many runners as it was started with.
            session.end_ray("own")
            session.options = replace(usual, slots=count)
            name = f"runners {count}"
            alternate(session, Work(name=name, tasks=tasks), [own("pareto")])
            runs = session.results.runs(name, "rayorch")
            rates[count] = [tasks / run.wall_s for run in runs]
            target = Target(at_least=True, at=count)
            session.figure("runners", "tasks a second over runners", rates[count], target)
    finally:
        session.options = usual
        session.end_ray("own")


def capacity(session: Session) -> None:
    """Ask what a million tasks need on a thousand machines."""
    scenarios = session.options.scaled(SCENARIOS, 5)
    runs = [
        printed("capacity_scale", Answered, "--scenarios", str(scenarios))
        for _ in range(min(2, session.options.runs))
    ]
    note = f"{runs[0].simulated_tasks:,} tasks, {scenarios} scenarios"
    limit = session.options.at_full(CAPACITY_S)
    target = Target(limit=limit, unit="s", note=note)
    claim = f"CPU of an answer, {scenarios} scenarios"
    session.figure("capacity", claim, [run.cpu_s for run in runs], target)
    if runs[0].refused:
        session.say(f"capacity: {runs[0].refused}")
