"""A program that prints what the head of a cluster was told of health checks, as JSON.

`health_checks.head_settings` starts it, and has the reason.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from rayorch.errors import ClusterError
from rayorch.host.health_checks import LOOK_S_MAX, RAYS_OWN
from rayorch.host.ray_cluster import connect, import_ray, set_environment


def _asked_there(address: str) -> dict[str, Any]:
    """Have the head look at its own GCS. Raises: ClusterError."""
    set_environment(address)
    # It begins with an import of Ray, which reads its settings then.
    from rayorch.host.actors import head_task  # noqa: PLC0415

    connect(address)
    ray = import_ray()
    port = str(ray.get_runtime_context().gcs_address).rpartition(":")[2]
    found: dict[str, Any] | None = ray.get(head_task(_reader()).remote(port), timeout=LOOK_S_MAX)
    if found is None:
        raise ClusterError(address, f"the head has no process that was started for port {port}")
    return {name: value for name, value in found.items() if name in RAYS_OWN}


def _reader() -> Callable[[str], dict[str, Any] | None]:
    """Return what looks at the GCS of a port, by value: a head need not have rayorch."""

    def read(port: str) -> dict[str, Any] | None:
        import base64  # noqa: PLC0415 - executed elsewhere, where this module is not.
        import json  # noqa: PLC0415
        from pathlib import Path  # noqa: PLC0415

        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                is_it = words[0].endswith("gcs_server") and f"--gcs_server_port={port}" in words
                lines = (process / "environ").read_bytes().split(b"\0") if is_it else []
            except OSError:
                continue  # It has ended meanwhile, or is somebody else's.
            if not is_it:
                continue
            told: dict[str, Any] = {}
            for word in words:
                if word.startswith("--config_list="):
                    told |= json.loads(base64.b64decode(word.partition("=")[2]) or "{}")
            environment = (line.decode(errors="replace").partition("=") for line in lines)
            told |= {n.removeprefix("RAY_"): v for n, _, v in environment if n.startswith("RAY_")}
            return told
        return None

    return read


if __name__ == "__main__":
    print(json.dumps(_asked_there(sys.argv[1])))  # noqa: T201 - read by who started it.
