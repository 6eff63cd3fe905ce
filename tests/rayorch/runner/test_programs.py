"""A warm runner loads each version of a program once."""

import pyarrow as pa
import pytest

from connectors.errors import ObjectMissingError
from connectors.splits import FilePart, Split
from rayorch.ids import RunId
from rayorch.program import SinkEdge, StepId
from rayorch.runner.programs import PROGRAMS_MAX, Branches, Programs, branches_of
from tests.rayorch.runner import make

MEMORY = 1 << 30


def _same(table: pa.Table) -> pa.Table:
    return table


def test_a_version_is_loaded_once() -> None:
    plan = make.planned(make.stage("range://10", make.chain(_same)))
    programs = Programs(plan.home, MEMORY)

    assert programs.known_stage(make.RUN, make.VERSION, 0) is None
    loaded = programs.stage(make.RUN, make.VERSION, 0)

    assert programs.stage(make.RUN, make.VERSION, 0) is loaded
    assert programs.known_stage(make.RUN, make.VERSION, 0) is loaded


def test_a_resume_with_another_version_loads_the_mended_program() -> None:
    plan = make.planned(make.stage("range://10", make.chain(_same)))
    programs = Programs(plan.home, MEMORY)
    programs.stage(make.RUN, make.VERSION, 0)
    mended = make.stage("range://10", make.chain(_same, _same))
    plan.publish_program(make.program_of(mended, plan.sink_urls), "v2")

    assert len(programs.stage(make.RUN, "v2", 0).stage.steps) == 2
    assert len(programs.stage(make.RUN, make.VERSION, 0).stage.steps) == 1


def test_a_program_that_is_not_there_is_an_error_each_time() -> None:
    plan = make.planned(make.stage("range://10"))
    programs = Programs(plan.home, MEMORY)

    for _ in range(2):
        with pytest.raises(ObjectMissingError):
            programs.stage(RunId("never"), make.VERSION, 0)


def test_the_programs_of_old_runs_are_let_go() -> None:
    plan = make.planned(make.stage("range://10"))
    programs = Programs(plan.home, MEMORY)
    program = make.program_of(make.stage("range://10"), plan.sink_urls)
    versions = [f"v{number}" for number in range(PROGRAMS_MAX + 1)]
    for version in versions:
        plan.publish_program(program, version)
        programs.stage(make.RUN, version, 0)

    known = [programs.known_stage(make.RUN, version, 0) is not None for version in versions]

    assert known == [False, *[True] * PROGRAMS_MAX]


def test_the_tree_knows_what_comes_after_each_step() -> None:
    """Two branches from the source, one of them to two sinks."""
    steps = (make.step(_same, at=0, after=None), make.step(_same, at=1, after=None))
    edges = (
        SinkEdge(sink=0, step=StepId(0)),
        SinkEdge(sink=1, step=StepId(1)),
        SinkEdge(sink=0, step=StepId(1)),
    )

    assert branches_of(make.stage("range://10", steps, edges=edges)) == {
        None: Branches(steps, ()),
        StepId(0): Branches((), (0,)),
        StepId(1): Branches((), (1, 0)),
    }


def test_only_small_local_files_and_made_up_rows_are_cheap() -> None:
    plan = make.planned(make.stage("range://10"))
    loaded = Programs(plan.home, MEMORY).stage(make.RUN, make.VERSION, 0)
    small = Split(parts=(FilePart(key="a", size_bytes=10),), size_bytes=10)
    large = Split(parts=(FilePart(key="a", size_bytes=10),), size_bytes=1 << 30)

    assert loaded.is_cheap(Split(lo=0, hi=1 << 40, size_bytes=1 << 40))
    assert loaded.is_cheap(small)
    assert not loaded.is_cheap(large)


def test_memory_is_the_transforms_within_the_runners() -> None:
    plan = make.planned(make.stage("range://10", memory_bytes=5 << 20))

    for runner_bytes, limit_bytes in ((1 << 30, 5 << 20), (1 << 20, 1 << 20)):
        loaded = Programs(plan.home, runner_bytes).stage(make.RUN, make.VERSION, 0)
        assert loaded.limits.memory_bytes == limit_bytes
