"""By what content a stage's estimates are kept, when it fills or reads an exchange."""

from collections.abc import Callable

import pytest

import rayorch as ro
from rayorch.compiling import compile_program
from rayorch.plan.history import stage_version

Build = Callable[[ro.Dataset], ro.Dataset]


def versions(build: Build, url: str = "/lines") -> list[str]:
    """The versions of all stages of a pipeline."""
    pipeline = ro.Pipeline("nightly")
    build(pipeline.read("lines", url)).write("/out", format="parquet")
    program = compile_program(pipeline)
    return [stage_version(stage, program) for stage in program.stages]


@pytest.mark.parametrize(
    "other",
    [
        lambda lines: lines.aggregate("few", by="b", n=("x", "sum")),
        lambda lines: lines.aggregate("few", by="a", n=("x", "max")),
        lambda lines: lines.dedupe("few", by="a"),
    ],
)
def test_the_operator_counts_for_who_fills_the_exchange_and_who_reads_it(other: Build) -> None:
    one = versions(lambda lines: lines.aggregate("few", by="a", n=("x", "sum")))

    assert len({*one, *versions(other)}) == 4


def test_names_and_places_do_not_count() -> None:
    one = versions(lambda lines: lines.sort("few", "a"))

    assert one == versions(lambda lines: lines.sort("other", "a"), url="/elsewhere")
