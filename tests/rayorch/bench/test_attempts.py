"""What attempts did, read back from the journal of a real run."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from rayorch.bench.attempts import attempts_of
from rayorch.client import connection
from rayorch.ids import RunId


def test_stages_and_attempts_of_a_run_are_what_it_did(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        table = pa.table({"key": [1, 2, 3, 4], "value": [1.0, 2.0, 3.0, 4.0]})
        pq.write_table(table, tmp_path / "in" / f"{number}.parquet")
    pipeline = ro.Pipeline("sums")
    lines = pipeline.read("lines", str(tmp_path / "in" / "*.parquet"), split="file")
    lines.aggregate("sums", by="key", value=("value", "sum")).write(str(tmp_path / "out"))
    home = str(tmp_path / "home")
    view = ro.run(pipeline, home=home, executor="in-process").view

    at = connection(home, "in-process")
    found = attempts_of(at.home, at.clock, RunId(view.run))

    assert found.is_whole
    first, second = found.stages
    assert (first.tasks, first.rows, second.tasks) == (3, 12, 1)
    assert first.size_bytes + second.size_bytes == view.totals.bytes_in
    assert set(first.steps) == {"wait", "read", "compute", "write", "cpu"}
    assert first.slowest_over_mean >= 1.0
    assert len(found.bars) == view.tasks == 4
    assert all(0.0 <= bar.start_s <= bar.end_s <= view.elapsed_s + 0.1 for bar in found.bars)
    assert {bar.stage for bar in found.bars} == {first.name, second.name}
    assert found.gets >= 3
    assert found.request_usd == pytest.approx(found.gets * 0.4e-6 + found.puts * 5e-6)
