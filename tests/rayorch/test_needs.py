"""What a task has to itself: cores, memory and GPUs, by what the steps of its stage ask for."""

import pytest

import rayorch as ro
from rayorch.compiling import compile_program, pipeline_version
from tests.rayorch.refusals import refusal
from tests.rayorch.test_compiling import one_stage, same


@pytest.fixture
def pipeline() -> ro.Pipeline:
    return ro.Pipeline("nightly")


def test_a_stage_needs_the_most_that_any_of_its_steps_asks_for(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines")
    a = lines.map(same, output="a", memory="3 GiB", labels={"disk": "fast"})
    a.map(same, output="b", memory="2 GiB", cores=4, labels={"zone": "a"}).write("/out")

    needs = one_stage(pipeline).resources

    assert (needs.memory_bytes, needs.cores) == (3 * 2**30, 4)
    assert needs.labels == {"disk": "fast", "zone": "a"}


def test_a_stage_has_the_gpus_that_the_most_demanding_of_its_steps_needs(
    pipeline: ro.Pipeline,
) -> None:
    lines = pipeline.read("lines", "/lines")
    pipeline.map(lines, output="a", gpus=0.5)(same).map(same, output="b").write("/out")

    assert one_stage(pipeline).resources.gpus == 0.5


def test_what_follows_an_exchange_needs_no_gpu_for_what_came_before(pipeline: ro.Pipeline) -> None:
    rows = pipeline.read("lines", "/lines").map(same, output="plain")
    scored = rows.repartition("dealt", parts=2).map(same, output="scored", gpus=1)
    scored.map_groups(same, by="k", output="models", gpus=2).write("/out")

    stages = compile_program(pipeline).stages

    assert [stage.resources.gpus for stage in stages] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("gpus", "problem"),
    [
        (0, "input should be greater than or equal to 0.0001"),
        (-1, "input should be greater than or equal to 0.0001"),
        (1.5, "a part of one GPU, such as 0.5, or a whole number of them"),
        (2000, "input should be less than or equal to 1024"),
        ("two", "input should be a valid number, unable to parse string as a number"),
    ],
)
def test_gpus_that_cannot_be_are_refused(pipeline: ro.Pipeline, gpus: object, problem: str) -> None:
    lines = pipeline.read("lines", "/lines")

    assert refusal(lambda: lines.map(same, output="a", gpus=gpus)) == (  # type: ignore[arg-type]
        f"{problem}. pipeline=nightly, transform=a, field=gpus, value={gpus!r}\n  at FILE:LINE"
    )


def test_an_operator_takes_no_gpus(pipeline: ro.Pipeline) -> None:
    lines = pipeline.read("lines", "/lines")

    text = refusal(lambda: lines.repartition("a", parts=2, gpus=1))  # type: ignore[call-arg]

    assert text.startswith("repartition takes no such option. pipeline=nightly, transform=a")
    assert "gpus" in text


def test_a_version_counts_gpus() -> None:
    def version(gpus: float | None) -> str:
        pipeline = ro.Pipeline("nightly")
        pipeline.read("lines", "/lines").map(same, output="a", gpus=gpus).write("/out")
        return pipeline_version(pipeline.spec(), compile_program(pipeline))

    assert len({version(None), version(1), version(2)}) == 3


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
