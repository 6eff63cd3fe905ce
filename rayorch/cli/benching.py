"""`bench run` and `bench compare`: what was measured, as tables, and what got worse."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec
from rich.console import Console

from rayorch.bench.comparing import Comparison, Ratio
from rayorch.bench.comparing import compare as compared
from rayorch.bench.errors import SuiteError
from rayorch.bench.results import FigureLine, Results, RunLine, read_results
from rayorch.cli.bench_printing import failed, print_results
from rayorch.cli.errors import OptionError
from rayorch.cli.options import Exit, Options
from rayorch.cli.paging import check_page, write_page
from rayorch.cli.printing import print_document, print_table
from rayorch.pages.bench_page import bench_page

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 160
WHOLE_FROM: Final = 1e5
SUITE: Final = "benchmarks.suite"


def run(options: Options) -> int:
    """Measure, print the tables, and say whether a target is missed."""
    suite = _suite()
    workloads, peers = suite.known_names()
    only = _names(options.only, workloads, "--only")
    against = _names(options.peers, peers, "--peers")
    file = None if options.output is None else Path(options.output)
    if file is not None:
        _check_writable(file)
    if options.html is not None:
        check_page(options.html)
    usual = suite.Asked(runs=options.runs, scale=options.scale, quick=options.quick)
    asked = suite.Asked(
        only=only,
        peers=against or usual.peers,
        runs=options.runs,
        scale=options.scale,
        quick=options.quick,
        data=options.data or "",
    )
    results: Results = suite.measure(asked, file)
    if options.as_json:
        for line in results.lines:
            click.echo(msgspec.json.encode(line))
    else:
        print_results(results, Console(width=None if sys.stdout.isatty() else WIDTH))
    # After the tables: what took hours is not lost to a page that cannot be made.
    if options.html is not None:
        write_page(bench_page(results), options.html)
    if results.is_interrupted:
        click.echo(_interrupted(results, file), err=True)
        return Exit.INTERRUPTED
    return Exit.FAILED if failed(results, peers) else Exit.OK


def _interrupted(results: Results, file: Path | None) -> str:
    runs = sum(isinstance(line, RunLine | FigureLine) for line in results.lines)
    if not runs:
        return "interrupted before anything was measured"
    kept = "above" if file is None else f"above and in {file}"
    return f"interrupted: the {runs} runs and figures that were measured before are {kept}"


def report(options: Options) -> int:
    """Print what a file of results holds, or make a page of it."""
    results = read_results(Path(options.file))
    if options.html is not None:
        check_page(options.html)
        write_page(bench_page(results), options.html)
    print_results(results, Console(width=None if sys.stdout.isatty() else WIDTH))
    return Exit.OK


def _suite() -> Any:  # noqa: ANN401 - a module that is not installed everywhere.
    """Return the suite. Raises: SuiteError, where only the library is installed."""
    if find_spec("benchmarks") is None or find_spec(SUITE) is None:
        raise SuiteError(
            "the suite is not installed: it is in the source distribution and the repository, and "
            "not in the wheel",
            "unpack one of these, and there:  make bench ARGS=--quick",
        )
    try:
        # Here alone: it needs DuckDB, which holds all outputs against each other.
        from benchmarks import suite  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SuiteError(
            f"the suite needs the library {error.name}, which is not installed",
            "run  pip install 'rayorch[bench]'",
        ) from None
    return suite


def _names(text: str | None, known: "Sequence[str]", option: str) -> tuple[str, ...]:
    names = tuple(name for name in (text or "").split(",") if name)
    for name in names:
        if name not in known:
            raise OptionError(f"known are {', '.join(known)}", option, repr(name))
    return names


def _check_writable(file: Path) -> None:
    """Find out before hours of measuring, not after them. Raises: OptionError."""
    try:
        with file.open("ab"):
            pass
    except OSError as error:
        problem = f"it cannot be written: {(error.strerror or '').lower()}"
        raise OptionError(problem, "--output", str(file)) from None


# --- compare ------------------------------------------------------------------------------------


def compare(options: Options) -> int:
    """Hold one file of results against another."""
    found = compared(
        read_results(Path(options.before)),
        read_results(Path(options.after)),
        tolerance=options.tolerance,
        one_run=options.one_run,
    )
    if options.as_json:
        print_document(found)
    else:
        _print(found)
    return Exit.FAILED if found.worse else Exit.OK


def _print(found: Comparison) -> None:
    for note in found.notes:
        click.echo(note)
    for name, drift in found.drift.items():
        click.echo(f"{name}: peers take {drift:.2f} x what they took, which is divided out")
    if not found.drift:
        click.echo("how much the machine itself has changed is not known: too few peers in both")
    rows = [_row(each) for each in found.ratios]
    print_table(
        ("workload", "figure", "before>", "after>", "ratio>", "range>", "verdict"),
        rows,
    )
    for each in found.ratios:
        if each.why:
            click.echo(f"{each.workload}: {each.name}: not measured any more: {each.why}")
    worse = len(found.worse)
    click.echo(
        f"{len(found.ratios)} compared: {worse} worse beyond the noise and "
        f"{100.0 * found.tolerance:g} %"
    )


def _row(each: Ratio) -> tuple[str, ...]:
    gone = each.verdict == "gone"
    return (
        each.workload,
        each.name,
        _figure(each.before, each.unit),
        "-" if gone else _figure(each.after, each.unit),
        "-" if gone else f"{each.ratio:.2f}",
        "-" if gone else f"{each.low:.2f} - {each.high:.2f}",
        each.verdict,
    )


def _figure(value: float, unit: str) -> str:
    return f"{value:,.4g} {unit}".strip() if value < WHOLE_FROM else f"{value:,.0f} {unit}".strip()
