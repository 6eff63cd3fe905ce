"""Tasks that run already stay where they are, and what they still take is counted."""

import numpy as np
import pytest

from placement import Deadline, Held, Problem, Running, Spot, bounds_of
from placement.events import EventSimulator
from placement.inflight import left_s, occupy
from placement.layout import Fleet, Layout
from placement.nodes import Outcome
from placement.sample import Sample
from placement.scenarios import Scenarios
from placement.simulate import ClassSimulator
from placement.tables import tables_of
from tests.placement import make

HELD = Held(pool="p", count=2, up_s=0.0, ready_s=30.0)


def _busy(
    elapsed_s: float = 80.0, *, running: int = 3, count: int = 3, **fields: object
) -> Problem:
    """Two nodes of two slots at 500 s; of three tasks of 100 s, so many run for so long."""
    return make.problem(
        [make.cls(count=count)],
        objective=Deadline(at_s=9000.0),
        now_s=500.0,
        held=(HELD,),
        running=(Running(cls="a", pool="p", count=running, elapsed_s=elapsed_s),),
        **fields,  # type: ignore[arg-type]
    )


def both(p: Problem, layout: Layout, luck: Scenarios | None = None) -> tuple[Sample, Outcome]:
    tables, some = tables_of(p), luck or make.no_luck(p)
    by_class = ClassSimulator(p, tables, some).run(layout)
    return by_class, EventSimulator(p, tables, layout, end_s=9000.0).run(some, 0)


@pytest.mark.parametrize("parts", [(0,), ()])
def test_a_running_task_ends_after_what_is_left_of_it(parts: tuple[int, ...]) -> None:
    p = _busy()

    sample, outcome = both(p, make.layout(p, Fleet(0, 2, None, parts, held=0)))

    # Twenty of a hundred seconds are left, and both nodes are paid for until then.
    assert sample.end_s[0] == outcome.end_s == 520.0
    assert sample.usd[0] == pytest.approx(40.0)
    assert outcome.usd == pytest.approx(40.0)


def test_a_node_that_runs_is_busy_until_then() -> None:
    p = _busy(running=4, count=5)

    sample, outcome = both(p, make.layout(p, Fleet(0, 2, None, (0,), held=0)))

    assert sample.end_s[0] == outcome.end_s == 620.0


def test_free_lanes_of_a_held_node_take_other_tasks_at_once() -> None:
    p = _busy(running=3, count=4)

    sample, outcome = both(p, make.layout(p, Fleet(0, 2, None, (0,), held=0)))

    assert sample.end_s[0] == outcome.end_s == 600.0


def test_what_runs_is_not_counted_as_work_for_new_nodes() -> None:
    """A new node is asked for and finds nothing to start: it costs nothing."""
    p = _busy()

    sample, outcome = both(
        p, make.layout(p, Fleet(0, 2, None, (0,), held=0), Fleet(0, 3, 500.0, (0,)))
    )

    assert sample.usd[0] == pytest.approx(40.0)
    assert outcome.usd == pytest.approx(40.0)


def test_a_reclaim_loses_what_runs_and_it_is_done_again() -> None:
    spot = make.pool("p", spot=Spot(reclaims_per_h=1, outage_s=600))
    p = _busy(10.0, running=2, count=2, pools=[spot, make.pool("od")])
    luck = make.outage(p, "p", 540.0, 5000.0)

    layout = make.layout(p, Fleet(0, 2, None, (0,), held=0), fallback=(1, -1))
    sample, outcome = both(p, layout, luck)

    # Lost at 540, the replacement is up 30 s later and takes the whole 100 s.
    assert outcome.end_s == 670.0
    assert sample.end_s[0] == 670.0


def test_a_child_waits_for_what_runs() -> None:
    p = make.problem(
        [make.cls(count=2), make.cls("b", 2, deps=make.after("a"))],
        objective=Deadline(at_s=9000.0),
        now_s=500.0,
        held=(HELD,),
        running=(Running(cls="a", pool="p", count=2, elapsed_s=30.0),),
    )

    sample, outcome = both(p, make.layout(p, Fleet(0, 2, None, (0, 1), held=0)))

    assert sample.end_s[0] == outcome.end_s == 670.0


def test_a_layout_without_the_nodes_that_run_never_ends() -> None:
    p = _busy()

    sample, outcome = both(p, make.layout(p, Fleet(0, 2, 500.0, (0,))))

    assert np.isinf(sample.end_s[0])
    assert np.isinf(outcome.end_s)


def test_class_and_event_level_agree_on_what_runs() -> None:
    spot = make.pool("p", vcpu=4, mem_gb=16, usd_h=1.0, spot=Spot(reclaims_per_h=1, outage_s=600))
    p = make.problem(
        [make.cls(count=90, work_s=60, cv=0.4), make.cls("b", 30, cv=0.3, deps=make.after("a"))],
        [spot, make.pool("od", vcpu=4, mem_gb=16, usd_h=2.0)],
        Deadline(at_s=3000.0),
        now_s=300.0,
        held=(Held(pool="p", count=8, up_s=0.0, ready_s=30.0),),
        running=(
            Running(cls="a", pool="p", count=20, elapsed_s=10.0),
            Running(cls="a", pool="p", count=10, elapsed_s=50.0),
        ),
    )
    layout = make.layout(p, Fleet(0, 8, None, (0, 1), held=0), fallback=(1, -1))
    luck, tables = make.luck(p, size=512), tables_of(p)

    by_class = ClassSimulator(p, tables, luck).run(layout)
    simulator = EventSimulator(p, tables, layout, end_s=3000.0)
    by_event = [simulator.run(luck, s) for s in range(512)]

    # Held nodes without a task on them differ as much: the class level hands out in chunks.
    assert by_class.mean_usd == pytest.approx(np.mean([o.usd for o in by_event]), rel=0.05)
    assert by_class.end_s.mean() == pytest.approx(np.mean([o.end_s for o in by_event]), rel=0.04)


def test_what_is_left_is_drawn_from_the_tasks_that_take_at_least_so_long() -> None:
    p = make.problem(
        [make.cls(count=2000, cv=0.5)],
        held=(HELD,),
        running=(Running(cls="a", pool="p", count=2000, elapsed_s=120.0),),
    )
    noise = (np.random.default_rng(1).lognormal(-0.1116, 0.4724, (1, 2000)),)

    (left,) = left_s(p, noise, np.ones((1, 1)))

    longer = noise[0][noise[0] > 1.2]
    assert left.min() >= 0.0
    assert left.mean() == pytest.approx(100.0 * (longer - 1.2).mean(), rel=0.05)


def test_what_runs_longer_than_anything_known_is_not_taken_to_end_at_once() -> None:
    p = _busy(elapsed_s=400.0)

    (left,) = left_s(p, (np.ones((1, 3)),), np.ones((1, 1)))

    assert left.tolist() == [[pytest.approx(40.0)] * 3]


def test_more_tasks_than_lanes_share_them() -> None:
    free, taken = np.full((1, 2, 2), 5.0), [0, 0]

    occupy(free, taken, np.array([[10.0, 20.0, 30.0, 40.0, 50.0]]), 1)

    assert free[0].tolist() == [[50.0, 30.0], [20.0, 40.0]]
    assert taken == [3, 2]


def test_bounds_leave_out_what_runs() -> None:
    """Three tasks of 100 s that have 1 s to go must not make a deadline in 20 s impossible."""
    nearly = _busy(99.0)

    assert bounds_of(nearly, tables_of(nearly)).finish_s <= 501.0
    assert bounds_of(nearly, tables_of(nearly)).usd == 0.0
