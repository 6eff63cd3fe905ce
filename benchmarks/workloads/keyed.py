"""Workloads that bring rows of equal keys together: grouped, joined, sorted, as-of joined."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.data import Shape, made
from benchmarks.figures import Check, ratio, summary
from benchmarks.keyed.data import DEVICE, FACT, FACT_15, FACT_20, FACT_HALF, ITEM, STATE, shrunk
from benchmarks.keyed.jobs import KEYED
from benchmarks.results import Results, told, walls
from benchmarks.session import Session, Work, alternate, own, peer_sides
from benchmarks.verify import expected

ONE_PROCESS: Final = ("polars", "duckdb")
SMALL_TIMES: Final = 100
WARM_TIMES: Final = 1_000
SMALL_FILES: Final = 4
SKEW_TIMES: Final = 5
SKEW_LIMIT: Final = 1.2
MORE_S: Final = 1.0
"""What a grouping may take more than Polars, whatever the ratio: it is over in a blink."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Our wall seconds over a side's."""

    other: Shape | None
    walls: dict[str, float]
    may_take_more: bool = False


LIMITS: Final = {
    "group": Limits(
        other=None, walls={"ray-data": 0.04, "daft": 0.6, "polars": 2.5}, may_take_more=True
    ),
    "join": Limits(other=ITEM, walls={"ray-data": 0.05, "daft": 0.6, "duckdb": 3.0}),
    "join-wide": Limits(other=ITEM, walls={"ray-data": 0.12, "daft": 0.7, "duckdb": 2.0}),
    "star": Limits(other=DEVICE, walls={"daft": 0.6, "duckdb": 3.0}),
    "sort": Limits(other=None, walls={"ray-data": 0.16, "daft": 0.7, "polars": 2.0}),
    "asof": Limits(other=STATE, walls={"duckdb": 3.0}),
}


def keyed(kind: str) -> Callable[[Session], None]:
    """Return the workload of a job."""

    def workload(session: Session) -> None:
        limits = LIMITS[kind]
        work = work_of(session, kind, FACT, limits.other)
        peers = [name for name in session.options.peers if name in limits.walls]
        names = [*ONE_PROCESS, *(name for name in peers if name not in ONE_PROCESS)]
        alternate(session, work, [own(kind), *peer_sides(kind, names)])
        for label, limit in limits.walls.items():
            if label in names:
                _check(session.results, kind, label, limit, limits.may_take_more)

    return workload


def skew(session: Session) -> None:
    """Join by keys of several skews: how unequal the reduce tasks are."""
    for fact in (FACT, FACT_15, FACT_20, FACT_HALF):
        source, other = _folders(session, fact, ITEM, SKEW_TIMES)
        warm, warm_other = _folders(session, fact, ITEM, WARM_TIMES)
        name = f"skew {fact.name}"
        work = Work(name=name, source=source, warm=warm, other=other, warm_other=warm_other)
        alternate(session, work, [own("skew")])
        runs = session.results.runs(name, "rayorch")
        figure = max(told(runs, "slowest_over_mean")) if runs else None
        claim = "largest reduce task over the mean, in bytes"
        check = Check(workload=name, claim=claim, figure=figure, limit=SKEW_LIMIT)
        session.results.check(check)


def work_of(session: Session, kind: str, fact: Shape, other: Shape | None) -> Work:
    """Return what the sides of a job are given, and what must come of it."""
    source, other_folder = _folders(
        session, fact, other, SMALL_TIMES if session.options.quick else 1
    )
    warm, warm_other = _folders(session, fact, other, WARM_TIMES)
    return Work(
        name=kind,
        source=source,
        warm=warm,
        other=other_folder,
        warm_other=warm_other,
        expected=expected(str(source), KEYED[kind].sql, str(other_folder or "")),
        order=KEYED[kind].order,
    )


def _folders(
    session: Session, fact: Shape, other: Shape | None, times: int
) -> tuple[Path, Path | None]:
    def folder(shape: Shape) -> Path:
        return made(shrunk(shape, times, SMALL_FILES) if times > 1 else shape, session.cache)

    return folder(fact), None if other is None else folder(other)


def _check(results: Results, kind: str, label: str, limit: float, may_take_more: bool) -> None:
    ours = walls(results.runs(kind, "rayorch"))
    theirs, at_least = results.walls(kind, label)
    note = f"or less: {label} was stopped" if at_least else ""
    if may_take_more and theirs and label in ONE_PROCESS:
        their_s = summary(theirs).median
        limit = max(limit, (their_s + MORE_S) / their_s)
        note = f"or {MORE_S:.0f} s more, whichever is larger"
    claim = f"rayorch: wall / {label}"
    figure = ratio(ours, theirs)
    results.check(Check(workload=kind, claim=claim, figure=figure, limit=limit, note=note))
