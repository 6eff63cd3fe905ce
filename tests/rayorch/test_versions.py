"""The version of a pipeline: what changes it, and what does not."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

import rayorch as ro
from rayorch.compiling import compile_program, pipeline_version
from rayorch.program import Program, codes_of
from tests.rayorch.test_aggregate import Longest


def same(table: pa.Table) -> pa.Table:
    return table


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


def test_a_version_counts_what_an_operator_does() -> None:
    def built(by: str, aggregate: ro.Aggregate) -> ro.Pipeline:
        pipeline = ro.Pipeline("nightly")
        lines = pipeline.read("lines", "/lines")
        lines.aggregate("few", by=by, n=("x", aggregate)).write("/out")
        return pipeline

    class Longer(Longest):
        def finish(self, state: int) -> int:
            return state + 1

    assert version(built("a", Longest())) == version(built("a", Longest()))
    assert version(built("a", Longest())) != version(built("b", Longest()))
    assert version(built("a", Longest())) != version(built("a", Longer()))


def test_a_version_counts_an_operator_that_has_a_selection_before_it() -> None:
    """The selection has the operator's name."""

    def built(function: str) -> ro.Pipeline:
        pipeline = ro.Pipeline("nightly")
        lines = pipeline.read("lines", "/lines").map(same, output="m")
        lines.aggregate("few", by="a", n=("x", function)).write("/out")
        return pipeline

    codes = [codes_of(compile_program(built(function)))["few"] for function in ("sum", "max")]

    assert [code.kind for code in codes] == ["aggregate", "aggregate"]
    assert version(built("sum")) != version(built("max"))


def test_whose_a_run_is_and_how_urgent_are_no_part_of_the_version() -> None:
    """Another tenant's run of the same code is to learn from the first, and may resume it."""

    def built(**standing: Any) -> ro.Pipeline:
        pipeline = ro.Pipeline("nightly", **standing)
        pipeline.read("lines", "/a").write("/out")
        return pipeline

    assert version(built()) == version(built(tenant="finance", priority=7))
    assert version(built()) == version(built(cheap="22:00-06:00", price_max=0.1))
