from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from connectors.data_errors import CorruptFileError
from connectors.source import discover
from tests.connectors.datasets import options, publish, read, sink, source, write

TABLE = pa.table(
    {"a": range(1000), "s": [str(i) for i in range(1000)], "l": [[i] for i in range(1000)]}
)


def put(path: Path, table: pa.Table, *, stream: bool = False) -> None:
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)


@pytest.mark.parametrize("stream", [False, True])
def test_files_and_streams_are_told_apart_by_their_content(tmp_path: Path, stream: bool) -> None:
    put(tmp_path / "1.arrow", TABLE, stream=stream)

    assert read(source(tmp_path)).equals(TABLE)
    assert read(source(tmp_path), ["s"], pc.field("a") == 7).to_pydict() == {"s": ["7"]}
    assert read(source(tmp_path), []).num_rows == 1000
    assert read(source(tmp_path), batch_bytes=64).equals(TABLE)


def test_a_file_is_cut_at_its_batches(tmp_path: Path) -> None:
    wide = pa.table({"s": ["x" * 10_000] * 1000})
    put(tmp_path / "1.arrow", wide)
    spec = source(tmp_path, split_bytes=4 << 20)

    _, splits = discover(spec, 1)

    assert len(splits) > 1
    assert read(spec).equals(wide)


@pytest.mark.parametrize("compression", ["lz4", "zstd", "none"])
def test_dictionaries_that_grow_are_written_and_read_back(tmp_path: Path, compression: str) -> None:
    spec = sink(tmp_path / "o", format="arrow", options=options(compression=compression))
    tables = [pa.table({"d": pa.array([v]).dictionary_encode()}) for v in ("a", "b", "a")]

    publish(spec, write(spec, *tables))

    back = read(source(spec.url))
    assert back.schema.equals(tables[0].schema)
    assert back["d"].to_pylist() == ["a", "b", "a"]


@pytest.mark.parametrize("keep", [0, 5, 300])
def test_a_file_cut_short_is_an_error_that_names_it(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "1.arrow"
    put(path, TABLE)
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(CorruptFileError, match=r"Arrow IPC.*1\.arrow"):
        read(source(tmp_path))
