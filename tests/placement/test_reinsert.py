"""A walk updates heads and tails piece by piece: they must stay the whole truth."""

import numpy as np
import pytest

from placement.listrules import first_schedules, span_s
from placement.reinsert import Walk
from placement.taskgraph import Graph, TaskGraph, arrays_of


def graph_of(seed: int, *, idle_share: float = 0.0) -> Graph:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 30))
    work = rng.lognormal(2, 0.7, count) * (rng.random(count) >= idle_share)
    edges = tuple(
        (f"t{i}", f"t{j}", float(rng.exponential(80)))
        for j in range(count)
        for i in range(max(0, j - 6), j)
        if rng.random() < 0.3
    )
    return arrays_of(
        TaskGraph(
            work_s={f"t{k}": float(s) for k, s in enumerate(work)},
            edges=edges,
            speed={"a": 1.0, "b": 1.0, "c": 2.0},
            bandwidth=10.0,
        )
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("idle_share", [0.0, 0.5])
def test_after_any_steps_the_makespan_is_that_of_a_fresh_count(
    seed: int, idle_share: float
) -> None:
    """Tasks of no time are the hard ones: many orders have the same times."""
    g = graph_of(seed, idle_share=idle_share)
    walk = Walk(g, next(iter(first_schedules(g))), np.random.default_rng(seed))

    for _ in range(100):
        walk.step(0.05)
        order, node = walk._order, walk._node

        place = {task: k for k, task in enumerate(order)}
        assert sorted(place) == list(range(g.tasks))
        assert all(place[p] < place[k] for k, row in enumerate(g.inputs()) for p, _ in row)
        lanes = [[t for t in order if node[t] == host] for host in range(g.nodes)]
        assert lanes == walk._lanes
        assert walk.span_s == pytest.approx(span_s(g, order, node))


@pytest.mark.parametrize("seed", range(12))
def test_no_schedule_is_shorter_than_the_floor(seed: int) -> None:
    g = graph_of(seed)

    spans = [order.span_s for order in first_schedules(g)]

    assert min(spans) >= g.floor_s() * (1 - 1e-9)
