"""Placement: seconds of a first plan, of the final one and of one made again, and how good."""

from typing import Final

import msgspec

from benchmarks.placement_scale import MEMORY_MB, TARGETS
from benchmarks.session import Session, Target, printed

TASKS: Final = 1_000_000
NAMES: Final = {"first": "a first plan", "final": "the final plan", "replan": "a plan made again"}


class Planned(msgspec.Struct, frozen=True):
    """One kind of plan, each repetition."""

    cpu_s: list[float]
    gap: list[float]
    hit: list[float]


class Figures(msgspec.Struct, frozen=True):
    """What `benchmarks.placement_scale --json` prints."""

    tasks: int
    peak_mb: float
    plans: dict[str, Planned]
    frontier: list[tuple[float, float]]


def placement(session: Session) -> None:
    """Place a million tasks of twenty stages on sixteen pools, in a process of its own."""
    runs, seeds = str(session.options.runs), "0" if session.options.quick else "0,1,2"
    found = printed(
        "placement_scale",
        Figures,
        *("--tasks", str(TASKS), "--runs", runs),
        "--seeds",
        seeds,
        "--json",
    )
    note = f"{found.tasks:,} tasks"
    for name, words in NAMES.items():
        plan = found.plans[name]
        target = Target(limit=TARGETS[name], unit="s", note=note)
        session.figure("placement", f"CPU of {words}", plan.cpu_s, target)
    final = found.plans["final"]
    session.figure("placement", "final plan: gap to a proven bound", final.gap)
    in_time = Target(limit=0.95, at_least=True, note="the deadline, of simulated scenarios")
    session.figure("placement", "final plan: share in time", [min(final.hit)], in_time)
    session.figure(
        "placement", "peak RSS", [found.peak_mb], Target(limit=MEMORY_MB, unit="MB", note=note)
    )
    for p95_s, usd in found.frontier:
        target = Target(unit="USD", at=round(p95_s / 60.0, 2))
        session.figure("placement", "a run over minutes until 95 % have ended", [usd], target)
