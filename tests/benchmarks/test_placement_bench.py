"""Task graphs from a folder to node orders, judged by the rules of the format alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import workflow_graphs
from benchmarks.placement_bench import main


def judged(graph: dict[str, Any], plan: dict[str, list[str]]) -> float:
    """Makespan of a plan: a node runs one task at a time, in order, once its inputs are there."""
    assert set(plan) <= set(graph["nodes"])
    assert sorted(t for queue in plan.values() for t in queue) == sorted(graph["tasks"])
    node = {task: host for host, queue in plan.items() for task in queue}
    end: dict[str, float] = {}
    free = dict.fromkeys(plan, 0.0)
    queues = {host: list(queue) for host, queue in plan.items()}
    while any(queues.values()):
        before = len(end)
        for host, queue in queues.items():
            while queue:
                inputs = [(a, size) for a, b, size in graph["edges"] if b == queue[0]]
                if any(a not in end for a, _ in inputs):
                    break
                sent = {a: size / graph["bandwidth"] * (node[a] != host) for a, size in inputs}
                begin = max([free[host], *(end[a] + seconds for a, seconds in sent.items())])
                task = queue.pop(0)
                free[host] = end[task] = begin + graph["tasks"][task] / graph["nodes"][host]
        assert len(end) > before, "the orders block each other"
    return max(end.values())


@pytest.mark.parametrize("family", workflow_graphs.FAMILIES)
def test_a_graph_of_each_family_gets_a_plan_that_lasts_as_long_as_printed(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = workflow_graphs.instance(family, seed=1, ratio=5.0)
    (tmp_path / "g.json").write_text(json.dumps(graph))

    code = main(["--graphs", "--in", str(tmp_path), "--out", str(tmp_path), "--time-limit", "0.1"])

    assert code == 0
    printed = dict(word.split("=") for word in capsys.readouterr().out.split()[1:])
    span = judged(graph, json.loads((tmp_path / "g.plan.json").read_text()))
    assert span == pytest.approx(float(printed["makespan_s"]), rel=1e-5)
    assert float(printed["of_heft"]) <= 1.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "must be an object with these fields"),
        ('{"tasks": {"a": 1}, "edges": [], "nodes": {"n": 1}}', "bandwidth"),
        ('{"tasks": {"a": "x"}, "edges": [], "nodes": {"n": 1}, "bandwidth": 1}', "a number"),
        ('{"tasks": {"a": 1}, "edges": [["a"]], "nodes": {"n": 1}, "bandwidth": 1}', "[from, to"),
        (
            '{"tasks": {"a": 1}, "edges": [["a", "a", 1]], "nodes": {"n": 1}, "bandwidth": 1}',
            "cycle",
        ),
        (
            '{"tasks": {"a": 1}, "edges": [["a", "a", -1]], "nodes": {"n": 1}, "bandwidth": 1}',
            "at least 0",
        ),
    ],
)
def test_a_bad_graph_is_named_and_the_others_are_planned(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"tasks": {"a": 1}, "edges": [], "nodes": {"n": 2}, "bandwidth": 1}
    (tmp_path / "bad.json").write_text(text)
    (tmp_path / "good.json").write_text(json.dumps(good))

    code = main(["--graphs", "--in", str(tmp_path), "--out", str(tmp_path), "--time-limit", "0.1"])

    assert code == 1
    error = capsys.readouterr().err
    assert "bad.json" in error
    assert words in error
    assert json.loads((tmp_path / "good.plan.json").read_text()) == {"n": ["a"]}


def test_a_folder_without_instances_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--graphs", "--in", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "no instance" in capsys.readouterr().err
