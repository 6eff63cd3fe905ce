import hashlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.data import (
    SCAN,
    TINY,
    Shape,
    cache_folder,
    events_table,
    made,
    points_table,
    scaled,
)

SMALL = Shape(name="events", files=2, rows_per_file=2_000, seed=1, table=events_table)


def digest(table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return hashlib.sha256(sink.getvalue()).hexdigest()


@pytest.mark.parametrize("table", [events_table, points_table])
def test_a_seed_gives_the_same_file_every_time(table: Callable[[Shape, int], pa.Table]) -> None:
    shape = Shape(name="x", files=2, rows_per_file=500, seed=9, table=table)

    assert digest(table(shape, 1)) == digest(table(shape, 1))
    assert digest(table(shape, 0)) != digest(table(shape, 1))


def test_the_inputs_are_what_the_targets_speak_of() -> None:
    table = SMALL.table(SMALL, 0)

    assert (SCAN.rows, SCAN.files, table.num_columns) == (10_000_000, 64, 8)
    assert TINY.files == 5_000
    kept = pc.sum(pc.less(table["qty"], 30)).as_py() / table.num_rows
    assert 0.27 < kept < 0.33


def test_ids_go_on_from_file_to_file() -> None:
    second = SMALL.table(SMALL, 1)["id"]

    assert (second[0].as_py(), second[-1].as_py()) == (2_000, 3_999)


def test_a_folder_that_was_interrupted_is_made_again(tmp_path: Path) -> None:
    (tmp_path / SMALL.key).mkdir()
    (tmp_path / SMALL.key / "part-00007.parquet").write_bytes(b"half a fi")

    folder = made(SMALL, tmp_path)

    assert sorted(path.name for path in folder.glob("*.parquet")) == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    assert pq.read_table(folder).num_rows == SMALL.rows


def test_a_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    before = (made(SMALL, tmp_path) / "part-00000.parquet").stat().st_mtime_ns

    assert (made(SMALL, tmp_path) / "part-00000.parquet").stat().st_mtime_ns == before


def test_the_cache_is_outside_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert cache_folder().parent == tmp_path


@pytest.mark.parametrize(
    ("scale", "files", "rows"),
    [(1.0, 64, 10_000_000), (0.05, 64, 499_968), (0.001, 4, 10_000), (2.0, 128, 20_000_000)],
)
def test_a_shape_is_as_large_as_it_is_asked_to_be(scale: float, files: int, rows: int) -> None:
    """In as many files: but not in files of hardly any rows, and in more where there is more."""
    shape = scaled(SCAN, scale)

    assert (shape.files, shape.rows) == (files, rows)
