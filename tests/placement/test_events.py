"""Cases computed by hand: what the model says must happen, to the second and to the cent."""

import math

import pytest

from placement.events import EventSimulator
from placement.layout import Fleet, Layout, Part
from placement.model import Problem, Spot
from placement.nodes import Outcome, bill_usd, overlap
from placement.scenarios import Scenarios
from placement.tables import tables_of
from tests.placement import make


def run(p: Problem, layout: Layout, scenarios: Scenarios | None = None) -> Outcome:
    simulator = EventSimulator(p, tables_of(p), layout, end_s=1000.0)
    return simulator.run(scenarios or make.no_luck(p), 0)


def test_two_slots_run_two_at_a_time_and_boot_is_paid_but_not_provisioning() -> None:
    p = make.problem([make.cls(count=4)])

    outcome = run(p, make.layout(p))

    assert outcome.end_s == 10 + 20 + 200
    assert outcome.usd == pytest.approx(20 + 200)


def test_bills_round_up_to_their_unit_and_their_minimum() -> None:
    assert bill_usd(make.pool(bill_s=3600), 100) == pytest.approx(3600)
    assert bill_usd(make.pool(min_bill_s=60), 5) == pytest.approx(60)
    assert bill_usd(make.pool(), 0) == 0


def test_one_to_one_children_start_before_the_parent_class_is_done() -> None:
    a, b = make.cls("a", 2), make.cls("b", 2, 10, deps=make.after("a", mode="one"))
    p = make.problem([a, b])
    parts = tuple(Part(k, i, i + 1) for k in (0, 1) for i in (0, 1))
    fleets = (Fleet(0, 1, 0.0, (0, 2)), Fleet(0, 1, 50.0, (1, 3)))

    outcome = run(p, make.layout(p, *fleets, parts=parts))

    assert outcome.end_s == 50 + 30 + 100 + 10


def test_reading_from_afar_is_capped_and_paid() -> None:
    p = make.problem([make.cls(count=1, work_s=0, in_gb=2.0)], [make.pool(loc="B")])

    outcome = run(p, make.layout(p))

    assert outcome.egress_usd == pytest.approx(2.0)
    assert outcome.end_s == pytest.approx(30 + 2 * 8 / 1.0)


def test_memory_limits_how_many_run_at_once() -> None:
    p = make.problem([make.cls(count=2, mem_gb=5)])

    assert run(p, make.layout(p)).end_s == 230


def test_a_lazy_node_is_asked_for_when_its_work_is_ready_and_the_others_leave() -> None:
    p = make.problem([make.cls("a", 1), make.cls("b", 1, deps=make.after("a"))])
    layout = make.layout(p, Fleet(0, 1, 0.0, (0,)), Fleet(0, 1, None, (1,)))

    outcome = run(p, layout)

    assert outcome.end_s == 130 + 30 + 100
    assert outcome.usd == pytest.approx(120 + 120)


def test_an_insurance_that_is_not_needed_is_never_asked_for() -> None:
    p = make.problem([make.cls(count=2)])
    late = Fleet(0, 3, 100.0, (0,))

    outcome = run(p, make.layout(p, Fleet(0, 1, 0.0, (0,)), late))

    assert outcome.nodes == 1
    assert outcome.usd == pytest.approx(120)


def test_a_reclaim_loses_the_running_task_only_and_the_fallback_replaces_the_node() -> None:
    """One slot: the first task ends at 90, the second is lost at 100 and runs again elsewhere."""
    spot = make.pool("s", vcpu=1, usd_h=360.0, spot=Spot(reclaims_per_h=1, outage_s=600))
    p = make.problem([make.cls(count=2, work_s=60)], [spot, make.pool("od", vcpu=1)])
    layout = make.layout(p, fallback=(1, -1))

    outcome = run(p, layout, make.outage(p, "s", 100.0, 700.0))

    assert outcome.reclaims == 1
    assert outcome.end_s == 100 + 30 + 60
    assert outcome.usd == pytest.approx((100 - 10) * 0.1 + 80)


def test_a_request_for_a_pool_that_is_gone_falls_back_after_the_patience() -> None:
    spot = make.pool("s", spot=Spot(reclaims_per_h=1, outage_s=600))
    p = make.problem([make.cls(count=2, work_s=60)], [spot, make.pool("od")])
    layout = make.layout(p, fallback=(1, -1), patience_s=45.0)

    assert run(p, layout, make.outage(p, "s", 0.0, math.inf)).end_s == 45 + 30 + 60


def test_a_full_pool_lets_requests_wait() -> None:
    p = make.problem([make.cls(count=4)], [make.pool(nodes_max=1)])

    outcome = run(p, make.layout(p, Fleet(0, 2, 0.0, (0,))))

    assert outcome.end_s == 230
    assert outcome.nodes == 1


@pytest.mark.parametrize(("n", "m"), [(4, 4), (8, 4), (4, 8), (3, 5), (5, 3)])
def test_overlaps_cover_every_parent(n: int, m: int) -> None:
    assert {j for i in range(n) for j in overlap(i, n, m)} == set(range(m))
