"""Runners of other code than whoever leads are not used. Elsewhere than on Ray there is one."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rayorch.core.facts import RunnerJoined
from rayorch.core.node_facts import RunnerRefused

if TYPE_CHECKING:
    from rayorch.host.ray_cluster import WarmCluster
    from tests.executors.ray_rig import RayRig

pytestmark = pytest.mark.cluster


@pytest.fixture
def rig(warm_ray: "WarmCluster", tmp_path: Path) -> Iterator["RayRig"]:
    # Only those who use Ray import it.
    from tests.executors.ray_rig import RayRig  # noqa: PLC0415

    made = RayRig(tmp_path, warm_ray.address)
    try:
        yield made
    finally:
        made.close()


def test_a_runner_that_an_older_control_actor_left_is_ended_and_another_started(
    rig: "RayRig",
) -> None:
    """Its machine is not to blame: the runner was there before the library was changed."""
    old = rig.runner()
    before, rig.code["pyarrow"] = rig.code["pyarrow"], "1.0"

    rig.succeed()

    rig.wait_for(lambda: rig.host.of(RunnerRefused))
    (refused,) = rig.host.of(RunnerRefused)
    assert (refused.runner, refused.cores_left) == (old, 2)
    assert refused.reason == f"it has pyarrow {before} and not 1.0"
    rig.wait_for(lambda: not rig.is_running(old))
    assert rig.host.of(RunnerJoined) == []


def test_a_machine_whose_fresh_runners_run_other_code_is_used_no_more(rig: "RayRig") -> None:
    rig.code["rayorch"] = "of another time"
    rig.succeed()

    rig.ensure(1)

    rig.wait_for(lambda: rig.host.of(RunnerRefused))
    (refused,) = rig.host.of(RunnerRefused)
    assert refused.cores_left == 0
    assert dict(rig.executor.pools) == {}
    assert rig.host.of(RunnerJoined) == []
    # Whoever asks later is told at once, instead of waiting for a machine.
    rig.ensure(1)
    assert rig.host.of(RunnerRefused)[1:] == [refused]


def test_runners_that_cannot_begin_are_given_up_with_the_reason(rig: "RayRig") -> None:
    """As where a machine lacks rayorch, or what the home's store takes."""
    rig.home_url = "nosuch://home"
    rig.succeed()

    def refused() -> list[RunnerRefused]:
        return rig.host.of(RunnerRefused)

    for tries in range(4):
        rig.ensure(1)
        rig.wait_for(lambda tries=tries: len(refused()) > tries)  # type: ignore[misc]

    assert [fact.cores_left for fact in refused()] == [2, 2, 2, 0]
    assert "nosuch" in refused()[-1].reason
