"""The suite itself: sides that are really started, compared, and kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.workloads.table import WORKLOADS
from rayorch.bench.results import Results, read_results

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
