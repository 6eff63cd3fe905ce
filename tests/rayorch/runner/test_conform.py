"""A table in a wanted schema: the same values, or a refusal that names the column."""

import datetime as dt
import decimal

import pyarrow as pa
import pytest

from rayorch.runner.conform import checked_names, conformed, may_cast
from rayorch.runner.errors import ResultError

NAN = float("nan")


def cast(values: pa.Array, type_: pa.DataType) -> pa.ChunkedArray:
    return conformed(pa.table({"x": values}), pa.schema({"x": type_}), "its declared schema")["x"]


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (pa.array([1, None], pa.int8()), pa.int64()),
        (pa.array([1, 2], pa.int64()), pa.int8()),
        (pa.array([1, 2], pa.int64()), pa.float64()),
        (pa.array([1.0, None]), pa.int32()),
        (pa.array([0.5, None]), pa.float32()),
        (pa.array(["a", None]), pa.large_string()),
        (pa.array(["a", "b", "a"]).dictionary_encode(), pa.string()),
        (pa.array(["a", "b", "a"]), pa.dictionary(pa.int32(), pa.string())),
        (pa.array([None, None]), pa.string()),
        (pa.array([dt.date(2026, 11, 22)]), pa.date64()),
        (pa.array([1, 2], pa.timestamp("s")), pa.timestamp("us")),
        (pa.array([decimal.Decimal("1.50")]), pa.decimal128(20, 4)),
        (pa.array([[1], []], pa.list_(pa.int32())), pa.large_list(pa.int64())),
        (pa.array([{"a": 1}]), pa.struct([("a", pa.float64())])),
    ],
)
def test_what_fits_is_cast(values: pa.Array, type_: pa.DataType) -> None:
    made = cast(values, type_)

    assert made.type == type_
    if not pa.types.is_timestamp(type_):
        assert made.to_pylist() == values.to_pylist()


def test_a_float_that_is_not_a_number_stays_one() -> None:
    made = cast(pa.array([NAN, 0.5]), pa.float32())

    assert str(made.to_pylist()) == "[nan, 0.5]"


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (pa.array(["1"]), pa.int64()),
        (pa.array([1]), pa.string()),
        (pa.array([1.5]), pa.int64()),
        (pa.array([300]), pa.int8()),
        (pa.array([2**53 + 1]), pa.float64()),
        (pa.array([0.1]), pa.float32()),
        (pa.array([1_500], pa.timestamp("ms")), pa.timestamp("s")),
        (pa.array([1], pa.timestamp("us", "UTC")), pa.timestamp("us")),
        (pa.array([decimal.Decimal("1.55")]), pa.decimal128(20, 1)),
        (pa.array([[1]]), pa.int64()),
        (pa.array([{"a": 1}]), pa.struct([("b", pa.int64())])),
    ],
)
def test_what_does_not_fit_is_refused_with_column_and_types(
    values: pa.Array, type_: pa.DataType
) -> None:
    with pytest.raises(ResultError) as caught:
        cast(values, type_)

    assert "'x'" in str(caught.value)
    assert str(values.type) in str(caught.value)
    assert str(type_) in str(caught.value)


def test_columns_are_put_in_order() -> None:
    wanted = pa.schema({"a": pa.int64(), "b": pa.int64()})

    made = conformed(pa.table({"b": [2], "a": [1]}), wanted, "its declared schema")

    assert made.to_pydict() == {"a": [1], "b": [2]}
    assert made.column_names == ["a", "b"]


def test_nulls_where_none_are_allowed_are_refused() -> None:
    wanted = pa.schema([pa.field("x", pa.int64(), nullable=False)])

    with pytest.raises(ResultError, match="1 nulls"):
        conformed(pa.table({"x": [1, None]}), wanted, "its declared schema")

    assert conformed(pa.table({"x": [1]}), wanted, "it").schema == wanted


def test_text_is_never_a_number() -> None:
    assert not may_cast(pa.string(), pa.int64())
    assert not may_cast(pa.list_(pa.string()), pa.list_(pa.int64()))
    assert may_cast(pa.null(), pa.int64())


def test_ten_thousand_columns_are_looked_through() -> None:
    schema = pa.schema({f"c{index}": pa.int64() for index in range(10_000)})

    checked_names(schema)
    with pytest.raises(ResultError, match="'c7'"):
        checked_names(schema.append(pa.field("c7", pa.int64())))
