"""What bad input gets: a clear error or a right result, and never a half-visible output.

The whole product runs in this process: compiler, planner, scheduler, journal, runner, commit. What
needs a process of its own (a full disk, a read-only home, 2 GB of text) is in
`tests/e2e/test_bad_input.py`.
"""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from tests.rayorch.bad_input import ROWS, Job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


# --- files that are not what they seem ----------------------------------------------------------


def damaged(data: bytes) -> bytes:
    """A footer that is right, and pages of garbage."""
    return data[:4] + b"\xff" * 2996 + data[3000:]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damaged, "Couldn't deserialize thrift"),
        (lambda data: data[:500], "it does not end in PAR1; cut short, or another format"),
        (lambda _: b"", "it is empty"),
        (lambda _: b"<html>not found</html>", "it does not end in PAR1"),
    ],
    ids=["garbage", "truncated", "zero bytes", "another format"],
)
def test_a_parquet_file_that_cannot_be_read_is_named(
    job: Job, damage: Callable[[bytes], bytes], said: str
) -> None:
    """Good files beside it may have been read and written already: nothing of that shows."""
    good = job.put("1.parquet").read_bytes()
    job.put("2.parquet", damage(good))
    job.read(one_task_a_file=True).write(str(job.out))

    text = job.failure()

    assert f"not a readable Parquet file: {said}" in text
    assert "; restore or remove it. file=file://FOLDER/in/2.parquet" in text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("2.csv", "a,b\n1,2\n3\n", "not a readable CSV file: CSV parse error: Row #3: Expected 2"),
        ("2.jsonl", '{"a": 1}\n{"a": \n', "not a readable JSON Lines file: JSON parse error"),
        ("2.arrow", b"ARROW1\0\0garbage", "not a readable Arrow IPC file: File is too small"),
        ("2.arrow", b"", "not a readable Arrow IPC file"),
    ],
)
def test_text_and_arrow_that_cannot_be_read_are_named(
    job: Job, name: str, content: bytes | str, said: str
) -> None:
    job.put(name, content)
    job.read().write(str(job.out))

    text = job.failure()

    assert said in text
    assert f"file=file://FOLDER/in/{name}" in text


def test_a_text_file_of_no_bytes_has_no_rows_and_no_columns(job: Job) -> None:
    """So do many exports of a day on which nothing happened."""
    job.put("1.csv", "id,name\n1,x\n")
    job.put("2.csv", b"")
    job.read().write(str(job.out))

    assert job.output().to_pylist() == [{"id": 1, "name": "x"}]


def test_only_text_files_of_no_bytes_make_no_table_without_columns(job: Job) -> None:
    """A Delta table without columns could be created, and then nobody could read it."""
    job.put("1.csv", b"")
    job.read().write(str(job.out))

    assert "the output has no rows, and what columns it would have is not known" in job.failure()


# --- no rows ------------------------------------------------------------------------------------


def doubled(table: pa.Table) -> pa.Table:
    return table.append_column("twice", pc.multiply(table["id"], 2))


def test_files_of_no_rows_give_an_output_of_no_rows_with_its_columns(job: Job) -> None:
    job.put("1.parquet", ROWS.slice(0, 0))
    job.read().map(doubled).write(str(job.out))

    found = job.output()

    assert (found.num_rows, found.schema.names) == (0, ["id", "name", "twice"])


def test_a_filter_that_nothing_passes_gives_an_output_with_its_columns(job: Job) -> None:
    job.put("1.parquet")
    job.read().filter("id < 0", "none").write(str(job.out))

    found = job.output()

    assert (found.num_rows, found.schema) == (0, ROWS.schema)


def first_name(table: pa.Table) -> pa.Table:
    return pa.table({"first": [table["name"][0].as_py()]})


def test_a_function_that_trips_over_no_rows_is_told_to_declare_its_result(job: Job) -> None:
    job.put("1.parquet", ROWS.slice(0, 0))
    job.read().map(first_name).write(str(job.out))

    assert "declare its result with schema=" in job.failure()


def test_a_function_that_trips_over_no_rows_empties_a_table_and_keeps_its_columns(
    job: Job,
) -> None:
    job.put("1.parquet")
    job.read().map(first_name).write(str(job.out))
    assert job.output().to_pylist() == [{"first": "name 0"}]

    job.put("1.parquet", ROWS.slice(0, 0))

    assert job.output().schema == pa.schema({"first": pa.string()})
    assert job.visible().num_rows == 0


def test_a_declared_result_needs_no_rows(job: Job) -> None:
    job.put("1.parquet", ROWS.slice(0, 0))
    job.read().map(first_name, schema=pa.schema({"first": pa.string()})).write(str(job.out))

    assert job.output().schema == pa.schema({"first": pa.string()})


# --- names that name nothing --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("in/*.csv", "no file matches; near by: 1.parquet. url=file://FOLDER/in/*.csv"),
        ("i", "no file matches; near by: in. url=file://FOLDER/i"),
        ("empty", "no file matches. url=file://FOLDER/empty"),
    ],
)
def test_a_url_without_a_match_is_named_with_what_is_near(job: Job, url: str, said: str) -> None:
    job.put("1.parquet")
    (job.folder / "empty").mkdir()
    job.pipeline.read("lines", str(job.folder / url)).write(str(job.out))

    assert said in job.failure()


def missing_by_read(job: Job) -> ro.Dataset:
    return job.pipeline.read("lines", str(job.inputs), columns=["id", "nmae"])


def missing_by_filter(job: Job) -> ro.Dataset:
    return job.read().filter("nmae = 'x'")


def missing_by_select(job: Job) -> ro.Dataset:
    return job.read().select(["nmae"])


@pytest.mark.parametrize("lines", [missing_by_read, missing_by_filter, missing_by_select])
def test_a_column_that_the_files_lack_is_refused_before_any_task(
    job: Job, lines: Callable[[Job], ro.Dataset]
) -> None:
    job.put("1.parquet")
    lines(job).write(str(job.out))

    text = job.failure()

    assert text.startswith(
        "failed: no column 'nmae'; did you mean 'name'? in=lines, columns=id, name"
    )


def test_a_column_that_a_query_lacks_is_told_with_the_query_s_place(job: Job) -> None:
    job.put("1.parquet")
    job.read().sql("named", "select nmae from input").write(str(job.out))

    text = job.failure()

    assert 'Referenced column "nmae" not found' in text
    assert 'Candidate bindings: "name"' in text
    assert "  transform named\n  where     FILE:LINE\n  input     file://FOLDER/in/1" in text


def nmae(table: pa.Table) -> pa.Table:
    return table.select(["nmae"])


def test_a_column_that_a_function_lacks_is_told_with_the_function_s_line(job: Job) -> None:
    job.put("1.parquet")
    job.read().map(nmae).write(str(job.out))

    text = job.failure()

    assert text.startswith("failed: KeyError: 'Field \"nmae\" does not exist in schema'\n")
    assert "  transform nmae\n  where     FILE:LINE\n  input     file://FOLDER/in/1" in text
    assert "  kind      user" in text
    assert "  to do     mend it and resume the run with the file" in text


def test_a_column_to_partition_by_that_is_not_there_is_named(job: Job) -> None:
    job.put("1.parquet")
    job.read().write(str(job.out), partition_by="nam")

    assert "no column 'nam'; did you mean 'name'? in=lines" in job.failure()


# --- inputs that change while the run goes ------------------------------------------------------


def remove(path: Path) -> None:
    path.unlink()


def grow(path: Path) -> None:
    pq.write_table(ROWS, path)


def rewrite(path: Path) -> None:
    """Other values, as many bytes."""
    pq.write_table(pa.table({"id": [99]}), path)


@pytest.mark.parametrize(
    ("change", "said"),
    [(remove, "file disappeared"), (grow, "file grew from"), (rewrite, "file was written again")],
)
def test_a_file_that_changes_between_the_plan_and_its_turn_is_named(
    job: Job, change: Callable[[Path], None], said: str
) -> None:
    """The first task changes the last file: no task has read that far ahead."""
    for number in range(16):
        job.put(f"{number:02}.parquet", pa.table({"id": [number]}))
    last = job.inputs / "15.parquet"

    def meddled(table: pa.Table) -> pa.Table:
        if table["id"][0].as_py() == 0:
            change(last)
        return table

    job.read(one_task_a_file=True).map(meddled).write(str(job.out))

    text = job.failure()

    assert said in text
    assert "while the run goes" in text
    assert "file=file://FOLDER/in/15.parquet" in text
    assert "  to do     start a new run: this one is bound to its input files" in text
