"""Every type goes through every operator, as a key and beside one, and comes out as it went in."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from rayorch.errors import SpecError
from rayorch.relational import (
    AggregateCode,
    AsofCode,
    DedupeCode,
    GroupMapCode,
    JoinCode,
    Measure,
    OperatorCode,
    SortCode,
    SortKey,
    UserAggregate,
    WindowCode,
    WindowColumn,
)
from tests.rayorch.operators.oracle import kernel, result

BY_ID = (SortKey(column="id"),)
BY_VALUE = (SortKey(column="v"),)
CODES: tuple[OperatorCode, ...] = (
    SortCode(keys=BY_ID),
    SortCode(keys=BY_VALUE),
    AggregateCode(by=("v",), measures=(Measure(name="n", column="id", function="max"),)),
    AggregateCode(
        by=(),
        measures=(
            Measure(name="low", column="v", function="min"),
            Measure(name="first", column="v", function="first", order=BY_ID),
            Measure(name="least", column="id", function="first", order=BY_VALUE),
            Measure(name="last", column="v", function="last", order=BY_VALUE),
        ),
    ),
    DedupeCode(by=("v",), order=BY_ID),
    JoinCode(how="full", left_on=("v",), right_on=("v",)),
    AsofCode(left_on="id", right_on="id", left_by=("v",), right_by=("v",)),
    GroupMapCode(by=("v",), function=lambda rows: rows.slice(0, 1), order=BY_ID),
    WindowCode(
        by=("v",), order=BY_ID, columns=(WindowColumn(name="w", function="lag", column="v"),)
    ),
)


def numbers(type_: pa.DataType) -> pa.Array:
    """Return the values 3, 1, null and 3."""
    if pa.types.is_decimal(type_):
        return pa.array([Decimal(3), Decimal(1), None, Decimal(3)], type_)
    return pa.array([3, 1, None, 3], pa.int64()).cast(_of_width(type_)).cast(type_)


def _of_width(type_: pa.DataType) -> pa.DataType:
    return pa.int32() if pa.types.is_temporal(type_) and type_.bit_width == 32 else pa.int64()


def texts(type_: pa.DataType) -> pa.Array:
    return pa.array(["b", "a", None, "b"]).cast(type_)


VALUES = (
    *(numbers(t) for t in (pa.int8(), pa.uint64(), pa.float32(), pa.float64())),
    *(numbers(t) for t in (pa.decimal32(5, 2), pa.decimal64(12, 2), pa.decimal128(38, 4))),
    *(numbers(t) for t in (pa.date32(), pa.time32("s"), pa.time64("ns"), pa.duration("ms"))),
    *(numbers(t) for t in (pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("s"))),
    *(texts(t) for t in (pa.string(), pa.large_string(), pa.string_view(), pa.binary())),
    *(texts(t) for t in (pa.large_binary(), pa.binary_view())),
    texts(pa.string()).dictionary_encode(),
    texts(pa.large_string()).dictionary_encode(),
    pa.array([b"bb", b"aa", None, b"bb"], pa.binary(2)),
    pa.array([True, False, None, True]),
    pa.array([3, 1, None, 3], pa.float16()),
    pa.array([{"a": 3}, {"a": 1}, None, {"a": 3}], pa.struct({"a": pa.timestamp("ns", "UTC")})),
    pa.array([[3, None], [1], None, [3, None]], pa.list_(pa.int8())),
    pa.array([["b"], ["a"], None, ["b"]], pa.large_list(pa.large_string())),
    pa.array([[3, 4], [1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
    pa.array([[("b", 1)], [("a", 1)], None, [("b", 1)]], pa.map_(pa.string(), pa.int8())),
)


@pytest.mark.parametrize("values", VALUES, ids=lambda values: str(values.type))
def test_values_come_out_as_they_went_in(values: pa.Array, tmp_path: Path) -> None:
    table = pa.table({"v": values, "id": [1, 2, 3, 4]})

    def of(at: int) -> pa.Table:
        sides = 2 if isinstance(CODES[at], JoinCode | AsofCode) else 1
        opened = kernel(CODES[at], *[table.schema] * sides, spill=tmp_path)
        found = result(opened, *[[table]] * sides)
        if "id" not in found.column_names:
            return found
        order = pa.compute.sort_indices(found["id"]).to_pylist()
        # Arrow cannot take rows of views.
        return pa.concat_tables([found.slice(row, 1) for row in order])

    plain, ordered, counted, ends, kept, joined, timed, grouped, looked = map(of, range(len(CODES)))

    b, a, none, _ = values.to_pylist()
    for same, rows in ((plain, 4), (ordered, 4), (kept, 3), (grouped, 3)):
        assert same.schema.equals(table.schema)
        assert same.to_pylist() == table.slice(0, rows).to_pylist()
    assert {row["n"]: row["v"] for row in counted.to_pylist()} == {2: a, 3: none, 4: b}
    assert ends.to_pylist() == [{"low": a, "first": b, "least": 2, "last": none}]
    assert joined["id_right"].to_pylist().count(None) == 1
    assert joined["v"].type == values.type
    assert timed["id_right"].to_pylist() == [1, 2, None, 4]
    assert looked["w"].to_pylist() == [none, none, none, b]


@pytest.mark.parametrize("values", VALUES, ids=lambda values: str(values.type))
def test_an_own_aggregate_takes_any_type_and_is_grouped_by_any_flat_one(
    values: pa.Array, tmp_path: Path
) -> None:
    own = UserAggregate(
        create=list,
        update=lambda state, rows: state + rows["v"].to_pylist(),
        merge=lambda a, b: a + b,
        finish=repr,
        returns=pa.string(),
    )
    table = pa.table({"v": values, "id": [1, 1, 1, 1]})
    measure = Measure(name="all", column="v", function="user", aggregate=own)
    code = AggregateCode(by=("id",), measures=(measure,))

    found = result(kernel(code, table.schema, spill=tmp_path), [table])
    assert found.to_pylist() == [{"id": 1, "all": repr(values.to_pylist())}]

    by_value = AggregateCode(by=("v",), measures=(measure,))
    if pa.types.is_nested(values.type):
        with pytest.raises(SpecError, match="nested"):
            kernel(by_value, table.schema, spill=tmp_path)
        return
    b, a, none, _ = values.to_pylist()
    groups = result(kernel(by_value, table.schema, spill=tmp_path), [table]).to_pylist()
    assert {row["all"]: row["v"] for row in groups} == {
        repr([b, b]): b,
        repr([a]): a,
        repr([none]): none,
    }


@pytest.mark.parametrize("type_", [pa.null(), pa.dictionary(pa.int8(), pa.null())], ids=str)
@pytest.mark.parametrize("code", CODES, ids=lambda code: code.kind)
def test_a_column_of_nothing_stays_one(
    type_: pa.DataType, code: OperatorCode, tmp_path: Path
) -> None:
    nothing = pa.nulls(4, pa.int8())
    if pa.types.is_dictionary(type_):
        nothing = pa.DictionaryArray.from_arrays(nothing, pa.nulls(0))
    else:
        nothing = pa.nulls(4)
    table = pa.table({"v": nothing, "id": [1, 2, 3, 4]})
    sides = 2 if isinstance(code, JoinCode | AsofCode) else 1

    opened = kernel(code, *[table.schema] * sides, spill=tmp_path)
    found = result(opened, *[[table]] * sides)

    assert found.schema.equals(opened.schema)
    for name in {"v", "low", "first", "last", "w"} & set(found.column_names):
        assert found[name].type == type_
        assert found[name].null_count == found.num_rows > 0


@pytest.mark.parametrize("code", CODES[1:], ids=lambda code: code.kind)
def test_wide_decimals_are_carried_but_not_compared(code: OperatorCode, tmp_path: Path) -> None:
    """As text 20 comes before 3."""
    table = pa.table({"v": numbers(pa.decimal256(50, 2)), "id": [1, 2, 3, 4]})
    sides = 2 if isinstance(code, JoinCode | AsofCode) else 1

    assert result(kernel(CODES[0], table.schema, spill=tmp_path), [table]).equals(table)
    with pytest.raises(SpecError, match=r"38 digits cannot be compared.*field=v"):
        kernel(code, *[table.schema] * sides, spill=tmp_path)


@pytest.mark.parametrize(
    "type_", [pa.month_day_nano_interval(), pa.list_view(pa.int8()), pa.uuid()], ids=str
)
def test_a_type_that_cannot_be_carried_is_refused(type_: pa.DataType, tmp_path: Path) -> None:
    table = pa.table({"v": pa.nulls(1, type_), "id": [1]})

    with pytest.raises(SpecError, match="cast or drop the column"):
        result(kernel(CODES[0], table.schema, spill=tmp_path), [table])
