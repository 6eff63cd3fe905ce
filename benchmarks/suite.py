"""The suite as a function: what is asked for in, lines of results out.

`rayorch bench run` and `make bench` are its only ways in.
"""

import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from benchmarks.cluster import private_state
from benchmarks.driver import SideFailedError
from benchmarks.machine import this_machine
from benchmarks.peers import PEERS, PEERS_USUAL
from benchmarks.processes import end_descendants
from benchmarks.session import Options, Session
from benchmarks.workloads.table import WORKLOADS
from rayorch.bench.results import FailureLine, Results
from rayorch.bench.tables import OURS

RUNS: Final = 5
QUICK_RUNS: Final = 1
QUICK_SCALE: Final = 0.05
QUICK: Final = (
    *("startup", "core", "scale", "recovery", "placement", "capacity", "submit", "noop", "pareto"),
    *("scan", "group", "join", "skew", "store"),
)
"""What a quick look is at. The others take as long again, most of it peers that start."""
"""Of the rows: seconds of work for a side, and its start-up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be measured; `runs`, `scale` and `only` are the usual ones unless set."""

    only: Sequence[str] = ()
    peers: Sequence[str] = PEERS_USUAL
    runs: int | None = None
    scale: float | None = None
    quick: bool = False
    data: str = ""

    @property
    def workloads(self) -> Sequence[str]:
        """The names of what is measured."""
        return self.only or (QUICK if self.quick else tuple(WORKLOADS))

    @property
    def options(self) -> Options:
        """What a session takes."""
        return Options(
            runs=self.runs or (QUICK_RUNS if self.quick else RUNS),
            peers=tuple(self.peers),
            scale=self.scale or (QUICK_SCALE if self.quick else 1.0),
            quick=self.quick,
            data=self.data,
        )


def known_names() -> tuple[Sequence[str], Sequence[str]]:
    """Return the names of all workloads, and of all peers."""
    return tuple(WORKLOADS), PEERS


def measure(asked: Asked, file: Path | None) -> Results:
    """Measure what is asked for; each line is appended to the file as it comes.

    Ctrl-C ends it: what was measured until then is returned.
    Raises: SuiteError: there is no room for the inputs; StoreError.
    """
    results = Results(file)
    with _interruptible(), tempfile.TemporaryDirectory(prefix="rayorch-bench-state-") as state:
        private_state(Path(state))
        try:
            _measured(asked, results)
        except KeyboardInterrupt:
            results.is_interrupted = True
    return results


def _measured(asked: Asked, results: Results) -> None:
    options = asked.options
    with Session(options, results) as session:
        results.add(this_machine(options.described(asked.workloads)))
        for name, workload in WORKLOADS.items():
            if name in asked.workloads:
                session.say(f"workload {name}")
                guarded(session, name, workload)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end all that we started before anything waits for it to end."""
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def interrupted(number: int, frame: FrameType | None) -> None:
        del frame
        # The second time, nothing is put in order any more.
        signal.signal(number, signal.SIG_DFL)
        end_descendants()
        if number == signal.SIGTERM:
            sys.exit(128 + number)
        raise KeyboardInterrupt

    for number in usual:
        signal.signal(number, interrupted)
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def guarded(session: Session, name: str, workload: Callable[[Session], None]) -> None:
    """Let a workload do what it does; when it fails, say so, and let the next ones begin anew."""
    try:
        workload(session)
    except SideFailedError as error:
        _failed(session, FailureLine(name, OURS, str(error), error.kind))
    # Whatever it is: hours of other figures go on.
    except Exception as error:
        traceback.print_exc()
        _failed(session, FailureLine(name, OURS, f"{type(error).__name__}: {error}"))


def _failed(session: Session, failure: FailureLine) -> None:
    session.say(f"{failure.workload}: failed: {failure.why}")
    session.results.add(failure)
    session.end_rays()
