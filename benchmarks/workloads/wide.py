"""A gigabyte through exchanges of a hundred by a hundred tasks, and of a thousand by a thousand."""

from typing import Final

from benchmarks.keyed.own import WIDE_ROWS
from benchmarks.peers import own
from benchmarks.session import Session, Target, Work, alternate
from rayorch.bench.figures import ratio
from rayorch.bench.results import walls

NARROW: Final = 100
WIDE: Final = 1_000
LIMIT: Final = 1.3


def wide_exchange(session: Session) -> None:
    """The same rows in ten times as many tasks on both sides: a hundred times as many ranges."""
    rows = session.options.scaled(WIDE_ROWS)
    names = {tasks: f"exchange {tasks} x {tasks}" for tasks in (NARROW, WIDE)}
    for tasks, name in names.items():
        alternate(session, Work(name=name, tasks=tasks, rows=rows), [own("wide")])
    narrow, wide = (walls(session.results.runs(name, "rayorch")) for name in names.values())
    claim = f"{WIDE} x {WIDE} of {rows:,} rows / {NARROW} x {NARROW}: wall"
    figure = ratio(wide, narrow)
    target = Target(limit=session.options.at_full(LIMIT))
    session.figure("wide-exchange", claim, [] if figure is None else [figure], target)
