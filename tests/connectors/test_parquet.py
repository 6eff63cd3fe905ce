import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import xxhash

from connectors.data_errors import (
    MissingColumnError,
    OutputSchemaConflictError,
    SchemaConflictError,
)
from connectors.dataset import read_dataset
from connectors.sink import SinkOutput, open_sink
from connectors.source import discover, open_reader
from tests.connectors.datasets import options, publish, read, sink, source, write


def put(path: Path, table: pa.Table, rows: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows)


NESTED = pa.table(
    {
        "i": pa.array([1, None, 3], pa.int16()),
        "f": [float("nan"), None, float("-inf")],
        "s": ["é", "", None],
        "dict": pa.array(["a", "b", "a"]).dictionary_encode(),
        "dec": pa.array(["1.20", None, "-5"]).cast(pa.decimal128(9, 2)),
        "ts": pa.array([0, 1, None], pa.timestamp("us", "Europe/Paris")),
        "list": [[1, None], [], None],
        "struct": [{"a": 1, "b": ["x"]}, None, {"a": None, "b": []}],
        "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
    }
)


def test_nested_dictionary_decimal_nan_and_zoned_values_come_back_as_they_were(
    tmp_path: Path,
) -> None:
    put(tmp_path / "a.parquet", NESTED)

    table = read(source(tmp_path))

    assert table.schema.equals(NESTED.schema)
    assert str(table.to_pylist()) == str(NESTED.to_pylist())


def test_what_is_written_and_published_is_what_is_read(tmp_path: Path) -> None:
    spec = sink(tmp_path / "out put é")

    published = publish(spec, write(spec, NESTED))

    assert (published.files, published.rows) == (1, 3)
    assert str(read(source(spec.url)).to_pylist()) == str(NESTED.to_pylist())
    assert str(read_dataset(spec.url).to_table().to_pylist()) == str(NESTED.to_pylist())


@pytest.mark.parametrize(
    "name", ["with space.parquet", "ünï-日本.parquet", "a..b.parquet", "%41[1]#?.parquet"]
)
def test_a_file_of_any_name_is_read_by_its_own_url(tmp_path: Path, name: str) -> None:
    put(tmp_path / "dir" / name, pa.table({"a": [1]}))

    assert read(source(tmp_path / "dir" / name)).to_pydict() == {"a": [1]}
    assert read(source(f"file://{tmp_path}/other/../dir/{name}")).to_pydict() == {"a": [1]}
    assert read(source(tmp_path / "dir")).to_pydict() == {"a": [1]}


def test_globs_folders_and_lists_name_files_once_and_in_order(tmp_path: Path) -> None:
    for name in ("b/2.parquet", "a/1.parquet", "a/x/3.parquet", "_tmp/9.parquet", "a/.hid.parquet"):
        put(
            tmp_path / name,
            pa.table({"n": [int(c) for c in name if c.isdigit()]}, pa.schema([("n", pa.int64())])),
        )

    def numbers(*urls: str) -> list[int]:
        spec = source("", urls=tuple(f"{tmp_path}/{url}" for url in urls))
        return list(read(spec)["n"].to_pylist())

    assert numbers("") == [1, 3, 2]
    assert numbers("*/*.parquet") == [1, 2]
    assert numbers("**/*.parquet") == [1, 3, 2]
    assert numbers("[ab]/?.parquet") == [1, 2]
    assert numbers("b/2.parquet", "a/1.parquet", "b") == [2, 1]


def test_files_of_wider_and_narrower_types_are_read_as_the_wider_one(tmp_path: Path) -> None:
    put(tmp_path / "1.parquet", pa.table({"a": pa.array([1], pa.int32()), "s": ["x"]}))
    put(tmp_path / "2.parquet", pa.table({"s": pa.array(["y"]).dictionary_encode(), "a": [2**40]}))
    put(tmp_path / "3.parquet", pa.table({"a": pa.nulls(1), "extra": [{"k": 1}]}))
    put(tmp_path / "4.parquet", pa.table({"extra": [{"k": 2, "l": "z"}]}))

    table = read(source(tmp_path))

    assert table.schema.field("a").type == pa.int64()
    assert table["a"].to_pylist() == [1, 2**40, None, None]
    assert table["s"].to_pylist() == ["x", "y", None, None]
    assert table["extra"].to_pylist() == [None, None, {"k": 1, "l": None}, {"k": 2, "l": "z"}]


def test_files_that_disagree_are_refused_by_name(tmp_path: Path) -> None:
    put(tmp_path / "1.parquet", pa.table({"a": [1]}))
    put(tmp_path / "2.parquet", pa.table({"a": ["x"]}))

    with pytest.raises(SchemaConflictError, match=r"'a'.*int64.*1\.parquet.*string.*2\.parquet"):
        read(source(tmp_path))


def test_a_projection_reads_columns_in_its_order_and_counts_without_any(tmp_path: Path) -> None:
    put(tmp_path / "1.parquet", pa.table({"a": [1, 2], "a.b": [3, 4], "c": [5, 6]}), 1)

    assert read(source(tmp_path), ["a.b", "a"]).to_pydict() == {"a.b": [3, 4], "a": [1, 2]}
    assert read(source(tmp_path), []).num_rows == 2


def test_a_predicate_may_use_columns_that_are_not_asked_for(tmp_path: Path) -> None:
    put(tmp_path / "1.parquet", pa.table({"a": [1, 2, None], "b": ["x", "y", "z"]}))

    kept = read(source(tmp_path), ["b"], (pc.field("a") > 1) | pc.field("a").is_null())

    assert kept.to_pydict() == {"b": ["y", "z"]}


def test_row_groups_that_cannot_match_are_not_decoded(tmp_path: Path) -> None:
    """Row groups whose statistics rule them out hold garbage here: touching them would fail."""
    numbers = np.arange(400_000)
    put(
        tmp_path / "1.parquet",
        pa.table({"a": numbers, "b": np.random.default_rng(1).random(400_000)}),
        100_000,
    )
    path = tmp_path / "1.parquet"
    chunk = pq.read_metadata(path).row_group(0).column(1)
    data = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(data)

    kept = read(source(path), ["b"], pc.field("a") >= 350_000)

    assert kept.num_rows == 50_000


@pytest.mark.parametrize("name", ["colour", "Price"])
def test_a_column_that_is_not_there_is_refused_with_a_near_miss(tmp_path: Path, name: str) -> None:
    put(tmp_path / "1.parquet", pa.table({"color": [1], "price": [2]}))
    spec = source(tmp_path)
    discovery, _ = discover(spec, 1)

    for columns, predicate in (([name], None), (None, pc.field(name) > 1)):
        with pytest.raises(MissingColumnError, match=f"{name}.*did you mean '(color|price)'"):
            open_reader(spec, discovery, columns, predicate)


def test_tiny_files_of_one_split_come_as_one_table(tmp_path: Path) -> None:
    """A call of the user's function for each of 100 files would cost more than their rows."""
    for number in range(100):
        put(tmp_path / f"{number:03}.parquet", pa.table({"n": [number]}))
    spec = source(tmp_path)
    discovery, splits = discover(spec, 1)

    batches = [t for s in splits for t in open_reader(spec, discovery).batches(s, 1 << 20)]

    assert len(batches) == len(splits) < 10
    assert [n for t in batches for n in t["n"].to_pylist()] == list(range(100))


def test_a_row_group_larger_than_the_limit_is_streamed(tmp_path: Path) -> None:
    """The texts are 64 MB in memory and almost nothing on disk: the file's size says nothing."""
    text = "x" * 4_000
    put(tmp_path / "1.parquet", pa.table({"n": range(16_000), "s": [text] * 16_000}), 16_000)
    spec = source(tmp_path)
    discovery, splits = discover(spec, 1)

    rows, largest = [], 0
    pool_before = pa.total_allocated_bytes()
    peak = 0
    for batch in open_reader(spec, discovery).batches(splits[0], 4 << 20):
        rows += batch["n"].to_pylist()
        largest = max(largest, batch.nbytes)
        peak = max(peak, pa.total_allocated_bytes() - pool_before)

    assert rows == list(range(16_000))
    assert largest <= 4 << 20
    assert peak <= 24 << 20


def test_large_files_are_cut_at_row_groups_and_small_ones_stay_whole(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).random(1 << 20)
    put(tmp_path / "big.parquet", pa.table({"a": noise}), 1 << 17)
    put(tmp_path / "small.parquet", pa.table({"a": [1.0]}))
    spec = source(tmp_path, split_bytes=3 << 20)

    discovery, splits = discover(spec, 1)
    per_file = discover(source(tmp_path, split="file"), 1)[1]

    assert discovery.rows == sum(split.rows or 0 for split in splits) == (1 << 20) + 1
    groups = [p.row_groups for s in splits for p in s.parts if p.key == "big.parquet"]
    assert [g for some in groups for g in some or ()] == list(range(8))
    assert [s.parts[0].row_groups for s in per_file] == [None, None]
    assert read(spec).num_rows == (1 << 20) + 1
    assert "big.parquet row group" in open_reader(spec, discovery).describe(splits[0])


def test_ten_thousand_columns_are_read_and_written(tmp_path: Path) -> None:
    wide = pa.table({f"c{i}": [i] for i in range(10_000)})
    spec = sink(tmp_path / "out")

    publish(spec, write(spec, wide))

    assert read(source(spec.url), ["c9999", "c0"]).to_pylist() == [{"c9999": 9999, "c0": 0}]


def test_output_rolls_over_at_the_wanted_size_and_its_checksums_hold(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).random(3 << 20)
    spec = sink(tmp_path / "out", options=options(file_bytes=8 << 20))

    output = write(spec, *[pa.table({"a": piece}) for piece in np.split(noise, 6)])

    assert len(output.files) > 1
    assert sum(file.rows for file in output.files) == output.rows == 3 << 20
    for file in output.files:
        data = (tmp_path / "out" / file.key).read_bytes()
        assert (len(data), xxhash.xxh3_64_hexdigest(data)) == (file.size_bytes, file.checksum)
    publish(spec, output)
    assert np.array_equal(read(source(spec.url))["a"].to_numpy(), noise)


def test_no_rows_leave_no_file_but_a_schema(tmp_path: Path) -> None:
    spec = sink(tmp_path / "out")

    output = write(spec, pa.table({"a": pa.array([], pa.int64())}))
    publish(spec, output)

    assert output.files == ()
    assert read(source(spec.url)).schema == pa.schema([("a", pa.int64())])
    assert write(spec).schema_ipc is None


def test_rows_without_columns_are_as_many_as_were_written(tmp_path: Path) -> None:
    out = sink(tmp_path / "o")
    rows = pa.table({"x": [1, 2, 3]}).select([])
    output = write(out, rows, rows)
    publish(out, output)

    assert output.rows == 6
    assert read(source(tmp_path / "o")).num_rows == 6


def test_a_column_of_nulls_in_one_batch_does_not_conflict_with_values_in_another(
    tmp_path: Path,
) -> None:
    nulls = pa.table({"k": [1], "a": pa.nulls(1)})
    typed = pa.table({"k": [2], "a": ["x"]})
    spec = sink(tmp_path / "out")

    together = write(spec, nulls, typed, nulls, name="t1")
    alone = write(spec, nulls, name="t2")
    publish(spec, together, alone)

    table = read(source(spec.url)).sort_by("k")
    assert table["a"].to_pylist() == [None, None, None, "x"]


def test_batches_of_two_types_are_refused_while_they_are_written(tmp_path: Path) -> None:
    with pytest.raises(OutputSchemaConflictError, match=r"'a' is int64 .* string"):
        write(sink(tmp_path), pa.table({"a": [1]}), pa.table({"a": ["x"]}))


def test_nothing_is_visible_before_it_is_published_and_publishing_twice_is_once(
    tmp_path: Path,
) -> None:
    spec = sink(tmp_path / "out")
    publish(spec, write(spec, pa.table({"a": [1]}), name="t1"))
    second = write(spec, pa.table({"a": [2]}), name="t2")

    assert read(source(spec.url)).to_pydict() == {"a": [1]}
    publish(spec, second, generation=2)
    publish(spec, second, generation=2)
    publish(spec, write(spec, pa.table({"a": [9]}), name="late"), generation=1)
    assert read(source(spec.url)).to_pydict() == {"a": [2]}


def test_appended_generations_are_read_together_until_one_overwrites(tmp_path: Path) -> None:
    append, overwrite = sink(tmp_path / "o", mode="append"), sink(tmp_path / "o")

    for generation in (1, 2, 3):
        out = write(append, pa.table({"a": [generation]}), name=f"t{generation}")
        publish(append, out, generation=generation)
    assert sorted(read(source(append.url))["a"].to_pylist()) == [1, 2, 3]

    publish(overwrite, write(overwrite, pa.table({"a": [4]}), name="t4"), generation=4)
    assert read(source(append.url)).to_pydict() == {"a": [4]}


def test_two_applications_take_turns_at_one_place(tmp_path: Path) -> None:
    spec = sink(tmp_path / "o", mode="append")

    for app in ("one", "two", "one"):
        publish(spec, write(spec, pa.table({"a": [app]}), name=app), app=app)

    assert sorted(read(source(spec.url))["a"].to_pylist()) == ["one", "two"]


def test_of_many_threads_that_publish_one_generation_one_manifest_is_made(tmp_path: Path) -> None:
    spec = sink(tmp_path / "o", mode="append")
    ours = [write(spec, pa.table({"a": ["ours"]}), name=f"ours{n}") for n in range(4)]
    theirs = [write(spec, pa.table({"a": ["theirs"]}), name=f"theirs{n}") for n in range(4)]
    start = threading.Barrier(8)

    def run(output: SinkOutput, app: str) -> None:
        start.wait(10)
        publish(spec, output, app=app)

    threads = [threading.Thread(target=run, args=(o, "app")) for o in ours]
    threads += [threading.Thread(target=run, args=(o, f"app{n}")) for n, o in enumerate(theirs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    rows = read(source(spec.url))["a"].to_pylist()
    assert sorted(rows) == ["ours", "theirs", "theirs", "theirs", "theirs"]


def test_sweeping_deletes_what_no_commit_names_and_nothing_else(tmp_path: Path) -> None:
    spec = sink(tmp_path / "o")
    kept = write(spec, pa.table({"a": [1]}), name="kept")
    write(spec, pa.table({"a": [2]}), name="orphan")

    removed = open_sink(spec).sweep("run-1", {file.key for file in kept.files})

    assert removed == 1
    publish(spec, kept)
    assert read(source(spec.url)).to_pydict() == {"a": [1]}


def test_an_aborted_writer_leaves_no_file(tmp_path: Path) -> None:
    writer = open_sink(sink(tmp_path / "o")).open_writer("t", run="r")
    writer.write(pa.table({"a": np.random.default_rng(1).random(1 << 21)}))

    writer.abort()

    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
