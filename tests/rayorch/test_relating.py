"""Relational operators on a dataset: what they become."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

import rayorch as ro
from rayorch.relational import (
    AggregateCode,
    AsofCode,
    DedupeCode,
    GroupMapCode,
    JoinCode,
    Measure,
    OperatorCode,
    RepartitionCode,
    SortCode,
    SortKey,
    WindowCode,
    WindowColumn,
)
from tests.rayorch.refusals import refusal
from tests.rayorch.test_aggregate import Longest

Build = Callable[[ro.Dataset], ro.Dataset]


def code_of(build: Build) -> OperatorCode:
    """What executes the operator that is built."""
    pipeline = ro.Pipeline("nightly")
    lines, _ = pipeline.read("lines", "/lines"), pipeline.read("parts", "/parts")
    code = pipeline.codes[build(lines).name]
    assert isinstance(code, OperatorCode)
    return code


def same(rows: pa.Table) -> pa.Table:
    return rows


def refused(build: Build) -> str:
    """The refusal without what all of them begin their place with, and without the place."""
    return refusal(lambda: code_of(build)).replace("\n  at FILE:LINE", "")


def test_the_aggregate_of_the_design_is_built_as_it_is_written() -> None:
    code = code_of(
        lambda shipped: shipped.aggregate(
            "pricing_summary",
            by=["l_returnflag", "l_linestatus"],
            qty=("l_quantity", "sum"),
            price=("l_extendedprice", "mean"),
            lines=("*", "count"),
        )
    )

    assert code == AggregateCode(
        by=("l_returnflag", "l_linestatus"),
        measures=(
            Measure(name="qty", column="l_quantity", function="sum"),
            Measure(name="price", column="l_extendedprice", function="mean"),
            Measure(name="lines", column="*", function="count_all"),
        ),
    )


def test_a_measure_may_have_an_order_a_share_or_a_name_of_any_kind() -> None:
    code = code_of(
        lambda lines: lines.aggregate(
            "few",
            by="day",
            measures={"by": ("x", "count"), "the mean": {"column": "x", "function": "mean"}},
            typical=("x", "approx_quantile", 0.5),
            latest=("x", "last", "at", ro.SortKey(column="id", descending=True)),
            deterministic=True,
        )
    )

    order = (SortKey(column="at"), SortKey(column="id", descending=True))
    assert code == AggregateCode(
        by=("day",),
        measures=(
            Measure(name="by", column="x", function="count"),
            Measure(name="the mean", column="x", function="mean"),
            Measure(name="typical", column="x", function="approx_quantile", args=(0.5,)),
            Measure(name="latest", column="x", function="last", order=order),
        ),
        deterministic=True,
    )


def test_an_aggregate_of_ones_own_goes_along_beside_the_spec() -> None:
    longest = Longest()
    pipeline = ro.Pipeline("nightly")
    made = pipeline.read("lines", "/lines").aggregate("few", n=(["a", "b"], longest))
    made.write("/out")

    code = pipeline.codes["few"]

    assert isinstance(code, AggregateCode)
    (measure,) = code.measures
    assert (measure.column, measure.function, measure.args) == ("a", "user", ("b",))
    assert measure.aggregate is not None
    assert measure.aggregate.merge == longest.merge
    spec: Any = pipeline.spec().transforms[0]
    assert spec.measures["n"].aggregate == "Longest"


@pytest.mark.parametrize(
    ("build", "code"),
    [
        (
            lambda lines: lines.join("j", "parts", on="id"),
            JoinCode(how="inner", left_on=("id",), right_on=("id",)),
        ),
        (
            lambda lines: lines.join(
                "j", "parts", left_on=["a", "b"], right_on=("c", "d"), how="anti", suffix="_2"
            ),
            JoinCode(how="anti", left_on=("a", "b"), right_on=("c", "d"), suffix="_2"),
        ),
        (
            lambda lines: lines.join_asof(
                "j", "parts", on="at", left_by="a", right_by="b", tolerance=timedelta(seconds=5)
            ),
            AsofCode(
                left_on="at",
                right_on="at",
                left_by=("a",),
                right_by=("b",),
                tolerance=timedelta(seconds=5),
            ),
        ),
        (
            lambda lines: lines.join_asof(
                "j", "parts", left_on="t", right_on="u", direction="nearest", tolerance=2
            ),
            AsofCode(left_on="t", right_on="u", direction="nearest", tolerance=2),
        ),
        (
            lambda lines: lines.sort("s", ["a", "b"], descending=[True, False], nulls_first=True),
            SortCode(
                keys=(
                    SortKey(column="a", descending=True, nulls_first=True),
                    SortKey(column="b", nulls_first=True),
                )
            ),
        ),
        (
            lambda lines: lines.sort("s", "a", deterministic=True),
            SortCode(keys=(SortKey(column="a"),), deterministic=True),
        ),
        (
            lambda lines: lines.dedupe("d", by="id", order="at", descending=True),
            DedupeCode(by=("id",), order=(SortKey(column="at", descending=True),)),
        ),
        (lambda lines: lines.dedupe("d"), DedupeCode()),
        (
            lambda lines: lines.repartition("r", "day", ranges=True, size="1 MiB"),
            RepartitionCode(by=("day",), ranges=True, size_bytes=2**20),
        ),
        (lambda lines: lines.repartition("r", parts=3), RepartitionCode(parts=3)),
        (
            lambda lines: lines.window(
                "w",
                by="user",
                order="at",
                visit="row_number",
                spent=("price", "sum"),
                before=("page", "lag", 1, "none"),
            ),
            WindowCode(
                by=("user",),
                order=(SortKey(column="at"),),
                columns=(
                    WindowColumn(name="visit", function="row_number"),
                    WindowColumn(name="spent", function="sum", column="price"),
                    WindowColumn(name="before", function="lag", column="page", args=(1, "none")),
                ),
            ),
        ),
        (
            lambda lines: lines.map_groups(same, by="id", order="at", schema=pa.schema([])),
            GroupMapCode(
                by=("id",), function=same, schema=pa.schema([]), order=(SortKey(column="at"),)
            ),
        ),
    ],
)
def test_an_operator_is_what_was_written(build: Build, code: OperatorCode) -> None:
    assert code_of(build) == code


def test_a_function_of_groups_may_be_decorated() -> None:
    nightly = ro.Pipeline("nightly")
    lines = nightly.read("lines", "/lines")

    @nightly.map_groups(lines, by=["part"], columns=["price"], order="day", memory="2 GiB")
    def fitted(rows: "pa.RecordBatch") -> pa.RecordBatch:
        return rows

    fitted.write("/out")
    spec: Any = nightly.spec().transforms[0]
    assert isinstance(fitted, ro.Dataset)
    assert (spec.kind, spec.name, spec.by, spec.columns) == (
        "map_groups",
        "fitted",
        ("part",),
        ("price",),
    )
    assert (spec.takes, spec.resources.memory_bytes) == ("batch", 2**31)
    assert spec.where.startswith(__file__)


def test_an_input_of_a_decorated_function_may_be_named_before_it_exists() -> None:
    nightly = ro.Pipeline("nightly")
    nightly.read("lines", "/lines")

    nightly.map_groups("shipped", by="id", output="fitted")(same).write("/out")

    assert "input, value='shipped'" in refusal(nightly.spec)


def test_what_an_operator_needs_of_a_machine_is_kept() -> None:
    nightly = ro.Pipeline("nightly")
    lines = nightly.read("lines", "/lines")

    lines.sort("s", "a", memory="2 GiB", cores=2, labels={"disk": "fast"}).write("/out")

    resources = nightly.spec().transforms[0].resources  # type: ignore[union-attr]
    assert (resources.memory_bytes, resources.cores) == (2**31, 2)
    assert resources.labels == {"disk": "fast"}
