"""A fat split is cut while it is read: what is done stays, the rest goes to idle runners."""

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from rayorch.client import Connection, LocalControl, submit_run, watch
from rayorch.clock import SystemClock
from rayorch.home import open_home
from rayorch.runner import pieces
from rayorch.settings import Settings

GROUPS = 8
SLOW_S = 0.8
"""Of a row group of the fat file: its task takes many times as long as the others."""


def test_a_fat_split_is_cut_and_each_row_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES_MIN", 1)
    data = tmp_path / "data"
    data.mkdir()
    for number in range(6):
        ids = np.arange(number * 1000, number * 1000 + 1000)
        rows = 1000 if number else 1000 // GROUPS
        pq.write_table(pa.table({"id": ids}), data / f"f{number}.parquet", row_group_size=rows)
    pipeline = ro.Pipeline("fat")
    source = pipeline.read("source", str(data / "*.parquet"), split="file")

    @pipeline.map(source, output="rows")
    def slow(table: pa.Table) -> pa.Table:
        if table["id"][0].as_py() < 1000:
            time.sleep(SLOW_S)  # noqa: TID251 - users' code, which takes no Clock.
        return table

    slow.write(str(tmp_path / "out"), format="parquet")
    clock = SystemClock()
    home = (tmp_path / "home").as_uri()
    at = Connection(open_home(home), clock, Settings(home=home))
    control = LocalControl(at.home, clock, 4)
    try:
        view = watch(at, control, submit_run(at, control, pipeline), None)
    finally:
        control.close()

    assert view.state == "succeeded"
    ids = ro.read(str(tmp_path / "out")).to_table()["id"].to_pylist()
    assert sorted(ids) == list(range(6000))
    # What is left of it is cut again where the machine is slow.
    assert view.totals.cuts >= 1
    assert view.tasks > 6
