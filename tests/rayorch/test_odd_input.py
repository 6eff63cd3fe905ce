"""What odd names, results and values get: a clear error or a right result.

The whole product runs in this process, as in `test_bad_input.py`.
"""

import math
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayorch.errors import SpecError
from tests.rayorch.bad_input import ROWS, Job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


# --- odd names ----------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["delta", "parquet", "csv"])
def test_names_with_spaces_and_unicode_and_dots_are_taken_as_they_are(
    job: Job,
    format: str,  # noqa: A002 - as users know it
) -> None:
    job.put("größe 1/日本 %20#1;&'.parquet")
    url = job.inputs / "nowhere" / ".." / "größe 1"
    out = job.folder / "out put" / ("ü % 日本" if format == "delta" else "ü %41]^ 日本")
    job.pipeline.read("zeilen ü", str(url)).write(str(out), format=format)

    assert sorted(job.output(out).to_pylist(), key=str) == sorted(ROWS.to_pylist(), key=str)


@pytest.mark.parametrize("name", ["a%41", "a]b", "a|b", "a\\b"])
def test_a_name_under_which_delta_breaks_is_refused_before_anything_is_written(
    job: Job, name: str
) -> None:
    """delta-rs decodes, splits or panics, depending on which part of it looks at the name."""
    job.put("1.parquet")
    job.read().write(str(job.folder / name))

    assert "Delta's library cannot keep a table under a name with" in job.plan_failure()
    assert not (job.folder / name).exists()


@pytest.mark.parametrize("url", ["s3://lake/a/../b", "memory://x/../y"])
def test_a_url_that_climbs_out_of_its_bucket_is_refused(job: Job, url: str) -> None:
    with pytest.raises(SpecError, match=r"'\.\.' segment.*field=url"):
        job.pipeline.read("lines", url)
    with pytest.raises(SpecError, match=r"'\.\.' segment.*field=url"):
        job.read().write(url)


@pytest.mark.parametrize("name", ["[1]", "*", "a?"])
def test_an_output_s_place_cannot_be_a_pattern(job: Job, name: str) -> None:
    """Or its readers would look for the pattern and find nothing."""
    with pytest.raises(SpecError, match="an output's place cannot hold a wildcard"):
        job.read().write(str(job.folder / name))


DAYS = ["../../etc", "a/b", " ü=", "", None, ".", "%2e"]


@pytest.mark.parametrize("format", ["delta", "parquet"])
def test_partition_values_never_become_paths(job: Job, format: str) -> None:  # noqa: A002
    rows = pa.table({"id": list(range(len(DAYS))), "day": pa.array(DAYS, pa.string())})
    job.put("1.parquet", rows)
    job.read().write(str(job.out), format=format, partition_by="day")

    found = {row["id"]: row["day"] for row in job.output().to_pylist()}

    # An empty text is no value, by Delta's rules.
    empty = None if format == "delta" else ""
    assert found == {number: empty if day == "" else day for number, day in enumerate(DAYS)}
    assert {path.name for path in job.folder.iterdir()} == {"in", "out", "home"}


# --- functions that return something else -------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "said", "fix"),
    [
        (lambda _: None, "returned None, want a pyarrow.Table", "did you forget to return?"),
        (lambda t: t.to_pydict(), "returned dict of 2, want", "wrap it: return pa.table(...)"),
        (lambda t: t.to_pylist(), "returned list of 1000, want", "pa.Table.from_pylist(...)"),
        (lambda t: t["id"], "returned pyarrow.lib.ChunkedArray, want", "return a table"),
    ],
    ids=["None", "dict", "list", "column"],
)
def test_a_function_that_returns_no_table_is_told_what_to_return(
    job: Job, result: Callable[[pa.Table], object], said: str, fix: str
) -> None:
    job.put("1.parquet")
    job.read().map(result, output="made").write(str(job.out))

    text = job.failure()

    assert f"failed: transform 'made' {said}" in text
    assert "  where     FILE:LINE" in text
    assert fix in text


def as_text_from_3(table: pa.Table) -> pa.Table:
    late = table["id"][0].as_py() >= 3
    return table.cast(pa.schema({"id": pa.string()})) if late else table


def with_more_from_3(table: pa.Table) -> pa.Table:
    return table.append_column("more", table["id"]) if table["id"][0].as_py() >= 3 else table


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (as_text_from_3, "column 'id' is int64 in one output and string in another"),
        (with_more_from_3, "column 'more' is missing in one output and int64 in another"),
    ],
)
@pytest.mark.parametrize("format", ["delta", "parquet"])
def test_a_schema_that_changes_between_tasks_is_refused(
    job: Job,
    function: Callable[[pa.Table], pa.Table],
    said: str,
    format: str,  # noqa: A002
) -> None:
    for number in range(4):
        job.put(f"{number}.parquet", pa.table({"id": [number]}))
    job.read(one_task_a_file=True).map(function).write(str(job.out), format=format)

    text = job.failure()

    assert "the tasks that write file://FOLDER/out disagree about its columns" in text
    assert said in text


def test_a_schema_that_changes_between_batches_of_a_task_is_refused(job: Job) -> None:
    path = job.put("1.parquet", pa.table({"id": list(range(200_000))}))
    pq.write_table(pq.read_table(path), path, row_group_size=50_000)
    job.read().map(as_text_from_3, memory="2 MiB").write(str(job.out))

    text = job.failure()

    assert "column 'id' is string, and the schema of its first batch has int64" in text
    assert "declare the result's schema, or cast the column in the function" in text


# --- odd values ---------------------------------------------------------------------------------

NESTED = pa.table(
    {
        "list": pa.array([[1, None], None, []], pa.list_(pa.int64())),
        "struct": pa.array([{"a": 1, "b": ["x"]}, None, {"a": None, "b": None}]),
        "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        "dictionary": pa.array(["x", None, "x"]).dictionary_encode(),
        "bytes": pa.array([b"\0", None, b""]),
        "decimal": pa.array([1, None, 2], pa.decimal128(38, 10)),
        "time": pa.array([0, None, 1], pa.timestamp("us", "UTC")),
        "nothing": pa.nulls(3),
    }
)


def same(table: pa.Table) -> pa.Table:
    return table


@pytest.mark.parametrize("format", ["delta", "parquet", "arrow"])
def test_nested_and_dictionary_types_come_out_as_they_went_in(
    job: Job,
    format: str,  # noqa: A002
) -> None:
    job.put("1.parquet", NESTED)
    job.read().map(same).write(str(job.out), format=format)

    assert job.output().to_pylist() == NESTED.to_pylist()


@pytest.mark.parametrize(
    ("column", "format", "said"),
    [
        (pa.array([[1]]), "csv", "CSV cannot hold column 'x' of type list"),
        (pa.array([1], pa.duration("s")), "delta", "Delta cannot hold column 'x' of type duration"),
        (
            pa.array([1], pa.timestamp("ns", "UTC")),
            "delta",
            "Delta cannot hold column 'x' of type timestamp[ns, tz=UTC]",
        ),
    ],
)
def test_a_type_that_a_format_cannot_hold_is_refused(
    job: Job,
    column: pa.Array,
    format: str,  # noqa: A002
    said: str,
) -> None:
    with pa.ipc.new_file(job.inputs / "1.arrow", pa.schema({"x": column.type})) as file:
        file.write_table(pa.table({"x": column}))
    job.read().write(str(job.out), format=format)

    text = job.failure()

    assert said in text
    assert "column=x" in text


@pytest.mark.parametrize("format", ["delta", "parquet", "csv", "arrow"])
def test_nan_and_null_stay_two_things(job: Job, format: str) -> None:  # noqa: A002
    """And neither is greater than 1, nor not."""
    values = [1.0, math.nan, None, math.inf, 2.0]
    job.put("1.parquet", pa.table({"id": list(range(5)), "x": pa.array(values, pa.float64())}))
    lines = job.read()
    lines.write(str(job.out), format=format)
    lines.filter("x > 1").write(str(job.folder / "large"), format=format)

    found = {row["id"]: row["x"] for row in job.output().to_pylist()}

    assert [found[0], found[2], found[3], found[4]] == [1.0, None, math.inf, 2.0]
    assert math.isnan(found[1])
    large = sorted(job.visible(job.folder / "large")["id"].to_pylist())
    assert large == [3, 4]


def test_files_that_disagree_about_a_column_are_both_named(job: Job) -> None:
    job.put("1.parquet", pa.table({"id": [1]}))
    job.put("2.parquet", pa.table({"id": ["x"]}))
    job.read().write(str(job.out))

    text = job.failure()

    assert "column 'id' has no common lossless type" in text
    assert "int64 in file://FOLDER/in/1.parquet, string in file://FOLDER/in/2.parquet" in text
