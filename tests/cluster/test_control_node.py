"""The machine of the control actor dies: it goes on elsewhere, and the run with it."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayorch.core.facts import AttemptFinished, AttemptLost, Led
from rayorch.host import health_checks, ray_cluster
from rayorch.host.emulated import EmulatedNode
from rayorch.plan.emulating import NODE_LABEL
from tests.cluster.drill import FILES, Drill
from tests.cluster.functions import waits_for
from tests.cluster.raylets import machine_spec, machines_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]
_log = logging.getLogger(__name__)
FLOW_S_MAX = 15.0
"""From the death of the machine to the first commit of a lease of the new lead. Three seconds
are Ray's, which gives a machine up after three health checks, one second apart."""


@pytest.fixture
def bare(drill: Drill, tmp_path: Path) -> Iterator[list[EmulatedNode]]:
    """Two machines without a slot: what becomes of them is no runner's business."""
    address = drill.at.settings.ray_address
    assert address is not None
    ray_cluster.connect(address)
    with machines_of(address, [machine_spec("bare", 0, name) for name in "ab"], tmp_path) as nodes:
        yield nodes


def test_the_control_actor_goes_on_elsewhere_when_its_machine_dies(
    drill: Drill, bare: list[EmulatedNode]
) -> None:
    """Protection: Ray restarts it where it is told to; runners are detached, and wait for it.

    1. It lives on a machine of its own, the runners on others; that machine is killed.
    2. What runs ends meanwhile, and is handed in once it is back, on the second of its places.
    3. Leases flow again as soon as it leads; no task was lost or done twice.
    """
    gate = drill.folder / "gate"
    control = drill.control(places=[{NODE_LABEL: "a"}, {NODE_LABEL: "b"}, {}])
    here = {process.pid for process in bare[0].family()}
    assert control.info().pid in here
    run = drill.submit(control, drill.pipeline(waits_for(gate)))
    drill.wait_until(lambda: control.view(run).first_start_s, "a task started")

    killed_s = drill.clock.now_s()
    bare[0].kill()
    gate.touch()
    view = drill.follow(control, run)

    drill.check_output(view)
    assert control.info().pid in {process.pid for process in bare[1].family()}
    events = drill.events()
    (_, first), (led_s, second) = [
        (event.at_s, event.fact.epoch) for event in events if isinstance(event.fact, Led)
    ]
    done = [(e.at_s, e.fact) for e in events if isinstance(e.fact, AttemptFinished)]
    assert sorted(fact.task for _, fact in done) == list(range(FILES))
    assert [event.fact for event in events if isinstance(event.fact, AttemptLost)] == []
    handed_in = [at_s for at_s, fact in done if fact.epoch == first and at_s > killed_s]
    assert handed_in, "nothing was at work when the machine died"
    flows_s = min(at_s for at_s, fact in done if fact.epoch == second)
    _log.info("leads %.1f s after, first result %.1f s after", led_s - killed_s, flows_s - killed_s)
    assert flows_s - killed_s < FLOW_S_MAX


def test_what_a_head_was_told_of_health_checks_can_be_read(
    warm_ray: ray_cluster.WarmCluster,
) -> None:
    assert health_checks.head_settings(warm_ray.address) == health_checks.OURS
