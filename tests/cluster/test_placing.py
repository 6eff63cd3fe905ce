"""A run on priced pools: work goes where the plan says, and elsewhere when that is gone."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayorch import client
from rayorch.core.accounts import NANO, whole
from rayorch.core.facts import AttemptFinished, PlacementReady
from rayorch.host.emulated import EmulatedNode
from rayorch.ids import RunId
from rayorch.plan.pool_files import parse_pools
from rayorch.reading import read_machine
from rayorch.wanted import asked_of
from tests.cluster.drill import FILES, Drill
from tests.cluster.functions import waits_for
from tests.cluster.raylets import machine_spec, machines_of

# Machines start one after the other, each as long as a busy one takes.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
PASSES = 4
POOLS = parse_pools(
    """
pools:
  - {name: cheap, vcpu: 1, memory: 16 GiB, usd_h: 1.0}
  - {name: dear, vcpu: 1, memory: 16 GiB, usd_h: 1000.0, spot: {reclaims_per_h: 2}}
  - {name: elsewhere, vcpu: 1, memory: 16 GiB, usd_h: 0.1}
""",
    "pools.yaml",
)


@pytest.fixture
def machines(drill: Drill, tmp_path: Path) -> Iterator[dict[str, EmulatedNode]]:
    address = drill.at.settings.ray_address
    assert address is not None
    # First of all: it is to live on the head, and not to go with a machine.
    drill.control()
    specs = [machine_spec("cheap", 3), machine_spec("dear", 1)]
    with machines_of(address, specs, tmp_path) as nodes:
        yield {node.pool: node for node in nodes}


def placed(drill: Drill, run: RunId) -> list[PlacementReady]:
    facts = [event.fact for event in drill.events()]
    return [fact for fact in facts if isinstance(fact, PlacementReady) and fact.run == run]


def test_tasks_go_to_the_pool_of_the_plan_and_to_another_when_it_is_gone(
    drill: Drill, machines: dict[str, EmulatedNode], tmp_path: Path
) -> None:
    """Two priced pools, one of them a thousand times dearer; a third one is not there.

    1. The first tasks commit on the cheap pool, and on no other.
    2. Its machine is killed in the middle of a task.
    3. The plan is made anew, for that reason, and the dear pool ends the run.
    """
    gate = tmp_path / "gate"
    control = drill.control()
    pipeline = drill.pipeline(waits_for(gate, PASSES))
    run = client.submit_run(drill.at, control, pipeline, asked=asked_of(None, POOLS))
    drill.wait_until(lambda: len(drill.committed()) == PASSES, "the first tasks committed")

    machines["cheap"].kill()
    drill.wait_until(
        lambda: any("pool cheap is gone" in fact.reasons for fact in placed(drill, run)),
        "a placement without the pool that is gone",
        wait_s=60.0,
    )
    gate.touch()
    view = drill.follow(control, run)

    drill.check_output(view)
    finished = [e.fact for e in drill.events() if isinstance(e.fact, AttemptFinished)]
    assert Counter(fact.pool for fact in finished) == {"cheap": PASSES, "dear": FILES - PASSES}
    first, *later = placed(drill, run)
    assert "pool elsewhere is not in the cluster" in first.reasons
    assert [each.pools for each in first.classes] == [("cheap",)]
    assert later[-1].revision > 1
    assert [each.pools for each in later[-1].classes] == [("dear",)]
    kept = drill.at.home.get_json(run, f"placement-{later[-1].revision}")
    assert "pool cheap is gone" in kept["reasons"]
    assert [use["pool"] for use in kept["stages"][0]["chosen"]] == ["dear"]
    check_bill(drill, run)


def check_bill(drill: Drill, run: RunId) -> None:
    """Each machine is metered while it is there, and what is paid is what they cost."""

    def metered() -> set[str]:
        accounts = read_machine(drill.at.home, drill.clock).accounts
        return {account.pool for account in accounts.nodes.values()}

    # That its runner is gone is seen at once; that the machine is, Ray says when it is sure.
    drill.wait_until(lambda: "cheap" not in metered(), "an end of the machine's account", 60.0)
    machine = read_machine(drill.at.home, drill.clock)
    accounts, paid = machine.accounts, machine.runs[run].paid
    assert accounts.billed.keys() >= {"cheap", "dear"}
    for pool, billed in accounts.billed.items():
        nobodys = whole(accounts.unassigned.get(pool, {}))
        for account in accounts.nodes.values():
            if account.pool == pool:
                nobodys.add(account.early)
        runs = [whole(each.paid.get(pool, {})) for each in machine.runs.values()]
        total = sum(each.nano_usd for each in runs) + nobodys.nano_usd
        assert total == billed.nano_usd
    # The node that was killed is closed; at a dollar an hour for each core, three cores cost three.
    assert "cheap" not in {account.pool for account in accounts.nodes.values()}
    cheap = whole(paid["cheap"])
    # Before the run came with its pools nobody knew the machine's price.
    priced_s = cheap.core_s - cheap.unpriced_core_s
    assert 0.0 < priced_s <= cheap.core_s
    assert cheap.nano_usd == pytest.approx(priced_s / 3600.0 * NANO, rel=1e-6)
    work_s = sum(pools["cheap"].core_s for pools in machine.runs[run].ledger.values())
    assert cheap.core_s >= work_s
