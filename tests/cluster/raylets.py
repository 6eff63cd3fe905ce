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

    def kill(self) -> None:
        """SIGKILL all of the machine at once."""
        if self._process.poll() is None:
            head = psutil.Process(self._process.pid)
            family = [head, *head.children(recursive=True)]
            for member in family:
                try:
                    member.kill()
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(family, timeout=20)
            self._process.wait()
        self._log.close()


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
