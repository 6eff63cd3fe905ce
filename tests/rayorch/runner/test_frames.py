"""Tables as other libraries see them, and back, without a change of type."""

import pyarrow as pa
import pytest

from rayorch.runner import frames
from rayorch.runner.frames import computed, given, record_batch, taken

NESTED = pa.table(
    {
        "l": pa.array([["a"], None], pa.list_(pa.string())),
        "s": pa.array(
            [{"t": "x", "n": 1}, None], pa.struct([("t", pa.string()), ("n", pa.int64())])
        ),
        "b": pa.array([b"\x00", None], pa.binary()),
    }
)


def test_nested_text_of_polars_is_narrowed_all_the_way_down() -> None:
    pytest.importorskip("polars")

    made = taken(given(NESTED, "polars"))

    assert made.schema.types == NESTED.schema.types
    assert made.to_pylist() == NESTED.to_pylist()


def test_text_of_pandas_is_narrowed() -> None:
    pytest.importorskip("pandas")
    table = pa.table({"s": ["a", None]})

    made = taken(given(table, "pandas"))

    assert made.schema.equals(table.schema, check_metadata=True)
    assert made.to_pylist() == table.to_pylist()


def test_a_large_text_is_narrowed_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk whose text is above 2 GiB has no 32-bit offsets: here the limit is 100 bytes."""
    pytest.importorskip("polars")
    monkeypatch.setattr(frames, "_NARROW_BYTES_MAX", 100)
    table = pa.table({"s": [f"row {number}" for number in range(100)]})

    made = taken(given(table, "polars"))

    assert made["s"].num_chunks > 1
    assert made.to_pylist() == table.to_pylist()


def test_categories_stay_categories() -> None:
    pytest.importorskip("polars")
    table = pa.table({"s": pa.array(["a", "b"]).dictionary_encode()})

    made = taken(given(table, "polars"))

    assert pa.types.is_dictionary(made.schema.field("s").type)
    assert made["s"].to_pylist() == ["a", "b"]


def test_a_record_batch_of_one_chunk_is_not_copied() -> None:
    table = pa.table({"x": [1, 2, 3]})

    batch = record_batch(table)

    assert batch.column(0).buffers()[1].address == table["x"].chunk(0).buffers()[1].address


def test_a_record_batch_of_no_rows_has_the_schema() -> None:
    table = pa.table({"x": [1]}).slice(0, 0)

    assert record_batch(table).schema == table.schema
    assert record_batch(table.schema.empty_table()).num_rows == 0


def test_a_duckdb_relation_comes_back_as_a_table() -> None:
    pytest.importorskip("duckdb")
    relation = given(pa.table({"x": [1, 2, 3]}), "duckdb")

    made = taken(computed(relation.filter("x > 1")))  # type: ignore[attr-defined]

    assert made["x"].to_pylist() == [2, 3]
