"""A stage of fat tasks on runners of unlike speed: one that is slow, and two that are equally fast.

Both have the same capacity in all, so that what the first takes longer is what a slow runner costs.
"""

import time
from collections.abc import Sequence
from typing import Final

from benchmarks.driver import SideFailedError
from benchmarks.peers import Side, own
from benchmarks.processes import load
from benchmarks.session import RUN_S_MAX, Session, Work
from benchmarks.throttle import Throttle, runners_of
from rayorch.bench.figures import Check, ratio
from rayorch.bench.results import FailureLine, Measured, RunLine, walls

TASKS: Final = 12
ROWS: Final = TASKS * 16 * 4_096
"""A task is some 1.2 seconds of work, in sixteen pieces: the least that it can be cut into."""
SLOW: Final = (1.0, 0.2)
EVEN: Final = (0.6, 0.6)
LIMIT: Final = 1.25
START_S_MAX: Final = 60.0
"""Until a runner has started that was asked for, on a busy machine."""


def throttled(session: Session) -> None:
    """One of two runners at a fifth of its speed, against both at three fifths."""
    side = own("throttled")
    work = Work(name="throttled", tasks=TASKS, rows=ROWS)
    for number in range(session.options.runs):
        for label, shares in (("slow", SLOW), ("even", EVEN)):
            try:
                measured = _slowed(session, work, side, shares)
            except SideFailedError as error:
                session.results.add(FailureLine("throttled", label, str(error), error.kind))
                continue
            session.say(f"throttled {label}: {measured.wall_s:.2f} s")
            session.results.add(RunLine("throttled", label, number, measured, load()[1]))
    slow, even = (walls(session.results.runs("throttled", label)) for label in ("slow", "even"))
    claim = "one of two runners 5 x slower: makespan / the same capacity shared evenly"
    figure = ratio(slow, even)
    session.results.check(Check(workload="throttled", claim=claim, figure=figure, limit=LIMIT))


def _slowed(session: Session, work: Work, side: Side, shares: Sequence[float]) -> Measured:
    """Time a run while its runners have a share of their speed each. Raises: SideFailedError."""
    job = session.job(side, work)
    roots = session.roots(side)
    try:
        with session.driver(side, job) as driver:
            runners = _all_runners(roots[0], len(shares))
            with Throttle(dict(zip(runners, shares, strict=True))):
                return driver.timed(roots, RUN_S_MAX)
    finally:
        session.drop(job)


def _all_runners(root: int, count: int) -> list[int]:
    """Return all runners: what ran before may have ended before the last one had started.

    Raises: SideFailedError.
    """
    until_s = time.monotonic() + START_S_MAX
    while len(runners := runners_of(root)) != count:
        if time.monotonic() > until_s:
            raise SideFailedError(f"{len(runners)} runners, not {count}")
        time.sleep(0.1)
    return runners
