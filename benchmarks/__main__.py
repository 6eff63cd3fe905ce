"""`python -m benchmarks`: measure, compare, say what is reached.

Exit codes: 0 all targets that have a figure are reached, 1 one is missed, 2 usage.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.cluster import private_state
from benchmarks.printing import failed, print_results
from benchmarks.results import Results, this_machine
from benchmarks.session import PEERS, PEERS_USUAL, Options, Session
from benchmarks.workloads.table import WORKLOADS

WIDTH: Final = 160
EPILOG: Final = """
examples:
  python -m benchmarks                              everything, medians of 5; an hour or more
  python -m benchmarks --quick --only scan,tiny     one run of each side
  python -m benchmarks --only scan --peers pool,daft
"""


def arguments(given: list[str]) -> argparse.Namespace:
    """Return what was asked for; exits with 2 where that makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure rayorch against its peers on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", type=_names(tuple(WORKLOADS)), default=tuple(WORKLOADS))
    parser.add_argument("--runs", type=int, default=5, help="of each side (5)")
    parser.add_argument("--quick", action="store_true", help="one run of each side")
    parser.add_argument("--json", type=Path, help="append a line for each run to this file")
    parser.add_argument("--peers", type=_names(PEERS), default=PEERS_USUAL)
    return parser.parse_args(given)


def _names(known: tuple[str, ...]) -> "_Names":
    return _Names(known)


class _Names:
    """Reads a list with commas, of known names."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = known

    def __call__(self, text: str) -> tuple[str, ...]:
        names = tuple(name for name in text.split(",") if name)
        unknown = [name for name in names if name not in self._known]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"unknown: {', '.join(unknown)}; known: {', '.join(self._known)}"
            )
        return names


def main(given: list[str]) -> int:
    """Run the workloads that are asked for and print the tables."""
    asked = arguments(given)
    # As Ctrl-C: the Rays that we started must not outlive us.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    results = Results(asked.json)
    results.add(this_machine())
    options = Options(runs=1 if asked.quick else asked.runs, peers=asked.peers, quick=asked.quick)
    with tempfile.TemporaryDirectory(prefix="rayorch-bench-state-") as state:
        private_state(Path(state))
        with Session(options, results) as session:
            for name, workload in WORKLOADS.items():
                if name in asked.only:
                    session.say(f"workload {name}")
                    workload(session)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    print_results(results, console)
    return 1 if failed(results.checks()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
