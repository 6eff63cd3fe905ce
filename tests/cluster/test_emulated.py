"""`run --emulate`: small nodes with the labels of a cluster file, which are gone with the run."""

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from rayorch.clock import SystemClock
from tests.cluster.drill import (
    FILES,
    check_rows,
    kill_tree,
    start_cli,
    write_input,
    write_pipeline,
)

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]
CLUSTER = """
cluster_name: test
max_workers: 4
provider: {type: external, module: none}
head_node_type: head
available_node_types:
  head: {resources: {CPU: 0}, node_config: {}}
  slow:
    min_workers: 1
    resources: {CPU: 1}
    labels: {pool: slow, speed: "0.5", price-per-hour: "0.1", ray.io/market-type: spot}
    node_config: {}
  fast:
    min_workers: 1
    resources: {CPU: 1}
    labels: {pool: fast, price-per-hour: "100"}
    node_config: {}
"""


def own_ray() -> list[int]:
    """The processes of emulated nodes that this user has."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if "emulated-node=" in line:
            found.append(process.pid)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_input(tmp_path / "in")
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    return {
        "XDG_STATE_HOME": str(folder / "state"),
        "RAYORCH_HOME": str(folder / "home"),
        "RAYORCH_EXECUTOR": "ray",
        # A cluster that is named is not meant: the nodes have one of their own.
        "RAY_ADDRESS": "127.0.0.1:1",
    }


def test_a_run_goes_on_emulated_pools_and_leaves_no_node(folder: Path) -> None:
    """What it cost is known: the labels of the file have reached the nodes that did the work."""
    write_pipeline(folder, folder / "gate", FILES)
    before = set(own_ray())

    process = start_cli(
        folder, "run", "pipeline.py", "--emulate", "cluster.yaml", "--json", **environment(folder)
    )
    out, err = process.communicate(timeout=350)

    assert process.returncode == 0, err
    check_rows(folder / "out")
    cost = json.loads(out)["cost"]
    assert {line["pool"] for line in cost["by_stage_and_pool"]} <= {"slow", "fast"}
    assert cost["usd"] > 0.0
    assert cost["unpriced_pools"] == []
    assert set(own_ray()) == before


def test_a_run_that_is_interrupted_leaves_no_node(folder: Path) -> None:
    write_pipeline(folder, folder / "gate", 2)
    before = set(own_ray())
    clock = SystemClock()

    process = start_cli(
        folder, "run", "pipeline.py", "--emulate", "cluster.yaml", **environment(folder)
    )
    begun_s = clock.monotonic_s()
    while not list((folder / "out").glob("**/*.parquet")):
        assert process.poll() is None, process.communicate()
        assert clock.monotonic_s() - begun_s < 300.0
        clock.sleep(0.1)
    assert set(own_ray()) > before
    os.kill(process.pid, signal.SIGINT)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode == 130
    assert set(own_ray()) == before


def test_emulated_nodes_stay_for_many_runs_until_they_are_ended(folder: Path) -> None:
    """`up --emulate` tells where their pools are described, and `down` ends it from elsewhere."""
    write_pipeline(folder, folder / "gate", FILES)
    before = set(own_ray())
    own = environment(folder)
    del own["RAY_ADDRESS"]

    up = start_cli(folder, "up", "--emulate", "cluster.yaml", "--json", **own)
    try:
        told = json.loads(document_of(up))
        assert sorted(told["nodes"].values()) == ["fast", "slow"]
        run = start_cli(folder, "run", "pipeline.py", "--pools", told["pools"], "--json", **own)
        out, err = run.communicate(timeout=200)
        assert run.returncode == 0, err
        down = start_cli(folder, "down", **own)
        down.communicate(timeout=60)
        up.communicate(timeout=60)
    finally:
        kill_tree(up)

    assert up.returncode == 0
    assert json.loads(out)["cost"]["usd"] > 0.0
    check_rows(folder / "out")
    assert set(own_ray()) == before
    assert not Path(told["pools"]).exists()


def document_of(process: subprocess.Popen[str]) -> str:
    """Return what is printed up to the end of a JSON document, while its writer goes on."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.rstrip() == "}":
            return "".join(lines)
    _, err = process.communicate()
    raise AssertionError(err)
