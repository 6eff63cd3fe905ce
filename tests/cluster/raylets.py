"""More machines for the session's Ray: emulated nodes, of a pool and with cores as a test likes."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from rayorch.clock import SystemClock
from rayorch.host.emulated import EmulatedNode, end_nodes, start_nodes
from rayorch.host.ray_cluster import import_ray
from rayorch.plan.emulating import NODE_LABEL, EmulatedSpec
from rayorch.plan.labels import POOL_LABEL

if TYPE_CHECKING:
    import subprocess

GONE_S_MAX = 60.0


def machine_spec(pool: str, cores: int, name: str | None = None, **labels: str) -> EmulatedSpec:
    """Return a machine of one pool, told apart from others of that pool by its name."""
    name = name or pool
    return EmulatedSpec(
        name=name,
        pool=pool,
        slots=cores,
        gpus=0,
        memory_bytes=None,
        labels={POOL_LABEL: pool, NODE_LABEL: name, **labels},
        speed=1.0,
    )


@contextlib.contextmanager
def machines_of(
    address: str, specs: Sequence[EmulatedSpec], folder: Path
) -> Iterator[list[EmulatedNode]]:
    """Start machines, and leave the session's Ray, which is shared, as it was."""
    nodes = start_nodes(address, specs, folder, SystemClock())
    try:
        yield nodes
    finally:
        end_nodes(nodes)
        for pool in {node.pool for node in nodes}:
            wait_until_gone(pool)


def family_of(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> list[psutil.Process]:
    """Return a process and all that it started; nothing, when it has ended."""
    if process.poll() is not None:
        return []
    try:
        head = psutil.Process(process.pid)
        return [head, *head.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill_family(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    """SIGKILL a process and all that it started, and wait until they are gone."""
    family = family_of(process)
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=20)
    process.wait()


def wait_until_gone(pool: str) -> None:
    """Wait until the cluster has no living node of a pool. Ray is connected already."""
    clock = SystemClock()
    begun_s = clock.monotonic_s()
    while found := living(pool):
        assert clock.monotonic_s() - begun_s < GONE_S_MAX, f"nodes of {pool}: {found}"
        clock.sleep(0.1)


def living(pool: str) -> list[str]:
    """Return the living nodes of a pool."""
    nodes = import_ray().nodes()
    return [n["NodeID"] for n in nodes if n["Alive"] and n["Labels"].get(POOL_LABEL) == pool]
