"""What the scan needs in memory, beside what an idle Ray needs anyway."""

import shutil
import time
from typing import Final

from benchmarks.data import SCAN, WARM, made
from benchmarks.driver import Measured, SideFailedError
from benchmarks.figures import Check
from benchmarks.processes import load, memory_bytes
from benchmarks.results import FailureLine, RunLine
from benchmarks.session import RUN_S_MAX, Session, Side, Work, own, peer_sides

LIMIT_BYTES: Final = 1.2e9
IDLE_S: Final = 5.0


def memory(session: Session) -> None:
    """Peak memory of the scan over the whole process tree, less that of Ray before it."""
    runs: list[Measured] = []
    for side in (own("scan"), *peer_sides("scan", session.options.peers)):
        try:
            measured = _weighed(session, side)
        except SideFailedError as error:
            session.results.add(FailureLine("memory", side.label, str(error)))
            continue
        session.say(f"memory {side.label}: {measured.peak_bytes / 1e6:.0f} MB beside an idle Ray")
        session.results.add(RunLine("memory", side.label, 0, measured, load()[1]))
        runs += [measured] if side.module == "own" else []
    figure = runs[0].peak_bytes / 1e6 if runs else None
    idle = f"idle Ray {float(runs[0].told['idle_bytes']) / 1e6:.0f} MB" if runs else ""
    session.results.check(
        Check(
            workload="memory",
            claim="scan, peak PSS beside an idle Ray",
            figure=figure,
            limit=LIMIT_BYTES / 1e6,
            unit="MB",
            note=idle,
        )
    )


def _weighed(session: Session, side: Side) -> Measured:
    """Weigh a side on a Ray of its own, fresh: what others left in its workers is not the side's.

    Raises: SideFailedError.
    """
    session.end_ray(side.ray)
    roots = session.roots(side)
    time.sleep(IDLE_S if roots else 0.0)
    idle_bytes = memory_bytes(roots)
    work = Work(name="memory", source=made(SCAN, session.cache), warm=made(WARM, session.cache))
    job = session.job(side, work)
    try:
        with session.driver(side, job) as driver:
            measured = driver.weighed(roots, RUN_S_MAX)
    finally:
        for folder in (job.target, job.warm_target):
            shutil.rmtree(folder, ignore_errors=True)
    return Measured(
        measured.wall_s,
        0.0,
        {**measured.told, "idle_bytes": idle_bytes},
        measured.peak_bytes - idle_bytes,
    )
