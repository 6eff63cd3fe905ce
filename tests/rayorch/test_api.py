"""Building a pipeline, and the text that a user sees when it is refused."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import rayorch as ro
from rayorch.program import MapCode
from tests.rayorch.refusals import refusal

WRONG: Any = 3


def pipeline() -> tuple[ro.Pipeline, ro.Dataset]:
    """A pipeline that reads one dataset."""
    nightly = ro.Pipeline("nightly", owner="data-platform")
    return nightly, nightly.read("lines", "s3://lake/lines/*.parquet")


def same(table: pa.Table) -> pa.Table:
    return table


def test_the_pipeline_of_the_design_is_built_as_it_is_written() -> None:
    nightly = ro.Pipeline(
        "nightly", owner="data-platform", objective=ro.Deadline(timedelta(minutes=30))
    )
    lines = nightly.read("lineitem", "s3://lake/tpch/lineitem/*.parquet")

    @nightly.map(lines, output="shipped", memory="1 GiB")
    def shipped(batch: pa.Table) -> pa.Table:
        return batch.filter(pc.field("l_shipdate") <= pa.scalar(0))

    shipped.sql("summary", "select l_returnflag from input").write("s3://lake/pricing_summary/")
    spec = nightly.spec()

    assert isinstance(shipped, ro.Dataset)
    assert spec.objective == ro.Deadline(timedelta(minutes=30))
    assert [node.name for node in spec.makers()] == ["lineitem", "shipped", "summary"]
    assert spec.transforms[0].resources.memory_bytes == 2**30  # type: ignore[union-attr]
    assert (spec.writes[0].format, spec.writes[0].mode) == ("delta", "overwrite")
    assert spec.writes[0].url == "s3://lake/pricing_summary"


def test_a_relative_path_means_the_folder_of_whoever_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runners work in other folders."""
    monkeypatch.chdir(tmp_path)
    nightly = ro.Pipeline("nightly")

    nightly.read("lines", "data/*.parquet").write("out")

    spec = nightly.spec()
    assert spec.reads[0].urls == (f"file://{tmp_path}/data/*.parquet",)
    assert spec.writes[0].url == f"file://{tmp_path}/out"


def test_steps_without_a_name_get_one_that_is_free() -> None:
    _, lines = pipeline()

    assert lines.filter("a > 1").name == "lines.filter"
    assert lines.filter("a > 2").name == "lines.filter2"
    assert lines.select(["a"]).name == "lines.select"


def test_a_cycle_made_by_names_is_printed_as_a_path() -> None:
    nightly, _ = pipeline()
    nightly.map("c", output="a")(same)
    nightly.map("a", output="b")(same)
    nightly.map("b", output="c")(same)

    assert refusal(nightly.spec) == (
        "the pipeline has a cycle. "
        "pipeline=nightly, transform=a, field=input, value=a -> b -> c -> a\n"
        "  at FILE:LINE\n"
        "  a dataset cannot depend on itself; read one of these from storage instead"
    )


def test_an_unknown_input_names_the_line_and_a_near_miss() -> None:
    nightly, _ = pipeline()
    nightly.map("line", output="shipped")(same).write("/out")

    assert refusal(nightly.spec) == (
        "unknown input. pipeline=nightly, transform=shipped, field=input, value='line'\n"
        "  at FILE:LINE\n"
        "  did you mean 'lines'?"
    )


def test_two_writers_of_one_dataset_are_both_shown() -> None:
    nightly, lines = pipeline()
    lines.map(same, output="shipped").write("/out")
    lines.map(same, output="shipped")

    assert refusal(nightly.spec) == (
        "two transforms write one dataset. "
        "pipeline=nightly, transform=shipped, field=output, value='shipped'\n"
        "  at FILE:LINE\n"
        "  the first is at FILE:LINE\n"
        "  give one of them another name"
    )


def test_a_function_of_two_arguments_is_refused() -> None:
    _, lines = pipeline()

    def joined(left: pa.Table, right: pa.Table) -> pa.Table:
        return left.join(right, "id")

    assert refusal(lambda: lines.map(joined)) == (
        "a transform takes exactly one table, this function needs 2 arguments. "
        "pipeline=nightly, transform=joined, field=function, "
        "value=(left: pyarrow.lib.Table, right: pyarrow.lib.Table) -> pyarrow.lib.Table\n"
        "  at FILE:LINE\n"
        "  bind the others: functools.partial(function, other=...), or give them defaults"
    )


def test_a_function_without_arguments_is_refused() -> None:
    _, lines = pipeline()

    assert refusal(lambda: lines.map(lambda: None, output="none")).endswith(
        "field=function, value=()\n"
        "  at FILE:LINE\n"
        "  add a parameter: def f(table: pa.Table) -> pa.Table"
    )


def test_an_annotation_that_is_not_supported_lists_those_that_are() -> None:
    _, lines = pipeline()

    def rows(table: list) -> pa.Table:  # type: ignore[type-arg]
        return pa.Table.from_pylist(table)

    assert refusal(lambda: lines.map(rows)) == (
        "unsupported annotation. "
        "pipeline=nightly, transform=rows, field=annotation of 'table', value=list\n"
        "  at FILE:LINE\n"
        "  supported: pa.Table, pa.RecordBatch, pandas.DataFrame, polars.DataFrame, "
        "duckdb.DuckDBPyRelation"
    )


def test_a_missing_extra_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, lines = pipeline()
    _hide(monkeypatch, "pandas")

    def frame(table: "pandas.DataFrame") -> pa.Table:  # type: ignore[name-defined]  # noqa: F821
        return table

    assert refusal(lambda: lines.map(frame)) == (
        "the annotation of 'table' (pandas.DataFrame) needs pandas, which is not installed. "
        "pipeline=nightly, transform=frame\n"
        "  at FILE:LINE\n"
        "  pip install 'rayorch[pandas]'"
    )


def test_sql_without_duckdb_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, lines = pipeline()
    _hide(monkeypatch, "duckdb")

    assert refusal(lambda: lines.sql("few", "select * from input")) == (
        "an SQL transform needs duckdb, which is not installed. pipeline=nightly, transform=few\n"
        "  at FILE:LINE\n"
        "  pip install 'rayorch[sql]'"
    )


def test_a_query_that_cannot_be_parsed_shows_where() -> None:
    _, lines = pipeline()

    text = refusal(lambda: lines.sql("few", "selct * from input"))

    assert text.startswith(
        "the query cannot be parsed. pipeline=nightly, transform=few, field=query\n"
        "  at FILE:LINE\n"
        '  Parser Error: syntax error at or near "selct"'
    )


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("select 1; select 2", "a query must be one SELECT, this is 2 statements"),
        ("", "a query must be one SELECT, this is 0 statements"),
        ("drop table input", "a query must be a SELECT, this is DROP"),
        ("select 1", "a query must read from the relation `input`"),
    ],
)
def test_a_query_is_one_select_from_input(query: str, problem: str) -> None:
    _, lines = pipeline()

    assert refusal(lambda: lines.sql("few", query)).startswith(problem)


def test_a_union_of_one_is_refused() -> None:
    nightly, lines = pipeline()

    assert refusal(lambda: nightly.union("all", lines)) == (
        "at least 2 needed, 1 given. "
        "pipeline=nightly, transform=all, field=inputs, value=('lines',)\n"
        "  at FILE:LINE"
    )


def test_a_union_with_itself_is_refused() -> None:
    _, lines = pipeline()

    assert refusal(lambda: lines.union("twice", lines)) == (
        "'lines' is named twice. "
        "pipeline=nightly, transform=twice, field=inputs, value=('lines', 'lines')\n"
        "  at FILE:LINE"
    )


def test_a_dataset_of_another_pipeline_is_refused() -> None:
    nightly, _ = pipeline()
    other = ro.Pipeline("weekly").read("orders", "/orders")

    assert refusal(lambda: nightly.map(other, output="x")(same)) == (
        "an input belongs to another pipeline. pipeline=nightly, field=input, value='orders'\n"
        "  at FILE:LINE\n"
        "  write it in 'weekly' and read it here"
    )


def test_a_bad_format_gets_a_near_miss() -> None:
    nightly, lines = pipeline()

    assert refusal(lambda: lines.write("/out", format="detla")) == (
        "unknown format. pipeline=nightly, transform=lines, field=format, value='detla'\n"
        "  at FILE:LINE\n"
        "  did you mean 'delta'?"
    )
    assert refusal(lambda: nightly.read("x", "/x", format="orc")).endswith(
        "known formats: parquet, csv, jsonl, arrow, delta"
    )


def test_a_bad_mode_or_split_gets_a_near_miss() -> None:
    nightly, lines = pipeline()
    mode: Any = "overwite"
    split: Any = "files"

    assert refusal(lambda: lines.write("/out", mode=mode)) == (
        "input should be 'overwrite' or 'append'. "
        "pipeline=nightly, transform=lines, field=mode, value='overwite'\n"
        "  at FILE:LINE\n"
        "  did you mean 'overwrite'?"
    )
    assert refusal(lambda: nightly.read("x", "/x", split=split)).endswith("did you mean 'file'?")


@pytest.mark.parametrize("name", ["../up", "a/b", ""])
def test_a_name_that_leads_elsewhere_is_refused_where_it_is_written(name: str) -> None:
    assert "field=name" in refusal(lambda: ro.Pipeline(name))


def test_names_with_spaces_and_unicode_are_fine() -> None:
    nightly = ro.Pipeline("tägliche Läufe")

    nightly.read("売上 2026", "/data/売上 2026/*.parquet").write("/out")

    assert nightly.spec().reads[0].urls == ("file:///data/売上 2026/*.parquet",)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "not a URL: it is empty"),
        ("s3://", "not a URL: s3:// must be followed by a name"),
        ("s3://lake/../other", "not a URL: it holds an empty, '.' or '..' segment"),
        (3, "a URL must be text"),
    ],
)
def test_a_bad_url_is_refused_where_it_is_written(url: Any, problem: str) -> None:
    nightly, lines = pipeline()

    assert refusal(lambda: nightly.read("x", url)).startswith(problem)
    assert refusal(lambda: lines.write(url)).startswith(problem)


def test_a_filter_by_a_function_points_to_map() -> None:
    _, lines = pipeline()
    predicate: Any = len

    assert refusal(lambda: lines.filter(predicate, "few")) == (
        "an expression must be a pyarrow.compute.Expression or text. "
        "pipeline=nightly, transform=few, field=predicate, value=<built-in function len>\n"
        "  at FILE:LINE\n"
        "  use pc.field('x') > 1, or text such as 'x > 1'\n"
        "  for a function of your own, use .map"
    )


def test_a_filter_that_cannot_be_parsed_shows_where() -> None:
    _, lines = pipeline()

    assert refusal(lambda: lines.filter("qty > and day = 1", "few")) == (
        "an expression cannot be understood. "
        "pipeline=nightly, transform=few, field=predicate, value='qty > and day = 1'\n"
        "  at FILE:LINE\n"
        "  qty > and day = 1\n"
        "        ^ a value should stand here"
    )


def _coroutine() -> Callable[..., object]:
    async def later(table: pa.Table) -> pa.Table:
        return table

    return later


def _generator() -> Callable[..., Any]:
    def pieces(table: pa.Table) -> Any:
        yield table

    return pieces


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (_coroutine(), "a transform cannot be async"),
        (_generator(), "a transform returns one table and cannot be a generator"),
        (dict, "a transform must be a function or an object that can be called, not a class"),
        (3, "a transform must be a function"),
        (lambda table: table, "a function without a name needs output="),
    ],
)
def test_what_cannot_be_called_with_a_table_is_refused(function: Any, problem: str) -> None:
    _, lines = pipeline()
    output = None if "name" in problem else "made"

    assert refusal(lambda: lines.map(function, output=output)).startswith(problem)


def test_a_misspelt_option_of_map_gets_a_near_miss() -> None:
    _, lines = pipeline()
    misspelt: dict[str, Any] = {"outptu": "made"}

    assert refusal(lambda: lines.map(same, **misspelt)) == (
        "map takes no such option. pipeline=nightly, field=outptu\n"
        "  at FILE:LINE\n"
        "  did you mean 'output'?"
    )


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda p, _: ro.Pipeline("p", tags=WRONG),
            "must be a mapping. pipeline=p, field=tags, value=3",
        ),
        (
            lambda p, _: ro.Pipeline("p", objective=WRONG),
            (
                "must be an objective: Deadline, Budget or Weighted. "
                "pipeline=p, field=objective, value=3"
            ),
        ),
        (
            lambda p, _: p.read("x", []),
            "at least 1 needed, 0 given. pipeline=nightly, transform=x, field=urls, value=()",
        ),
        (
            lambda p, _: p.read("x", "/x", columns="ab"),
            "must be a list. pipeline=nightly, transform=x, field=columns, value='ab'",
        ),
        (
            lambda p, _: p.read("x", "/x", options={"header": 1.5}),
            (
                "must be text, a number, or true or false. "
                "pipeline=nightly, transform=x, field=options.header, value=1.5"
            ),
        ),
        (
            lambda _, lines: lines.map(same, labels={"zone": 1}),
            "must be text. pipeline=nightly, transform=same, field=labels.zone, value=1",
        ),
        (
            lambda _, lines: lines.write("/out", partition_by=["a", "a"]),
            (
                "'a' is named twice. "
                "pipeline=nightly, transform=lines, field=partition_by, value=['a', 'a']"
            ),
        ),
        (
            lambda _, lines: lines.select(["a", "a"], "few"),
            "a column is selected twice. pipeline=nightly, transform=few, field=columns, value='a'",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_in_plain_words(
    build: Callable[[ro.Pipeline, ro.Dataset], object], text: str
) -> None:
    assert refusal(lambda: build(*pipeline())) == f"{text}\n  at FILE:LINE"


def test_a_discarded_pipeline_needs_no_write() -> None:
    nightly, lines = pipeline()

    lines.map(same, output="sent").discard()

    assert nightly.spec().discards == ("sent",)


def test_the_function_goes_along_beside_the_spec() -> None:
    nightly, lines = pipeline()
    lines.map(same, output="copy", schema=pa.schema({"id": pa.int64()})).write("/out")

    code = nightly.codes["copy"]

    assert isinstance(code, MapCode)
    assert code.function is same
    assert nightly.spec().transforms[0].schema_text == "id: int64"  # type: ignore[union-attr]


def test_import_rayorch_leaves_the_heavy_libraries_alone() -> None:
    heavy = ["ray", "duckdb", "pandas", "polars", "deltalake", "obstore", "pyarrow.dataset", "rich"]
    check = f"import sys, rayorch; print([name for name in {heavy} if name in sys.modules])"

    result = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"


def _hide(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """Make a library look as if it were not installed."""
    find_spec = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == library else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)


@pytest.mark.parametrize(
    ("standing", "problem"),
    [
        ({"tenant": "a/b"}, "a name holds letters, digits"),
        ({"tenant": ""}, "a name must not be empty"),
        ({"priority": 101}, "input should be less than or equal to 100"),
        ({"priority": "high"}, "input should be a valid integer"),
    ],
)
def test_a_standing_that_cannot_be_is_refused_where_it_is_written(
    standing: Any, problem: str
) -> None:
    said = refusal(lambda: ro.Pipeline("nightly", **standing))

    assert said.startswith(problem)
    assert f"field={next(iter(standing))}" in said
