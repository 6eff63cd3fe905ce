import gzip
import json
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.data_errors import CorruptFileError, UnsupportedTypeError
from connectors.formats import jsonl
from connectors.formats.jsonl import line_blocks
from connectors.source import discover
from tests.connectors.datasets import publish, read, sink, source, write


def put(path: Path, *rows: object) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@given(
    st.lists(st.binary(max_size=9).map(lambda b: b.replace(b"\n", b"_")), min_size=1, max_size=12),
    st.lists(st.integers(1, 60), max_size=5),
    st.integers(1, 20),
    st.booleans(),
)
def test_ranges_of_bytes_give_each_line_once_wherever_they_are_cut(
    lines: list[bytes], cuts: list[int], size_bytes: int, ends_with_newline: bool
) -> None:
    data = b"\n".join(lines) + (b"\n" if ends_with_newline else b"")
    bounds = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]

    seen = b"".join(
        block
        for start, end in pairwise(bounds)
        if end
        for block in line_blocks(pa.BufferReader(data), start, end, size_bytes)
    )

    assert seen == data


def test_a_large_file_is_cut_into_ranges_and_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "UNIT_BYTES", 1 << 16)
    put(tmp_path / "1.jsonl", *({"i": i, "s": "é\n" * (i % 40)} for i in range(20_000)))
    spec = source(tmp_path, split_bytes=(1 << 20) + (1 << 17))

    discovery, splits = discover(spec, 2)

    assert len(splits) > 5
    assert read(spec, ["i"])["i"].to_pylist() == list(range(20_000))
    assert read(spec, [], batch_bytes=1 << 30).num_rows or discovery.rows is None


def test_fields_of_all_files_are_joined_and_whole_numbers_become_fractions(tmp_path: Path) -> None:
    put(tmp_path / "1.jsonl", {"a": 1, "st": {"x": 1}}, {"b": "x"})
    put(tmp_path / "2.json", {"a": 1.5, "st": {"y": [True]}})

    assert read(source(tmp_path)).to_pylist() == [
        {"a": 1.0, "st": {"x": 1, "y": None}, "b": None},
        {"a": None, "st": None, "b": "x"},
        {"a": 1.5, "st": {"x": None, "y": [True]}, "b": None},
    ]


def test_columns_can_be_left_out_and_counted_without(tmp_path: Path) -> None:
    put(tmp_path / "1.jsonl", {"a": 1, "b": 2}, {"a": 3})

    assert read(source(tmp_path), ["b"]).to_pydict() == {"b": [2, None]}
    assert read(source(tmp_path), []).num_rows == 2


def test_compressed_files_are_known_by_their_name(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl.gz").write_bytes(gzip.compress(b'{"a":1}\n{"a":2}'))

    assert read(source(tmp_path)).to_pydict() == {"a": [1, 2]}


def test_empty_files_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "0.jsonl").write_bytes(b"")
    (tmp_path / "1.jsonl").write_bytes(b"\n \n")
    put(tmp_path / "2.jsonl", {"a": 1})

    assert read(source(tmp_path)).to_pydict() == {"a": [1]}


@pytest.mark.parametrize("text", ['{"a":1}\n{"a":', "[1,2]", "plain text", '{"a":1}\n{"a":"x"}'])
def test_what_is_not_json_lines_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "1.jsonl").write_text(text)

    with pytest.raises(CorruptFileError, match=r"JSON Lines.*1\.jsonl"):
        read(source(tmp_path))


def test_written_json_lines_are_read_back_as_they_were(tmp_path: Path) -> None:
    spec = sink(tmp_path / "o", format="jsonl")
    table = pa.table(
        {
            "i": pa.array([1, None], pa.int8()),
            "f": [float("nan"), float("-inf")],
            "s": ['"é\n', None],
            "dict": pa.array(["x", None]).dictionary_encode(),
            "ts": pa.array([1, None], pa.timestamp("ns", "Europe/Paris")),
            "dec": pa.array(["1.50", None]).cast(pa.decimal128(5, 2)),
            "nest": [{"l": [1, None]}, {"l": []}],
            "none": pa.nulls(2),
        }
    )

    publish(spec, write(spec, table))

    back = read(source(spec.url))
    assert back.schema.equals(table.schema)
    assert str(back.to_pylist()) == str(table.to_pylist())


def test_bytes_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedTypeError, match="JSON Lines cannot hold column 'blob'"):
        write(sink(tmp_path, format="jsonl"), pa.table({"blob": [b"\xff"]}))
