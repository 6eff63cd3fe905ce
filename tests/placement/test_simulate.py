"""The class level against hand computation, and against the event level."""

from dataclasses import replace

import numpy as np
import pytest

from placement.confirm import forecast_of
from placement.evaluate import sample_events
from placement.events import EventSimulator
from placement.fleets import deep_enough
from placement.layout import Fleet, Layout
from placement.model import Network, Problem, Spot
from placement.sample import Sample
from placement.scenarios import Scenarios
from placement.simulate import ClassSimulator
from placement.tables import tables_of
from tests.placement import make


def run(p: Problem, layout: Layout, scenarios: Scenarios | None = None) -> Sample:
    return ClassSimulator(p, tables_of(p), scenarios or make.no_luck(p)).run(layout)


def test_waves_boot_and_bill() -> None:
    p = make.problem([make.cls(count=4)])

    sample = run(p, make.layout(p))

    assert sample.end_s[0] == 230
    assert sample.usd[0] == pytest.approx(220)


def test_nodes_that_serve_early_parts_only_leave_when_these_have_started() -> None:
    """Four nodes for the first class, of which three leave; the last one runs the second class."""
    p = make.problem([make.cls("a", 8), make.cls("b", 1, deps=make.after("a"))])
    layout = make.layout(p, Fleet(0, 3, 0.0, (0,)), Fleet(0, 1, 0.0, (0, 1)))

    sample = run(p, layout)

    assert sample.end_s[0] == 230
    assert sample.usd[0] == pytest.approx(3 * 120 + 220)


def test_a_lost_task_starts_again_after_the_reclaim_and_not_before() -> None:
    """An idle node stands by; what is lost at 100 can start there at 100 at the soonest."""
    spot = make.pool("s", vcpu=1, spot=Spot(reclaims_per_h=1, outage_s=600))
    p = make.problem([make.cls(count=1, work_s=90)], [spot, make.pool("od", vcpu=1)])
    layout = make.layout(p, Fleet(0, 1, 0.0, (0,)), Fleet(1, 1, 5.0, (0,)), fallback=(1, -1))

    sample = run(p, layout, make.outage(p, "s", 100.0, 700.0))

    assert sample.end_s[0] == 190


def test_an_insurance_that_is_not_needed_costs_nothing() -> None:
    p = make.problem([make.cls(count=2)])

    sample = run(p, make.layout(p, Fleet(0, 1, 0.0, (0,)), Fleet(0, 3, 100.0, (0,))))

    assert sample.usd[0] == pytest.approx(120)


def test_a_pool_that_could_not_take_all_is_no_fallback() -> None:
    spot = make.pool("s", spot=Spot(reclaims_per_h=1, outage_s=600))
    p = make.problem(None, [spot, make.pool("od", nodes_max=3)])
    small = make.layout(p, Fleet(0, 3, 0.0, (0,)), fallback=(1, -1))
    large = make.layout(p, Fleet(0, 3, 0.0, (0,)), Fleet(1, 1, 0.0, (0,)), fallback=(1, -1))

    assert deep_enough(p, small) == (1, -1)
    assert deep_enough(p, large) == (-1, -1)


def _mixed() -> tuple[Problem, Layout]:
    spot = {"spot": Spot(reclaims_per_h=1.0, outage_s=900), "usd_h": 1.0}
    pools = [
        make.pool("a", vcpu=8, mem_gb=32, **spot),
        make.pool("b", vcpu=4, mem_gb=16, usd_h=2.0, speed={"cpu": 1.3}),
    ]
    classes = [
        make.cls("read", 96, 60, cv=0.3, in_gb=0.2, out_gb=0.1),
        make.cls("clean", 96, 30, cv=0.3, deps=make.after("read", mode="one")),
        make.cls("join", 40, 80, cv=0.4, slots=2, mem_gb=6, deps=make.after("clean")),
        make.cls("write", 4, 50, cv=0.2, deps=make.after("join")),
    ]
    p = make.problem(classes, pools)
    fleets = (
        Fleet(0, 3, 0.0, (0, 1, 2)),
        Fleet(1, 2, 30.0, (0, 1, 2, 3)),
        Fleet(1, 2, 700.0, (2, 3)),
    )
    return p, make.layout(p, *fleets, fallback=(1, -1))


def test_class_and_event_level_agree() -> None:
    """Within 3 % in mean cost and 4 % in the 90 % finish, outages and insurance included.

    Beyond that the class level is on the safe side: where a late fleet takes over from a lost one
    it hands out whole chunks, and ends by up to 10 % later.
    """
    p, layout = _mixed()
    luck = make.luck(p, size=512)

    by_class = run(p, layout, luck)
    simulator = EventSimulator(p, tables_of(p), layout, end_s=1000.0)
    by_event = [simulator.run(luck, s) for s in range(512)]

    ends = np.array([o.end_s for o in by_event])
    assert by_class.mean_usd == pytest.approx(np.mean([o.usd for o in by_event]), rel=0.03)
    most_s, late_s = np.quantile(ends, [0.9, 0.95], method="higher")
    assert by_class.quantile_s(0.9) == pytest.approx(most_s, rel=0.04)
    assert 0.99 * late_s <= by_class.quantile_s(0.95) <= 1.1 * late_s


def test_the_same_luck_gives_the_same_sample() -> None:
    p, layout = _mixed()

    first, second = run(p, layout, make.luck(p)), run(p, layout, make.luck(p))

    assert (first.end_s == second.end_s).all()
    assert (first.usd == second.usd).all()


def test_a_million_tasks_take_as_long_as_their_work_on_all_lanes() -> None:
    """10 nodes of 2 lanes, one million tasks of 1 s: fifty thousand waves, poured."""
    p = make.problem([make.cls(count=1_000_000, work_s=1.0)], [make.pool(nodes_max=10)])

    sample = run(p, make.layout(p, Fleet(0, 10, 0.0, (0,))))

    assert sample.end_s[0] == pytest.approx(30 + 50_000, rel=1e-3)
    assert sample.tasks.sum() == pytest.approx(1_000_000, rel=1e-3)


def test_egress_is_paid_for_what_crosses() -> None:
    classes = [
        make.cls("a", 4, 10, out_gb=1.0),
        make.cls("b", 2, 10, deps=make.after("a")),
    ]
    p = make.problem(classes, [make.pool("here"), make.pool("there", loc="B")])

    sample = run(p, make.layout(p, Fleet(0, 1, 0.0, (0,)), Fleet(1, 1, 0.0, (1,))))

    assert sample.egress_usd[0] == pytest.approx(4.0)


@pytest.mark.parametrize("by_events", [False, True])
def test_dollars_for_nodes_egress_and_requests_are_told_apart(by_events: bool) -> None:
    network = Network(egress_usd_gb={("A", "B"): 1.0, ("B", "A"): 1.0}, get_usd=0.5, put_usd=0.25)
    classes = [
        make.cls("a", 4, 10, out_gb=1.0, puts=2),
        make.cls("b", 2, 10, gets=4, deps=make.after("a")),
    ]
    p = make.problem(
        classes, [make.pool("here"), make.pool("there", loc="B")], network=network, spent_usd=7.0
    )
    tables, layout = tables_of(p), make.layout(p, Fleet(0, 1, 0.0, (0,)), Fleet(1, 1, 0.0, (1,)))
    luck = make.no_luck(p)

    if by_events:
        sample = sample_events(p, tables, layout, luck, end_s=1000.0)
    else:
        sample = run(p, layout, luck)

    forecast = forecast_of(p, tables, sample)
    assert forecast.egress_usd == pytest.approx(4.0)
    assert forecast.request_usd == pytest.approx(4 * 2 * 0.25 + 2 * 4 * 0.5)
    assert forecast.spent_usd == 7.0
    nodes = run(replace(p, network=Network(), spent_usd=0.0), layout, luck).usd[0]
    assert forecast.compute_usd == pytest.approx(nodes, rel=0.02)
