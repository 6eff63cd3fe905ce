"""What a run asks of an object store: requests and bytes, and the usual price of the requests."""

from dataclasses import replace
from typing import Final

from benchmarks.data import SCAN, WARM, made, scaled
from benchmarks.jobs import SCAN_SQL
from benchmarks.keyed.data import FACT
from benchmarks.keyed.jobs import KEYED
from benchmarks.peers import own
from benchmarks.session import Session, Target, Work, alternate
from benchmarks.verify import expected
from rayorch.bench.results import told

TB: Final = 1e12
WARM_SCALE: Final = 0.001
MOVED_MAX: Final = 1.05
"""Of the bytes on disk, for a scan that reads all columns: nothing is read twice."""


def store(session: Session) -> None:
    """Count the requests and bytes of a scan, and of a grouping through an exchange."""
    scale = session.options.scale
    once = replace(session.options, runs=1)
    usual, session.options = session.options, once
    shapes = {
        "scan": (SCAN, WARM, SCAN_SQL),
        "group": (FACT, scaled(FACT, WARM_SCALE), KEYED["group"].sql),
    }
    try:
        for kind, (shape, warm, sql) in shapes.items():
            source = made(scaled(shape, scale), session.cache)
            name = f"store {kind}"
            work = Work(
                name=name,
                source=source,
                warm=made(warm, session.cache),
                expected=expected(str(source), sql),
            )
            alternate(session, work, [own(kind)])
            size_bytes = sum(path.stat().st_size for path in source.glob("*.parquet"))
            _figures(session, kind, name, size_bytes)
    finally:
        session.options = usual


def _figures(session: Session, kind: str, name: str, size_bytes: int) -> None:
    runs = [run for run in session.results.runs(name, "rayorch") if "gets" in run.told]
    if not runs:
        return
    [gets], [puts], [moved], [usd] = (
        told(runs, each) for each in ("gets", "puts", "moved_bytes", "request_usd")
    )
    per_gb = Target(unit="a GB")
    session.figure("store", f"{kind}: objects read", [gets / size_bytes * 1e9], per_gb)
    session.figure("store", f"{kind}: objects written", [puts / size_bytes * 1e9], per_gb)
    session.figure(
        "store", f"{kind}: requests at S3's price", [usd / size_bytes * TB], Target(unit="USD a TB")
    )
    limit = MOVED_MAX if kind == "scan" else None
    note = "of the bytes of the files"
    session.figure(
        "store",
        f"{kind}: bytes read over input",
        [moved / size_bytes],
        Target(limit=limit, note=note),
    )
