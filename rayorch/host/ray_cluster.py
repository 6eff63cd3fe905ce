"""Where Ray comes from: a cluster that is named, one that `rayorch up` keeps warm, or our own.

Ray reads most of its settings from the environment before it is imported, so this module sets them
first and imports it late. Nothing here stops a Ray that it did not start.
"""

import importlib
import logging
import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import msgspec
import psutil

from rayorch.clock import Clock
from rayorch.errors import ClusterError
from rayorch.host.health_checks import OURS
from rayorch.host.ray_errors import cluster_error
from rayorch.host.reaching import unreachable

NAMESPACE: Final = "rayorch"
STORE_BYTES: Final = 256 << 20
"""Ray's object store: the data plane does not use it, so it is small."""
START_S_MAX: Final = 90.0
STOP_S_MAX: Final = 3.0
"""Ray waits for its actors far longer, in vain; nothing that counts is lost by killing them."""
STARTED: Final = b"Ray runtime started"
"""What Ray prints of a node that is complete."""
# Ray's worker ports begin at 10002: the head's port must be out of their way.
PORTS: Final = range(20_100, 31_000, 7)


class WarmCluster(msgspec.Struct, frozen=True):
    """A local Ray that `rayorch up` started and `rayorch down` ends."""

    address: str
    pid: int
    started_s: float
    slots: int
    temp_dir: str


def state_dir() -> Path:
    """Return the folder of this user for what belongs to this machine and no home."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "rayorch"


def set_environment(address: str | None = None) -> None:
    """Make Ray quiet, private and quick to start. Before the first import of ray.

    `address` is the cluster that is meant, else RAY_ADDRESS names it, or it is one of our own.
    Source: what each setting does was measured; see decisions/0003.
    """
    settings = {
        **_token_settings(address or os.environ.get("RAY_ADDRESS") or None),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SCHEDULER_EVENTS": "0",
        "RAY_preload_python_modules": "pyarrow,pyarrow.compute,pyarrow.parquet",
        "RAY_worker_niceness": "0",
        "RAY_task_events_report_interval_ms": "0",
        # Its memory monitor also kills for what foreign processes use, the control actor first.
        "RAY_memory_monitor_refresh_ms": "0",
        # On a busy machine, half a minute is too little for a node to begin.
        "RAY_raylet_start_wait_time_s": "180",
        "RAY_agent_register_timeout_ms": "180000",
        # "(raylet) A worker died": a death is ours to tell of, once and in our words.
        "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
        # Read by a head alone: a Ray of our own finds a dead machine in time.
        **{f"RAY_{name}": str(value) for name, value in OURS.items()},
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def _token_settings(named: str | None) -> dict[str, str]:
    """Return how Ray finds the token: that of the named cluster, where the user has one, or ours.

    Ray itself looks at RAY_AUTH_TOKEN, at RAY_AUTH_TOKEN_PATH, and into the home folder.
    """
    warm = warm_cluster()
    if named is not None and (warm is None or warm.address != named):
        # Our own token would be refused, and hide the one that is right.
        is_set = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
        has_one = bool(is_set) or (Path.home() / ".ray" / "auth_token").exists()
        return {"RAY_AUTH_MODE": "token"} if has_one else {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(_token())}


def _token() -> Path:
    path = state_dir() / "auth_token"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Ray would write its own readable by everybody.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return path


def import_ray() -> ModuleType:
    """Return ray, imported under our settings."""
    set_environment()
    return importlib.import_module("ray")


def connect(address: str | None, slots: int | None = None) -> str:
    """Connect this process to Ray; return the address, or "embedded".

    `address`, else `RAY_ADDRESS`, else what `rayorch up` started, else a Ray of our own that ends
    with this process.
    Raises: ClusterError, when a named cluster does not answer.
    """
    ray = import_ray()
    if ray.is_initialized():
        return str(ray.get_runtime_context().gcs_address)
    warm = warm_cluster()
    named = address or os.environ.get("RAY_ADDRESS") or (warm.address if warm else None)
    options = {
        "namespace": NAMESPACE,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": True,
    }
    if named is None:
        ray.init(
            # Never a cluster that happens to be found on this machine.
            address="local",
            num_cpus=slots or usable_cores(),
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            _temp_dir=temp_dir(),
            **options,
        )
        return "embedded"
    refusal = unreachable(named)
    if refusal is not None:
        raise refusal
    try:
        ray.init(address=named, **options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise cluster_error(named, error) from error
    return named


def usable_cores() -> int:
    """Return the cores that this process may use."""
    return max(1, len(os.sched_getaffinity(0)))


def temp_dir() -> str:
    """Return Ray's folder: short, because of the length of socket paths, and this user's own."""
    path = Path("/tmp") / f"rayorch-ray-{os.getuid()}"  # noqa: S108 - created 0700 below.
    path.mkdir(mode=0o700, exist_ok=True)
    return str(path)


# --- up and down -----------------------------------------------------------------------------


def warm_cluster() -> WarmCluster | None:
    """Return the local Ray that is kept warm, if it lives."""
    try:
        warm = msgspec.json.decode(_warm_file().read_bytes(), type=WarmCluster)
    except FileNotFoundError:
        return None
    return warm if _is_ours(warm) else None


def start_warm(slots: int | None, clock: Clock) -> WarmCluster:
    """Start a local Ray that outlives this process.

    Raises: ClusterError, with the end of Ray's own output.
    """
    set_environment()
    found = warm_cluster()
    if found is not None:
        return found
    count = slots or usable_cores()
    port = free_port()
    log = state_dir() / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    pid = _spawned(head_command(port, count, temp_dir()), log)
    warm = WarmCluster(f"127.0.0.1:{port}", pid, clock.now_s(), count, temp_dir())
    begun_s = clock.monotonic_s()
    while not is_started(port, log):
        ended, _ = os.waitpid(pid, os.WNOHANG)
        if ended or clock.monotonic_s() - begun_s > START_S_MAX:
            if not ended:
                os.kill(pid, signal.SIGKILL)
            raise ClusterError(warm.address, log.read_text(errors="replace")[-2000:])
        clock.sleep(0.1)
    keep_warm(warm)
    return warm


def keep_warm(warm: WarmCluster) -> None:
    """Let runs of this user find a cluster."""
    _warm_file().write_bytes(msgspec.json.encode(warm))


def drop_warm() -> None:
    """Let nobody find it any more."""
    _warm_file().unlink(missing_ok=True)


def head_command(port: int, slots: int, folder: str) -> list[str]:
    """Return what starts a Ray of this machine alone, with its files in a folder."""
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *(f"--port={port}", f"--num-cpus={slots}", "--include-dashboard=false"),
        *(f"--temp-dir={folder}", f"--object-store-memory={STORE_BYTES}"),
        *("--node-ip-address=127.0.0.1", "--disable-usage-stats"),
    ]


def is_started(port: int, log: Path) -> bool:
    """Say whether a head answers at its port and, by what it printed, is complete."""
    return _answers(port) and STARTED in log.read_bytes()


def stop_warm() -> bool:
    """End the local Ray that is kept warm; say whether there was one."""
    warm = warm_cluster()
    if warm is None:
        drop_warm()
        return False
    head = psutil.Process(warm.pid)
    family = [head, *head.children(recursive=True)]
    head.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=STOP_S_MAX)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=STOP_S_MAX)
    drop_warm()
    return True


def _spawned(command: list[str], log: Path) -> int:
    """Start a process that outlives this one, its output in a file; return its pid."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        return os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing, 0),
                (os.POSIX_SPAWN_DUP2, out, 1),
                (os.POSIX_SPAWN_DUP2, out, 2),
            ],
            # Ctrl-C in this terminal is not meant for it.
            setsid=True,
        )
    finally:
        os.close(out)
        os.close(nothing)


def _warm_file() -> Path:
    return state_dir() / "cluster.json"


def _is_ours(warm: WarmCluster) -> bool:
    """A pid may have been given to somebody else: the command line must name our port."""
    try:
        line = psutil.Process(warm.pid).cmdline()
    except psutil.Error:
        return False
    return f"--port={warm.address.rpartition(':')[2]}" in line


def free_port() -> int:
    """Return a port for a head that nobody listens at. Raises: ClusterError."""
    # Two processes that look at once begin at different places, or both would take the first.
    first = os.getpid() % len(PORTS)
    ports: list[int] = [*PORTS[first:], *PORTS[:first]]
    for port in ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ClusterError("127.0.0.1", "no free port between 20100 and 31000")


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
