"""`bench calibrate`: how far the simulator of capacity is off on this machine."""

import tempfile
from pathlib import Path

import click
import msgspec

from rayorch.bench.calibrating import Bench, checks, lines, make_files, summary
from rayorch.bench.calibrating import calibrate as calibrated
from rayorch.bench.tables import check_row
from rayorch.bench.unlike import calibrate_unlike
from rayorch.capacity.calibrated import keep_calibrated
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document, print_section, print_table
from rayorch.client import connection


def calibrate(options: Options) -> int:
    """Run, simulate, compare, and keep what was found where `rayorch capacity` finds it."""
    at = connection(options.home, options.executor)

    def tell(line: str) -> None:
        click.echo(line, err=True)

    with tempfile.TemporaryDirectory(prefix="rayorch-calibrate-") as folder:
        bench = Bench(folder=Path(folder), executor=at.settings.executor)
        make_files(bench)
        found = calibrated(bench, tell)
        if at.settings.executor == "in-process":
            tell("two unlike pools: left out, because nodes are emulated on Ray alone")
        else:
            found += calibrate_unlike(bench, tell)
    told = summary(found)
    keep_calibrated(at.home, told)
    verdicts = checks(told)
    if options.as_json:
        print_document(
            {
                **msgspec.to_builtins(told),
                "compared": msgspec.to_builtins(found),
                "verdicts": {check.claim: check.verdict for check in verdicts},
            }
        )
    else:
        print_section("simulated against real", lines(told))
        click.echo("\ntargets")
        names = ("", "measured>", "target>", "verdict")
        print_table(names, [check_row(check)[1:5] for check in verdicts], "  ")
    missed = any(check.verdict == "fail" for check in verdicts)
    return Exit.FAILED if missed else Exit.OK
