"""More machines for the session's Ray: raylets with labels, each with all that it starts."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from rayorch.clock import SystemClock
from rayorch.host.ray_cluster import import_ray

START_S_MAX = 60.0
STORE_BYTES = 80 << 20


class Raylet:
    """A machine of one pool, told apart from others of that pool by its name."""

    def __init__(
        self, address: str, pool: str, cores: int, folder: Path, name: str | None = None
    ) -> None:
        self.pool = pool
        self.name = name or pool
        self._log = (folder / f"raylet-{self.name}.log").open("wb")
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}"]
        command += ["--block", f"--num-cpus={cores}", f"--labels=pool={pool},machine={self.name}"]
        command += ["--node-ip-address=127.0.0.1", f"--object-store-memory={STORE_BYTES}"]
        self._process = subprocess.Popen(
            [*command, "--disable-usage-stats"],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=dict(os.environ),
            start_new_session=True,
        )

    def drain(self) -> None:
        """Announce that the machine is going to be taken away. It exits once nothing runs on it."""
        from rayorch.host.draining import drain  # noqa: PLC0415 - it imports Ray.

        drain(node_of(self.name), "a test", 0.0)

    def is_up(self) -> bool:
        """Say whether the machine has come up, by what it printed."""
        return b"Ray runtime started" in Path(self._log.name).read_bytes()

    def has_ended(self) -> bool:
        """Say whether the machine is gone, by our hand or by its own."""
        return self._process.poll() is not None

    def processes(self) -> list[psutil.Process]:
        """Return all that the machine consists of by now."""
        return family_of(self._process)

    def kill(self) -> None:
        """SIGKILL all of the machine at once."""
        kill_family(self._process)
        self._log.close()


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


def living(label: str, value: str) -> list[str]:
    """Return the living nodes with a label. Ray is connected already."""
    nodes = import_ray().nodes()
    return [n["NodeID"] for n in nodes if n["Alive"] and n["Labels"].get(label) == value]


def node_of(name: str) -> str:
    """Return the living node that a machine is."""
    (node,) = living("machine", name)
    return node


def wait_for_pool(pool: str, *, count: int = 1) -> None:
    """Wait until the cluster has so many living nodes of a pool."""
    clock = SystemClock()
    begun_s = clock.monotonic_s()
    while (found := len(living("pool", pool))) != count:
        assert clock.monotonic_s() - begun_s < START_S_MAX, f"raylets of {pool}: {found}"
        clock.sleep(0.1)
