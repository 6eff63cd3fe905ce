"""What the problem refuses, and in which words."""

import math
from collections.abc import Callable

import pytest

from placement.errors import InfeasibleError, InvalidProblemError
from placement.model import Deadline, Held, Problem, topological
from placement.tables import tables_of
from tests.placement import make

SOON = Deadline(at_s=1)
CYCLE = [make.cls("a", deps=make.after("b")), make.cls("b", deps=make.after("a"))]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Problem(classes=(make.cls(),), pools=(), objective=SOON), "at least one pool"),
        (lambda: Problem(classes=(), pools=(make.pool(),), objective=SOON), "at least one task"),
        (lambda: make.cls(count=0), "whole number, at least 1"),
        (lambda: make.pool(usd_h=math.nan), "a finite number is needed. where=pool 'p'.usd_h"),
        (lambda: make.pool(usd_h=-1.0), "must be at least 0. where=pool 'p'.usd_h, value=-1.0"),
        (lambda: make.problem(objective=Deadline(at_s=-5.0)), "the deadline has passed"),
        (lambda: make.problem(CYCLE), "depend on each other in a cycle"),
        (lambda: make.problem([make.cls(deps=make.after("ghost"))]), "unknown parent"),
        (lambda: make.problem([make.cls("a"), make.cls("a")]), "names must differ"),
        (lambda: make.problem(held=(Held(pool="x", count=1, up_s=0, ready_s=0),)), "unknown pool"),
        (lambda: make.problem(down=("x",)), "unknown pool"),
        (lambda: Deadline(at_s=1.0, confidence=1.5), "must be in (0, 1)"),
    ],
)  # fmt: skip
def test_a_bad_field_is_named_with_its_value(build: Callable[[], Problem], words: str) -> None:
    with pytest.raises(InvalidProblemError) as caught:
        build()

    assert words in str(caught.value)
    assert caught.value.remedy == "fix"


def test_too_many_classes_are_refused_before_any_work() -> None:
    with pytest.raises(InvalidProblemError, match="merge size buckets"):
        make.problem([make.cls(f"c{k}") for k in range(10_001)])


def test_a_task_that_fits_nowhere_is_named_with_what_it_lacks() -> None:
    p = make.problem([make.cls("small"), make.cls("huge", mem_gb=512)])

    with pytest.raises(InfeasibleError) as caught:
        tables_of(p)

    assert "'huge' fits in no pool" in str(caught.value)
    assert "mem_gb=512 (largest is 8)" in str(caught.value)


def test_a_kind_that_no_pool_runs_is_named() -> None:
    with pytest.raises(InfeasibleError, match="speed for kind 'gpu'"):
        tables_of(make.problem([make.cls(kind="gpu")]))


def test_parents_come_before_children() -> None:
    classes = (make.cls("c", deps=make.after("a", "b")), make.cls("a"), make.cls("b"))

    assert topological(classes) == (1, 2, 0)
