"""`bench calibrate`: how far the simulator of capacity is off on this machine."""

import tempfile
from pathlib import Path

import click
import msgspec

from rayorch.bench.calibrating import Bench, lines, summary
from rayorch.bench.calibrating import calibrate as calibrated
from rayorch.capacity.calibrated import keep_calibrated
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document, print_section
from rayorch.client import connection


def calibrate(options: Options) -> int:
    """Run, simulate, compare, and keep what was found where `rayorch capacity` finds it."""
    at = connection(options.home, options.executor)
    with tempfile.TemporaryDirectory(prefix="rayorch-calibrate-") as folder:
        bench = Bench(folder=Path(folder), executor=at.settings.executor)
        found = calibrated(bench, lambda line: click.echo(line, err=True))
    told = summary(found)
    keep_calibrated(at.home, told)
    if options.as_json:
        print_document({**msgspec.to_builtins(told), "compared": msgspec.to_builtins(found)})
    else:
        print_section("simulated against real", lines(told))
    return Exit.OK
