"""From a pipeline to stages: fusing, fan-out, unions, and what the reader does itself."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import rayorch as ro
from rayorch.compiling import compile_program, pipeline_version
from rayorch.program import Program, SelectCode, SinkEdge, StageProgram, StepId
from tests.rayorch.refusals import refusal


def same(table: pa.Table) -> pa.Table:
    return table


def one_stage(pipeline: ro.Pipeline) -> StageProgram:
    """The only stage of a pipeline."""
    (stage,) = compile_program(pipeline).stages
    return stage


def tree(stage: StageProgram) -> list[tuple[str, str, int | None]]:
    """The steps as (name, kind, input)."""
    return [(step.name, step.kind, step.input) for step in stage.steps]


def edges(stage: StageProgram) -> list[tuple[int, int | None]]:
    return [(edge.sink, edge.step) for edge in stage.sinks]


@pytest.fixture
def pipeline() -> ro.Pipeline:
    return ro.Pipeline("nightly")


def test_chained_maps_are_one_stage(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines")
    lines.map(same, output="a").map(same, output="b").write("/out")

    program = compile_program(pipeline)

    assert tree(program.stages[0]) == [("a", "map", None), ("b", "map", 0)]
    assert program.stages[0].sinks == (SinkEdge(sink=0, step=StepId(1)),)
    assert program.sinks[0].url == "file:///out"


def test_branches_share_the_steps_before_them(pipeline: ro.Pipeline) -> None:
    a = pipeline.read("lines", "/lines").map(same, output="a")
    a.map(same, output="b").write("/b")
    a.map(same, output="c").write("/c")

    stage = one_stage(pipeline)

    assert tree(stage) == [("a", "map", None), ("b", "map", 0), ("c", "map", 0)]
    assert edges(stage) == [(0, 1), (1, 2)]


def test_a_union_joins_stages_at_one_sink(pipeline: ro.Pipeline) -> None:
    old = pipeline.read("old", "/old")
    new = pipeline.read("new", "/new").map(same, output="mended")
    old.union("all", new).map(same, output="done").write("/out")

    program = compile_program(pipeline)

    assert [tree(stage) for stage in program.stages] == [
        [("done", "map", None)],
        [("mended", "map", None), ("done", "map", 0)],
    ]
    assert [edges(stage) for stage in program.stages] == [[(0, 0)], [(0, 1)]]


def test_a_union_of_branches_repeats_what_follows_once_per_branch(pipeline: ro.Pipeline) -> None:
    a = pipeline.read("lines", "/lines").map(same, output="a")
    a.union("both", a.map(same, output="b")).map(same, output="c").write("/out")

    stage = one_stage(pipeline)

    assert tree(stage) == [("a", "map", None), ("b", "map", 0), ("c", "map", 1), ("c", "map", 0)]
    assert sorted(edges(stage)) == [(0, 2), (0, 3)]


def test_unions_that_double_without_end_are_refused(pipeline: ro.Pipeline) -> None:
    last = pipeline.read("lines", "/lines").map(same, output="a")
    for index in range(20):
        last = last.union(f"u{index}", last.map(same, output=f"m{index}"))
    last.write("/out")

    assert refusal(lambda: compile_program(pipeline)).startswith(
        "unions repeat the steps after them more than 10000 times. pipeline=nightly"
    )


def test_a_thousand_chained_maps_compile(pipeline: ro.Pipeline) -> None:
    last = pipeline.read("lines", "/lines")
    for index in range(1000):
        last = last.map(same, output=f"m{index}")
    last.write("/out")

    assert len(one_stage(pipeline).steps) == 1000


def test_filters_and_a_selection_after_a_read_become_the_readers(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines")
    lines.filter("a > 1").filter(pc.field("b") < 2).select(["c"]).map(same, output="m").write("/o")

    stage = one_stage(pipeline)

    assert stage.predicate is not None
    assert stage.predicate.equals((pc.field("a") > 1) & (pc.field("b") < 2))
    assert stage.columns == ("c",)
    assert tree(stage) == [("m", "map", None)]


def test_a_filter_after_a_selection_stays_a_step(pipeline: ro.Pipeline) -> None:
    """Pushed down, it would see columns that the selection left out."""
    pipeline.read("lines", "/lines").select(["a"]).filter("b > 1").write("/out")

    stage = one_stage(pipeline)

    assert stage.columns == ("a",)
    assert stage.predicate is None
    assert [step.kind for step in stage.steps] == ["filter"]


def test_a_filter_stays_a_step_when_the_read_has_other_takers(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines")
    lines.filter("a > 1").write("/few")
    lines.write("/all")

    stage = one_stage(pipeline)

    assert stage.predicate is None
    assert edges(stage) == [(1, None), (0, 0)]


def test_several_selections_of_one_read_make_it_read_what_they_need(
    pipeline: ro.Pipeline,
) -> None:
    lines = pipeline.read("lines", "/lines")
    lines.select(["a", "b"]).write("/ab")
    lines.select(["b", "c"]).write("/bc")

    stage = one_stage(pipeline)

    assert stage.columns == ("a", "b", "c")
    assert [step.kind for step in stage.steps] == ["select", "select"]


def test_a_renaming_selection_narrows_the_read_and_stays_a_step(pipeline: ro.Pipeline) -> None:
    pipeline.read("lines", "/lines").select({"x": "a", "y": '"a b"'}).write("/out")

    stage = one_stage(pipeline)

    assert stage.columns == ("a", "a b")
    assert tree(stage) == [("lines.select", "select", None)]


def test_a_computed_column_leaves_the_read_as_it_is(pipeline: ro.Pipeline) -> None:
    pipeline.read("lines", "/lines").select({"x": "a * 2"}).write("/out")

    stage = one_stage(pipeline)

    assert stage.columns is None
    code = stage.steps[0].code
    assert isinstance(code, SelectCode)
    assert code.columns[0][1].equals(pc.field("a") * 2)


def test_the_columns_of_a_map_narrow_the_read(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines")
    lines.map(same, output="m", columns=["a", "b"]).write("/out")

    stage = one_stage(pipeline)

    assert stage.columns == ("a", "b")
    assert tree(stage) == [("m", "map", None)]


def test_the_columns_of_a_later_map_are_selected_before_it(pipeline: ro.Pipeline) -> None:
    first = pipeline.read("lines", "/lines").map(same, output="first")
    first.map(same, output="m", columns=["a"]).write("/out")

    assert tree(one_stage(pipeline)) == [
        ("first", "map", None),
        ("m", "select", 0),
        ("m", "map", 1),
    ]


def test_a_selection_of_what_the_read_leaves_out_gets_a_near_miss(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines", columns=["l_quantity", "l_price"])
    lines.select(["l_quantty"], "few").write("/out")

    assert refusal(lambda: compile_program(pipeline)) == (
        "a column that the read leaves out. "
        "pipeline=nightly, transform=few, field=columns, value='l_quantty'\n"
        "  at FILE:LINE\n"
        "  did you mean 'l_quantity'?"
    )


def test_a_stage_needs_the_most_that_any_of_its_steps_asks_for(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines")
    a = lines.map(same, output="a", memory="3 GiB", labels={"disk": "fast"})
    a.map(same, output="b", memory="2 GiB", cores=4, labels={"zone": "a"}).write("/out")

    needs = one_stage(pipeline).resources

    assert (needs.memory_bytes, needs.cores) == (3 * 2**30, 4)
    assert needs.labels == {"disk": "fast", "zone": "a"}


def test_steps_of_one_stage_that_want_different_machines_are_refused(
    pipeline: ro.Pipeline,
) -> None:
    a = pipeline.read("lines", "/lines").map(same, output="a", labels={"zone": "a"})
    a.map(same, output="b", labels={"zone": "b"}).write("/out")

    assert refusal(lambda: compile_program(pipeline)) == (
        "transforms that run together want different machines. "
        "pipeline=nightly, transform=b, field=labels.zone, value='b'\n"
        "  'a' wants 'a'; both take the rows of 'lines'"
    )


def test_a_discarded_dataset_runs_without_a_sink(pipeline: ro.Pipeline) -> None:
    pipeline.read("lines", "/lines").map(same, output="sent").discard()

    program = compile_program(pipeline)

    assert tree(program.stages[0]) == [("sent", "map", None)]
    assert (program.stages[0].sinks, program.sinks) == ((), ())


PIPELINE_FILE = """
import rayorch as ro
import helper

LIMIT = 10
WORDS = {"alpha", "beta", "gamma", "delta"}

def build():
    pipeline = ro.Pipeline("nightly")
    lines = pipeline.read("lines", "/lines").filter("a in (1, 2, 3)")

    @pipeline.map(lines, output="m")
    def m(table):
        return helper.cleaned(table, LIMIT) if WORDS else {x for x in ("p", "q", "r")}

    m.write("/out")
    return pipeline
"""
HELPER = "def cleaned(table, limit):\n    return table.slice(0, limit)\n"
VERSION_OF = """
import sys
sys.path.insert(0, sys.argv[1])
from nightly import build
from rayorch.compiling import compile_program, pipeline_version
pipeline = build()
print(pipeline_version(pipeline.spec(), compile_program(pipeline)))
"""


def version_of(
    folder: Path, hash_seed: int, pipeline: str = PIPELINE_FILE, helper: str = HELPER
) -> str:
    """The version that a process of its own finds."""
    folder.mkdir(exist_ok=True)
    (folder / "nightly.py").write_text(pipeline)
    (folder / "helper.py").write_text(helper)
    return subprocess.run(
        [sys.executable, "-B", "-c", VERSION_OF, str(folder)],
        env={"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(Path(ro.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_a_version_is_the_same_in_every_process_and_folder(tmp_path: Path) -> None:
    moved = "# A comment.\n\n\n" + PIPELINE_FILE

    assert version_of(tmp_path / "a", 1) == version_of(tmp_path / "b", 2, pipeline=moved)


def test_a_version_changes_with_a_helper_in_another_module(tmp_path: Path) -> None:
    edited = HELPER.replace("slice(0", "slice(1")

    assert version_of(tmp_path / "a", 1) != version_of(tmp_path / "b", 1, helper=edited)


def version(program_of: ro.Pipeline) -> str:
    program: Program = compile_program(program_of)
    return pipeline_version(program_of.spec(), program)


def test_a_version_counts_the_spec_but_not_the_parameters() -> None:
    def built(day: str, url: str) -> ro.Pipeline:
        pipeline = ro.Pipeline("nightly", params={"day": day})
        pipeline.read("lines", url).write("/out")
        return pipeline

    assert version(built("mon", "/a")) == version(built("tue", "/a"))
    assert version(built("mon", "/a")) != version(built("mon", "/b"))
