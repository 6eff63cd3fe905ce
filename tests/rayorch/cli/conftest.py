"""The command line as a function: arguments in; exit code, standard output and error out."""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from rayorch.cli.main import command_exit
from rayorch.clock import SystemClock

PIPELINE = """
import pyarrow as pa
import pyarrow.compute as pc
import rayorch as ro

nightly = ro.Pipeline("nightly", owner="data-platform")
lines = nightly.read("lines", "FOLDER/in/*.parquet")

@nightly.map(lines)
def doubled(batch: pa.Table) -> pa.Table:
    print("doubling", len(batch))
    return batch.append_column("twice", pc.multiply(batch["a"], ro.param("factor", 2)))

doubled.write("FOLDER/out", format="parquet")
"""
FAILING = PIPELINE.replace('print("doubling", len(batch))', 'raise ValueError("no such price")')


class PatientClock(SystemClock):
    """Waits for the host's threads, where a unit test may not sleep."""

    def sleep(self, duration_s: float) -> None:
        threading.Event().wait(duration_s)


@dataclass(frozen=True)
class Said:
    """What one command has said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs commands in a folder of its own, with a home of its own."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capture = capture

    def __call__(self, *arguments: str, **environ: str) -> Said:
        self._capture.readouterr()
        code = command_exit(list(arguments), environ)
        out, err = self._capture.readouterr()
        return Said(code, self._plain(out), self._plain(err))

    def _plain(self, text: str) -> str:
        return text.replace(str(self.folder), "FOLDER")

    def write(self, text: str, name: str = "nightly.py") -> None:
        (self.folder / name).write_text(text.replace("FOLDER", str(self.folder)))

    def read_parquet(self, name: str = "out") -> pa.Table:
        return ro.read(str(self.folder / name)).to_table().sort_by("a")


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    """A folder with three small input files and `nightly.py`."""
    monkeypatch.setenv("RAYORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAYORCH_EXECUTOR", "in-process")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("rayorch.client.SystemClock", PatientClock)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for index in range(3):
        table = pa.table({"a": range(index * 10, index * 10 + 10)})
        pq.write_table(table, tmp_path / "in" / f"{index}.parquet")
    made = Shell(tmp_path, capsys)
    made.write(PIPELINE)
    return made


@pytest.fixture
def steady() -> Callable[[str], str]:
    """Take out of a text what differs from run to run: ids, durations, rates."""

    def plain(text: str) -> str:
        text = re.sub(r"-\d{8}-\d{6}-[0-9a-f]{4}\b", "-ID", text)
        text = re.sub(r"[\d,.]+ (s|rows/s|core seconds)\b", r"N \1", text)
        text = re.sub(r"[\d.]+ [KMG]iB\b", "N iB", text)
        text = re.sub(r"\d\d:\d\d:\d\d", "TIME", re.sub(r"\d{4}-\d\d-\d\d", "DAY", text))
        return re.sub(r"version \w+", "version V", text)

    return plain
