"""Workloads that read files and write files: the scan, and thousands of tiny ones."""

from typing import Final

from benchmarks.data import SCAN, TINY, WARM, WARM_TINY, made
from benchmarks.figures import Check, ratio
from benchmarks.jobs import SCAN_SQL, TINY_SQL
from benchmarks.results import cpus, told, walls
from benchmarks.session import Session, Work, alternate, own, peer_sides
from benchmarks.verify import expected

SCAN_LIMITS: Final = {
    "ray-data": ("wall", "cpu", 0.35),
    "daft": ("wall", "cpu", 0.6),
    "pool": ("wall", "", 1.15),
}
TINY_LIMITS: Final = {"ray-data": 0.06, "daft": 0.5, "pool": 0.8}
TINY_EACH_LIMITS: Final = {"ray-data": 0.1, "pool": 1.1}
FEW: Final = "rayorch"
EACH: Final = "rayorch, file a file"


def scan(session: Session) -> None:
    """10 M rows x 8 columns in 64 Parquet files: filter, three columns, one string, write 64."""
    source = made(SCAN, session.cache)
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
    ours = results.runs("scan", "rayorch")
    for label, (_, cpu, limit) in SCAN_LIMITS.items():
        theirs = results.runs("scan", label)
        found = ratio(walls(ours), walls(theirs))
        results.check(Check(workload="scan", claim=f"wall / {label}", figure=found, limit=limit))
        if cpu:
            found = ratio(cpus(ours), cpus(theirs))
            results.check(Check(workload="scan", claim=f"CPU / {label}", figure=found, limit=limit))


def tiny(session: Session) -> None:
    """5,000 Parquet files of a few KB: map, written as few files, and as one for each."""
    source = made(TINY, session.cache)
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
        runs = results.runs("tiny", ours)
        files = f"{told(runs, 'files')[0]:.0f} files" if runs else ""
        for label, limit in limits.items():
            found = ratio(walls(runs), walls(results.runs("tiny", label)))
            claim = f"{ours}: wall / {label}"
            results.check(
                Check(workload="tiny", claim=claim, figure=found, limit=limit, note=files)
            )
