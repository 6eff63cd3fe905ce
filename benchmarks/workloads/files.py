"""Workloads that read files and write files: the scan, and thousands of tiny ones."""

from dataclasses import replace
from typing import Final

from benchmarks.data import SCAN, TINY, WARM, WARM_TINY, made, scaled
from benchmarks.jobs import SCAN_SQL, TINY_SQL
from benchmarks.peers import own, peer_sides
from benchmarks.session import Session, Work, alternate
from benchmarks.verify import expected
from rayorch.bench.figures import Check, ratio
from rayorch.bench.results import Results, cpus, told, walls

SCAN_LIMITS: Final[dict[str, dict[str, float]]] = {
    "ray-data": {"wall": 0.35, "CPU": 0.35},
    "daft-ray": {"wall": 0.6, "CPU": 0.6},
    "pool": {"wall": 1.15},
}
TINY_LIMITS: Final = {"ray-data": 0.06, "daft-ray": 0.5, "pool": 0.8}
TINY_EACH_LIMITS: Final = {"ray-data": 0.1, "pool": 1.1}
FEW: Final = "rayorch"
EACH: Final = "rayorch, file a file"


def scan(session: Session) -> None:
    """10 M rows x 8 columns in 64 Parquet files: filter, three columns, one string, write 64."""
    source = made(scaled(SCAN, session.options.scale), session.cache)
    work = Work(
        name="scan",
        source=source,
        warm=made(WARM, session.cache),
        expected=expected(str(source), SCAN_SQL),
    )
    sides = [
        own("scan"),
        own("scan", label="rayorch delta", file_format="delta"),
        *peer_sides("scan", session.options.peers),
    ]
    alternate(session, work, sides)
    results = session.results
    for label in session.options.peers:
        limits = SCAN_LIMITS.get(label, {})
        if "wall" in limits:
            check_walls(results, "scan", FEW, label, limits["wall"])
        if "CPU" in limits:
            found = ratio(cpus(results.runs("scan", FEW)), cpus(results.runs("scan", label)))
            claim = f"{FEW}: CPU / {label}"
            results.check(Check(workload="scan", claim=claim, figure=found, limit=limits["CPU"]))


def tiny(session: Session) -> None:
    """5,000 Parquet files of a few KB: map, written as few files, and as one for each."""
    shape = replace(TINY, files=session.options.scaled(TINY.files, 20))
    source = made(shape, session.cache)
    work = Work(
        name="tiny",
        source=source,
        warm=made(WARM_TINY, session.cache),
        expected=expected(str(source), TINY_SQL),
    )
    sides = [
        own("tiny"),
        own("tiny-each", label=EACH),
        *peer_sides("tiny", session.options.peers),
    ]
    alternate(session, work, sides)
    results = session.results
    for ours, limits in ((FEW, TINY_LIMITS), (EACH, TINY_EACH_LIMITS)):
        for label in session.options.peers:
            if label in limits:
                check_walls(results, "tiny", ours, label, limits[label])


def check_walls(results: Results, workload: str, ours: str, theirs: str, limit: float) -> None:
    """Hold our wall seconds against a peer's; one that was too slow counts as what it had."""
    runs = results.runs(workload, ours)
    seconds, at_least = results.walls(workload, theirs)
    found = ratio(walls(runs), seconds)
    files = f"{told(runs, 'files')[0]:.0f} files" if runs else ""
    slow = f"or less: {theirs} was stopped after {seconds[0]:.0f} s" if at_least else ""
    results.check(
        Check(
            workload=workload,
            claim=f"{ours}: wall / {theirs}",
            figure=found,
            limit=limit,
            note=", ".join(note for note in (files, slow) if note),
        )
    )
