"""`bench calibrate`: what it prints, and where `capacity` finds what it found."""

from functools import partial

import pytest

from rayorch.bench.calibrating import Bench
from rayorch.cli.options import Exit
from tests.rayorch.cli.conftest import Shell


def test_the_group_says_what_it_has(shell: Shell) -> None:
    said = shell("bench", "--help")

    assert said.code == Exit.OK
    assert "rayorch bench calibrate" in said.out


@pytest.mark.slow
def test_a_calibration_is_printed_and_kept(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    small = partial(Bench, fitted=3, tested=(4,), rows=200)
    monkeypatch.setattr("rayorch.cli.calibrating.Bench", small)

    said = shell("bench", "calibrate", "--executor", "in-process", "--json")

    # Runs of milliseconds are never foretold as well as they should be: that is no test's matter.
    verdicts = said.document["verdicts"]
    assert said.code == (Exit.FAILED if "fail" in verdicts.values() else Exit.OK)
    assert len(verdicts) == 3
    assert "two unlike pools: left out" in said.err
    assert said.document["runs"] == len(said.document["compared"]) == 4
    assert said.err.count("measured ") == 4
