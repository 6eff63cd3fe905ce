import io
import re

from rich.console import Console

from rayorch.bench.figures import Check
from rayorch.bench.results import (
    CheckLine,
    FailureLine,
    FigureLine,
    Machine,
    Measured,
    Results,
    RunLine,
    StageRate,
)
from rayorch.cli.bench_printing import failed, print_results
from tests.rayorch.bench import make

PEERS = ("daft", "dask")
MACHINE = Machine("3.11.7", "Linux", 2, {"ray": "2.60.0"}, 0.5, 0.25)


def results() -> Results:
    made = Results(None)
    made.add(MACHINE)
    for number, wall_s in enumerate((3.0, 1.0, 2.0)):
        made.add(
            RunLine("scan", "rayorch", number, Measured(wall_s, 2 * wall_s, {"files": 64}), 0.1)
        )
    made.add(FailureLine("scan", "daft", "daft is not installed", "skipped"))
    made.add(FailureLine("group", "dask", "killed", "memory"))
    made.add(FigureLine("core", "events a second", (90_000.0, 80_000.0)))
    made.add(FigureLine("scale", "CPU a task over tasks", (106.0,), "us", at=1e6))
    rate = StageRate("lines", 64, 1_000_000, 50_000_000, 2.0, {"compute": 1.25})
    made.add(RunLine("wide", "rayorch", 0, Measured(2.5, 4.0, stages=(rate,)), 0.1))
    made.check(Check(workload="scan", claim="wall / pool", figure=0.9, limit=1.15))
    made.check(Check(workload="scan", claim="wall / daft", figure=None, limit=0.6))
    return made


def test_the_tables_say_what_was_measured_and_what_is_reached() -> None:
    out = io.StringIO()

    print_results(results(), Console(file=out, width=140))

    text = out.getvalue()
    assert "2.00 (1.00 - 3.00)" in text
    assert "scan, daft: skipped: daft is not installed" in text
    assert "group, dask: out of memory: killed" in text
    assert "ray 2.60.0" in text
    assert re.search(r"events a second +│ +85,000 │ 80,000 - 90,000", text)
    assert re.search(r"CPU a task over tasks = 1,000,000 +│ +106 us", text)
    wide = next(line for line in text.splitlines() if "500,000" in line)
    assert "32.0" in wide  # tasks a second
    assert "25.0" in wide  # MB a second
    assert "1.25" in wide  # seconds of computing
    assert "no figure" in text


def test_a_side_that_has_no_figure_is_no_failure() -> None:
    """A peer that is not installed must not fail the benchmark; a missed target does."""
    missed = Check(workload="scan", claim="wall / pool", figure=1.2, limit=1.15)

    assert not failed(results(), PEERS)
    assert failed(make.results(CheckLine(missed, missed.verdict)), PEERS)


def test_what_of_ours_could_not_be_measured_is_a_failure() -> None:
    """Else a suite that measures nothing would pass."""
    assert failed(make.results(make.failure("scan", "rayorch")), PEERS)
    assert failed(make.results(make.failure("throttled", "slow")), PEERS)
    assert not failed(make.results(make.failure("scan", "daft")), PEERS)
