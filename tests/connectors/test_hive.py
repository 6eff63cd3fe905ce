from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.data_errors import MissingColumnError
from connectors.dataset import read_dataset
from connectors.hive import path_of, path_values
from connectors.source import discover
from tests.connectors.datasets import publish, read, sink, source, write

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)


@given(st.dictionaries(NAMES, st.one_of(st.none(), NAMES), max_size=3))
def test_any_value_survives_its_way_through_a_path(values: dict[str, str | None]) -> None:
    path = path_of(values)

    assert path_values(f"{path}file") == values
    assert all(segment not in ("", ".", "..") for segment in path.split("/")[:-1])


def put(folder: Path, values: str, number: int) -> None:
    (folder / values).mkdir(parents=True)
    pq.write_table(pa.table({"n": [number]}), folder / values / "f.parquet")


def test_directories_are_columns_integers_where_all_are(tmp_path: Path) -> None:
    put(tmp_path, "year=2026/code=007/city=S%C3%A3o%20Paulo", 1)
    put(tmp_path, "year=-1/code=1/city=__HIVE_DEFAULT_PARTITION__", 2)

    table = read(source(tmp_path)).sort_by("n")

    assert table.schema.field("year").type == pa.int64()
    assert table.to_pylist() == [
        {"n": 1, "year": 2026, "code": "007", "city": "São Paulo"},
        {"n": 2, "year": -1, "code": "1", "city": None},
    ]


def test_partitions_that_cannot_match_are_not_even_listed_in_splits(tmp_path: Path) -> None:
    for day in range(10):
        put(tmp_path, f"day={day}", day)
    spec = source(tmp_path)

    _, splits = discover(spec, 1, (pc.field("day") >= 8) & (pc.field("n") != 99))

    assert sorted(p.values["day"] or "" for s in splits for p in s.parts) == ["8", "9"]
    assert read(spec, ["n"], pc.field("day") == 3).to_pydict() == {"n": [3]}
    assert read(spec, ["day"], pc.field("n") == 3).to_pydict() == {"day": [3]}
    assert read(spec, ["n"], pc.field("day") == 77).num_rows == 0


@pytest.mark.parametrize("format_name", ["parquet", "csv", "jsonl", "arrow", "delta"])
def test_partitions_are_written_and_read_back_with_their_types(
    tmp_path: Path, format_name: str
) -> None:
    table = pa.table(
        {
            "n": range(8),
            "text": ["a/b", "..", "é %", None] * 2,
            "day": [date(2026, 1, 1), None] * 4,
            "at": pa.array(
                [datetime(2026, 1, 1, 1, 2, 3, 4, tzinfo=UTC)] * 8, pa.timestamp("us", "UTC")
            ),
            "flag": [True, False] * 4,
        }
    )
    by = ("text", "day", "at", "flag")
    spec = sink(tmp_path / "o", format=format_name, partition_by=by)

    output = write(spec, table.slice(0, 5), table.slice(5))
    publish(spec, output)

    assert len(output.files) == 4
    for back in (read(source(spec.url)), read_dataset(spec.url).to_table()):
        assert back.select(table.schema.names).sort_by("n").to_pylist() == table.to_pylist()


def test_an_empty_text_stays_one_except_in_delta_where_it_is_null(tmp_path: Path) -> None:
    for format_name, value in (("parquet", ""), ("delta", None)):
        spec = sink(tmp_path / format_name, format=format_name, partition_by=("k",))
        publish(spec, write(spec, pa.table({"n": [1], "k": [""]})))
        assert read(source(spec.url))["k"].to_pylist() == [value]


def test_a_partition_column_that_is_missing_is_refused_by_name(tmp_path: Path) -> None:
    spec = sink(tmp_path, partition_by=("contry",))

    with pytest.raises(MissingColumnError, match=r"'contry'.*did you mean 'country'"):
        write(spec, pa.table({"country": ["x"]}))
