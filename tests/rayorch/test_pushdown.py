"""Which columns are needed of a dataset, by all that takes it."""

from collections.abc import Callable

import pyarrow as pa
import pytest

import rayorch as ro
from rayorch.pushdown import graph_of


def same(table: pa.Table) -> pa.Table:
    return table


def needs(build: Callable[[ro.Dataset], object]) -> tuple[str, ...] | None:
    """What is needed of the dataset that something is built on."""
    pipeline = ro.Pipeline("nightly")
    lines, parts = pipeline.read("lines", "/lines"), pipeline.read("parts", "/parts")
    build(lines)
    parts.discard()
    wanted = graph_of(pipeline.spec(), pipeline.codes).needs["lines"]
    # In brackets, what need not be there.
    if wanted is None:
        return None
    return tuple(f"({name})" if name in wanted.optional else name for name in wanted.columns)


@pytest.mark.parametrize(
    ("build", "columns"),
    [
        (lambda lines: lines.write("/out"), None),
        (lambda lines: lines.discard(), None),
        (lambda lines: lines.map(same).discard(), None),
        (lambda lines: lines.map(same, columns=["b", "a"]).discard(), ("b", "a")),
        (lambda lines: lines.select({"x": "a", "y": "a"}).discard(), ("a",)),
        (lambda lines: lines.select({"x": "a * 2"}).discard(), None),
        (lambda lines: lines.filter("a > 1").discard(), None),
        (
            lambda lines: lines.aggregate("g", by="a", n=("*", "count"), b=("b", "max")).discard(),
            ("a", "b"),
        ),
        # Not none: a table without columns does not say how many rows it has.
        (lambda lines: lines.aggregate("g", n=("*", "count")).discard(), None),
        (lambda lines: lines.sort("s", "a").discard(), None),
        (lambda lines: lines.sort("s", "a").select(["b"]).discard(), ("a", "b")),
        (lambda lines: lines.repartition("r", "a").select(["b"]).discard(), ("a", "b")),
        (lambda lines: lines.dedupe("d", "a", order="c").select(["b"]).discard(), ("a", "c", "b")),
        (lambda lines: lines.dedupe("d").select(["b"]).discard(), None),
        (lambda lines: lines.join("j", "parts", on="a", how="anti").discard(), None),
        (
            lambda lines: lines.join("j", "parts", on="a", how="semi").select(["b"]).discard(),
            ("a", "b"),
        ),
        (lambda lines: lines.join("j", "parts", on="a").discard(), None),
        (
            lambda lines: lines.join("j", "parts", on="a", how="full").select(["b"]).discard(),
            ("a", "(b)"),
        ),
        # The right side's c is called c_right for as long as the left has a c.
        (
            lambda lines: lines.join("j", "parts", on="a").select(["c_right"]).discard(),
            ("a", "(c_right)", "(c)"),
        ),
        (
            lambda lines: (
                lines.join_asof("j", "parts", on="t", by="a")
                .aggregate("g", by="t", x=("x", "sum"))
                .discard()
            ),
            ("a", "t", "(x)"),
        ),
        (
            lambda lines: (
                lines.sort("s", "b").join("j", "parts", on="a").select(["b", "x"]).discard()
            ),
            ("b", "a", "(x)"),
        ),
        (
            lambda lines: (
                lines.window("w", by="a", order="t", n="rank")
                .join("j", "parts", on="a")
                .select(["n", "x"])
                .discard()
            ),
            ("a", "t", "(x)"),
        ),
        (lambda lines: lines.map_groups(same, by="a").discard(), None),
        (lambda lines: lines.map_groups(same, by="a", columns=["b"]).discard(), ("a", "b")),
        (
            lambda lines: lines.union("u", "parts").aggregate("g", a=("a", "sum")).discard(),
            ("a",),
        ),
    ],
)
def test_a_dataset_needs_what_its_takers_name(
    build: Callable[[ro.Dataset], object], columns: tuple[str, ...] | None
) -> None:
    assert needs(build) == columns


def test_several_takers_need_what_any_of_them_names() -> None:
    def build(lines: ro.Dataset) -> None:
        lines.select(["a", "b"]).discard()
        lines.aggregate("g", by="c", n=("b", "sum")).discard()

    assert needs(build) == ("a", "b", "c")


def test_what_one_taker_requires_is_required() -> None:
    def build(lines: ro.Dataset) -> None:
        lines.join("j", "parts", on="a").select(["b", "c"]).discard()
        lines.select(["b"]).discard()

    assert needs(build) == ("a", "b", "(c)")


def test_a_taker_that_names_nothing_needs_all() -> None:
    def build(lines: ro.Dataset) -> None:
        lines.select(["a", "b"]).discard()
        lines.map(same).discard()

    assert needs(build) is None


def test_a_long_chain_of_operators_needs_no_deep_stack() -> None:
    def build(lines: ro.Dataset) -> None:
        for index in range(2000):
            lines = lines.sort(f"s{index}", "a")
        lines.select(["b"]).discard()

    assert needs(build) == ("a", "b")
