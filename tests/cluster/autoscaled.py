"""Ray's own autoscaler on this machine: its test provider, whose nodes are small raylets here."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psutil
from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider

from rayorch.clock import SystemClock
from rayorch.host.ray_cluster import free_port, set_environment

HEAD_ID: Final = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
HEAD_TYPE: Final = "ray.head.default"
"""Ray's provider says so of the head, whatever the configuration names it."""
START_S_MAX: Final = 90.0
ROOT: Final = Path(__file__).resolve().parents[2]
NODES: Final = "import json, ray; ray.init(log_to_driver=False); print(json.dumps(ray.nodes()))"


class Provider(FakeMultiNodeProvider):
    """Ray's provider; the monitor of the head imports it by its name."""

    def _create_node_with_resources_and_labels(
        self, node_config: Any, tags: Any, count: int, resources: Mapping[str, Any], labels: Any
    ) -> None:
        # Of memory it makes a custom resource, which Ray refuses.
        kept = {name: value for name, value in resources.items() if name != "memory"}
        create: Any = super()._create_node_with_resources_and_labels
        create(node_config, tags, count, kept, labels)


def node_type(pool: str, nodes_max: int, **resources: int) -> dict[str, Any]:
    """Return a node type of so many machines at the most, none of which is there at first."""
    return {
        "resources": resources,
        "labels": {"pool": pool},
        "node_config": {},
        "min_workers": 0,
        "max_workers": nodes_max,
    }


class AutoscaledCluster:
    """A head without cores, and an autoscaler that starts nodes of some types."""

    def __init__(self, folder: Path, types: Mapping[str, dict[str, Any]], idle_s: float) -> None:
        set_environment()
        port, host = free_port(), socket.gethostbyname(socket.gethostname())
        self.address = f"{host}:{port}"
        self._temp = Path("/tmp") / f"ro-auto-{os.getpid()}"  # noqa: S108 - short, for the paths of sockets.
        config = folder / "autoscaling.json"
        config.write_text(json.dumps(_config(self.address, types, idle_s)))
        self.log = folder / "head.log"
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "RAY_FAKE_CLUSTER": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
            "RAY_raylet_start_wait_time_s": "120",
            "RAY_agent_register_timeout_ms": "120000",
        }
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *(f"--port={port}", "--num-cpus=0", f"--autoscaling-config={config}"),
            *("--include-dashboard=false", f"--temp-dir={self._temp}", "--disable-usage-stats"),
            "--object-store-memory=100000000",
        ]
        with self.log.open("wb") as log:
            self._head = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_started()
        except BaseException:
            self.close()
            raise

    def _wait_started(self) -> None:
        clock = SystemClock()
        begun_s = clock.monotonic_s()
        while b"Ray runtime started" not in self.log.read_bytes():
            waited_s = clock.monotonic_s() - begun_s
            assert self._head.poll() is None, self.log.read_text()
            assert waited_s < START_S_MAX, self.log.read_text()
            clock.sleep(0.2)

    def environment(self) -> dict[str, str]:
        """Return what a process needs to find the cluster."""
        return {**os.environ, "RAY_ADDRESS": self.address, "PYTHONPATH": str(ROOT)}

    def pools(self) -> list[str]:
        """Return the pool of each node that lives, but the head's."""
        said = subprocess.run(
            [sys.executable, "-c", NODES],
            env=self.environment(),
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        nodes: Sequence[Mapping[str, Any]] = json.loads(said.splitlines()[-1])
        labels = [node["Labels"] for node in nodes if node["Alive"]]
        return [each["pool"] for each in labels if "pool" in each]

    def close(self) -> None:
        """End all of its processes: those of its session, and those that they have started."""
        family = {self._head.pid}
        family |= {
            process.info["pid"]
            for process in psutil.process_iter(["pid", "cmdline"])
            # A folder that no other Ray has.
            if str(self._temp) in " ".join(process.info["cmdline"] or ())
        }
        with contextlib.suppress(psutil.NoSuchProcess):
            family |= {each.pid for each in psutil.Process(self._head.pid).children(recursive=True)}
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._head.wait(10.0)


def _config(address: str, types: Mapping[str, dict[str, Any]], idle_s: float) -> dict[str, Any]:
    lists = (
        *("setup_commands", "initialization_commands", "head_setup_commands"),
        *("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
        *("rsync_exclude", "rsync_filter", "cluster_synced_files"),
    )
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0, "min_workers": 0}
    return {
        "cluster_name": "rayorch-test",
        "max_workers": sum(each["max_workers"] for each in types.values()),
        "idle_timeout_minutes": idle_s / 60.0,
        "upscaling_speed": 1.0,
        "provider": {
            "type": "external",
            "module": f"{__name__}.{Provider.__name__}",
            "gcs_address": address,
            "launch_multiple": True,
            "head_node_id": HEAD_ID,
        },
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "head_node_type": HEAD_TYPE,
        "available_node_types": {HEAD_TYPE: head, **types},
        **{name: [] for name in lists},
    }
