"""The node table of the Ray cluster that this process belongs to."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import ray

from rayorch.errors import ClusterError
from rayorch.host.nodes import Machine, Machines
from rayorch.ids import NodeId
from rayorch.plan.labels import (
    MARKET_LABEL,
    SPOT,
    LabelProblem,
    facts_of_labels,
    pool_of_labels,
)

NODE_LABEL: Final = "ray.io/node-id"
HEAD: Final = "node:__internal_head__"
"""What Ray says that a head has."""


def ray_machines() -> Machines:
    """Return the nodes that live. Raises: ClusterError, while the head does not answer."""
    try:
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        # No public call says it; Ray's own libraries ask here, too.
        until_ms: dict[str, int] = ray._private.state.state.get_draining_nodes()  # noqa: SLF001
    except (ray.exceptions.RayError, RuntimeError) as error:
        raise ClusterError("the head", f"its node table cannot be read: {error}") from error
    return {
        machine.node: machine
        for machine in (_machine(node, until_ms) for node in nodes if node["Alive"])
    }


def control_places(nodes: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the labels of where a control actor should be, the best place first.

    With the head, whose end is that of the cluster; else where nobody takes the machine back.
    """
    heads = [node["NodeID"] for node in nodes if node["Alive"] and HEAD in node["Resources"]]
    return [*({NODE_LABEL: head} for head in heads), {MARKET_LABEL: f"!{SPOT}"}, {}]


def _machine(node: Mapping[str, Any], until_ms: Mapping[str, int]) -> Machine:
    name, resources = node["NodeID"], node["Resources"]
    return Machine(
        node=NodeId(name),
        pool=pool_of_labels(node["Labels"]),
        cores=resources.get("CPU", 0.0),
        memory_bytes=int(resources.get("memory", 0)),
        gpus=resources.get("GPU", 0.0),
        labels=node["Labels"],
        until_s=until_ms[name] / 1e3 if name in until_ms else None,
        usd_h=_usd_h(node["Labels"]),
    )


def _usd_h(labels: Mapping[str, str]) -> float | None:
    try:
        usd_h = facts_of_labels(labels).get("usd_h")
    except LabelProblem:
        # Whoever places on it is told; what is no price is not known here.
        return None
    return float(usd_h) if usd_h is not None else None
