"""Machines that keep what they read: a second run over the same files reads it where it is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.store import open_store
from tests.cluster.drill import check_rows, kill_tree, start_cli, write_input
from tests.s3_server import S3Server, lent_s3

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(500)]
CLUSTER = """
cluster_name: test
max_workers: 2
provider: {type: external, module: none}
head_node_type: head
available_node_types:
  head: {resources: {CPU: 0}, node_config: {}}
  far:
    min_workers: 2
    resources: {CPU: 1}
    labels: {pool: far, price-per-hour: "0.1", ray.io/availability-region: us-west-2}
    node_config: {}
metadata: {rayorch: {data_location: us-east-1, prices: prices.yaml}}
"""
PRICES = "egress_usd_gb: {us-east-1: {us-west-2: 0.02}}\n"
PIPELINE = """
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import rayorch as ro

pipeline = ro.Pipeline("drill", objective=ro.Weighted(1.0))
rows = pipeline.read("rows", "{rows}", split="file")

@pipeline.map(rows, output="mapped")
def mapped(table: pa.Table) -> pa.Table:
    # No machine begins before the other: they are alike.
    here = Path("{gate}", Path(os.environ["RAYORCH_CACHE_DIR"]).name)
    here.touch()
    while len(list(here.parent.iterdir())) < 2:
        time.sleep(0.01)
    time.sleep(0.2)
    return table.append_column("double", pc.multiply(table["id"], 2))

mapped.write("{out}", format="parquet")
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    with lent_s3(tmp_path / "s3") as lent:
        yield lent


def run(folder: Path, server: S3Server, name: str) -> dict[str, Any]:
    """Run the pipeline on emulated machines; return what came over the link, as it is charged."""
    (folder / "gate" / name).mkdir(parents=True)
    text = PIPELINE.format(
        rows=f"{server.url}/in/*.parquet", out=folder / "out" / name, gate=folder / "gate" / name
    )
    (folder / "pipeline.py").write_text(text)
    process = start_cli(
        folder,
        *("run", "pipeline.py", "--emulate", "cluster.yaml", "--json"),
        XDG_STATE_HOME=str(folder / "state"),
        RAYORCH_HOME=str(folder / "home"),
        RAYORCH_EXECUTOR="ray",
        RAYORCH_CACHE_DIR=str(folder / "disks"),
    )
    try:
        out, err = process.communicate(timeout=240)
    finally:
        kill_tree(process)
    assert process.returncode == 0, err
    (line,) = json.loads(out)["cost"]["by_stage_and_pool"]
    found: dict[str, Any] = line
    return found


def test_the_second_run_over_remote_files_reads_them_from_the_disks_that_have_them(
    tmp_path: Path, server: S3Server
) -> None:
    """Two machines, each with a disk of its own; Ray and its nodes are others in each run.

    The second run has one file more, before all others: were files dealt in turn, each of them
    would be for the machine that had not read it.
    """
    write_input(tmp_path / "in")
    store = open_store(f"{server.url}/in")
    added, *files = sorted((tmp_path / "in").iterdir())
    for path in files:
        store.put(path.name, path.read_bytes())
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    (tmp_path / "prices.yaml").write_text(PRICES)

    first = run(tmp_path, server, "first")
    store.put(added.name, added.read_bytes())
    second = run(tmp_path, server, "second")

    check_rows(tmp_path / "out" / "second")
    assert first["moved_bytes"] > 0
    # Who is done first takes what is left of the other's, and the file that was added is new.
    assert second["cached_bytes"] > 0.6 * first["moved_bytes"]
    assert second["egress_usd"] == pytest.approx(0.02e-9 * second["moved_bytes"])
    assert second["egress_usd"] < 0.5 * first["egress_usd"]
    assert second["saved_usd"] > 0.0
    assert len(list((tmp_path / "disks").glob("*/name"))) == 2
