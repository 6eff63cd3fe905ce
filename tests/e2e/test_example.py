"""The example is what `make demo` runs: its numbers are checked against another engine's."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import rayorch as ro
from rayorch.loading import load_pipeline

EXAMPLE = Path(__file__).parents[2] / "examples" / "tpch_nightly.py"


def nightly(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the example on little data in a folder."""
    return subprocess.run(
        [
            *(sys.executable, str(EXAMPLE), "--folder", str(folder)),
            *("--scale", "0.01", "--parts", "4", *options),
        ],
        # Not the cluster that somebody keeps warm on this machine.
        env={**os.environ, "XDG_STATE_HOME": str(folder / "state")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("executor", ["ray", "in-process"])
def test_the_example_ends_with_equal_numbers(tmp_path: Path, executor: str) -> None:
    done = nightly(tmp_path, "--executor", executor)

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("every number is equal\n")
    # Two kinds of entries in four years and in all, and the line above.
    assert done.stdout.count(" equal\n") == 2 * 4 + 2 + 1
    assert "succeeded in" in done.stderr
    entries = ro.read(str(tmp_path / "ledger")).to_table(columns=["entry"])["entry"]
    assert set(entries.to_pylist()) == {"placed", "shipped"}


def test_data_is_made_once_and_a_wrong_number_is_found(tmp_path: Path) -> None:
    """The check itself must be able to fail: the files lose a row after the run."""
    assert nightly(tmp_path, "--executor", "in-process").returncode == 0
    data = tmp_path / "tpch-0.01-4"
    orders = sorted((data / "orders").iterdir())
    pq.write_table(pq.read_table(orders[0]).slice(1), orders[0])
    check = (
        "import sys; from pathlib import Path; import tpch_nightly as t;"
        "sys.exit(0 if t.check(Path(sys.argv[1]), Path(sys.argv[2])) else 1)"
    )

    checked = subprocess.run(
        [sys.executable, "-c", check, str(data), str(tmp_path / "ledger")],
        cwd=EXAMPLE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    again = nightly(tmp_path, "--executor", "in-process")

    assert checked.returncode == 1, checked.stderr
    # All but one kind's, of one year and of all.
    assert checked.stdout.count(" equal\n") == 7 + 1
    # The table is replaced by what the smaller files hold.
    assert again.returncode == 0, again.stderr
    assert "making TPC-H data" not in again.stderr


def test_no_room_for_the_data_is_said_before_it_is_made(tmp_path: Path) -> None:
    done = nightly(tmp_path, "--scale", "100000")

    assert done.returncode == 1
    assert "not enough room in" in done.stderr
    assert "choose another --folder or a smaller --scale" in done.stderr


def test_the_example_is_a_file_that_the_command_line_loads() -> None:
    pipeline = load_pipeline(str(EXAMPLE), params={"folder": "elsewhere"})

    spec = pipeline.spec()
    assert [read.name for read in spec.reads] == ["lineitem", "orders"]
    assert [write.format for write in spec.writes] == ["delta", "delta"]
