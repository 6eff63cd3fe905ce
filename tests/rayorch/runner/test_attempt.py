"""One attempt: rows through a tree of steps into sinks, all of it or nothing."""

import errno
import pickle
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from connectors.schema import load_schema
from connectors.splits import FilePart
from connectors.stores.memory import MemoryStore
from rayorch import failpoints
from rayorch.core.facts import AttemptFailed
from rayorch.failpoints import failpoints_of
from rayorch.program import FilterCode, MapCode, SinkEdge, StepId
from rayorch.runner import programs
from rayorch.runner.batches import BATCH_BYTES_MAX, BATCH_BYTES_MIN, batch_bytes_of
from tests.rayorch.runner import make


def add_square(table: pa.Table) -> pa.Table:
    return table.append_column("square", pc.multiply(table["id"], table["id"]))


def nothing(table: pa.Table) -> pa.Table:
    return table.slice(0, 0)


def only_full(table: pa.Table) -> pa.Table:
    """What many functions are: of no use without a row."""
    table["id"][0].as_py()
    return table


def object_count(plan: make.Planned) -> int:
    store = MemoryStore(plan.sink_urls[0].removeprefix("memory://").strip("/"))
    return len(list(store.list()))


def test_each_row_goes_through_the_steps_into_the_sink() -> None:
    plan = make.planned(make.stage("range://100?splits=4", make.chain(add_square)))

    ends = make.executed(plan)

    outputs = [make.output_of(end) for end in ends]
    table = make.staged(plan, [output.results[0] for output in outputs])
    assert table["square"].to_pylist() == [number**2 for number in range(100)]
    assert [output.rows_in for output in outputs] == [25] * 4
    assert [output.bytes_in for output in outputs] == [200] * 4
    assert all(output.seconds.total_s > 0 for output in outputs)


def test_a_tree_sends_each_branch_to_its_own_sinks() -> None:
    """The source to sink 0; odd rows to sink 1; their squares to sinks 1's neighbour and to 0."""
    steps = (
        make.step(FilterCode(predicate=pc.field("id") > 7), at=0, after=None),
        make.step(add_square, at=1, after=0),
    )
    edges = (
        SinkEdge(sink=0, step=None),
        SinkEdge(sink=1, step=StepId(0)),
        SinkEdge(sink=2, step=StepId(1)),
    )
    plan = make.planned(make.stage("range://10?splits=1", steps, edges=edges))

    output = make.output_of(make.executed(plan)[0])

    by_sink = {result.sink: make.staged(plan, [result]) for result in output.results}
    assert by_sink[0]["id"].to_pylist() == list(range(10))
    assert by_sink[1]["id"].to_pylist() == [8, 9]
    assert by_sink[2]["square"].to_pylist() == [64, 81]


def test_branches_of_a_union_share_one_writer() -> None:
    steps = (
        make.step(FilterCode(predicate=pc.field("id") < 2), at=0, after=None),
        make.step(FilterCode(predicate=pc.field("id") > 7), at=1, after=None),
    )
    edges = tuple(SinkEdge(sink=0, step=StepId(at)) for at in (0, 1))
    plan = make.planned(make.stage("range://10?splits=1", steps, edges=edges))

    output = make.output_of(make.executed(plan)[0])

    assert len(output.results) == 1
    assert make.staged(plan, output.results)["id"].to_pylist() == [0, 1, 8, 9]


def test_file_names_begin_with_the_attempts_token() -> None:
    plan = make.planned(make.stage("range://10?splits=1"))

    output = make.output_of(make.executed(plan)[0])

    (file,) = make.sink_output(output.results[0]).files
    assert file.key.rpartition("/")[2].startswith("0-0000000-0-1-")


def test_an_attempt_without_a_row_still_knows_its_schema() -> None:
    """Else the output of a pipeline that happens to be empty would have no columns."""
    predicate = pc.field("id") < 0
    plan = make.planned(
        make.stage("range://10?splits=1", make.chain(FilterCode(predicate=predicate), add_square))
    )

    output = make.output_of(make.executed(plan)[0])

    staged = make.sink_output(output.results[0])
    assert staged.files == ()
    assert staged.schema_ipc is not None
    assert load_schema(staged.schema_ipc).names == ["id", "square"]


def test_a_function_is_not_blamed_for_an_empty_frame() -> None:
    """It would raise on one, and nobody promised it that it would get one."""
    plan = make.planned(make.stage("range://10?splits=1", make.chain(nothing, only_full)))

    output = make.output_of(make.executed(plan)[0])

    assert (output.results[0].rows, output.results[0].schema_fp) == (0, "")


def test_a_declared_schema_makes_the_call_on_no_rows_needless() -> None:
    declared = pa.schema({"other": pa.string()})
    code = MapCode(function=only_full, schema=declared)
    plan = make.planned(make.stage("range://10?splits=1", make.chain(nothing, code)))

    staged = make.sink_output(make.output_of(make.executed(plan)[0]).results[0])

    assert staged.schema_ipc is not None
    assert load_schema(staged.schema_ipc).names == ["other"]


def raise_on_row_group_7(table: pa.Table) -> pa.Table:
    if 7 in table["group"].to_pylist():
        raise ValueError("seven")
    return table


def test_a_failure_names_the_input_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Rows of the first batches were written already: they are taken back."""
    table = pa.table({"group": [index // 10 for index in range(100)]})
    url = make.parquet_files(tmp_path, [table], row_group_rows=10)
    plan = make.planned(make.stage(url, make.chain(raise_on_row_group_7), split="file"))

    (end,) = make.executed(plan, memory_bytes=8)

    error = make.error_of(end)
    assert isinstance(end, AttemptFailed)
    assert end.kind == "user"
    assert error.source == f"{url}/part-000.parquet"
    assert error.where.startswith(__file__)
    assert object_count(plan) == 0


def test_a_corrupt_input_is_refused_and_named(tmp_path: Path) -> None:
    url = make.parquet_files(tmp_path, [pa.table({"x": [1, 2, 3]})])
    plan = make.planned(make.stage(url, split="file"))
    file = tmp_path / "part-000.parquet"
    file.write_bytes(file.read_bytes()[:-20])

    (end,) = make.executed(plan)

    assert isinstance(end, AttemptFailed)
    assert end.kind == "refused"
    assert "part-000.parquet" in end.error.message
    assert end.error.source == f"{url}/part-000.parquet"
    assert "new run" in end.error.remedy


def test_a_full_disk_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make.planned(make.stage("range://10?splits=1"))

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MemoryStore, "put", full)
    (end,) = make.executed(plan)

    assert isinstance(end, AttemptFailed)
    assert end.kind == "refused"
    assert "sink0" in end.error.message
    assert "free space" in end.error.remedy
    assert "resume" in end.error.remedy


@pytest.mark.parametrize("place", ["before_read", "computing", "after_stage"])
def test_a_fault_at_any_place_is_worth_another_try(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make.planned(make.stage("range://10?splits=1"))
    monkeypatch.setattr(failpoints, "_armed", failpoints_of(f"runner.{place}=raise"))

    (end,) = make.executed(plan)

    assert isinstance(end, AttemptFailed)
    assert end.kind == "transient"


def test_a_program_that_is_gone_is_an_error_of_its_attempts() -> None:
    plan = make.planned(make.stage("range://10?splits=2"))
    plan.home.store.delete([info.key for info in plan.home.store.list()])

    ends = make.executed(plan)

    assert [make.error_of(end).message.startswith("cannot load the program") for end in ends] == [
        True
    ] * 2


class Unloadable:
    """A function of a module that calls sys.exit when it is imported."""

    def __call__(self, table: pa.Table) -> pa.Table:
        return table

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return sys.exit, ("no licence",)


def test_a_program_that_does_not_load_is_an_error_of_its_attempts() -> None:
    """And not the end of the runner's thread."""
    plan = make.planned(make.stage("range://10?splits=2"))
    program = make.program_of(make.stage("range://10?splits=2", make.chain(Unloadable())), ["m://"])
    plan.home.store.put(f"runs/{make.RUN}/program-{make.VERSION}.pkl", pickle.dumps(program))

    ends = make.executed(plan)

    assert [make.error_of(end).message for end in ends] == [
        "cannot load the program: called sys.exit('no licence')"
    ] * 2
    assert "importable" in make.error_of(ends[0]).remedy


class PanicException(BaseException):
    """A panic of a library in Rust."""


def test_a_panic_of_a_writer_is_reported_as_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make.planned(make.stage("range://10?splits=2"))

    def panic(*_args: object) -> None:
        raise PanicException("index out of bounds")

    monkeypatch.setattr(MemoryStore, "put", panic)
    ends = make.executed(plan)

    error = make.error_of(ends[1])
    assert "index out of bounds" in error.message
    assert "report" in error.remedy
    assert "panic" in error.traceback


def test_batches_are_a_share_of_the_memory_and_shrink() -> None:
    assert batch_bytes_of(1 << 40) == BATCH_BYTES_MAX
    assert batch_bytes_of(80 << 20) == 10 << 20
    assert batch_bytes_of(80 << 20, shrink=1) == 5 << 20
    assert batch_bytes_of(80 << 20, shrink=60) == BATCH_BYTES_MIN


@pytest.mark.parametrize("inline_bytes", [0, 1 << 40])
def test_a_split_of_ten_times_the_memory_is_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline_bytes: int
) -> None:
    """What Arrow holds at its most, with batches read ahead or not, stays below the memory."""
    monkeypatch.setattr(programs, "INLINE_BYTES_MAX", inline_bytes)
    memory_bytes = 8 * make.MIB
    rows = 10 * memory_bytes // 8
    table = pa.table({"id": np.arange(rows)})
    url = make.parquet_files(tmp_path, [table], row_group_rows=rows // 80)
    del table
    plan = make.planned(
        make.stage(url, make.chain(add_square, nothing), split="file", memory_bytes=memory_bytes)
    )
    before_bytes = pa.total_allocated_bytes()

    (end,) = make.executed(plan, memory_bytes=memory_bytes)

    output = make.output_of(end)
    assert output.rows_in == rows
    assert 0 < output.memory_bytes - before_bytes < memory_bytes


def test_read_seconds_and_wait_seconds_are_told_apart(tmp_path: Path) -> None:
    url = make.parquet_files(tmp_path, [pa.table({"id": range(1000)})])
    plan = make.planned(make.stage(url, split="file"))

    seconds = make.output_of(make.executed(plan)[0]).seconds

    assert seconds.read_s > 0
    assert seconds.write_s > 0
    assert seconds.cpu_s > 0


def test_of_several_files_the_failing_batchs_one_is_named(tmp_path: Path) -> None:
    """A split of two files, each larger than a batch: the second one holds the bad row."""
    rows = BATCH_BYTES_MIN // 8
    tables = [pa.table({"group": np.full(rows, fill)}) for fill in (1, 7)]
    url = make.parquet_files(tmp_path, tables)
    plan = make.planned(make.stage(url, make.chain(raise_on_row_group_7), memory_bytes=1), slots=1)
    plan.splits = [msgspec.structs.replace(plan.splits[0], parts=_all_parts(plan))]

    (end,) = make.executed(plan)

    assert make.error_of(end).source == f"{url}/part-001.parquet"


def _all_parts(plan: make.Planned) -> tuple[FilePart, ...]:
    return tuple(part for split in plan.splits for part in split.parts)


def sparse(frame: object) -> pa.Table:
    """The column has a value in the last of the batches alone."""
    assert isinstance(frame, pa.Table)
    last = frame["id"].to_pylist()[-1] == LAST_ROW
    return frame.append_column("note", pa.array(["last" if last else None] * len(frame)))


LAST_ROW = 4 * BATCH_BYTES_MIN // 8 - 1


def test_a_column_that_gets_its_type_late_is_written_whole() -> None:
    plan = make.planned(
        make.stage(f"range://{LAST_ROW + 1}?splits=1", make.chain(sparse), memory_bytes=1)
    )

    output = make.output_of(make.executed(plan)[0])

    table = make.staged(plan, output.results)
    assert table["id"].to_pylist() == list(range(LAST_ROW + 1))
    assert set(table["note"].to_pylist()) == {None, "last"}
