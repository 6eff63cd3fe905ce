"""The words and options of `rayorch bench`."""

from typing import Final

from rayorch.cli.lazy import ExamplesGroup, LazyCommand
from rayorch.cli.parameters import EXECUTOR, HOME, JSON

CALIBRATE: Final = LazyCommand(
    "calibrate",
    work="rayorch.cli.calibrating:calibrate",
    help="Measure how far the simulator of `rayorch capacity` is off on this machine.\n\n"
    "Runs two pipelines for real with one and two runners, simulates sizes that were not fitted, "
    "and keeps the error under the home, where every answer of `rayorch capacity` shows it. Takes "
    "some minutes; what it writes else it removes again.",
    examples=(
        ("rayorch bench calibrate", "on the usual executor"),
        ("rayorch bench calibrate --executor in-process", "without Ray"),
        ("rayorch bench calibrate --json", "each run, for programs"),
    ),
    params=[EXECUTOR, HOME, JSON],
)
BENCH: Final = ExamplesGroup(
    "bench",
    commands={"calibrate": CALIBRATE},
    help="Measure this machine.",
    short_help="Measure this machine",
)
BENCH.examples = (("rayorch bench calibrate", "how far simulated runs are off real ones"),)
