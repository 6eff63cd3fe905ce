"""Task graphs: optimal where that is known, and never behind the list schedulers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.errors import InvalidProblemError
from placement.listsched import Schedule, shortest
from placement.taskgraph import TaskGraph


def replayed(graph: TaskGraph, schedule: Schedule) -> float:
    """Makespan by the rules alone: a node runs one task at a time, inputs must have arrived."""
    node = {t: host for host, tasks in schedule.nodes.items() for t in tasks}
    end: dict[str, float] = {}
    queues = {host: list(tasks) for host, tasks in schedule.nodes.items()}
    free = dict.fromkeys(queues, 0.0)
    while any(queues.values()):
        before = len(end)
        for host, queue in queues.items():
            inputs = [(a, size) for a, b, size in graph.edges if queue and b == queue[0]]
            if not queue or any(a not in end for a, _ in inputs):
                continue
            at = free[host]
            for a, size in inputs:
                at = max(at, end[a] + (size / graph.bandwidth if node[a] != host else 0.0))
            task = queue.pop(0)
            free[host] = end[task] = at + graph.work_s[task] / graph.speed[host]
        assert len(end) > before, "the orders block each other"
    return max(end.values())


def random_graph(seed: int, tasks: int) -> TaskGraph:
    rng = np.random.default_rng(seed)
    edges = [
        (f"t{i}", f"t{j}", float(rng.exponential(50)))
        for j in range(tasks)
        for i in range(max(0, j - 6), j)
        if rng.random() < 0.3
    ]
    return TaskGraph(
        work_s={f"t{k}": float(rng.lognormal(2, 0.7)) for k in range(tasks)},
        edges=tuple(edges),
        speed={"n0": 1.0, "n1": 1.5, "n2": 0.7},
        bandwidth=10.0,
    )


def test_a_chain_runs_on_the_quickest_node() -> None:
    graph = TaskGraph(
        work_s={"a": 10, "b": 20, "c": 30},
        edges=(("a", "b", 100.0), ("b", "c", 100.0)),
        speed={"slow": 1, "quick": 2},
        bandwidth=1.0,
    )

    schedule = shortest(graph, time_limit_s=0.2)

    assert schedule.makespan_s == pytest.approx(30)
    assert schedule.nodes["quick"] == ("a", "b", "c")


def test_independent_tasks_are_packed_to_the_optimum() -> None:
    """7 6 5 4 4 4 on two nodes: 15 each, where longest-first alone leaves 16 and 14."""
    work = dict(zip("abcdef", (7, 6, 5, 4, 4, 4), strict=True))
    graph = TaskGraph(work_s=work, edges=(), speed={"x": 1, "y": 1}, bandwidth=1)

    assert shortest(graph, time_limit_s=0.3).makespan_s == pytest.approx(15)


@given(st.integers(0, 1000), st.integers(2, 20))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_a_schedule_is_valid_and_never_longer_than_heft(seed: int, tasks: int) -> None:
    graph = random_graph(seed, tasks)

    schedule = shortest(graph, time_limit_s=0.05, seed=seed)

    assert sorted(t for q in schedule.nodes.values() for t in q) == sorted(graph.work_s)
    assert replayed(graph, schedule) == pytest.approx(schedule.makespan_s)
    assert schedule.makespan_s <= schedule.heft_s + 1e-9


def test_the_same_seed_gives_the_same_schedule() -> None:
    graph = random_graph(3, 15)

    assert shortest(graph, time_limit_s=0.1) == shortest(graph, time_limit_s=0.1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"work_s": {}}, "at least one task"),
        ({"edges": (("a", "ghost", 1.0),)}, "unknown task"),
        ({"edges": (("a", "b", 1.0), ("b", "a", 1.0))}, "cycle"),
        ({"speed": {"x": 0.0}}, "above 0"),
        ({"bandwidth": 0.0}, "above 0"),
    ],
)
def test_a_bad_graph_is_refused(fields: dict[str, object], words: str) -> None:
    good: dict[str, object] = {
        "work_s": {"a": 1.0, "b": 1.0}, "edges": (), "speed": {"x": 1.0}, "bandwidth": 1.0,
    }  # fmt: skip
    with pytest.raises(InvalidProblemError, match=words):
        shortest(TaskGraph(**{**good, **fields}), time_limit_s=0.01)  # type: ignore[arg-type]
