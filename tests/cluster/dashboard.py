"""A Ray with its dashboard, as a cluster that is submitted to: another Ray than the session's."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import requests

from rayorch.clock import SystemClock
from rayorch.host.ray_cluster import set_environment

START_S_MAX = 150.0
STARTED = "Ray runtime started"
ENV_LEFT_OUT = ("RAY_ADDRESS", "RAYORCH_", "XDG_STATE_HOME")


class Cluster:
    """Where it is, and the environment of somebody who may use it."""

    def __init__(self, url: str, gcs: str, environment: dict[str, str], pid: int) -> None:
        self.url = url
        self.gcs = gcs
        self.environment = environment
        self.pid = pid

    def processes(self) -> list[psutil.Process]:
        head = psutil.Process(self.pid)
        return [head, *head.children(recursive=True)]


@contextmanager
def cluster(folder: Path, **environment: str) -> Iterator[Cluster]:
    """Start a head with two cores, on loopback, for those who have its token; end it."""
    clock = SystemClock()
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    set_environment()
    ours = {key: it for key, it in os.environ.items() if not key.startswith(ENV_LEFT_OUT)}
    ours |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        # A job finds `python` there.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        # Slow machines: Ray waits 30 s for its own parts, and 10 s for its agents.
        "RAY_raylet_start_wait_time_s": "100",
        "RAY_agent_register_timeout_ms": "100000",
        "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "200",
        **environment,
    }
    gcs, dashboard, agent, client = free_ports(4)
    with tempfile.TemporaryDirectory(prefix="ro-dash-", dir="/tmp") as short:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        command += [f"--port={gcs}", "--num-cpus=2", f"--temp-dir={short}"]
        command += ["--include-dashboard=true", "--dashboard-host=127.0.0.1"]
        # Jobs go by way of the agent: with the usual port, by that of another Ray on this machine.
        command += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"]
        command += [f"--dashboard-port={dashboard}", f"--object-store-memory={128 << 20}"]
        command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats", "--labels=pool=small"]
        with (folder / "ray.log").open("w") as log:
            head = subprocess.Popen(
                command, env=ours, stdout=log, stderr=log, start_new_session=True
            )
        found = Cluster(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}", ours, head.pid)
        try:
            begun_s = clock.monotonic_s()
            said = ""
            # The dashboard answers before the node has started, which may still fail.
            while STARTED not in said or not _answers(found.url, token.read_text()):
                waited_s = clock.monotonic_s() - begun_s
                said = (folder / "ray.log").read_text()
                assert head.poll() is None, said
                assert waited_s < START_S_MAX, said
                clock.sleep(0.2)
            yield found
        finally:
            _end(found, head)


def _answers(url: str, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    try:
        return requests.get(f"{url}/api/jobs/", headers=headers, timeout=5.0).ok
    except requests.exceptions.RequestException:
        return False


def _end(found: Cluster, head: subprocess.Popen[bytes]) -> None:
    family = found.processes() if head.poll() is None else []
    head.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=3.0)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    head.wait(timeout=20)


def free_ports(count: int) -> list[int]:
    """Return ports above those of Ray's workers."""
    found: list[int] = []
    for port in range(20_103, 31_000, 11):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(found)
