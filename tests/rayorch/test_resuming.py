"""What may change of a pipeline between the parts of one run, when it holds exchanges."""

from collections.abc import Callable

import pyarrow as pa
import pytest

import rayorch as ro
from rayorch.compiling import compile_program
from rayorch.ids import RunId
from rayorch.program import Program
from rayorch.resuming import check_same_plan
from tests.rayorch.refusals import refusal
from tests.rayorch.test_aggregate import Longest

Build = Callable[[ro.Dataset], ro.Dataset]


def first(rows: pa.Table) -> pa.Table:
    return rows


def second(rows: pa.Table) -> pa.Table:
    return rows.slice(0, 1)


def program(build: Build) -> Program:
    pipeline = ro.Pipeline("nightly")
    build(pipeline.read("lines", "/lines")).write("/out")
    return compile_program(pipeline)


def check(before: Build, after: Build) -> None:
    check_same_plan(RunId("r1"), program(before), program(after))


def test_a_function_of_groups_and_a_users_aggregate_may_be_mended() -> None:
    class Mended(Longest):
        def finish(self, state: int) -> int:
            return state + 1

    check(
        lambda lines: lines.map_groups(first, by="a", output="g"),
        lambda lines: lines.map_groups(second, by="a", output="g"),
    )
    check(
        lambda lines: lines.aggregate("g", by="a", n=("x", Longest())),
        lambda lines: lines.aggregate("g", by="a", n=("x", Mended())),
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            lambda lines: lines.aggregate("g", by="a", n=("x", "sum")),
            lambda lines: lines.aggregate("g", by="b", n=("x", "sum")),
        ),
        (
            lambda lines: lines.aggregate("g", by="a", n=("x", "sum")),
            lambda lines: lines.aggregate("g", by="a", n=("x", "max")),
        ),
        (
            lambda lines: lines.sort("g", "a"),
            lambda lines: lines.sort("g", "a", descending=True),
        ),
        (
            lambda lines: lines.sort("g", "a"),
            lambda lines: lines.repartition("g", "a", ranges=True),
        ),
        (
            lambda lines: lines.aggregate("g", by="a", n=("x", "sum")),
            lambda lines: lines.aggregate("g", by="a", n=("x", "sum"), deterministic=True),
        ),
        (
            lambda lines: lines.join("g", lines, on="a", how="left"),
            lambda lines: lines.join("g", lines, on="a", how="full"),
        ),
    ],
)
def test_what_exchanges_were_filled_by_may_not_change(before: Build, after: Build) -> None:
    """Half of the rows would be where the old keys put them."""
    assert refusal(lambda: check(before, after)) == (
        "run r1 cannot be resumed: the keys, measures or kind of 'g' have changed\n"
        "  start a new run: its exchange was filled, and divided, by the old ones"
    )


def test_who_fills_an_exchange_may_not_change() -> None:
    text = refusal(lambda: check(lambda lines: lines, lambda lines: lines.sort("g", "a")))

    assert text.startswith("run r1 cannot be resumed: its sources, or which of them lead to")
