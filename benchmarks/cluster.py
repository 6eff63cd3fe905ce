"""The Rays of a benchmark: one as `rayorch up` starts it, one for the peers, both warm.

Two, because runners hold the cores of theirs: a peer on the same one would wait for ever. Both get
the same environment (modules loaded beforehand, workers of normal priority), but the peers' Ray has
Ray's own object store, through which their data goes.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import psutil

from benchmarks.driver import QUOTED_CHARACTERS, SideFailedError
from rayorch.clock import SystemClock
from rayorch.errors import ClusterError
from rayorch.host.ray_cluster import set_environment, start_warm, stop_warm

READY: Final = "Ray runtime started"
START_S_MAX: Final = 90.0
STOP_S_MAX: Final = 20.0
SETTLE_S: Final = 3.0
"""After its start Ray is busy for some seconds more."""
PORTS: Final = range(31_003, 32_700, 7)
"""Above the ports of Ray's workers and of `rayorch up`, below those the kernel gives out."""


class RayCluster(Protocol):
    """A local Ray that runs while it is needed."""

    address: str
    pid: int

    def stop(self) -> None:
        """End it and wait for its processes."""
        ...


def private_state(folder: Path) -> None:
    """Keep what Ray and rayorch remember of this user out of our way, and us out of theirs."""
    os.environ["XDG_STATE_HOME"] = str(folder)
    for name in ("RAY_ADDRESS", "RAYORCH_HOME", "RAYORCH_EXECUTOR"):
        os.environ.pop(name, None)
    # Where bytecode must not be written beside the sources, every process of every side would
    # compile what it imports anew, for seconds.
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    set_environment()


class OwnRay:
    """What `rayorch up` starts. Raises: SideFailedError."""

    def __init__(self, slots: int) -> None:
        try:
            warm = start_warm(slots, SystemClock())
        except ClusterError as error:
            raise SideFailedError(f"no Ray of ours: {error}") from error
        self.address = warm.address
        self.pid = warm.pid
        time.sleep(SETTLE_S)

    def stop(self) -> None:
        """End it."""
        stop_warm()


@dataclass(slots=True)
class PeerRay:
    """A plain Ray on the ports of its own choice."""

    address: str
    pid: int
    process: subprocess.Popen[bytes]
    temp_dir: Path

    @classmethod
    def start(cls, slots: int, environment: Mapping[str, str]) -> "PeerRay":
        """Start it and wait until it is up. Raises: SideFailedError."""
        port = _free_port()
        # Short: the path of a socket has 107 characters at most.
        temp_dir = Path(tempfile.mkdtemp(prefix="rob", dir="/tmp"))
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        command += [f"--port={port}", f"--num-cpus={slots}", "--include-dashboard=false"]
        command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats"]
        command += [f"--temp-dir={temp_dir}"]
        log = temp_dir / "start.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        began_s = time.monotonic()
        while READY not in log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() - began_s > START_S_MAX:
                said = log.read_text(errors="replace").strip()[-QUOTED_CHARACTERS:]
                end_family(process)
                shutil.rmtree(temp_dir, ignore_errors=True)
                raise SideFailedError(f"no Ray for the peers: {said}")
            time.sleep(0.1)
        time.sleep(SETTLE_S)
        return cls(f"127.0.0.1:{port}", process.pid, process, temp_dir)

    def stop(self) -> None:
        """End it and every process that it started."""
        end_family(self.process)
        shutil.rmtree(self.temp_dir, ignore_errors=True)


def end_family(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours and all that it started, if it has not ended by itself."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=STOP_S_MAX)
    for each in alive:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    for port in PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SideFailedError(f"no free port. ports={PORTS}")
