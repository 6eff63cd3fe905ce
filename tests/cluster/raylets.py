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
    """A machine of one pool."""

    def __init__(self, address: str, pool: str, cores: int, folder: Path) -> None:
        self.pool = pool
        self._log = (folder / f"raylet-{pool}.log").open("wb")
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}"]
        command += ["--block", f"--num-cpus={cores}", f"--labels=pool={pool}"]
        command += ["--node-ip-address=127.0.0.1", f"--object-store-memory={STORE_BYTES}"]
        self._process = subprocess.Popen(
            [*command, "--disable-usage-stats"],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=dict(os.environ),
            start_new_session=True,
        )

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


def wait_for_pool(pool: str, *, there: bool = True) -> None:
    """Wait until the cluster has a living node of a pool, or has none. Ray is connected already."""
    clock = SystemClock()
    ray = import_ray()
    begun_s = clock.monotonic_s()
    while (
        pool in {node["Labels"].get("pool") for node in ray.nodes() if node["Alive"]}
    ) is not there:
        assert clock.monotonic_s() - begun_s < START_S_MAX, f"raylet of {pool}: {not there}"
        clock.sleep(0.1)
