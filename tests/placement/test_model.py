"""What the problem refuses, and in which words."""

import math
from collections.abc import Callable

import pytest

from placement.errors import InfeasibleError, InvalidProblemError
from placement.model import (
    Budget,
    Deadline,
    Held,
    Network,
    Problem,
    Running,
    Spot,
    topological,
)
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
        (lambda: make.pool(usd_h=math.inf), "a finite number is needed. where=pool 'p'.usd_h"),
        (lambda: make.pool(vcpu=0), "must be above 0. where=pool 'p'.vcpu, value=0"),
        (lambda: make.pool(speed={"cpu": math.nan}), "where=pool 'p'.speed['cpu'], value=nan"),
        (lambda: make.pool(nodes_max=-1), "must be at least 0. where=pool 'p'.nodes_max"),
        (lambda: Spot(reclaims_per_h=-1.0), "must be at least 0. where=spot.reclaims_per_h"),
        (lambda: Network(egress_usd_gb={("A", "B"): -0.1}), "network.egress_usd_gb[A, B]"),
        (lambda: make.cls(count=1.5), "must be a whole number"),  # type: ignore[arg-type]
        (lambda: make.cls(work_s=math.nan), "a finite number is needed. where=class 'a'.work_s"),
        (lambda: make.cls(slots=0), "must be above 0. where=class 'a'.slots, value=0"),
        (lambda: Budget(usd=0.0), "must be above 0. where=budget.usd, value=0.0"),
        (lambda: Running(cls="a", pool="p", count=0, elapsed_s=1.0), "where=running.count"),
        (lambda: Running(cls="a", pool="p", count=1, elapsed_s=-1.0), "where=running.elapsed_s"),
        (lambda: make.problem([make.cls(deps=make.after("a"))]), "in a cycle. where=classes"),
        (lambda: make.problem(None, [make.pool(), make.pool()]), "where=pools, value='p'"),
        (lambda: make.problem(None, [make.pool(f"p{k}") for k in range(1001)]), "at most 1000"),
        (lambda: make.problem(objective=Deadline(at_s=math.nan)), "where=deadline.at_s, value=nan"),
        (lambda: make.problem(objective=Deadline(at_s=-5.0)), "the deadline has passed"),
        (lambda: make.problem(objective=Deadline(at_s=5.0), now_s=6.0), "now_s=6. where=deadline"),
        (lambda: make.problem(CYCLE), "depend on each other in a cycle"),
        (lambda: make.problem([make.cls(deps=make.after("ghost"))]), "unknown parent"),
        (lambda: make.problem([make.cls("a"), make.cls("a")]), "names must differ"),
        (lambda: make.problem(held=(Held(pool="x", count=1, up_s=0, ready_s=0),)), "unknown pool"),
        (lambda: make.problem(down=("x",)), "unknown pool"),
        (lambda: Deadline(at_s=1.0, confidence=1.5), "must be in (0, 1)"),
    ],
)  # fmt: skip
def test_a_bad_field_is_named_with_its_value(build: Callable[[], object], words: str) -> None:
    with pytest.raises(InvalidProblemError) as caught:
        build()

    assert words in str(caught.value)
    assert caught.value.remedy == "fix"


def test_too_many_classes_are_refused_before_any_work() -> None:
    with pytest.raises(InvalidProblemError) as caught:
        make.problem([make.cls(f"c{k}") for k in range(10_001)])

    assert str(caught.value) == (
        "at most 10000 classes: merge size buckets. where=classes, value=10001"
    )


def test_a_million_classes_are_refused_at_once_and_by_their_number() -> None:
    """The same class a million times over: the count alone is looked at."""
    with pytest.raises(InvalidProblemError, match=r"where=classes, value=1000000$"):
        Problem(classes=(make.cls(),) * 1_000_000, pools=(make.pool(),), objective=SOON)


def test_a_task_that_fits_nowhere_is_named_with_what_it_lacks() -> None:
    p = make.problem([make.cls("small"), make.cls("huge", mem_gb=512)])

    with pytest.raises(InfeasibleError) as caught:
        tables_of(p)

    assert "'huge' fits in no pool" in str(caught.value)
    assert "mem_gb=512 (largest is 8)" in str(caught.value)


def test_a_kind_that_no_pool_runs_is_named() -> None:
    with pytest.raises(InfeasibleError, match="speed for kind 'gpu'"):
        tables_of(make.problem([make.cls(kind="gpu")]))


def test_labels_restrict_the_pools_and_what_lacks_is_named() -> None:
    asks = make.cls("a", labels={"disk": "nvme", "zone": "1"})
    pools = [make.pool("no"), make.pool("half", labels={"zone": "1", "disk": "hdd"})]
    both = make.pool("both", labels={"zone": "1", "disk": "nvme", "more": "x"})

    assert tables_of(make.problem([asks], [*pools, both])).fits.tolist() == [[False, False, True]]
    with pytest.raises(InfeasibleError) as caught:
        tables_of(make.problem([asks], pools))
    assert str(caught.value) == (
        "class 'a' fits in no pool. nearest=a pool with the labels disk=nvme"
    )


def test_needs_that_no_single_pool_meets_are_named() -> None:
    pools = [make.pool("wide", vcpu=8, mem_gb=4), make.pool("deep", vcpu=1, mem_gb=64)]

    with pytest.raises(InfeasibleError, match="all of its vcpu, memory and GPUs in one machine"):
        tables_of(make.problem([make.cls(slots=4, mem_gb=32)], pools))


def test_pools_without_a_node_are_no_place_to_run() -> None:
    with pytest.raises(InfeasibleError, match="nodes_max above 0"):
        tables_of(make.problem(None, [make.pool(nodes_max=0)]))


def test_parents_come_before_children() -> None:
    classes = (make.cls("c", deps=make.after("a", "b")), make.cls("a"), make.cls("b"))

    assert topological(classes) == (1, 2, 0)
