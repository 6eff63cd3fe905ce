import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from benchmarks.__main__ import arguments
from benchmarks.driver import Measured
from benchmarks.figures import Check
from benchmarks.printing import failed, print_results
from benchmarks.results import FailureLine, Line, Machine, Results, RunLine

MACHINE = Machine("3.11.7", "Linux", 2, {"ray": "2.60.0"}, 0.5, 0.25)


def results(path: Path | None = None) -> Results:
    made = Results(path)
    made.add(MACHINE)
    for number, wall_s in enumerate((3.0, 1.0, 2.0)):
        made.add(
            RunLine("scan", "rayorch", number, Measured(wall_s, 2 * wall_s, {"files": 64}), 0.1)
        )
    made.add(FailureLine("scan", "daft", "daft is not installed", skipped=True))
    made.check(Check(workload="scan", claim="wall / pool", figure=0.9, limit=1.15))
    made.check(Check(workload="scan", claim="wall / daft", figure=None, limit=0.6))
    return made


def test_the_tables_say_what_was_measured_and_what_is_reached() -> None:
    out = io.StringIO()

    print_results(results(), Console(file=out, width=140))

    text = out.getvalue()
    assert "2.00 (1.00 - 3.00)" in text
    assert "scan, daft: skipped: daft is not installed" in text
    assert "ray 2.60.0" in text
    assert "no figure" in text


def test_every_run_is_a_line_that_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    made = results(path)

    decoder = msgspec.json.Decoder(Line)
    lines = [decoder.decode(line) for line in path.read_bytes().splitlines()]

    assert lines == made.lines


def test_a_side_that_has_no_figure_is_no_failure() -> None:
    """A peer that is not installed must not fail the benchmark; a missed target does."""
    missed = Check(workload="scan", claim="wall / pool", figure=1.2, limit=1.15)

    assert not failed(results().checks())
    assert failed([*results().checks(), missed])


def test_an_unknown_workload_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        arguments(["--only", "scan,skan"])

    assert "unknown: skan; known: startup, core" in capsys.readouterr().err


def test_names_are_given_with_commas() -> None:
    asked = arguments(["--only", "scan,tiny", "--peers", "pool", "--quick"])

    assert asked.only == ("scan", "tiny")
    assert asked.peers == ("pool",)
    assert asked.quick
