"""Machines are asked of Ray's own autoscaler, work, and go away again."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rayorch.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.autoscaled import AutoscaledCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]
GONE_S_MAX = 120.0
PIPELINE = """
import rayorch as ro

nightly = ro.Pipeline("nightly")
rows = nightly.read("rows", "range://400?splits=4")
nightly.map(rows, output="mapped")(lambda table: table).write({out!r}, format="parquet")
"""
POOLS = """
pools:
  - {name: spot, vcpu: 1, memory: 1 GiB, usd_h: 0.1, provision_s: 5, boot_s: 10, max_nodes: 2,
     spot: {reclaims_per_h: 0.02}}
  - {name: gpu, vcpu: 1, memory: 1 GiB, usd_h: 0.01, gpus: 1, max_nodes: 2}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> "Iterator[AutoscaledCluster]":
    # Only those who use Ray import it.
    from tests.cluster.autoscaled import AutoscaledCluster, node_type  # noqa: PLC0415

    types = {"of-spot": node_type("spot", 2, CPU=1), "of-gpu": node_type("gpu", 2, CPU=1, GPU=1)}
    made = AutoscaledCluster(tmp_path, types, idle_s=5.0)
    try:
        yield made
    finally:
        made.close()


def test_an_empty_cluster_grows_for_a_run_and_shrinks_after_it(
    cluster: "AutoscaledCluster", tmp_path: Path
) -> None:
    """1. There is a head without cores; a run may ask for spot machines, and there is a GPU type.

    2. It asks for spot machines, which come, and it succeeds on them; a GPU machine never comes.
    3. Nothing is asked for any more, and the machines go.
    """
    out = tmp_path / "out"
    (tmp_path / "nightly.py").write_text(PIPELINE.format(out=out.as_uri()))
    (tmp_path / "pools.yaml").write_text(POOLS)
    assert cluster.pools() == []

    ended = rayorch(
        cluster, tmp_path, "run", "nightly.py", "--pools", "pools.yaml", "--autoscale", "--json"
    )

    assert ended.returncode == 0, ended.stderr
    assert set(cluster.pools()) == {"spot"}
    told = rayorch(cluster, tmp_path, "explain", "last")
    assert "spot" in told.stdout
    clock = SystemClock()
    begun_s = clock.monotonic_s()
    while cluster.pools():
        assert clock.monotonic_s() - begun_s < GONE_S_MAX, "the machines stay"
        clock.sleep(1.0)


def rayorch(
    cluster: "AutoscaledCluster", folder: Path, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "rayorch", *arguments, "--home", str(folder / "home")],
        env=cluster.environment(),
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=300.0,
    )
