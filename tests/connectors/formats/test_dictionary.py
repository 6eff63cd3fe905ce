from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.formats.dictionary import ROWS_MIN, dictionary_columns, repeats

ROWS = 50_000
RANDOM = np.random.default_rng(1)


@pytest.mark.parametrize(
    ("values", "pays"),
    [
        pytest.param(np.arange(ROWS), False, id="all differ"),
        pytest.param(RANDOM.integers(0, 1 << 40, ROWS), False, id="nearly all differ"),
        pytest.param(RANDOM.integers(0, 12, ROWS), True, id="a dozen"),
        pytest.param(RANDOM.integers(0, ROWS // 20, ROWS), True, id="twenty times each"),
        pytest.param(RANDOM.integers(0, ROWS, ROWS), False, id="once each, about"),
        pytest.param(np.repeat(np.arange(ROWS // 50), 50), True, id="sorted, in runs"),
        pytest.param(np.full(ROWS, 3.5), True, id="constant"),
    ],
)
def test_a_dictionary_is_for_values_that_come_again(values: Any, pays: bool) -> None:
    column = pa.chunked_array([values])

    assert repeats(column) is pays


def test_nulls_are_one_value_more() -> None:
    column = pa.chunked_array([pa.nulls(ROWS, pa.string())])

    assert repeats(column)


def test_a_small_table_is_not_worth_the_choice() -> None:
    table = pa.table({"id": np.arange(ROWS_MIN - 1)})

    assert dictionary_columns(table) is True


def test_nested_columns_leave_the_choice_to_arrow() -> None:
    """Their parts have names of their own in the file."""
    table = pa.table({"id": np.arange(ROWS), "list": pa.array([[1]] * ROWS)})

    assert dictionary_columns(table) is True


@pytest.mark.parametrize(
    "kind",
    [
        pa.bool_(),
        pa.float16(),
        pa.date32(),
        pa.timestamp("us", "UTC"),
        pa.decimal128(12, 2),
        pa.large_string(),
        pa.binary(4),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_every_flat_type_can_be_chosen_for(kind: pa.DataType) -> None:
    table = pa.table({"id": np.arange(ROWS), "same": pa.nulls(ROWS, kind)})

    assert dictionary_columns(table) == ["same"]


def test_the_chosen_columns_alone_get_one(tmp_path: Any) -> None:
    """Names with dots and blanks are columns, too."""
    table = pa.table({"a.b c": RANDOM.integers(0, 5, ROWS), "id": np.arange(ROWS)})
    path = tmp_path / "out.parquet"

    pq.write_table(table, path, use_dictionary=dictionary_columns(table))

    group = pq.read_metadata(path).row_group(0)
    assert [group.column(i).has_dictionary_page for i in range(2)] == [True, False]
