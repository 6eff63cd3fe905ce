"""The suite itself: sides that are really started, compared, and kept."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.workloads.table import WORKLOADS
from rayorch.bench.results import Results, read_results
from rayorch.cli.options import Exit
from rayorch.clock import SystemClock

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]


def measured(folder: Path, *asked: str) -> Results:
    """Run the suite, as small as it can be."""
    file = folder / "out.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "rayorch", "bench", "run", "--quick", *asked, "-o", str(file)],
        env={**os.environ, "XDG_CACHE_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    results = read_results(file)
    assert not results.failures(), results.failures()
    return results


clock = SystemClock()
ENDS_S_MAX = 10.0
"""What is aimed at is half of it; the rest is for a machine with other work."""


@pytest.mark.parametrize(
    ("asked", "measured_first"),
    [
        # In the scheduler's process; in a side of ours, on a Ray of ours; in a peer's processes.
        ("core,scale", "workload scale"),
        ("core,submit", "starting Ray (own)"),
        ("scan", "scan rayorch: "),
    ],
)
def test_ctrl_c_ends_all_that_was_started_and_keeps_what_was_measured(
    tmp_path: Path, asked: str, measured_first: str
) -> None:
    """Nobody presses it for the whole group, as a terminal does: a supervisor knows one pid."""
    file = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "rayorch", "bench", "run", "--quick", "--scale", "0.001"]
    with subprocess.Popen(
        [*command, "--only", asked, "--peers", "pool", "-o", str(file)],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as suite:
        assert suite.stderr is not None
        for line in suite.stderr:
            if measured_first in line:
                break
        family = psutil.Process(suite.pid).children(recursive=True)
        while not family:
            family = psutil.Process(suite.pid).children(recursive=True)
        began_s = clock.monotonic_s()

        suite.send_signal(signal.SIGINT)

        _, said = suite.communicate(timeout=60.0)
        took_s = clock.monotonic_s() - began_s
    assert suite.returncode == Exit.INTERRUPTED, said
    results = read_results(file)
    count = len([*results.figures(), *results.runs("scan", "rayorch")])
    assert count >= 1
    assert said.splitlines()[-1] == (
        f"interrupted: the {count} runs and figures that were measured before are above and in "
        f"{file}"
    )
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(family, timeout=ENDS_S_MAX)
    assert not alive
    assert took_s < ENDS_S_MAX
    logging.getLogger(__name__).info("ended after %.1f s", took_s)
    kept = [path.name for path in (tmp_path / f"rayorch-bench-{os.getuid()}").iterdir()]
    assert not [name for name in kept if name.startswith("session-")]


def test_sides_do_the_same_work_and_leave_runs_stages_and_attempts(tmp_path: Path) -> None:
    asked = ["--scale", "0.001", "--only", "scan,group", "--peers", "pool,duckdb"]

    results = measured(tmp_path, *asked)

    assert set(results.sides) == {
        *(("scan", side) for side in ("rayorch", "rayorch delta", "pool", "duckdb")),
        *(("group", side) for side in ("rayorch", "duckdb")),
    }
    [scan], [group] = results.runs("scan", "rayorch"), results.runs("group", "rayorch")
    # A filter is done where rows are read: what it leaves is what a stage is given.
    assert sum(stage.rows for stage in scan.stages) == scan.told["rows_out"]
    assert [stage.tasks for stage in group.stages][1:] == [1]
    assert group.stages[0].rows == 10_000
    assert len(scan.bars) == sum(stage.tasks for stage in scan.stages)
    assert scan.told["gets"] == 4
    assert all(run.startup_s > 0.0 for run in (scan, group))
    # Nothing is left of a session but the inputs.
    kept = [path.name for path in (tmp_path / f"rayorch-bench-{os.getuid()}").iterdir()]
    assert not [name for name in kept if name.startswith("session-")]


@pytest.mark.timeout(3_600)
def test_every_workload_is_measured_with_every_peer(tmp_path: Path) -> None:
    """At a thousandth: that nothing fails, not how fast it is."""
    pytest.importorskip("daft", reason="the extra `bench` is not installed")

    results = measured(tmp_path, "--scale", "0.001")

    named = {figure.workload for figure in results.figures()} | {name for name, _ in results.sides}
    missing = [name for name in WORKLOADS if not any(each.startswith(name) for each in named)]
    assert missing == ["memory-keyed"]  # Its runs are named for what they do.
