"""The command line as a process of its own: signals, exit codes, and what is left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

import rayorch as ro

TASKS = 12
ROWS = 1200
PIPELINE = """
import threading
import pyarrow as pa
import pyarrow.compute as pc
import rayorch as ro

slow = ro.Pipeline("slow")
numbers = slow.read("numbers", "range://{rows}?splits={tasks}")

@slow.map(numbers)
def doubled(batch: pa.Table) -> pa.Table:
    threading.Event().wait({wait_s})
    return batch.append_column("twice", pc.multiply(batch["id"], 2))

doubled.write("{out}", format="parquet")
"""


class Shell:
    """Runs the command in a folder of its own."""

    def __init__(self, folder: Path, executor: str) -> None:
        self.folder = folder
        self._environ = {
            **os.environ,
            "RAYORCH_HOME": str(folder / "home"),
            "RAYORCH_EXECUTOR": executor,
            "XDG_STATE_HOME": str(folder / "state"),
        }

    def write(self, wait_s: float) -> None:
        text = PIPELINE.format(rows=ROWS, tasks=TASKS, wait_s=wait_s, out=self.folder / "out")
        (self.folder / "slow.py").write_text(text)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "rayorch", *arguments],
            cwd=self.folder,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*arguments)
        out, err = process.communicate(timeout=100)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def rows(self) -> list[tuple[int, int]]:
        table = ro.read(str(self.folder / "out")).to_table().sort_by("id")
        return list(zip(table["id"].to_pylist(), table["twice"].to_pylist(), strict=True))


@pytest.fixture
def shell(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shell]:
    made = Shell(tmp_path, request.param)
    made.write(wait_s=0.4)
    yield made
    if request.param == "ray":
        made("down")


both = pytest.mark.parametrize("shell", ["in-process", "ray"], indirect=True)
both_but_ray_slowly = pytest.mark.parametrize(
    "shell", ["in-process", pytest.param("ray", marks=pytest.mark.slow)], indirect=True
)


def read_until(stream: IO[str], text: str) -> str:
    """Return what the process says up to the line with this text."""
    said = ""
    for line in stream:
        said += line
        if text in line:
            return said
    raise AssertionError(f"it ended without {text!r}: {said}")


def finish(process: "subprocess.Popen[str]") -> str:
    _, err = process.communicate(timeout=60)
    return err


@both
def test_ctrl_c_stops_a_run_which_then_is_resumed_to_the_same_rows(shell: Shell) -> None:
    """One SIGINT: running tasks end, the process says how to go on, and each row comes once."""
    process = shell.start("run", "slow.py")
    assert process.stderr is not None
    read_until(process.stderr, ": running")

    process.send_signal(signal.SIGINT)
    said = finish(process)

    assert process.returncode == 130
    assert "stopping: running tasks end; Ctrl-C again stops at once" in said
    assert "  go on     rayorch resume slow-" in said
    assert not (shell.folder / "out" / "_manifests").exists()

    shell.write(wait_s=0.0)
    resumed = shell("resume", "last", "slow.py", "--json")

    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["resumed"] == 1
    assert shell.rows() == [(n, 2 * n) for n in range(ROWS)]


@both_but_ray_slowly
def test_a_second_ctrl_c_ends_at_once_and_the_run_is_resumed_all_the_same(shell: Shell) -> None:
    """A function that does not come back holds the first Ctrl-C up; the second waits for nobody."""
    shell.write(wait_s=50)
    process = shell.start("run", "slow.py")
    assert process.stderr is not None
    read_until(process.stderr, ": running")
    process.send_signal(signal.SIGINT)
    read_until(process.stderr, "Ctrl-C again stops at once")

    process.send_signal(signal.SIGINT)
    said = finish(process)

    assert process.returncode == 130
    assert "stopped at once; `rayorch resume slow-" in said

    shell.write(wait_s=0.0)
    resumed = shell("resume", "last", "slow.py")

    assert resumed.returncode == 0, resumed.stderr
    assert shell.rows() == [(n, 2 * n) for n in range(ROWS)]


@both_but_ray_slowly
def test_nothing_but_the_document_is_on_standard_output(shell: Shell) -> None:
    """Ray's own noise, and what functions print, would break whoever parses it."""
    shell.write(wait_s=0.0)

    done = shell("run", "slow.py", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == {"in": ROWS, "out": ROWS}
    ours = ("starting", "slow-")
    assert [line for line in done.stderr.splitlines() if not line.startswith(ours)] == []
