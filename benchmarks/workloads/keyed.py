"""Workloads that bring rows of equal keys together: grouped, joined, sorted, as-of joined."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.data import NESTED, STRINGS, WIDE, Shape, made, scaled, tpch_folder
from benchmarks.keyed.data import DEVICE, FACT, FACT_15, FACT_20, FACT_HALF, ITEM, STATE
from benchmarks.keyed.jobs import KEYED
from benchmarks.peers import ONE_PROCESS, own, peer_sides
from benchmarks.session import Session, Target, Work, alternate
from benchmarks.verify import expected
from rayorch.bench.figures import Check, ratio, summary
from rayorch.bench.results import Results, told, walls

WARM_SCALE: Final = 0.001
SKEW_SQL: Final = {
    "join": """select input.id, input.key, input.price, category, cost
               from input join other on input.key = other.item""",
    "group": """select key, sum(price) as price, count(distinct note) as notes
                from input group by key""",
    "sort": "select * from input order by key",
}
SKEW_SCALE: Final = 0.2
SKEW_LIMIT: Final = 1.2
MORE_S: Final = 1.0
"""What a grouping may take more than Polars, whatever the ratio: it is over in a blink."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Our wall seconds over a side's."""

    fact: Shape = FACT
    other: Shape | None
    walls: dict[str, float]
    cannot: tuple[str, ...] = ()
    """Peers that have no such operator."""
    may_take_more: bool = False


TPCH_WALLS: Final = {"daft-ray": 0.6, "duckdb": 3.0}
CLUSTERS: Final = ("ray-data", "ray-data-tuned", "daft-ray", "daft", "dask")
LIMITS: Final = {
    "group": Limits(
        other=None, walls={"ray-data": 0.04, "daft-ray": 0.6, "polars": 2.5}, may_take_more=True
    ),
    "join": Limits(other=ITEM, walls={"ray-data": 0.05, "daft-ray": 0.6, "duckdb": 3.0}),
    "join-wide": Limits(other=ITEM, walls={"ray-data": 0.12, "daft-ray": 0.7, "duckdb": 2.0}),
    "star": Limits(
        other=DEVICE, walls={"daft-ray": 0.6, "duckdb": 3.0}, cannot=("ray-data", "ray-data-tuned")
    ),
    "sort": Limits(other=None, walls={"ray-data": 0.16, "daft-ray": 0.7, "polars": 2.0}),
    "asof": Limits(
        other=STATE,
        walls={"duckdb": 3.0},
        cannot=CLUSTERS,
    ),
    # Awkward rows are held against what one process does; the others have no program for them yet.
    **{
        kind: Limits(fact=shape, other=None, walls={}, cannot=CLUSTERS)
        for kind, shape in (("wide-rows", WIDE), ("strings", STRINGS), ("nested", NESTED))
    },
}


def keyed(kind: str) -> Callable[[Session], None]:
    """Return the workload of a job."""

    def workload(session: Session) -> None:
        limits = LIMITS[kind]
        work = work_of(session, kind, limits.fact, limits.other)
        cannot = ("pool", *limits.cannot)
        names = [name for name in session.options.peers if name not in cannot]
        alternate(session, work, [own(kind), *peer_sides(kind, names)])
        for label, limit in limits.walls.items():
            if label in names:
                _check(session.results, kind, label, limit, limits.may_take_more)

    return workload


def tpch(kind: str) -> Callable[[Session], None]:
    """Return the workload of a job on TPC-H: lineitem, and orders."""

    def workload(session: Session) -> None:
        folder, warm = (
            tpch_folder(session.cache, scale) for scale in (session.options.scale, WARM_SCALE)
        )
        source, other = folder / "lineitem", folder / "orders"
        work = Work(
            name=kind,
            source=source,
            warm=warm / "lineitem",
            other=other,
            warm_other=warm / "orders",
            expected=expected(str(source), KEYED[kind].sql, str(other)),
        )
        names = [name for name in session.options.peers if name != "pool"]
        alternate(session, work, [own(kind), *peer_sides(kind, names)])
        for label, limit in TPCH_WALLS.items():
            if label in names:
                _check(session.results, kind, label, limit, may_take_more=True)

    return workload


def skew(session: Session) -> None:
    """Join, group and sort by keys of several skews: how unequal the reduce tasks are."""
    for fact in (FACT, FACT_15, FACT_20, FACT_HALF):
        source, other = _folders(session, fact, ITEM, SKEW_SCALE * session.options.scale)
        warm, warm_other = _folders(session, fact, ITEM, WARM_SCALE)
        for operator in ("join", "group", "sort"):
            name = f"skew {operator} {fact.name}"
            work = Work(
                name=name,
                source=source,
                warm=warm,
                other=other,
                warm_other=warm_other,
                expected=expected(str(source), SKEW_SQL[operator], str(other)),
                order="key" if operator == "sort" else "",
            )
            alternate(session, work, [own(f"skew-{operator}")])
            runs = session.results.runs(name, "rayorch")
            # One key cannot be cut where an operator needs all its rows: that is said, not judged.
            limit = SKEW_LIMIT if operator == "join" else None
            claim = "largest reduce task over the mean, in bytes"
            session.figure(name, claim, told(runs, "slowest_over_mean"), Target(limit=limit))


def work_of(session: Session, kind: str, fact: Shape, other: Shape | None) -> Work:
    """Return what the sides of a job are given, and what must come of it."""
    source, other_folder = _folders(session, fact, other, session.options.scale)
    warm, warm_other = _folders(session, fact, other, WARM_SCALE)
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
    session: Session, fact: Shape, other: Shape | None, scale: float
) -> tuple[Path, Path | None]:
    source = made(scaled(fact, scale), session.cache)
    if other is None:
        return source, None
    # What is joined has each key once: it does not grow with the facts, and what is small is whole.
    shape = other if other is DEVICE else scaled(other, min(1.0, scale))
    return source, made(shape, session.cache)


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
