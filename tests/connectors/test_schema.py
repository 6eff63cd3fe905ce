from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.data_errors import OutputSchemaConflictError, SchemaConflictError
from connectors.schema import (
    SchemaOf,
    common_type,
    dump_schema,
    load_schema,
    merge_output_schemas,
    unified,
)
from tests.connectors.datasets import read, source

INTS = [pa.int8(), pa.int16(), pa.int32(), pa.int64()]
UINTS = [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
FLOATS = [pa.float16(), pa.float32(), pa.float64()]
TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
BYTES = [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)]
TIMES = [pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us")]
NUMBERS = [*INTS, *UINTS, *FLOATS, pa.decimal128(5, 2), pa.decimal128(20, 0)]


def values_of(type_: pa.DataType) -> pa.Array:  # noqa: PLR0911 - a kind a line
    """The extreme and some plain values of a type, and null."""
    if pa.types.is_signed_integer(type_):
        top = 2 ** (type_.bit_width - 1)
        return pa.array([-top, 0, top - 1, None], type_)
    if pa.types.is_unsigned_integer(type_):
        return pa.array([0, 2**type_.bit_width - 1, None], type_)
    if pa.types.is_floating(type_):
        return pa.array([0.5, -0.0, float("inf"), None], pa.float32()).cast(type_)
    if pa.types.is_decimal(type_):
        return pa.array(["999", "-1", None]).cast(type_)
    if pa.types.is_timestamp(type_):
        return pa.array([0, -1, 10**9, None], pa.int64()).cast(type_)
    if type_ in BYTES:
        return pa.array([b"ab", b"\x00\xff", None], type_)
    texts = pa.array(["a", "é", "", None])
    return texts.dictionary_encode() if pa.types.is_dictionary(type_) else texts.cast(type_)


@given(
    st.sampled_from([NUMBERS, TEXTS, BYTES, TIMES]).flatmap(
        lambda kinds: st.tuples(st.sampled_from(kinds), st.sampled_from(kinds))
    )
)
def test_a_common_type_holds_every_value_of_both_exactly(
    pair: tuple[pa.DataType, pa.DataType],
) -> None:
    joined = common_type(*pair)

    if joined is not None:
        for type_ in pair:
            values = values_of(type_)
            plain = values.dictionary_decode() if pa.types.is_dictionary(type_) else values
            assert plain.cast(joined).cast(plain.type).equals(plain)


@given(st.sampled_from(NUMBERS + TEXTS + BYTES + TIMES), st.sampled_from(NUMBERS + TEXTS + BYTES))
def test_the_order_of_two_files_does_not_change_their_common_type(
    one: pa.DataType, other: pa.DataType
) -> None:
    assert common_type(one, other) == common_type(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.int64(), pa.float64()),
        (pa.int32(), pa.uint32()),
        (pa.string(), pa.int64()),
        (pa.string(), pa.binary()),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
        (pa.timestamp("us", "UTC"), pa.timestamp("us", "Europe/Paris")),
        (pa.bool_(), pa.int8()),
        (pa.date32(), pa.timestamp("us")),
        (pa.list_(pa.int64()), pa.list_(pa.string())),
        (pa.struct([("a", pa.int64())]), pa.struct([("a", pa.string())])),
        (pa.decimal256(76, 0), pa.decimal256(76, 76)),
    ],
)
def test_types_that_would_lose_something_have_no_common_type(
    one: pa.DataType, other: pa.DataType
) -> None:
    assert common_type(one, other) is None


def test_a_column_that_a_file_lacks_is_nullable_and_keeps_its_place() -> None:
    first = pa.schema([pa.field("a", pa.int32(), nullable=False), pa.field("b", pa.string())])
    second = pa.schema([pa.field("c", pa.bool_(), nullable=False), pa.field("b", pa.string())])

    whole = unified([SchemaOf("1", first), SchemaOf("2", second)])

    assert whole.names == ["a", "b", "c"]
    assert all(whole.field(name).nullable for name in whole.names)


def test_structs_are_joined_field_by_field() -> None:
    one = pa.struct([("a", pa.int32()), ("b", pa.string())])
    other = pa.struct([("b", pa.large_string()), ("c", pa.list_(pa.null()))])

    joined = common_type(one, other)

    wanted = [("a", pa.int32()), ("b", pa.large_string()), ("c", pa.list_(pa.null()))]
    assert joined == pa.struct(wanted)


def test_a_conflict_names_the_column_both_files_and_both_types() -> None:
    schemas = [
        SchemaOf("1.parquet", pa.schema([("id", pa.null())])),
        SchemaOf("2.parquet", pa.schema([("id", pa.int64())])),
        SchemaOf("3.parquet", pa.schema([("id", pa.string())])),
    ]

    with pytest.raises(SchemaConflictError) as caught:
        unified(schemas)

    for word in ("'id'", "2.parquet", "int64", "3.parquet", "string"):
        assert word in str(caught.value)
    assert caught.value.remedy == "fix"


def test_a_file_with_two_columns_of_one_name_is_refused() -> None:
    twice = pa.schema([("a", pa.int64()), ("a", pa.string())])

    with pytest.raises(SchemaConflictError, match="twice"):
        unified([SchemaOf("1", twice)])


def test_outputs_agree_when_one_of_them_has_only_nulls() -> None:
    nulls = pa.schema([("a", pa.null()), ("l", pa.list_(pa.null()))])
    typed = pa.schema([("a", pa.float64()), ("l", pa.list_(pa.string()))])

    for order in ([nulls, typed], [typed, nulls]):
        assert load_schema(merge_output_schemas(map(dump_schema, order))).equals(typed)


@pytest.mark.parametrize("other", [[("a", pa.int64())], [("b", pa.int32())], []])
def test_outputs_of_two_schemas_are_refused_even_where_files_would_be_unified(
    other: list[tuple[str, pa.DataType]],
) -> None:
    """A schema that changes from split to split is a bug of the transform, not of the data."""
    schemas = [pa.schema([("a", pa.int32())]), pa.schema(other)]

    with pytest.raises(OutputSchemaConflictError, match=r"'[ab]'"):
        merge_output_schemas(map(dump_schema, schemas))


def test_views_are_read_as_the_usual_types(tmp_path: Path) -> None:
    """tpchgen-cli declares all text to be views, which Arrow's own filter and take refuse."""
    views = pa.schema(
        {
            "text": pa.string_view(),
            "bytes": pa.binary_view(),
            "list": pa.list_(pa.string_view()),
            "struct": pa.struct({"text": pa.string_view()}),
            "map": pa.map_(pa.string_view(), pa.binary_view()),
        }
    )
    row = {"text": "a", "bytes": b"a", "list": ["a"], "struct": {"text": "a"}}
    table = pa.Table.from_pylist([{**row, "map": [("a", b"a")]}], schema=views)
    with pa.ipc.new_file(tmp_path / "1.arrow", views) as file:
        file.write_table(table)

    found = read(source(tmp_path / "1.arrow"))

    assert found.schema == pa.schema(
        {
            "text": pa.string(),
            "bytes": pa.binary(),
            "list": pa.list_(pa.string()),
            "struct": pa.struct({"text": pa.string()}),
            "map": pa.map_(pa.string(), pa.binary()),
        }
    )
    assert found.to_pylist() == table.to_pylist()
    assert found.filter(pc.field("text") == "a").num_rows == 1
