"""Real runs on emulated nodes, and what the simulator of capacity makes of their profiles."""

from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from rayorch.bench.calibrating import ran
from rayorch.bench.unlike import foretold_unlike
from rayorch.capacity.itself import itself_of
from rayorch.client import connection, open_control, usable_cores
from rayorch.host.emulated import EmulatedCluster
from rayorch.plan.asking import Asked
from rayorch.plan.emulating import emulation_of
from rayorch.plan.pool_files import parse_pool_file
from rayorch.plan.profile import Profile

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]
FILES = 12
PARTS = 8
LASTS_S = 0.5
OFF_MAX = 0.05
"""Tasks do nothing but wait, so that a machine with other work is hardly seen."""
CLUSTER = """
cluster_name: foretold
max_workers: 2
provider: {type: external, module: none}
head_node_type: head
available_node_types:
  head: {resources: {CPU: 0}, node_config: {}}
  plain:
    min_workers: 1
    resources: {CPU: 1}
    labels: {pool: plain, price-per-hour: "0.3"}
    node_config: {}
  devices:
    min_workers: 1
    resources: {CPU: 1, GPU: 1}
    labels: {pool: devices, price-per-hour: "2"}
    node_config: {}
"""


def scored(folder: Path) -> ro.Pipeline:
    """Six seconds on the one pool, and four behind an exchange on the one with a GPU."""

    def slowly(batch: pa.Table) -> pa.Table:
        import time  # noqa: PLC0415 - where it runs, nothing of this module is.

        time.sleep(LASTS_S)  # noqa: TID251 - the work itself.
        return batch

    made = ro.Pipeline("scored")
    lines = made.read("lines", str(folder / "in" / "*.parquet"), split="file")
    dealt = made.map(lines, output="read")(slowly).repartition("dealt", parts=PARTS)
    made.map(dealt, output="scored", gpus=1)(slowly).write(str(folder / "out"), format="parquet")
    return made


def test_a_run_with_a_gpu_is_foretold_in_seconds_and_dollars_on_new_nodes_and_used_ones(
    tmp_path: Path,
) -> None:
    """The first run pays for what both nodes had waited; the second from its first use of each."""
    (tmp_path / "in").mkdir()
    for number in range(FILES):
        pq.write_table(pa.table({"k": range(100)}), tmp_path / "in" / f"{number:02d}.parquet")
    emulated = emulation_of(parse_pool_file(CLUSTER, "gpus.yaml"), usable_cores(), slots_max=1)
    at = connection(str(tmp_path / "home"), "ray")
    asked = Asked(pools=emulated.pools, file="gpus.yaml")

    def measured() -> Profile:
        with closing(open_control(at)) as control:
            return ran(at, control, scored(tmp_path), asked)

    with closing(EmulatedCluster(emulated, at.clock)):
        first, second = measured(), measured()

    assert set(first.stood) == {"plain", "devices"}
    assert second.stood == {}
    for run in (first, second):
        itself, placed = itself_of(run, 0), foretold_unlike(run, 1.0, emulated.pools)
        for found in (itself, placed):
            assert float(found.whole_s.mean()) == pytest.approx(run.whole_s, rel=OFF_MAX)
            core_s = 3600.0 * float(found.core_hours.mean())
            assert core_s == pytest.approx(run.core_s, rel=OFF_MAX)
        assert placed.mean_usd == pytest.approx(run.usd, rel=OFF_MAX)
    # Of the ten seconds it needs the device for four: had it paid for all of them, it were more.
    assert second.core_s < 0.85 * 2 * second.whole_s
