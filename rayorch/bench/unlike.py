"""Runs on two unlike pools, real and foretold: nodes of a Ray on this machine, one at half speed.

The solver chooses between them in both, for the same objective, so that what is compared is not the
simulator's clock alone but the choices that it makes, and what they cost.
"""

from collections.abc import Callable
from contextlib import closing
from typing import Final

from rayorch.bench.calibrating import (
    PIPELINES,
    SEEDS,
    STILL,
    Bench,
    Compared,
    compared,
    pipeline_of,
    ran,
)
from rayorch.capacity.rehearsal import prepared
from rayorch.capacity.scaling import scaled_of
from rayorch.capacity.scenarios import Runs, runs_of
from rayorch.capacity.thinning import thin_of
from rayorch.client import connection, open_control, usable_cores
from rayorch.host.ray_cluster import set_environment
from rayorch.plan.asking import Asked
from rayorch.plan.emulating import Emulation, emulation_of
from rayorch.plan.pool_files import parse_pool_file
from rayorch.plan.pools import PoolsSpec
from rayorch.plan.profile import Profile
from rayorch.spec.objective import Weighted

FASTEST: Final = Weighted(1.0)
"""What runs are asked for: both pools have work then, and their prices differ."""
NAME: Final = "calibrate.yaml"
SLOW: Final = 0.5
POOLS: Final = """
cluster_name: calibrate
max_workers: 2
provider: {type: external, module: none}
head_node_type: head
available_node_types:
  head: {resources: {CPU: 0}, node_config: {}}
  slow:
    min_workers: 1
    resources: {CPU: 1}
    labels: {pool: slow, speed: "SLOW", price-per-hour: "0.3"}
    node_config: {}
  fast:
    min_workers: 1
    resources: {CPU: 1}
    labels: {pool: fast, speed: "1", price-per-hour: "1"}
    node_config: {}
"""


def emulation(speed: float = SLOW) -> Emulation:
    """Return the nodes of the two pools."""
    file = parse_pool_file(POOLS.replace("SLOW", f"{speed:g}"), NAME)
    return emulation_of(file, usable_cores(), slots_max=1)


def calibrate_unlike(bench: Bench, tell: Callable[[str], None]) -> list[Compared]:
    """Run, simulate and compare on emulated pools; `tell` hears of each run.

    Raises: ClusterError, when a node does not start.
    """
    # Its imports begin with Ray's.
    set_environment()
    from rayorch.host.emulated import EmulatedCluster  # noqa: PLC0415

    at = connection(str(bench.folder / "home-unlike"), "ray")
    emulated = emulation()
    with closing(EmulatedCluster(emulated, at.clock)) as cluster:
        if cluster.unlimited:
            tell(f"both pools are equally fast: cpu quotas cannot be set ({cluster.unlimited})")
            # What is stated must be so: they differ in price alone.
            emulated = emulation(1.0)
        pools = emulated.pools
        asked = Asked(pools=pools, file=NAME, objective=FASTEST)

        found: list[Compared] = []
        for name in PIPELINES:

            def measured(files: int, name: str = name) -> Profile:
                with closing(open_control(at)) as control:
                    return ran(at, control, pipeline_of(bench, name, files), asked)

            def simulated(fitted: Profile, growth: float) -> Runs:
                return foretold_unlike(fitted, growth, pools)

            found += compared(bench, (name, "two unlike pools"), measured, simulated, tell)
    return found


def foretold_unlike(fitted: Profile, growth: float, pools: PoolsSpec) -> Runs:
    """Return simulated runs on pools whose machines are all there, placed by the solver."""
    there = {pool.name: pool.max_nodes for pool in pools.pools}
    scaled = scaled_of(fitted, growth, sum(there.values()))
    thin = thin_of(scaled, pools, {}, tasks=max(1, scaled.tasks))
    return runs_of(prepared(thin, FASTEST, there=there), SEEDS, 0, STILL, there=there)
