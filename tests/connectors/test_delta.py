import json
import multiprocessing
import threading
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake

from connectors.data_errors import (
    NoFilesError,
    OptionError,
    OutputSchemaConflictError,
    UnsupportedTypeError,
)
from connectors.dataset import read_dataset
from connectors.formats.delta_log import open_table
from connectors.sink import SinkOutput, SinkSpec, open_sink
from connectors.source import discover
from tests.connectors.datasets import publish, read, sink, source, write


def delta(folder: Path, **fields: object) -> SinkSpec:
    return sink(folder, format="delta", **fields)


def test_a_table_is_created_replaced_and_added_to_in_one_version_each(tmp_path: Path) -> None:
    append, overwrite = delta(tmp_path / "t", mode="append"), delta(tmp_path / "t")
    contents = []

    for generation, spec in enumerate([overwrite, append, overwrite, append], start=1):
        out = write(spec, pa.table({"a": [generation]}), name=f"t{generation}")
        published = publish(spec, out, generation=generation)
        assert published.version == str(generation - 1)
        contents.append(sorted(read(source(spec.url))["a"].to_pylist()))

    assert contents == [[1], [1, 2], [3], [3, 4]]


def test_a_zero_row_output_empties_the_table(tmp_path: Path) -> None:
    spec = delta(tmp_path / "t")
    publish(spec, write(spec, pa.table({"a": [1]})))

    publish(spec, write(spec, pa.table({"a": pa.array([], pa.int64())})), generation=2)

    assert DeltaTable(spec.url).to_pyarrow_table().num_rows == 0
    assert read(source(spec.url)).num_rows == 0


def test_publishing_the_same_generation_again_adds_nothing(tmp_path: Path) -> None:
    spec = delta(tmp_path / "t", mode="append")
    first = write(spec, pa.table({"a": [1]}), name="t1")

    for _ in range(3):
        publish(spec, first)
    publish(spec, write(spec, pa.table({"a": [2]}), name="t2"), app="other")
    publish(spec, first)

    assert DeltaTable(spec.url).version() == 1
    assert sorted(read(source(spec.url))["a"].to_pylist()) == [1, 2]


def test_an_older_generation_cannot_come_back(tmp_path: Path) -> None:
    """delta-rs takes a lower transaction version without a word."""
    spec = delta(tmp_path / "t")
    late = write(spec, pa.table({"a": ["late"]}), name="late")
    publish(spec, write(spec, pa.table({"a": ["new"]}), name="new"), generation=5)

    publish(spec, late, generation=4)

    assert read(source(spec.url)).to_pydict() == {"a": ["new"]}
    assert DeltaTable(spec.url).transaction_version("app") == 5


@pytest.mark.parametrize("exists", [False, True])
def test_of_many_threads_that_publish_one_generation_one_commits(
    tmp_path: Path, exists: bool
) -> None:
    spec = delta(tmp_path / "t", mode="append")
    if exists:
        publish(spec, write(spec, pa.table({"a": [0]}), name="before"), app="before")
    outputs = [write(spec, pa.table({"a": [1]}), name=f"t{n}") for n in range(6)]
    start = threading.Barrier(len(outputs))

    def run(output: SinkOutput) -> None:
        start.wait(10)
        publish(spec, output)

    threads = [threading.Thread(target=run, args=(output,)) for output in outputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    table = DeltaTable(spec.url)
    assert table.to_pyarrow_table()["a"].to_pylist().count(1) == 1
    log = sorted((tmp_path / "t/_delta_log").glob("*.json"))
    commits = [json.loads(line) for file in log for line in file.read_text().splitlines()]
    assert sum(1 for c in commits if c.get("txn", {}).get("appId") == "app") == 1


def _publish_in_process(folder: str, number: int, start: "threading.Barrier") -> None:
    spec = delta(Path(folder), mode="append")
    output = write(spec, pa.table({"a": [1]}), name=f"p{number}")
    start.wait(60)
    publish(spec, output)


@pytest.mark.slow
def test_of_many_processes_that_publish_one_generation_one_commits(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    args = [(str(tmp_path / "t"), number, start) for number in range(3)]
    processes = [context.Process(target=_publish_in_process, args=arg) for arg in args]

    for process in processes:
        process.start()
    for process in processes:
        process.join(100)

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert DeltaTable(str(tmp_path / "t")).to_pyarrow_table()["a"].to_pylist() == [1]


def test_publishers_of_different_applications_that_create_one_table_all_get_in(
    tmp_path: Path,
) -> None:
    spec = delta(tmp_path / "t", mode="append")
    outputs = [write(spec, pa.table({"a": [n]}), name=f"t{n}") for n in range(8)]
    start = threading.Barrier(len(outputs))

    def run(output: SinkOutput, app: str) -> None:
        start.wait(10)
        publish(spec, output, app=app)

    threads = [
        threading.Thread(target=run, args=(output, f"app{n}")) for n, output in enumerate(outputs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(read(source(spec.url))["a"].to_pylist()) == list(range(8))


def test_a_table_that_appears_between_the_look_and_the_creation_is_added_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads seldom hit the window: another publisher creates the table just after our look."""
    spec = delta(tmp_path / "t", mode="append")
    publish(spec, write(spec, pa.table({"a": [1]}), name="theirs"), app="theirs")
    looks = []

    def blind_once(url: str, options: Mapping[str, str]) -> DeltaTable | None:
        looks.append(url)
        return None if len(looks) == 1 else open_table(url, options)

    monkeypatch.setattr("connectors.formats.delta.open_table", blind_once)

    publish(spec, write(spec, pa.table({"a": [2]}), name="ours"), app="ours")

    assert sorted(read(source(spec.url))["a"].to_pylist()) == [1, 2]


ODD = pa.table(
    {
        "u8": pa.array([255, None], pa.uint8()),
        "u64": pa.array([2**64 - 1, 0], pa.uint64()),
        "ts": pa.array([1_000, None], pa.timestamp("ns", "Europe/Paris")),
        "naive": pa.array([1, None], pa.timestamp("ms")),
        "dict": pa.array(["a", None]).dictionary_encode(),
        "big": pa.array(["x", None], pa.large_string()),
        "dec": pa.array(["1.50", None]).cast(pa.decimal128(5, 2)),
        "half": pa.array([0.5, None], pa.float32()).cast(pa.float16()),
        "nest": [{"l": [1, None], "s": "x"}, None],
        "u8s": pa.array([[200], []], pa.list_(pa.uint8())),
        "map": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int32())),
        "nan": [float("nan"), None],
        "none": pa.nulls(2),
    }
)


def test_types_that_delta_lacks_are_widened_and_no_value_changes(tmp_path: Path) -> None:
    spec = delta(tmp_path / "t e é")

    publish(spec, write(spec, ODD))

    for back in (
        read(source(spec.url)),
        read_dataset(spec.url).to_table(),
        DeltaTable(spec.url).to_pyarrow_table(),
    ):
        rows = back.to_pylist()
        assert rows[0]["u8"] == 255
        assert rows[0]["u64"] == Decimal(2**64 - 1)
        assert rows[0]["u8s"] == [200]
        assert rows[0]["nest"] == {"l": [1, None], "s": "x"}
        assert back["ts"].cast(pa.int64()).to_pylist() == [1, None]
        assert back.schema.field("ts").type == pa.timestamp("us", "UTC")
        assert back["naive"].cast(pa.int64()).to_pylist() == [1_000, None]
        assert back["dict"].to_pylist() == ["a", None]
        assert str(rows[0]["nan"]) == "nan"
        assert back["none"].to_pylist() == [None, None]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1], pa.timestamp("ns")),
        pa.array([1], pa.duration("us")),
        pa.array([1], pa.time64("us")),
        pa.array([[]], pa.list_(pa.null())),
        pa.array(["1"]).cast(pa.decimal256(60, 0)),
    ],
)
def test_what_delta_cannot_hold_is_refused_by_name_and_not_rounded(
    tmp_path: Path, column: pa.Array
) -> None:
    with pytest.raises(UnsupportedTypeError, match=r"Delta cannot hold column 'odd'.*transform"):
        write(delta(tmp_path), pa.table({"odd": column}))


def test_statistics_bound_the_values_of_every_file(tmp_path: Path) -> None:
    spec = delta(tmp_path / "t", partition_by=("k",))
    table = pa.table(
        {
            "k": ["x", "x"],
            "i": [3, -1],
            "s": ["b", None],
            "long": ["x" * 100, "y"],
            "day": [date(2026, 1, 1), None],
            "nest": [{"a": 1}, None],
            "inf": [float("inf"), 1.0],
        }
    )

    output = write(spec, table)

    stats = json.loads(output.files[0].stats or "")
    assert stats["numRecords"] == 2
    assert stats["minValues"] == {"i": -1, "s": "b", "day": "2026-01-01"}
    assert stats["maxValues"] == {"i": 3, "s": "b", "day": "2026-01-01"}
    assert stats["nullCount"] == {"i": 0, "s": 1, "long": 0, "day": 1, "inf": 0}
    publish(spec, output)
    kept = DeltaTable(spec.url).to_pyarrow_dataset().to_table(filter=pc.field("i") < 0)
    assert kept["long"].to_pylist() == ["y"]


def test_duckdb_reads_what_was_written(tmp_path: Path) -> None:
    spec = delta(tmp_path / "t", partition_by=("k",))
    publish(spec, write(spec, pa.table({"k": ["a b", "c/d", None], "n": [1, 2, 3]})))

    there = DeltaTable(spec.url).to_pyarrow_dataset()

    with duckdb.connect() as connection:
        connection.register("there", there)
        assert connection.execute("select sum(n), count(k) from there").fetchall() == [(6, 2)]


@pytest.mark.parametrize("format_name", ["parquet", "csv", "jsonl", "arrow", "delta"])
def test_rows_of_nothing_but_nulls_are_still_rows(tmp_path: Path, format_name: str) -> None:
    """Columns of nulls are left out of the files; a file without columns has no rows."""
    spec = sink(tmp_path / "t", format=format_name, partition_by=("k",))

    publish(spec, write(spec, pa.table({"a": pa.nulls(3), "k": ["x", "x", "y"]})))

    for back in (read(source(spec.url)), read_dataset(spec.url).to_table()):
        assert back["a"].to_pylist() == [None, None, None]
        assert sorted(back["k"].to_pylist()) == ["x", "x", "y"]


def test_appending_a_new_column_declares_it_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    """delta-rs adds such files without a word, and the column's values are lost."""
    spec = delta(tmp_path / "t", mode="append")
    publish(spec, write(spec, pa.table({"a": [1]}), name="t1"))

    publish(spec, write(spec, pa.table({"a": [2], "b": ["x"]}), name="t2"), generation=2)

    rows = read(source(spec.url)).sort_by("a").to_pylist()
    assert rows == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]
    with pytest.raises(OutputSchemaConflictError, match=r"'a' is int64 .* string"):
        publish(spec, write(spec, pa.table({"a": ["x"]}), name="t3"), generation=3)
    publish(spec, write(spec, pa.table({"a": pa.nulls(1)}), name="t4"), generation=3)
    assert DeltaTable(spec.url).to_pyarrow_table().num_rows == 3


def test_a_table_partitioned_otherwise_is_refused(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", pa.table({"a": [1], "k": ["x"]}), partition_by=["k"])
    spec = delta(tmp_path / "t", mode="append")

    with pytest.raises(OptionError, match="partitioned by k"):
        publish(spec, write(spec, pa.table({"a": [2], "k": ["y"]})))


def test_tables_of_other_writers_are_read_through_their_log(tmp_path: Path) -> None:
    path = tmp_path / "a b"
    table = pa.table({"n": [1, 2, 3], "k": ["x y", "z%/é", None], "d": [date(2026, 1, 1)] * 3})
    write_deltalake(path, table, partition_by=["k", "d"])
    write_deltalake(path, table.slice(0, 1), mode="append", partition_by=["k", "d"])
    DeltaTable(path).delete("n = 2")

    assert sorted(read(source(path))["n"].to_pylist()) == [1, 1, 3]
    assert read(source(path), ["d"], pc.field("k") == "x y").num_rows == 2
    _, splits = discover(source(path), 1, pc.field("k") == "x y")
    assert len([part for split in splits for part in split.parts]) == 2


def test_a_folder_without_a_log_is_no_delta_table(tmp_path: Path) -> None:
    with pytest.raises(NoFilesError, match="no Delta table"):
        read(source(tmp_path, format="delta"))


def test_half_written_files_of_a_run_are_swept_and_published_ones_stay(tmp_path: Path) -> None:
    spec = delta(tmp_path / "t")
    kept = write(spec, pa.table({"a": [1]}), name="kept")
    write(spec, pa.table({"a": [2]}), name="orphan")
    publish(spec, kept)

    assert open_sink(spec).sweep("run-1", {file.key for file in kept.files}) == 1
    assert read(source(spec.url)).to_pydict() == {"a": [1]}


def test_delta_in_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="memory://"):
        open_sink(sink("memory://x/t", format="delta"))
