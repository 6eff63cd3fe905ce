"""One pipeline with time to spare and with none, on emulated pools: the price of a deadline."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import rayorch as ro
from rayorch import client
from rayorch.client import usable_cores
from rayorch.core.facts import AttemptFinished
from rayorch.ids import RunId
from rayorch.observe.view import RunView
from rayorch.plan.emulating import Emulation, emulation_of
from rayorch.plan.pool_files import read_pool_file
from rayorch.wanted import asked_of
from tests.cluster.drill import Drill, start_cli
from tests.cluster.functions import takes_by_speed
from tests.cluster.raylets import machines_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(580)]

FILE = Path(__file__).parents[2] / "examples" / "three_pools.yaml"
TASKS = 30
TASK_S = 2.0
"""On a machine of speed 1. So spot takes 120 s for all, spot and steady 60 s, and fast 15 s."""
LOOSE = timedelta(hours=3)
TIGHT = timedelta(seconds=50)


@pytest.fixture
def emulation(drill: Drill, tmp_path: Path) -> Iterator[Emulation]:
    """The pools of the file as nodes of the session's Ray.

    Speeds are not left to shares of this machine's cores, which others use, too: the work itself
    takes as long as the label of its node says.
    """
    address = drill.at.settings.ray_address
    assert address is not None
    drill.control()
    emulation = emulation_of(read_pool_file(str(FILE)), usable_cores(), slots_max=None)
    with machines_of(address, emulation.nodes, tmp_path):
        yield emulation


def test_with_time_to_spare_a_run_stays_on_spot_and_with_none_it_pays_for_fast_nodes(
    drill: Drill, emulation: Emulation, tmp_path: Path
) -> None:
    """Both end in time, and the ledger shows what the time cost."""
    loose = run_within(drill, emulation, LOOSE, tmp_path / "loose")
    tight = run_within(drill, emulation, TIGHT, tmp_path / "tight")

    assert loose.elapsed_s <= LOOSE.total_seconds()
    assert tight.elapsed_s <= TIGHT.total_seconds()
    where = {view.run: pools_of(drill, view.run) for view in (loose, tight)}
    assert where[loose.run] == {"spot": TASKS}
    assert where[tight.run]["fast"] > TASKS / 2
    spent = costs(drill)
    assert 0.0 < spent[loose.run] < spent[tight.run] / 2.0


def run_within(drill: Drill, emulation: Emulation, within: timedelta, out: Path) -> RunView:
    pipeline = ro.Pipeline("timed")
    rows = pipeline.read("rows", f"range://{TASKS}?splits={TASKS}")
    mapped = pipeline.map(rows, output="mapped")(takes_by_speed(TASK_S))
    mapped.write(out.as_uri(), format="parquet")
    control = drill.control()
    asked = asked_of(ro.Deadline(within), emulation.pools)
    run = client.submit_run(drill.at, control, pipeline, asked=asked)
    *_, view = client.follow(drill.at, control, run)
    assert view.state == "succeeded", view.error
    return view


def pools_of(drill: Drill, run: RunId) -> Counter[str]:
    facts = [event.fact for event in drill.events()]
    return Counter(f.pool for f in facts if isinstance(f, AttemptFinished) and f.run == run)


def costs(drill: Drill) -> dict[str, float]:
    """What each run cost, as `rayorch cost` tells it."""
    process = start_cli(drill.folder, "cost", "--json", "--home", drill.home_url)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return {row["name"]: row["usd"] for row in json.loads(out)["rows"]}
