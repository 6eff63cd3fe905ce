"""Nodes of unlike machines on this one: raylets with labels, each with all that belongs to it.

They are real to Ray and to us: they have their own runners, can be killed or drained, and are told
of by Ray like any other node. Every process is ended by its own pid.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psutil

from rayorch.clock import Clock
from rayorch.errors import ClusterError
from rayorch.host.cpu_groups import CpuGroup, CpuGroupError, group_name
from rayorch.host.ray_cluster import (
    STARTED,
    WarmCluster,
    connect,
    free_port,
    head_command,
    import_ray,
    is_started,
    set_environment,
    temp_dir,
)
from rayorch.plan.emulating import NODE_LABEL, EmulatedSpec, Emulation
from rayorch.plan.labels import HEAD_POOL, POOL_LABEL
from rayorch.settings import load_cache

FEWER_FIX: Final = (
    "each node is several processes: fewer of them (`--emulate-nodes POOL=N`), or let the machine\n"
    "finish what else it does"
)
START_S_MAX: Final = 180.0
STARTS_MAX: Final = 3
TRY_S_MAX: Final = 50
"""After so long Ray gives up a node of which it has not heard, and it is started again."""
STORE_BYTES: Final = 80 << 20
"""The least that Ray takes; no data goes through it."""
KILL_S_MAX: Final = 20.0
POLL_S: Final = 0.1
FATE: Final = Path(__file__).with_name("fate.py")
PORTS: Final = (
    "node-manager-port",
    "object-manager-port",
    "dashboard-agent-grpc-port",
    "dashboard-agent-listen-port",
    "runtime-env-agent-port",
    "metrics-export-port",
)
HEAD: Final = EmulatedSpec(
    name=HEAD_POOL,
    pool=HEAD_POOL,
    slots=0,
    gpus=0,
    memory_bytes=None,
    labels={POOL_LABEL: HEAD_POOL},
    speed=1.0,
)
"""What carries the control actor is not to go with a machine that work is on."""


class EmulatedNode:
    """One node, as long as it lives."""

    def __init__(self, spec: EmulatedSpec, command: Sequence[str], folder: str, logs: Path) -> None:
        self.spec = spec
        self.log = logs / f"{spec.name.replace(' ', '_')}.log"
        self.folder = folder
        self._command = command
        self._starts = 0
        self._group: CpuGroup | None = None
        self.start()

    @property
    def pid(self) -> int:
        """The pid of its first process."""
        return self._process.pid

    @property
    def pool(self) -> str:
        """The pool that it is of."""
        return self.spec.pool

    @property
    def is_up(self) -> bool:
        """Whether it has come up, by what it printed."""
        return STARTED in self.log.read_bytes()

    @property
    def has_ended(self) -> bool:
        """Whether it is gone, by our hand or by its own."""
        return self._process.poll() is not None

    def start(self) -> None:
        """Start its first process, which starts the others."""
        self._starts += 1
        self._process = _spawned(self._command, self.log, _own_cache(self.spec.name))

    def check_starts(self) -> None:
        """Start it once more where Ray gave up. Raises: ClusterError, when it did so too often.

        What Ray grants a node is, on a busy machine, too little.
        """
        if not self.has_ended:
            return
        # What is left of the first try would be in the way of the second.
        self.kill()
        if self._starts >= STARTS_MAX:
            why = f"the emulated node did not start: {self.printed()}"
            raise ClusterError(self.spec.name, why, FEWER_FIX)
        self.start()

    def printed(self) -> str:
        """Return the end of what it printed."""
        return self.log.read_text(errors="replace")[-2000:]

    def node_id(self) -> str:
        """Return Ray's id of the node. Raises: ClusterError, when it does not live."""
        for node in _living():
            if node["Labels"].get(NODE_LABEL) == self.spec.name:
                return str(node["NodeID"])
        raise ClusterError(self.spec.name, "the emulated node is not alive")

    def kill(self) -> None:
        """Kill all of the machine at once, as a lost one is."""
        family = self.family()
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=KILL_S_MAX)
        self._process.wait(KILL_S_MAX)
        self.unlimit()
        shutil.rmtree(self.folder, ignore_errors=True)

    def drain(self, reason: str, deadline_s: float = 0.0) -> None:
        """Announce that the machine will be taken away, at a time of the epoch if one is known.

        Ray starts nothing more on it, and ends it when nothing runs there; it does not end what
        runs, even when the time has come: `kill` does.
        """
        from rayorch.host.draining import drain  # noqa: PLC0415 - it imports Ray.

        drain(self.node_id(), reason, deadline_s)

    def family(self) -> list[psutil.Process]:
        """Return its processes that live: those of its session, whether or not the first does."""
        return [process for process in psutil.process_iter() if _session(process.pid) == self.pid]

    def limit(self) -> None:
        """Limit it to its part of this machine. Raises: CpuGroupError."""
        group = CpuGroup(group_name(self.spec.name), self.spec.cores_used)
        self._group = group
        group.add(process.pid for process in self.family())

    def unlimit(self) -> None:
        """Let it use as much of this machine as there is."""
        if self._group is not None:
            self._group.close()
            self._group = None


class EmulatedCluster:
    """A Ray whose nodes stand for a cluster file; its head has no cores. Ends with this process.

    `unlimited` says why unlike speeds are not emulated, where they are not.
    """

    def __init__(self, emulation: Emulation, clock: Clock) -> None:
        set_environment()
        self.emulation = emulation
        self.unlimited = ""
        self.nodes: list[EmulatedNode] = []
        self._head: EmulatedNode | None = None
        self._logs = tempfile.TemporaryDirectory(prefix="rayorch-nodes-")
        try:
            self.address = self._start_head(clock)
            logs = Path(self._logs.name)
            self.nodes = start_nodes(self.address, emulation.nodes, logs, clock)
            if emulation.has_unlike_speeds:
                self.unlimited = limit_nodes(self.nodes)
        except BaseException:  # Whatever it was, what has been started must end.
            self.close()
            raise

    @property
    def has_ended(self) -> bool:
        """Whether its head has, and all the rest is to end with it."""
        return self._head is None or self._head.has_ended

    def as_warm(self, clock: Clock) -> WarmCluster:
        """Return it as what runs find, while it is kept for them."""
        assert self._head is not None
        slots = sum(node.spec.slots for node in self.nodes)
        return WarmCluster(self.address, self._head.pid, clock.now_s(), slots, self._head.folder)

    def close(self) -> None:
        """End all nodes, and then the head."""
        end_nodes(self.nodes)
        import_ray().shutdown()
        if self._head is not None:
            self._head.kill()
        self._logs.cleanup()

    def _start_head(self, clock: Clock) -> str:
        """Start the head and connect to it, before there is another node to connect by.

        Raises: ClusterError, with the end of what it printed.
        """
        port = free_port()
        folder = _own_folder()
        command = head_command(port, 0, folder) + _labels_and_ports(HEAD.labels)
        self._head = head = EmulatedNode(HEAD, command, folder, Path(self._logs.name))
        _wait_until(lambda: is_started(port, head.log), [head], clock)
        address = f"127.0.0.1:{port}"
        return connect(address)


def start_nodes(
    address: str, specs: Sequence[EmulatedSpec], logs: Path, clock: Clock
) -> list[EmulatedNode]:
    """Start nodes that end with this process, one after the other, until all are there.

    Each takes all cores of a small machine to start: all at once, Ray gives some of them up.
    This process is connected to the cluster. What a node prints is in its file under `logs`.
    Raises: ClusterError, with the end of what the node printed; then none is left.
    """
    nodes: list[EmulatedNode] = []
    try:
        for spec in specs:
            nodes.append(begin_node(address, spec, logs))
            _wait_until(lambda: _all_live(nodes), nodes, clock)
    except BaseException:  # Whatever it was, what has been started must end.
        end_nodes(nodes)
        raise
    return nodes


def begin_node(address: str, spec: EmulatedSpec, logs: Path) -> EmulatedNode:
    """Start a node that ends with this process, and wait for nothing. As `start_nodes`."""
    folder = _own_folder()
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}"]
    command += ["--block", f"--num-cpus={spec.slots}", f"--num-gpus={spec.gpus}"]
    command += [*_labels_and_ports(spec.labels), "--node-ip-address=127.0.0.1"]
    command += [f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats"]
    command += ["--include-log-monitor=false", f"--temp-dir={folder}"]
    if spec.memory_bytes is not None:
        command.append(f"--memory={spec.memory_bytes}")
    return EmulatedNode(spec, command, folder, logs)


def end_nodes(nodes: Sequence[EmulatedNode]) -> None:
    """Kill nodes."""
    for node in nodes:
        node.kill()


def limit_nodes(nodes: Sequence[EmulatedNode]) -> str:
    """Give nodes their parts of this machine; return why that cannot be, or nothing.

    All or none: nodes of which one were held back and another not would say nothing.
    """
    try:
        for node in nodes:
            node.limit()
    except CpuGroupError as error:
        for node in nodes:
            node.unlimit()
        return str(error)
    return ""


def _own_folder() -> str:
    """Return a node's folder: in a shared one, two that start at once take each other's sockets."""
    return str(Path(temp_dir()) / f"node-{secrets.token_hex(4)}")


def _labels_and_ports(labels: Mapping[str, str]) -> list[str]:
    return [
        "--labels=" + ",".join(f"{key}={value}" for key, value in labels.items()),
        # A port that is given need not be found by two nodes at once, nor be waited for.
        *(f"--{name}={port}" for name, port in _free_ports().items()),
        # Workers take any that is free: in Ray's own range, nodes of one machine collide.
        "--min-worker-port=0",
        "--max-worker-port=0",
    ]


def _own_cache(name: str) -> dict[str, str]:
    """Return where a node has its disk, if nodes are to keep what they read: none has another's."""
    cache = load_cache(os.environ)
    return {} if cache is None else {"RAYORCH_CACHE_DIR": f"{cache.folder}/{name}"}


def _spawned(
    command: Sequence[str], log: Path, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a process that ends when this one does, however that is."""
    with log.open("wb") as file:
        return subprocess.Popen(  # noqa: S603 - our own interpreter.
            # By its path: to find it in the package, all of the package would be imported.
            [sys.executable, str(FATE), str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environ, "RAY_raylet_start_wait_time_s": str(TRY_S_MAX)},
            # Ctrl-C in this terminal is not meant for it: it ends when we end it.
            start_new_session=True,
        )


def _wait_until(holds: Callable[[], bool], nodes: Sequence[EmulatedNode], clock: Clock) -> None:
    begun_s = clock.monotonic_s()
    while not holds():
        for node in nodes:
            node.check_starts()
        if clock.monotonic_s() - begun_s > START_S_MAX:
            late = [node for node in nodes if not node.is_up] or nodes
            names = ", ".join(node.spec.name for node in late)
            why = f"not there after {START_S_MAX:g} s: {late[0].printed()}"
            raise ClusterError(names, why, FEWER_FIX)
        clock.sleep(POLL_S)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0  # It has just ended.


def _all_live(nodes: Sequence[EmulatedNode]) -> bool:
    living = {node["Labels"].get(NODE_LABEL, "") for node in _living()}
    return living >= {node.spec.name for node in nodes}


def _living() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = import_ray().nodes()
    return [node for node in nodes if node["Alive"]]


def _free_ports() -> dict[str, int]:
    """Return ports that are free, and no two of them the same."""
    with contextlib.ExitStack() as held:
        found = {}
        for name in PORTS:
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            found[name] = int(probe.getsockname()[1])
    return found
