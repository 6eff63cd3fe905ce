"""Each operator in one line, as `plan` shows it."""

from collections.abc import Callable
from datetime import timedelta

import pyarrow as pa
import pytest

import rayorch as ro
from rayorch.plan.wording import operator_text, sides_text
from rayorch.relational import OperatorCode
from tests.rayorch.test_aggregate import Longest


def fitted(rows: pa.Table) -> pa.Table:
    return rows


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda x: x.aggregate(
                "g",
                by=["a", "b"],
                n=("*", "count"),
                q=("x", "approx_quantile", 0.5),
                f=("x", "first", "t"),
                o=("x", Longest()),
            ),
            (
                "aggregate by a, b: n = count(*), q = approx_quantile(x, 0.5), "
                "f = first(x by order of t), o = Longest(x)"
            ),
        ),
        (
            lambda x: x.aggregate("g", **{f"m{i}": ("x", "sum") for i in range(10)}),
            "aggregate: " + ", ".join(f"m{index} = sum(x)" for index in range(8)) + " and 2 more",
        ),
        (
            lambda x: x.map_groups(fitted, by="a", order=ro.SortKey(column="t", descending=True)),
            "map_groups fitted by a by order of t descending",
        ),
        (lambda x: x.join("j", x, on="a"), "inner join on a"),
        (
            lambda x: x.join("j", x, left_on=["a", "b"], right_on=["a", "c"], how="full"),
            "full join on a, b = c",
        ),
        (
            lambda x: x.join_asof("j", x, on="t", by="a", tolerance=timedelta(seconds=5)),
            "asof join backward on t by a, within 0:00:05",
        ),
        (
            lambda x: x.sort("s", ["a", "b"], nulls_first=[False, True]),
            "sort by a, b nulls first",
        ),
        (lambda x: x.dedupe("d"), "dedupe by all columns"),
        (
            lambda x: x.dedupe("d", "a", order="t"),
            "dedupe by a, keeping the first by order of t",
        ),
        (
            lambda x: x.repartition("r", "a", ranges=True, size="1 MiB"),
            "repartition by a in ranges into parts of 1.00 MiB",
        ),
        (lambda x: x.repartition("r", parts=1), "repartition into 1 part"),
        (
            lambda x: x.window("w", by="a", order="t", n="rank", p=("x", "lag", 2)),
            "window by a by order of t: n = rank(), p = lag(x, 2)",
        ),
    ],
)
def test_an_operator_is_told_in_a_line(
    build: Callable[[ro.Dataset], ro.Dataset], text: str
) -> None:
    pipeline = ro.Pipeline("nightly")
    code = pipeline.codes[build(pipeline.read("x", "/x")).name]

    assert isinstance(code, OperatorCode)
    assert operator_text(code) == text


def test_the_sides_of_a_join_are_told_apart() -> None:
    assert sides_text([["a", "b"]]) == ("a", "b")
    assert sides_text([["a", "b"], ["c"]]) == ("a, b (left)", "c (right)")
