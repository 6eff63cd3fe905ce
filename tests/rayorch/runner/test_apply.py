"""The border to the user's code: every convention, every refusal, every exception."""

import datetime as dt
import inspect
import sys
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from rayorch.program import FilterCode, KeepCode, MapCode, SelectCode, SqlCode, StepCode
from rayorch.relational import Convention
from rayorch.runner.apply import CodeLimits, StepRun
from rayorch.runner.errors import AttemptError
from tests.rayorch.runner import make

AT = dt.datetime(2026, 11, 22)  # noqa: DTZ001 - Arrow timestamps without a zone are such
TABLE = pa.table({"id": [1, 2, 3], "name": ["a", None, "c"]})


def apply(code: StepCode | Callable[..., object], *tables: pa.Table) -> pa.Table:
    """Apply a step to batches of one attempt; return what became of the last."""
    run = StepRun(make.step(code), CodeLimits())
    return [run.apply(table) for table in tables or (TABLE,)][-1]


def refusal(code: StepCode | Callable[..., object], *tables: pa.Table) -> AttemptError:
    """The error that the last of the batches ends in."""
    run = StepRun(make.step(code), CodeLimits())
    *before, last = tables or (TABLE,)
    for table in before:
        run.apply(table)
    with pytest.raises(AttemptError) as caught:
        run.apply(last)
    return caught.value


def doubled(table: pa.Table) -> pa.Table:
    return table.set_column(0, "id", pc.multiply(table["id"], 2))


def test_a_function_of_arrow_tables() -> None:
    assert apply(doubled)["id"].to_pylist() == [2, 4, 6]


def test_a_function_of_record_batches_gets_all_rows_at_once() -> None:
    """However many chunks the reader made of them."""
    seen: list[int] = []

    def function(batch: pa.RecordBatch) -> pa.RecordBatch:
        seen.append(batch.num_rows)
        return batch

    made = apply(
        MapCode(function=function, takes="batch"), pa.concat_tables([TABLE, TABLE.slice(1)])
    )

    assert seen == [5]
    assert made["id"].to_pylist() == [1, 2, 3, 2, 3]


@pytest.mark.parametrize("rows", [0, 3])
@pytest.mark.parametrize("takes", ["arrow", "batch", "pandas", "polars", "duckdb"])
def test_rows_come_back_as_they_went_in(takes: Convention, rows: int) -> None:
    """No convention changes a type: a union of branches written with two of them has one."""
    for library in {"pandas", "polars", "duckdb"} & {takes}:
        pytest.importorskip(library)
    table = pa.table(
        {
            "i": pa.array([1, 2, 3], pa.int32()),
            "s": pa.array(["a", None, "c"]),
            "d": pa.array([1.5, 2.5, None]),
            "t": pa.array([AT] * 3, pa.timestamp("us")),
            "l": pa.array([[1], [2, 3], []], pa.list_(pa.int64())),
        }
    ).slice(0, rows)

    made = apply(MapCode(function=lambda frame: frame, takes=takes), table)

    if not (takes == "pandas" and rows == 0):  # an empty object column of pandas has no type
        assert made.schema.types == table.schema.types
        assert made.to_pylist() == table.to_pylist()


def test_a_lazy_polars_frame_is_computed() -> None:
    pytest.importorskip("polars")

    made = apply(MapCode(function=lambda frame: frame.lazy().head(1), takes="polars"))

    assert made["id"].to_pylist() == [1]


def test_a_filter_keeps_what_is_true_and_drops_null() -> None:
    made = apply(FilterCode(predicate=pc.field("name") != "a"))

    assert made["name"].to_pylist() == ["c"]


def test_a_select_renames_and_computes_in_order() -> None:
    made = apply(
        SelectCode(columns=(("twice", pc.field("id") * 2), ("who", pc.field("name"))), plain=None)
    )

    assert made.to_pydict() == {"twice": [2, 4, 6], "who": ["a", None, "c"]}


def test_a_keep_leaves_out_optional_columns_that_are_not_there() -> None:
    made = apply(KeepCode(columns=("name", "price", "id"), optional=("price", "id")))

    assert made.column_names == ["name", "id"]
    assert made.num_rows == 3


def test_a_keep_of_a_required_column_that_is_not_there_is_refused() -> None:
    error = refusal(KeepCode(columns=("id", "price"), optional=("id",)))

    assert "price" in error.info.message


def test_a_plain_select_takes_columns_as_they_are() -> None:
    columns = (("b", pc.field("id")), ("a", pc.field("id")))

    made = apply(SelectCode(columns=columns, plain=("id", "id")))

    assert made.to_pydict() == {"b": [1, 2, 3], "a": [1, 2, 3]}


def test_sql_sees_the_batch_as_input() -> None:
    pytest.importorskip("duckdb")

    made = apply(SqlCode(query="select id + 1 as next from input where name is not null"))

    assert made["next"].to_pylist() == [2, 4]


def test_a_statement_without_rows_is_refused() -> None:
    pytest.importorskip("duckdb")

    error = refusal(SqlCode(query="-- nothing but a comment"))

    assert error.kind == "refused"
    assert "gives no rows back" in error.info.message


def test_a_wrong_column_in_sql_is_the_users_error() -> None:
    pytest.importorskip("duckdb")

    error = refusal(SqlCode(query="select nope from input"))

    assert error.kind == "user"
    assert "nope" in error.info.message
    assert error.info.where == "pipeline.py:7"
    assert error.info.traceback == ""


def test_a_wrong_column_in_a_filter_is_the_users_error() -> None:
    error = refusal(FilterCode(predicate=pc.field("nope") > 1))

    assert (error.kind, error.info.where) == ("user", "pipeline.py:7")
    assert "nope" in error.info.message


def _raise_deep() -> None:
    raise ValueError("seven is odd")


def raising(table: pa.Table) -> pa.Table:
    _raise_deep()
    return table


def test_an_exception_names_the_users_deepest_line_and_hides_ours() -> None:
    error = refusal(raising)

    line = inspect.getsourcelines(_raise_deep)[1] + 1
    assert error.kind == "user"
    assert error.info.message == "seven is odd"
    assert error.info.error_type == "ValueError"
    assert error.info.transform == "step0"
    assert error.info.where == f"{__file__}:{line}"
    assert "transient_errors" in error.info.remedy
    assert "raising" in error.info.traceback
    assert "rayorch/runner/apply.py" not in error.info.traceback


def test_an_exception_in_a_library_points_at_the_users_call() -> None:
    def function(table: pa.Table) -> pa.Table:
        return pc.add(table["name"], 1)

    error = refusal(function)

    line = inspect.getsourcelines(function)[1] + 1
    assert error.info.where == f"{__file__}:{line}"


def _exit(table: pa.Table) -> pa.Table:
    sys.exit(3)


def _panic(table: pa.Table) -> pa.Table:
    class PanicException(BaseException):
        pass

    raise PanicException("index out of bounds")


@pytest.mark.parametrize(
    ("function", "message"), [(_exit, "called sys.exit(3)"), (_panic, "index out of bounds")]
)
def test_nothing_that_user_code_raises_escapes(
    function: Callable[..., object], message: str
) -> None:
    """These are no Exceptions, and would end the runner's thread in silence."""
    error = refusal(function)

    assert error.kind == "user"
    assert error.info.message == message


def test_out_of_memory_in_user_code_is_its_own_kind() -> None:
    def function(table: pa.Table) -> pa.Table:
        raise MemoryError

    error = refusal(function)

    assert error.kind == "oom"
    assert "memory" in error.info.remedy


def test_a_named_exception_is_tried_again() -> None:
    def function(table: pa.Table) -> pa.Table:
        raise ConnectionResetError("peer")

    run = StepRun(
        make.step(function), CodeLimits(transient_errors=frozenset({"ConnectionResetError"}))
    )

    with pytest.raises(AttemptError) as caught:
        run.apply(TABLE)
    assert caught.value.kind == "transient"


class _BrokenTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even this fails")


def test_an_exception_that_cannot_be_printed_is_still_reported() -> None:
    def function(table: pa.Table) -> pa.Table:
        raise _BrokenTextError

    assert refusal(function).kind == "user"


def _yields(table: pa.Table) -> Iterator[pa.Table]:
    yield table


@pytest.mark.parametrize(
    ("function", "came_back", "fix"),
    [
        (lambda table: None, "returned None", "did you forget to return?"),
        (lambda table: {"id": [1]}, "returned dict of 1", "pa.table"),
        (lambda table: [{"id": 1}], "returned list of 1", "from_pylist"),
        (lambda table: table["id"], "returned pyarrow.lib.ChunkedArray", "return a table"),
        (_yields, "returned generator", "do not yield"),
        (lambda table: table.to_pandas()["id"], "Series", "to_frame"),
    ],
)
def test_a_wrong_result_is_refused_saying_what_came_and_what_is_wanted(
    function: Callable[..., object], came_back: str, fix: str
) -> None:
    error = refusal(function)

    assert error.kind == "refused"
    assert "step0" in error.info.message
    assert came_back in error.info.message
    assert "pyarrow.Table" in error.info.message
    assert fix in error.info.remedy
    assert error.info.where.startswith(f"{__file__}:")


def test_an_index_that_would_be_lost_is_refused() -> None:
    pytest.importorskip("pandas")

    error = refusal(MapCode(function=lambda df: df.groupby("name").sum(), takes="pandas"))

    assert "'name'" in error.info.message
    assert "reset_index" in error.info.remedy


def test_a_pandas_column_of_two_types_is_refused() -> None:
    pytest.importorskip("pandas")

    def function(frame: object) -> object:
        import pandas as pd  # noqa: PLC0415 - optional

        return pd.DataFrame({"x": [1, "a"]})

    assert "Arrow cannot hold" in refusal(MapCode(function=function, takes="pandas")).info.message


def test_two_columns_of_one_name_are_refused() -> None:
    error = refusal(lambda table: pa.table([[1], [2]], names=["a", "a"]))

    assert "'a' is there twice" in error.info.message


def test_the_declared_schema_is_kept() -> None:
    declared = pa.schema({"name": pa.large_string(), "id": pa.int16()})

    made = apply(MapCode(function=doubled, schema=declared))

    assert made.schema.equals(declared)
    assert made["id"].to_pylist() == [2, 4, 6]


def test_a_result_that_lacks_a_declared_column_is_refused_with_a_near_miss() -> None:
    declared = pa.schema({"id": pa.int64(), "nmae": pa.string()})

    error = refusal(MapCode(function=doubled, schema=declared))

    assert "'nmae'" in error.info.message
    assert "did you mean 'name'?" in error.info.message


def _as_given(table: pa.Table) -> pa.Table:
    return table


def test_a_later_batch_takes_the_first_ones_schema_where_nothing_is_lost() -> None:
    first = pa.table({"x": pa.array([1, 2], pa.int64())})
    later = pa.table({"x": pa.array([3.0, None], pa.float64())})

    made = apply(_as_given, first, later)

    assert made["x"].type == pa.int64()
    assert made["x"].to_pylist() == [3, None]


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (pa.array([1]), pa.array(["1"])),
        (pa.array([1]), pa.array([1.5])),
        (pa.array([1], pa.int8()), pa.array([1000])),
        (pa.array([1.5], pa.float32()), pa.array([0.1])),
    ],
)
def test_a_later_batch_that_would_lose_something_is_refused(
    first: pa.Array, later: pa.Array
) -> None:
    error = refusal(_as_given, pa.table({"x": first}), pa.table({"x": later}))

    assert error.kind == "refused"
    assert "'x'" in error.info.message
    assert str(first.type) in error.info.message
    assert str(later.type) in error.info.message


def test_a_column_of_nulls_takes_the_type_of_a_later_batch() -> None:
    """A sparse column of a pandas frame has no type until it has a value."""
    null, text = pa.table({"x": pa.array([None])}), pa.table({"x": ["a"]})

    assert apply(_as_given, null, text).schema == text.schema
    assert apply(_as_given, null, text, null).schema == text.schema
    assert "'x'" in refusal(_as_given, null, text, pa.table({"x": [1]})).info.message


def test_a_later_batch_with_another_column_is_refused() -> None:
    error = refusal(_as_given, pa.table({"x": [1]}), pa.table({"x": [1], "y": [2]}))

    assert "'y'" in error.info.message
