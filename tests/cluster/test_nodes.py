"""Machines that are taken away while they work: emptied in time; killed: their work goes elsewhere.

It was seen to fail while what runs was not cut.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import rayorch as ro
from rayorch import client
from rayorch.core.facts import AttemptFailed, AttemptFinished, AttemptLost
from rayorch.core.node_facts import NodeWithdrawn
from rayorch.host.emulated import EmulatedNode
from rayorch.ids import RunId
from rayorch.plan.labels import MARKET_LABEL, SPOT
from rayorch.plan.pool_files import parse_pools
from rayorch.wanted import asked_of
from tests.cluster.drill import Drill
from tests.cluster.functions import notes_batches
from tests.cluster.raylets import machine_spec, machines_of
from tests.rayorch.runner.metadata_server import MetadataServer

# Machines start one after the other, each as long as a busy one takes.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
TASKS, PIECES, ROWS = 6, 8, 4_096
BATCHES_MIN = 2
IN_TIME_S = 240.0
SOURCE = f"range://{TASKS * PIECES * ROWS}?splits={TASKS}"
POOLS = parse_pools(
    "pools: [{name: spot, vcpu: 1, memory: 16 GiB, usd_h: 1.0, spot: {reclaims_per_h: 2}}]", "p"
)

# Nothing is said of how often the cheap one goes, or the plan would not trust in it.
PAIR = parse_pools(
    """
    pools:
      - {name: spot, vcpu: 1, memory: 16 GiB, usd_h: 0.1}
      - {name: steady, vcpu: 1, memory: 16 GiB, usd_h: 9.0}
    """,
    "p",
)


class Fleet:
    """Machines of one pool by Ray's ids of them, and what each of them did."""

    def __init__(self, drill: Drill, folder: Path, machines: Sequence[EmulatedNode]) -> None:
        self._drill = drill
        self._folder = folder
        self._notes = folder / "notes"
        self._notes.mkdir()
        self._machines = {machine.node_id(): machine for machine in machines}

    def pipeline(self) -> ro.Pipeline:
        pipeline = ro.Pipeline("fleet", retry=ro.RetryPolicy(attempts_max=1))
        rows = pipeline.read("rows", SOURCE)
        mapped = pipeline.map(rows, output="mapped")(notes_batches(self._notes, BATCHES_MIN))
        mapped.write((self._folder / "out").as_uri(), format="parquet")
        return pipeline

    def batches(self) -> list[tuple[str, int]]:
        """Return the node and the first row of each batch that a function has returned."""
        lines = [
            line.split()
            for path in sorted(self._notes.iterdir())
            for line in path.read_text().splitlines()
        ]
        return [(node, int(row)) for node, row in lines]

    def node(self, pool: str) -> str:
        """Return Ray's id of the machine of a pool that has one."""
        [found] = [node for node, each in self._machines.items() if each.spec.pool == pool]
        return found

    def pids(self) -> list[int]:
        """Return the processes that have finished a batch."""
        return sorted(int(path.name) for path in self._notes.iterdir())

    def at_work(self, *but: str) -> tuple[str, EmulatedNode]:
        """Wait until some machine has finished two batches; return its node, and what it is."""

        def busy() -> str | None:
            found = (node for node, _ in self.batches())
            done = Counter(node for node in found if node in self._machines and node not in but)
            return next((node for node, count in done.items() if count >= BATCHES_MIN), None)

        node: str = self._drill.wait_until(busy, "some machine works", wait_s=60.0)
        return node, self._machines[node]

    def check_rows(self) -> None:
        table = ro.read((self._folder / "out").as_uri()).to_table().sort_by("id")
        assert table["id"].to_pylist() == list(range(TASKS * PIECES * ROWS))


@pytest.fixture
def fleet(drill: Drill, tmp_path: Path) -> Iterator[Fleet]:
    # First of all: the control actor is to live on the head, and not to go with a machine.
    drill.control()
    address = drill.at.settings.ray_address
    assert address is not None
    specs = [machine_spec("spot", 1, name) for name in ("m0", "m1", "m2")]
    with machines_of(address, specs, tmp_path) as machines:
        yield Fleet(drill, tmp_path, machines)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[MetadataServer]:
    """What tells machines that are started after it that they are taken back."""
    server = MetadataServer()
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    yield server
    server.close()


@pytest.fixture
def pair(drill: Drill, cloud: MetadataServer, tmp_path: Path) -> Iterator[Fleet]:
    """A cheap machine, whose runners ask the cloud whether it wants it back, and a dear one."""
    del cloud
    drill.control()
    address = drill.at.settings.ray_address
    assert address is not None
    specs = [machine_spec("spot", 1, **{MARKET_LABEL: SPOT}), machine_spec("steady", 1)]
    with machines_of(address, specs, tmp_path) as machines:
        yield Fleet(drill, tmp_path, machines)


def withdrawn(drill: Drill) -> list[str]:
    return [e.fact.node for e in drill.events() if isinstance(e.fact, NodeWithdrawn)]


def submit(drill: Drill, fleet: Fleet) -> RunId:
    asked = asked_of(ro.Deadline(timedelta(seconds=IN_TIME_S)), POOLS)
    return client.submit_run(drill.at, drill.control(), fleet.pipeline(), asked=asked)


@pytest.mark.slow
def test_a_third_of_the_machines_drained_and_a_third_killed(
    drill: Drill, fleet: Fleet, tmp_path: Path
) -> None:
    """Protection: leases come back on notice, what runs is cut and commits, the rest goes on.

    1. A machine is at its third batch, and drained: what it is at ends after that batch.
    2. Another takes over and is killed: its task is leased elsewhere, within seconds.
    3. No row is lost or doubled; no attempt failed; no batch of the drained one was made again;
       and though nothing may be tried twice, and there is a deadline, the run ends well in time.
    """
    run = submit(drill, fleet)

    drained, machine = fleet.at_work()
    machine.drain("a test")
    drill.wait_until(lambda: withdrawn(drill), "the drain is seen")
    killed, machine = fleet.at_work(drained)
    killed_s = drill.clock.now_s()
    machine.kill()
    (tmp_path / "gate").touch()
    view = drill.follow(drill.control(), run)

    assert view.state == "succeeded", view.error
    assert view.elapsed_s < IN_TIME_S
    fleet.check_rows()
    facts = [(event.at_s, event.fact) for event in drill.events()]
    assert [fact for _, fact in facts if isinstance(fact, AttemptFailed)] == []
    assert withdrawn(drill) == [drained]
    assert any(fact.output.cut for _, fact in facts if isinstance(fact, AttemptFinished))
    by = {
        each: {row for node, row in fleet.batches() if node == each} for each, _ in fleet.batches()
    }
    others = set().union(*(rows for node, rows in by.items() if node not in {drained, killed}))
    assert not by[drained] & others
    seen = [at_s for at_s, fact in facts if isinstance(fact, AttemptLost) and at_s >= killed_s]
    assert len(seen) == 1
    assert by[killed] <= by[drained] | others
    assert seen[0] - killed_s < 10.0


@pytest.mark.slow
def test_a_machine_that_the_cloud_takes_back_is_emptied_in_time(
    drill: Drill, cloud: MetadataServer, pair: Fleet, tmp_path: Path
) -> None:
    """From what the cloud's metadata service says to the batch after which the work goes on.

    Protection: runners of spot machines ask, and a notice is a drain of their node.
    """
    asked = asked_of(None, PAIR)
    run = client.submit_run(drill.at, drill.control(), pair.pipeline(), asked=asked)
    spot, steady = pair.node("spot"), pair.node("steady")
    assert pair.at_work(steady)[0] == spot

    until = datetime.fromtimestamp(drill.clock.now_s() + 120.0, UTC)
    notice = {"action": "terminate", "time": f"{until:%Y-%m-%dT%H:%M:%SZ}"}
    cloud.aws_notice = json.dumps(notice).encode()
    drill.wait_until(lambda: withdrawn(drill), "the notice is seen")
    (tmp_path / "gate").touch()
    view = drill.follow(drill.control(), run)

    assert view.state == "succeeded", view.error
    pair.check_rows()
    assert withdrawn(drill) == [spot]
    # What the one had done stays done, and the other did the rest.
    assert len(pair.batches()) == len({row for _, row in pair.batches()})
    assert {node for node, _ in pair.batches()} == {spot, steady}


@pytest.mark.slow
def test_the_death_of_a_runner_is_seen_within_two_seconds_and_its_task_goes_on(
    drill: Drill, fleet: Fleet, tmp_path: Path
) -> None:
    """Where the machine lives on, Ray tells at once, and nothing is waited for."""
    run = submit(drill, fleet)
    fleet.at_work()
    pid = fleet.pids()[0]

    killed_s = drill.clock.now_s()
    os.kill(pid, signal.SIGKILL)
    lost = drill.wait_until(
        lambda: [event.at_s for event in drill.events() if isinstance(event.fact, AttemptLost)],
        "the death is seen",
    )
    (tmp_path / "gate").touch()
    view = drill.follow(drill.control(), run)

    assert view.state == "succeeded", view.error
    fleet.check_rows()
    assert lost[0] - killed_s < 2.0
