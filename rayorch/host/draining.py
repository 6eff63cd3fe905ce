"""Says of a node of the Ray cluster that it is going to be taken away."""

from typing import Any, Final

import ray

PREEMPTION: Final = 2
"""Ray's number for a drain that is announced and not asked for (`DrainNodeReason`)."""


def drain(node: str, reason: str, until_s: float) -> None:
    """Say that a node is going to be taken away: Ray starts nothing there any more."""
    worker: Any = ray._private.worker.global_worker  # noqa: SLF001 - no public call says it.
    worker.gcs_client.drain_node(node, PREEMPTION, reason, int(until_s * 1e3))
