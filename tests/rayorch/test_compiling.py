"""From a pipeline to stages: fusing, fan-out, unions, and what the reader does itself."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import rayorch as ro
from rayorch.compiling import compile_program
from rayorch.program import KeepCode, Program, SelectCode, SinkEdge, StageProgram, StepId
from tests.rayorch.refusals import refusal
from tests.rayorch.test_aggregate import Longest


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


def test_a_discarded_dataset_runs_without_a_sink(pipeline: ro.Pipeline) -> None:
    pipeline.read("lines", "/lines").map(same, output="sent").discard()

    program = compile_program(pipeline)

    assert tree(program.stages[0]) == [("sent", "map", None)]
    assert (program.stages[0].sinks, program.sinks) == ((), ())


def fed(program: Program) -> list[tuple[str, str, int, tuple[tuple[int, ...], ...]]]:
    """The exchanges as (name, kind, consumer, producers)."""
    return [
        (each.name, each.code.kind, each.consumer, each.producers) for each in program.exchanges
    ]


def entries(stage: StageProgram) -> list[tuple[int, int, int | None]]:
    return [(edge.exchange, edge.side, edge.step) for edge in stage.exchanges]


def test_an_operator_is_the_source_of_a_stage_of_its_own(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines").map(same, output="m")
    few = lines.aggregate("few", by="day", qty=("qty", "sum"))
    few.map(same, output="after").write("/out")

    program = compile_program(pipeline)

    first, second = program.stages
    assert tree(first) == [("m", "map", None), ("few", "select", 0)]
    assert (entries(first), edges(first)) == ([(0, 0, 1)], [])
    assert (second.index, second.name, second.exchange) == (1, "few", 0)
    assert tree(second) == [("after", "map", None)]
    assert edges(second) == [(0, 0)]
    assert fed(program) == [("few", "aggregate", 1, ((0,),))]
    assert program.exchanges[0].code is pipeline.codes["few"]
    assert program.exchanges[0].where.startswith(__file__)


def test_stages_come_after_those_that_feed_them(pipeline: ro.Pipeline) -> None:
    """Whatever the order of definition: a name may be used before it exists."""
    lines = pipeline.read("lines", "/lines")
    pipeline.dataset("few").sort("sorted", "day").write("/out")
    pipeline.dataset("joined").aggregate("few", by="day", n=("*", "count"))
    lines.join("joined", "parts", on="id")
    pipeline.read("parts", "/parts")

    program = compile_program(pipeline)

    assert [stage.name for stage in program.stages] == [
        "lines",
        "parts",
        "joined",
        "few",
        "sorted",
    ]
    assert fed(program) == [
        ("joined", "join", 2, ((0,), (1,))),
        ("few", "aggregate", 3, ((2,),)),
        ("sorted", "sort", 4, ((3,),)),
    ]


def test_a_union_feeds_a_side_from_several_stages(pipeline: ro.Pipeline) -> None:
    old = pipeline.read("old", "/old")
    new = pipeline.read("new", "/new").map(same, output="mended")
    parts = pipeline.read("parts", "/parts")
    old.union("all", new).join("joined", parts, on="id").write("/out")

    program = compile_program(pipeline)

    assert fed(program) == [("joined", "join", 3, ((0, 1), (2,)))]
    assert [program.after(index) for index in range(4)] == [(), (), (), (0, 1, 2)]
    assert [entries(stage) for stage in program.stages] == [
        [(0, 0, None)],
        [(0, 0, 0)],
        [(0, 1, None)],
        [],
    ]


def test_branches_of_one_stage_may_feed_both_sides_or_one_side_twice(
    pipeline: ro.Pipeline,
) -> None:
    lines = pipeline.read("lines", "/lines")
    mended = lines.map(same, output="mended")
    lines.join("self", lines, on="id").discard()
    lines.union("both", mended).dedupe("once").write("/out")

    program = compile_program(pipeline)

    numbers = {each.name: each.index for each in program.exchanges}
    assert sorted(entries(program.stages[0]), key=str) == sorted(
        [
            (numbers["self"], 0, None),
            (numbers["self"], 1, None),
            (numbers["once"], 0, None),
            (numbers["once"], 0, 0),
        ],
        key=str,
    )
    assert {each.name: each.producers for each in program.exchanges} == {
        "self": ((0,), (0,)),
        "once": ((0,),),
    }


def test_a_dataset_may_be_written_and_enter_an_exchange(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines").map(same, output="m")
    lines.write("/all")
    lines.aggregate("few", by="day", n=("*", "count")).write("/few")

    first, second = compile_program(pipeline).stages

    assert tree(first) == [("m", "map", None), ("few", "select", 0)]
    assert (edges(first), entries(first)) == ([(0, 0)], [(0, 0, 1)])
    assert edges(second) == [(1, None)]


def test_only_what_an_aggregate_needs_is_read(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines").filter("qty > 1")
    last = ("status", "last", "at")
    lines.aggregate("few", by=["day"], n=("*", "count"), qty=("qty", "sum"), last=last).write("/o")

    first = compile_program(pipeline).stages[0]

    assert first.columns == ("day", "qty", "status", "at")
    assert first.predicate is not None
    assert (tree(first), entries(first)) == ([], [(0, 0, None)])


def test_an_aggregate_of_all_columns_reads_them(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines")
    lines.aggregate("few", by="day", n=("*", Longest())).write("/out")

    first = compile_program(pipeline).stages[0]

    assert (first.columns, tree(first)) == (None, [])


def test_what_follows_an_operator_narrows_what_enters_it(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines").map(same, output="m")
    running = lines.window("w", by="user", order="at", n="row_number", sum=("qty", "sum"))
    running.sort("s", "n").select(["n", "page"]).write("/out")

    first, second, third = compile_program(pipeline).stages

    assert tree(first) == [("m", "map", None), ("w", "select", 0)]
    code = first.steps[1].code
    assert isinstance(code, SelectCode)
    assert code.plain == ("user", "at", "qty", "page")
    assert tree(second) == [("s", "select", None)]
    assert tree(third) == [("s.select", "select", None)]


def test_of_the_right_side_of_a_semi_join_only_keys_are_read(pipeline: ro.Pipeline) -> None:
    lines, parts = pipeline.read("lines", "/lines"), pipeline.read("parts", "/parts")
    lines.join("few", parts, left_on="a", right_on="b", how="semi").write("/out")

    first, second, _ = compile_program(pipeline).stages

    assert (first.columns, second.columns) == (None, ("b",))


def test_into_a_join_goes_what_may_be_needed_of_its_result(pipeline: ro.Pipeline) -> None:
    """Which side has which column is known when files are looked at, and rows are there."""
    lines = pipeline.read("lines", "/lines").map(same, output="m")
    parts = pipeline.read("parts", "/parts")
    joined = lines.join("joined", parts, left_on="part", right_on="id")
    joined.aggregate("few", by="brand", qty=("qty", "sum")).write("/out")

    first, second, third, _ = compile_program(pipeline).stages

    assert first.steps[1].code == KeepCode(
        columns=("part", "brand", "qty"), optional=("brand", "qty")
    )
    assert tree(first) == [("m", "map", None), ("joined", "keep", 0)]
    assert (second.columns, second.optional) == (("id", "brand", "qty"), ("brand", "qty"))
    assert tree(second) == []
    assert second.columns_of(pa.schema({"id": pa.int64(), "brand": pa.string()})) == ["id", "brand"]
    assert second.columns_of(pa.schema({"size": pa.int64()})) == ["id"]
    assert tree(third) == [("few", "select", None)]


def test_of_a_read_with_columns_nothing_is_optional(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines", columns=["id", "qty", "day"])
    lines.join("joined", lines, on="id").select(["qty", "brand"]).write("/out")

    first = compile_program(pipeline).stages[0]

    assert (first.columns, first.optional) == (("id", "qty"), ())


def test_a_selection_before_an_operator_is_not_repeated(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines").map(same, output="m").select(["a", "b"])
    lines.filter("a > 1").aggregate("few", by="a", b=("b", "sum")).write("/out")

    first = compile_program(pipeline).stages[0]

    assert [step.kind for step in first.steps] == ["map", "select", "filter"]
    assert entries(first) == [(0, 0, 2)]


def test_a_function_of_groups_gets_its_columns_the_keys_and_the_order(
    pipeline: ro.Pipeline,
) -> None:
    lines = pipeline.read("lines", "/lines")
    lines.map_groups(same, by="id", order="at", columns=["x"]).write("/out")

    first, second = compile_program(pipeline).stages

    assert first.columns == ("id", "at", "x")
    assert tree(second) == []


@pytest.mark.parametrize(
    "build",
    [
        lambda lines: lines.select(["l_quantity", "l_price"]).sort("few", "l_quantty"),
        lambda lines: lines.aggregate("sums", l_quantity=("q", "sum")).dedupe("few", "l_quantty"),
    ],
)
def test_a_key_that_is_known_not_to_be_there_gets_a_near_miss(
    pipeline: ro.Pipeline, build: Callable[[ro.Dataset], ro.Dataset]
) -> None:
    build(pipeline.read("lines", "/lines").map(same, output="m")).write("/out")

    assert refusal(lambda: compile_program(pipeline)) == (
        "a column that its input does not have. "
        "pipeline=nightly, transform=few, field=columns, value='l_quantty'\n"
        "  at FILE:LINE\n"
        "  did you mean 'l_quantity'?"
    )


def test_the_stage_of_an_operator_needs_what_the_operator_asks_for(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines").map(same, output="m", memory="3 GiB")
    lines.sort("s", "a", memory="4 GiB").map(same, output="after", cores=2).write("/out")

    first, second = compile_program(pipeline).stages

    assert first.resources.memory_bytes == 3 * 2**30
    assert (second.resources.memory_bytes, second.resources.cores) == (4 * 2**30, 2)
