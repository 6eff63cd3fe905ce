"""Runners are as large as the work needs: what needs a GPU has one, and nothing else is near it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import rayorch as ro
from rayorch import client
from rayorch.core.facts import AttemptFinished
from rayorch.host.emulated import EmulatedNode
from rayorch.plan.pool_files import parse_pools
from rayorch.wanted import asked_of
from tests.cluster.drill import FILES, Drill
from tests.cluster.functions import doubled, notes_place
from tests.cluster.raylets import machine_spec, machines_of

# Machines start one after the other, each as long as a busy one takes.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
GIB = 1 << 30
LASTS_S = 0.2
POOLS = parse_pools(
    """
pools:
  - {name: plain, vcpu: 4, memory: 5 GiB, usd_h: 10.0}
  - {name: devices, vcpu: 4, memory: 4 GiB, gpus: 1, usd_h: 1.0}
""",
    "pools.yaml",
)


@pytest.fixture
def machines(drill: Drill, tmp_path: Path) -> Iterator[list[EmulatedNode]]:
    address = drill.at.settings.ray_address
    assert address is not None
    # First of all: it is to live on the head, and not to go with a machine.
    drill.control()
    specs = [
        replace(machine_spec("plain", 4), memory_bytes=5 * GIB),
        replace(machine_spec("devices", 4), gpus=1, memory_bytes=4 * GIB),
    ]
    with machines_of(address, specs, tmp_path) as nodes:
        yield nodes


def test_work_with_a_gpu_runs_where_one_is_and_the_rest_never_does(
    drill: Drill, machines: list[EmulatedNode], tmp_path: Path
) -> None:
    """Machines with a GPU are ten times cheaper here, and still not for what needs none.

    1. Maps that need 2 GiB each run on the plain machine, two at a time: it has four cores and 5
       GiB. They see no GPU.
    2. Behind an exchange, maps that need half a GPU run on the other machine, two at a time, and
       see the one device.
    """
    assert len(machines) == 2
    plain, devices = tmp_path / "noted-plain", tmp_path / "noted-devices"
    plain.mkdir()
    devices.mkdir()
    pipeline = ro.Pipeline("sizes")
    rows = pipeline.read("rows", str(drill.folder / "in" / "*.parquet"), split="file")
    first = pipeline.map(rows, output="first", memory="2 GiB")(notes_place(plain, 2, LASTS_S))
    dealt = first.repartition("dealt", parts=6)
    noted = pipeline.map(dealt, output="noted", gpus=0.5)(notes_place(devices, 2, LASTS_S))
    noted.map(doubled, output="out").write((drill.folder / "out").as_uri(), format="parquet")
    control = drill.control()
    run = client.submit_run(drill.at, control, pipeline, asked=asked_of(None, POOLS))
    view = drill.follow(control, run)

    drill.check_output(view)
    seen = [path.name.split("@")[1:] for path in plain.iterdir()]
    assert seen == [["plain", ""]] * 2
    seen = [path.name.split("@")[1:] for path in devices.iterdir()]
    assert seen == [["devices", "0"]] * 2
    finished = [e.fact for e in drill.events() if isinstance(e.fact, AttemptFinished)]
    assert [fact.pool for fact in finished[:FILES]] == ["plain"] * FILES
    assert {fact.pool for fact in finished[FILES:]} == {"devices"}
