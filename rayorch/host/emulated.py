"""Nodes of unlike machines on this one: raylets with labels, each with all that belongs to it.

They are real to Ray and to us: they have their own runners, can be killed or drained, and are told
of by Ray like any other node. Every process is ended by its own pid.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psutil

from rayorch.clock import Clock
from rayorch.errors import ClusterError
from rayorch.host.cpu_groups import CpuGroup, CpuGroupError, group_name
from rayorch.host.ray_cluster import (
    connect,
    free_port,
    head_command,
    import_ray,
    is_started,
    set_environment,
)
from rayorch.plan.emulating import NODE_LABEL, EmulatedSpec, Emulation
from rayorch.plan.labels import HEAD_POOL, POOL_LABEL

START_S_MAX: Final = 180.0
STARTS_MAX: Final = 3
STORE_BYTES: Final = 80 << 20
"""The least that Ray takes; no data goes through it."""
KILL_S_MAX: Final = 20.0
POLL_S: Final = 0.1
FATE: Final = Path(__file__).with_name("fate.py")
PREEMPTION: Final = 2
"""Ray's number for the reason of a drain that a node cannot refuse."""
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

    def __init__(self, spec: EmulatedSpec, command: Sequence[str], logs: Path) -> None:
        self.spec = spec
        self.log = logs / f"{spec.name.replace(' ', '_')}.log"
        self._command = command
        self._starts = 0
        self._group: CpuGroup | None = None
        self.start()

    @property
    def pid(self) -> int:
        """The pid of its first process."""
        return int(self._process.pid)

    @property
    def pool(self) -> str:
        """The pool that it is of."""
        return self.spec.pool

    def start(self) -> None:
        """Start its first process, which starts the others."""
        self._starts += 1
        self._process = _spawned(self._command, self.log)

    def check_starts(self) -> None:
        """Start it once more where Ray gave up. Raises: ClusterError, when it did so too often.

        Ray grants a node half a minute, which on a busy machine is too little.
        """
        if self._process.poll() is None:
            return
        # What is left of the first try would be in the way of the second.
        self.kill()
        if self._starts >= STARTS_MAX:
            text = self.log.read_text(errors="replace")[-2000:]
            raise ClusterError(self.spec.name, f"the emulated node did not start: {text}")
        self.start()

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

    def drain(self, reason: str, deadline_s: float = 0.0) -> None:
        """Announce that the machine will be taken away, at a time of the epoch if one is known.

        Ray starts nothing more on it, and ends it when nothing runs there; it does not end what
        runs, even when the time has come: `kill` does.
        """
        ray = import_ray()
        client = ray._private.worker.global_worker.gcs_client  # noqa: SLF001 - no public way.
        accepted, why = client.drain_node(
            self.node_id(), PREEMPTION, reason, int(deadline_s * 1000)
        )
        if not accepted:
            raise ClusterError(self.spec.name, f"the node is not drained: {why}")

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
        (ports,) = _free_ports(1)
        port = free_port()
        command = head_command(port, 0) + _labels_and_ports(HEAD.labels, ports)
        self._head = head = EmulatedNode(HEAD, command, Path(self._logs.name))
        _wait_until(lambda: is_started(port, head.log), [head], clock)
        address = f"127.0.0.1:{port}"
        return connect(address)


def start_nodes(
    address: str, specs: Sequence[EmulatedSpec], logs: Path, clock: Clock
) -> list[EmulatedNode]:
    """Start nodes that end with this process, and wait until all are there.

    This process is connected to the cluster. What a node prints is in its file under `logs`.
    Raises: ClusterError, with the end of what the node printed; then none is left.
    """
    nodes: list[EmulatedNode] = []
    try:
        for spec, ports in zip(specs, _free_ports(len(specs)), strict=True):
            nodes.append(_started(address, spec, ports, logs))
        awaited = {node.spec.name for node in nodes}
        _wait_until(lambda: awaited <= _living_names(), nodes, clock)
    except BaseException:  # Whatever it was, what has been started must end.
        end_nodes(nodes)
        raise
    return nodes


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


def _started(
    address: str, spec: EmulatedSpec, ports: Mapping[str, int], logs: Path
) -> EmulatedNode:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}"]
    command += ["--block", f"--num-cpus={spec.slots}", f"--num-gpus={spec.gpus}"]
    command += [*_labels_and_ports(spec.labels, ports), "--node-ip-address=127.0.0.1"]
    command += [f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats"]
    command += ["--include-log-monitor=false"]
    if spec.memory_bytes is not None:
        command.append(f"--memory={spec.memory_bytes}")
    return EmulatedNode(spec, command, logs)


def _labels_and_ports(labels: Mapping[str, str], ports: Mapping[str, int]) -> list[str]:
    return [
        "--labels=" + ",".join(f"{key}={value}" for key, value in labels.items()),
        # A port that is given need not be found by two nodes at once, nor be waited for.
        *(f"--{name}={port}" for name, port in ports.items()),
        # Workers take any that is free: in Ray's own range, nodes of one machine collide.
        "--min-worker-port=0",
        "--max-worker-port=0",
    ]


def _spawned(command: Sequence[str], log: Path) -> psutil.Popen:
    """Start a process that ends when this one does, however that is."""
    with log.open("wb") as file:
        return psutil.Popen(
            # By its path: to find it in the package, all of the package would be imported.
            [sys.executable, str(FATE), str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            # Ctrl-C in this terminal is not meant for it: it ends when we end it.
            start_new_session=True,
        )


def _wait_until(holds: Callable[[], bool], nodes: Sequence[EmulatedNode], clock: Clock) -> None:
    begun_s = clock.monotonic_s()
    while not holds():
        for node in nodes:
            node.check_starts()
        if clock.monotonic_s() - begun_s > START_S_MAX:
            names = ", ".join(node.spec.name for node in nodes)
            raise ClusterError(names, f"not there after {START_S_MAX:g} s")
        clock.sleep(POLL_S)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0  # It has just ended.


def _living_names() -> set[str]:
    return {node["Labels"].get(NODE_LABEL, "") for node in _living()}


def _living() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = import_ray().nodes()
    return [node for node in nodes if node["Alive"]]


def _free_ports(nodes: int) -> Iterator[dict[str, int]]:
    """Yield ports that are free, and no two of them the same."""
    with contextlib.ExitStack() as held:
        found = []
        for _ in range(nodes * len(PORTS)):
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            found.append(probe.getsockname()[1])
    ports = iter(found)
    for _ in range(nodes):
        yield {name: next(ports) for name in PORTS}
