from pathlib import Path

import pytest

from benchmarks import workflow_graphs
from benchmarks.judge_format import graph_from
from placement.taskgraph import arrays_of


@pytest.mark.parametrize("family", workflow_graphs.FAMILIES)
@pytest.mark.parametrize("seed", range(4))
def test_a_graph_is_within_the_sizes_and_has_no_cycle(family: str, seed: int) -> None:
    graph = workflow_graphs.instance(family, seed=seed, ratio=1.0)

    arrays = arrays_of(graph_from(graph))

    assert workflow_graphs.TASKS_MIN <= arrays.tasks <= workflow_graphs.TASKS_MAX
    assert arrays.nodes == 8
    assert len(set(graph["nodes"].values())) == 5


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"

    for folder in (one, two):
        workflow_graphs.main(["--out", str(folder), "--seed", "3", "--per-family", "1"])

    names = sorted(path.name for path in one.iterdir())
    assert len(names) == len(workflow_graphs.FAMILIES) * len(workflow_graphs.RATIOS)
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)
