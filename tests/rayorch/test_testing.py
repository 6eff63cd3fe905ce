"""What an author's own test gets: rows in, rows out, and their own errors."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import rayorch as ro
from connectors.errors import ConnectorError
from connectors.formats import tables
from connectors.stores.memory import _SPACES
from rayorch.errors import RunFailedError
from rayorch.testing import Rows, run_pipeline
from tests.rayorch.refusals import refusal

LINES = [{"day": "mon", "qty": 1}, {"day": "mon", "qty": 20}, {"day": "tue", "qty": 30}]


def nightly() -> ro.Pipeline:
    """Two reads, a map, a filter, a query and a union; three writes that no test could reach."""
    pipeline = ro.Pipeline("nightly")
    lines = pipeline.read("lines", "s3://lake/lines/*.parquet", options={"store.region": "x"})
    late = pipeline.read("late", "s3://lake/late/*.csv", format="csv")

    @pipeline.map(lines)
    def doubled(table: pa.Table) -> pa.Table:
        twice = pa.array([2 * qty for qty in table.column("qty").to_pylist()], pa.int64())
        return table.set_column(1, "qty", twice)

    doubled.filter("qty > 10", "large").write("s3://lake/large")
    doubled.sql("by_day", "select day, sum(qty)::bigint as qty from input group by day").write(
        "s3://lake/by_day", format="csv", name="days"
    )
    late.union("all", doubled).write("s3://lake/all", format="parquet", partition_by="day")
    return pipeline


def rows_of(table: pa.Table) -> list[tuple[object, ...]]:
    return sorted(tuple(row.values()) for row in table.select(["day", "qty"]).to_pylist())


def test_a_pipeline_runs_on_rows_in_memory_and_returns_what_it_writes() -> None:
    outputs = run_pipeline(
        nightly(), {"lines": LINES, "late": pa.table({"day": ["wed"], "qty": [7]})}
    )

    assert outputs.keys() == {"large", "days", "all"}
    assert rows_of(outputs["large"]) == [("mon", 40), ("tue", 60)]
    assert rows_of(outputs["days"]) == [("mon", 42), ("tue", 60)]
    assert rows_of(outputs["all"]) == [("mon", 2), ("mon", 40), ("tue", 60), ("wed", 7)]


@pytest.mark.parametrize(
    "rows",
    [
        LINES,
        {"day": ["mon", "mon", "tue"], "qty": [1, 20, 30]},
        pa.Table.from_pylist(LINES),
        pa.RecordBatch.from_pylist(LINES),
        pd.DataFrame(LINES),
        pl.DataFrame(LINES),
    ],
    ids=["dicts", "columns", "table", "batch", "pandas", "polars"],
)
def test_rows_are_given_in_any_usual_form(rows: Rows) -> None:
    pipeline = ro.Pipeline("same")
    pipeline.read("lines", "s3://lake/lines").filter("qty > 1", "kept").write("s3://lake/kept")

    outputs = run_pipeline(pipeline, {"lines": rows})

    assert rows_of(outputs["kept"]) == [("mon", 20), ("tue", 30)]


def test_an_input_is_cut_into_as_many_tasks_as_are_asked_for() -> None:
    """A function that is right only when it sees all rows at once shows it."""
    pipeline = ro.Pipeline("counts")
    ids = pipeline.read("ids", "s3://lake/ids/*.parquet")
    ids.sql("counted", "select count(*) as n from input").write("s3://lake/counted")

    whole = run_pipeline(pipeline, {"ids": {"id": list(range(10))}})
    cut = run_pipeline(pipeline, {"ids": {"id": list(range(10))}}, splits=5)

    assert whole["counted"].to_pylist() == [{"n": 10}]
    assert cut["counted"].to_pylist() == [{"n": 2}] * 5


def test_no_rows_give_an_output_without_rows_but_with_its_columns() -> None:
    pipeline = ro.Pipeline("empty")
    ids = pipeline.read("ids", "s3://lake/ids/*.parquet")
    ids.sql("doubled", "select id, 2 * id as twice from input").write("s3://lake/doubled")

    outputs = run_pipeline(pipeline, {"ids": pa.table({"id": pa.array([], pa.int64())})})

    assert outputs["doubled"].schema == pa.schema({"id": pa.int64(), "twice": pa.int64()})
    assert outputs["doubled"].num_rows == 0


def test_a_read_that_needs_nothing_from_outside_stays_as_it_is() -> None:
    pipeline = ro.Pipeline("numbers")
    pipeline.read("ids", "range://5").write("s3://lake/ids")

    assert run_pipeline(pipeline, {})["ids"].column("id").to_pylist() == [0, 1, 2, 3, 4]


def test_an_error_of_a_function_is_its_authors_own() -> None:
    pipeline = ro.Pipeline("broken")
    lines = pipeline.read("lines", "s3://lake/lines/*.parquet")

    @pipeline.map(lines)
    def parsed(table: pa.Table) -> pa.Table:
        raise ValueError(f"cannot parse {table.num_rows} rows")  # the line that is named

    parsed.write("s3://lake/parsed")

    with pytest.raises(RunFailedError) as caught:
        run_pipeline(pipeline, {"lines": LINES})

    here = Path(__file__)
    line = next(
        number
        for number, text in enumerate(here.read_text().splitlines(), 1)
        if "# the line that is named" in text
    )
    said = str(caught.value)
    assert "failed: ValueError: cannot parse 3 rows\n" in said
    assert "  transform parsed\n" in said
    assert f"  where     {here}:{line}\n" in said


def test_rows_and_reads_must_match_by_name() -> None:
    assert refusal(lambda: run_pipeline(nightly(), {"lines": LINES})).startswith(
        "no rows for a read. pipeline=nightly, transform=late"
    )
    misspelt = {"lines": LINES, "late": LINES, "lnes": LINES}
    assert "did you mean 'lines'?" in refusal(lambda: run_pipeline(nightly(), misspelt))


@pytest.mark.parametrize("rows", [3, "text", [1, 2], [{"a": 1}, {"a": "x"}], {"a": [1], "b": []}])
def test_rows_that_are_no_table_are_refused(rows: Rows) -> None:
    pipeline = ro.Pipeline("same")
    pipeline.read("lines", "s3://lake/lines").write("s3://lake/kept")

    said = refusal(lambda: run_pipeline(pipeline, {"lines": rows}))

    assert said.startswith("these rows are no table. pipeline=same, transform=lines, field=inputs")


def test_the_sinks_own_rules_hold_in_a_test_too() -> None:
    """What Delta cannot hold is found by the author's test, not by the first night's run."""
    pipeline = ro.Pipeline("strict")
    pipeline.read("lines", "s3://lake/lines").write("s3://lake/kept")

    with pytest.raises(RunFailedError, match="Delta cannot hold column 'mixed'"):
        run_pipeline(pipeline, {"lines": pa.table({"mixed": pa.array([1], pa.duration("s"))})})


def test_nothing_is_left_behind() -> None:
    before = set(_SPACES)
    run_pipeline(nightly(), {"lines": LINES, "late": LINES})
    with pytest.raises((RunFailedError, ConnectorError)):
        run_pipeline(nightly(), {"lines": {"day": [1]}, "late": {"day": [1]}})

    assert not tables._TABLES
    assert [name for name in set(_SPACES) - before if _SPACES[name].objects] == []


def test_ray_is_not_imported() -> None:
    code = """
import sys
import rayorch as ro
from rayorch.testing import run_pipeline
pipeline = ro.Pipeline("same")
pipeline.read("ids", "s3://lake/ids").write("s3://lake/out")
assert run_pipeline(pipeline, {"ids": {"id": [1]}})["ids"].num_rows == 1
assert "ray" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
