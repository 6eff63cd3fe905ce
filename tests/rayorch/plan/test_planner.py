"""From sources to tasks: how many, of what, and what people are shown of it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from connectors.errors import ConnectorError
from rayorch.compiling import compile_program
from rayorch.home import decode_split
from rayorch.plan.planner import NO_ROWS, Plan, make_plan

SLOTS = 2


def plan_of(pipeline: ro.Pipeline, slots: int = SLOTS) -> Plan:
    return make_plan(compile_program(pipeline), slots)


def files(folder: Path, count: int, rows: int = 10) -> str:
    folder.mkdir()
    for index in range(count):
        table = pa.table({"id": list(range(rows)), "name": ["x"] * rows})
        pq.write_table(table, folder / f"{index:02d}.parquet")
    return f"{folder}/*.parquet"


def test_every_stage_is_cut_and_its_splits_are_numbered_through(tmp_path: Path) -> None:
    pipeline = ro.Pipeline("nightly")
    first = pipeline.read("first", files(tmp_path / "a", 3), split="file")
    second = pipeline.read("second", files(tmp_path / "b", 2), split="file")
    first.union("both", second).write(str(tmp_path / "out"))

    plan = plan_of(pipeline)

    assert plan.run_plan.task_counts == (3, 2)
    assert plan.run_plan.files == 5
    splits = [decode_split(data) for data in plan.run_plan.split_of()]
    names = [part.key.rpartition("/")[2] for split in splits for part in split.parts]
    assert names == ["00.parquet", "01.parquet", "02.parquet", "00.parquet", "01.parquet"]
    assert plan.run_plan.size_bytes == sum(split.size_bytes for split in splits)


def test_small_files_share_a_task(tmp_path: Path) -> None:
    pipeline = ro.Pipeline("nightly")
    pipeline.read("rows", files(tmp_path / "a", 40)).write(str(tmp_path / "out"))

    plan = plan_of(pipeline)

    assert plan.run_plan.files == 40
    assert sum(plan.run_plan.task_counts) < 40


def test_people_are_shown_what_each_stage_reads_does_and_writes(tmp_path: Path) -> None:
    pipeline = ro.Pipeline("nightly")
    rows = pipeline.read("rows", files(tmp_path / "a", 2), split="file")
    some = rows.filter("id > 3", "some").select(["name"], "named")
    some.write(str(tmp_path / "out"), format="parquet")

    (stage,) = plan_of(pipeline).stages

    assert stage.name == "rows"
    assert stage.format == "parquet"
    assert (stage.files, stage.tasks, stage.rows) == (2, 2, 20)
    assert stage.task_bytes_max > 0
    assert stage.sinks == ((tmp_path / "out").as_uri(),)
    assert stage.columns is not None
    assert "id" in stage.predicate


def test_a_source_without_rows_has_one_task_all_the_same(tmp_path: Path) -> None:
    """Only by running the transforms on an empty table is it known what columns they make."""
    pipeline = ro.Pipeline("nightly")
    pipeline.read("rows", files(tmp_path / "a", 2, rows=0)).write(str(tmp_path / "out"))

    plan = plan_of(pipeline)

    assert plan.run_plan.task_counts == (1,)
    assert decode_split(plan.run_plan.split_of()[0]) == NO_ROWS


def test_the_same_sources_give_the_same_plan(tmp_path: Path) -> None:
    """A leader that died before its plan was stored has it made again."""
    pipeline = ro.Pipeline("nightly")
    pipeline.read("rows", files(tmp_path / "a", 7)).write(str(tmp_path / "out"))

    assert plan_of(pipeline) == plan_of(pipeline)


def test_nothing_to_read_is_refused_naming_the_place(tmp_path: Path) -> None:
    pipeline = ro.Pipeline("nightly")
    pipeline.read("rows", f"{tmp_path}/none/*.parquet").write(str(tmp_path / "out"))

    with pytest.raises(ConnectorError, match="none"):
        plan_of(pipeline)


def test_a_stage_that_reads_an_exchange_is_not_cut_and_says_what_it_does(tmp_path: Path) -> None:
    pipeline = ro.Pipeline("nightly")
    rows = pipeline.read("rows", files(tmp_path / "a", 3), split="file")
    names = pipeline.read("names", files(tmp_path / "b", 1))
    joined = rows.join("joined", names, on="id", how="left")
    joined.aggregate("few", by="name", n=("*", "count")).write(str(tmp_path / "out"))

    plan = plan_of(pipeline)

    assert plan.run_plan.task_counts == (3, 1, 0, 0)
    assert [stage.tasks for stage in plan.stages] == [3, 1, None, None]
    first, second, third, fourth = plan.stages
    assert (first.feeds, second.feeds, third.feeds, fourth.feeds) == (
        ("joined",),
        ("joined",),
        ("few",),
        (),
    )
    assert (third.operator, third.inputs) == (
        "left join on id",
        ("rows (left)", "names (right)"),
    )
    assert (fourth.operator, fourth.inputs) == ("aggregate by name: n = count(*)", ("joined",))


def test_a_join_reads_what_each_side_has_of_what_is_needed(tmp_path: Path) -> None:
    pipeline = ro.Pipeline("nightly")
    rows = pipeline.read("rows", files(tmp_path / "a", 1))
    (tmp_path / "b").mkdir()
    pq.write_table(
        pa.table({"id": [1], "size": [2], "other": [3]}), tmp_path / "b" / "sizes.parquet"
    )
    sizes = pipeline.read("sizes", str(tmp_path / "b"))
    joined = rows.join("joined", sizes, on="id")
    joined.select(["name", "size"]).write(str(tmp_path / "out"))

    first, second, _ = plan_of(pipeline).stages

    assert first.columns == ("id", "name")
    assert second.columns == ("id", "size")
