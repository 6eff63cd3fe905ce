import gzip
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from connectors.data_errors import CorruptFileError, OptionError, UnsupportedTypeError
from connectors.source import discover
from tests.connectors.datasets import options, publish, read, sink, source, write


def test_types_are_agreed_on_by_all_files(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("id,price,code,day,none\n1,2,007x,2026-01-02,\n")
    (tmp_path / "2.csv").write_text("id,price,code,none\n2,2.5,8,\n")

    table = read(source(tmp_path))

    assert [str(f.type) for f in table.schema] == [
        "int64",
        "double",
        "string",
        "date32[day]",
        "string",
    ]
    assert table["code"].to_pylist() == ["007x", "8"]
    assert table["day"].to_pylist() == [date(2026, 1, 2), None]


def test_an_empty_field_is_null_a_quoted_one_is_not_and_na_is_a_country(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text('a,b\n,""\nNA,x\n')

    assert read(source(tmp_path)).to_pydict() == {"a": [None, "NA"], "b": ["", "x"]}
    spec = source(tmp_path, options=options(null_values="NA|x"))
    assert read(spec)["a"].to_pylist() == [None, None]


def test_quoted_newlines_delimiters_and_missing_headers_are_read(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text('1;"a;\nb"\n2;c\n')

    table = read(source(tmp_path, options=options(delimiter=";", header=False)))

    assert table.to_pydict() == {"f0": [1, 2], "f1": ["a;\nb", "c"]}


def test_tabs_and_compression_are_known_by_the_name(tmp_path: Path) -> None:
    (tmp_path / "1.tsv.gz").write_bytes(gzip.compress(b"a\tb\n1\tx,y\n"))

    assert read(source(tmp_path)).to_pylist() == [{"a": 1, "b": "x,y"}]


def test_a_file_larger_than_the_limit_is_streamed(tmp_path: Path) -> None:
    lines = "".join(f"{i},{'x' * 90}\n" for i in range(60_000))
    (tmp_path / "1.csv").write_text("i,s\n" + lines)
    spec = source(tmp_path)

    table = read(spec, ["i"], pc.field("i") >= 10, batch_bytes=1 << 20)

    assert table["i"].to_pylist() == list(range(10, 60_000))


def test_told_types_win_over_guessed_ones(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("zip,n\n01234,1\n")

    table = read(source(tmp_path, options=options(types="zip=string, n=float")))

    assert table.to_pylist() == [{"zip": "01234", "n": 1.0}]


def test_a_value_that_does_not_fit_the_guess_is_an_error_that_says_what_to_do(
    tmp_path: Path,
) -> None:
    (tmp_path / "1.csv").write_text("n\n" + "12345678\n" * 150_000 + "oops\n")

    with pytest.raises(CorruptFileError, match=r"oops.*option types.*1\.csv"):
        read(source(tmp_path))


def test_ragged_rows_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n3\n")

    with pytest.raises(CorruptFileError, match=r"Expected 2 columns, got 1.*1\.csv"):
        read(source(tmp_path))


def test_a_wrong_option_is_refused_with_a_near_miss(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a\n1\n")

    with pytest.raises(OptionError, match="did you mean 'delimiter'"):
        discover(source(tmp_path, options=options(delimeter=";")), 1)


def test_empty_files_are_skipped_and_files_of_a_header_have_no_rows(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes(b"")
    (tmp_path / "2.csv").write_text("a,b\n")
    (tmp_path / "3.csv").write_text("a,b\n1,2\n")

    assert read(source(tmp_path)).to_pylist() == [{"a": 1, "b": 2}]


def test_written_csv_is_read_back_as_it_was(tmp_path: Path) -> None:
    spec = sink(tmp_path / "o", format="csv")
    table = pa.table(
        {
            "i": pa.array([1, None], pa.int8()),
            "f": [float("nan"), float("-inf")],
            "s": ["", None],
            "q": ['"a,\nb"', "é"],
            "dict": pa.array(["x", None]).dictionary_encode(),
            "ts": pa.array([1, None], pa.timestamp("us", "Europe/Paris")),
            "dec": pa.array(["1.50", None]).cast(pa.decimal128(5, 2)),
            "none": pa.nulls(2),
        }
    )

    publish(spec, write(spec, table))

    back = read(source(spec.url))
    assert back.schema.equals(table.schema)
    assert str(back.to_pylist()) == str(table.to_pylist())


def test_nested_columns_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedTypeError, match=r"CSV cannot hold column 'tags'.*JSON Lines"):
        write(sink(tmp_path, format="csv"), pa.table({"tags": [["a"]]}))
