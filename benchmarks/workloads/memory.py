"""What work needs in memory, beside what an idle Ray needs anyway: a scan, and keyed operators."""

import time
from collections.abc import Callable, Iterable
from typing import Final

from benchmarks.data import SCAN, WARM, made, scaled
from benchmarks.driver import SideFailedError
from benchmarks.jobs import SCAN_SQL
from benchmarks.keyed.data import FACT, FACT_LARGE
from benchmarks.keyed.jobs import COLUMNS
from benchmarks.keyed.own import MEMORY_BYTES
from benchmarks.peers import Side, own, peer_sides
from benchmarks.processes import held_bytes, load, memory_bytes
from benchmarks.session import Session, Target, Work, checked, installed
from benchmarks.verify import expected
from rayorch.bench.figures import Check
from rayorch.bench.results import FailureLine, Measured, RunLine

GIVEN_LIMIT: Final = 1.2
WARM_SCALE: Final = 0.001
MEMORY_SQL: Final = {
    "sort": "select * from input order by key",
    "join": "select input.*, note as note_right from input",
    "aggregate": f"select {', '.join(COLUMNS)} from input",  # noqa: S608 - our own constants
}
"""What comes of each: every row meets itself, or is a group of its own."""
Measure = Callable[[Iterable[int]], int]
LIMIT_BYTES: Final = 1.2e9
IDLE_S: Final = 5.0


def memory(session: Session) -> None:
    """Peak memory of the scan over the whole process tree, less that of Ray before it."""
    runs: list[Measured] = []
    source = made(scaled(SCAN, session.options.scale), session.cache)
    work = Work(
        name="memory",
        source=source,
        warm=made(WARM, session.cache),
        expected=expected(str(source), SCAN_SQL),
    )
    # Each is weighed on a Ray of its own: what is quick has no time for six of them.
    peers = () if session.options.quick else session.options.peers
    sides = [own("scan"), *peer_sides("scan", peers)]
    for side in installed(session, "memory", sides):
        try:
            measured = _weighed(session, side, work, memory_bytes)
        except SideFailedError as error:
            session.results.add(FailureLine("memory", side.label, str(error), error.kind))
            continue
        session.say(f"memory {side.label}: {measured.peak_bytes / 1e6:.0f} MB beside an idle Ray")
        session.results.add(RunLine("memory", side.label, 0, measured, load()[1]))
        runs += [measured] if side.module == "own" else []
    peaks = [run.peak_bytes / 1e6 for run in runs]
    idle = f"idle Ray {float(runs[0].told['idle_bytes']) / 1e6:.0f} MB" if runs else ""
    limit = session.options.at_full(LIMIT_BYTES / 1e6)
    target = Target(limit=limit, unit="MB", note=idle)
    session.figure("memory", "scan, peak PSS beside an idle Ray", peaks, target)


def memory_keyed(session: Session) -> None:
    """Sort, join and group four times the memory that is given to the run."""
    fact = scaled(FACT_LARGE, session.options.scale)
    given = session.options.slots * MEMORY_BYTES
    source, warm = made(fact, session.cache), made(scaled(FACT, WARM_SCALE), session.cache)
    for kind, sql in MEMORY_SQL.items():
        name = f"memory-{kind}"
        work = Work(name=name, source=source, warm=warm, expected=expected(str(source), sql))
        figure = None
        try:
            measured = _weighed(session, own(name), work, held_bytes)
            figure = measured.peak_bytes / given
            session.say(f"{name}: {measured.peak_bytes / 1e6:.0f} MB, {measured.wall_s:.1f} s")
            session.results.add(RunLine(name, "rayorch", 0, measured, load()[1]))
        except SideFailedError as error:
            session.results.add(FailureLine(name, "rayorch", str(error), error.kind))
        session.results.check(
            Check(
                workload=name,
                claim="peak beside an idle Ray / the memory given, of input 4 x as large",
                figure=figure,
                limit=GIVEN_LIMIT,
                note=f"given {given / 1e6:.0f} MB",
            )
        )


def _weighed(session: Session, side: Side, work: Work, measure: Measure) -> Measured:
    """Weigh a side on a Ray of its own, fresh: what others left in its workers is not the side's.

    Raises: SideFailedError.
    """
    session.end_ray(side.ray)
    roots = session.roots(side)
    time.sleep(IDLE_S if roots else 0.0)
    idle_bytes = measure(roots)
    job = session.job(side, work)
    try:
        with session.driver(side, job) as driver:
            measured = driver.weighed(roots, session.options.run_s_max, measure)
        measured = checked(session, measured, work, side, job)
    finally:
        session.drop(job)
    return Measured(
        measured.wall_s,
        0.0,
        {**measured.told, "idle_bytes": idle_bytes},
        measured.peak_bytes - idle_bytes,
    )
