"""The pools of a cluster as its living nodes describe them by their labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rayorch.errors import PoolsError
from rayorch.host.ray_cluster import connect, import_ray
from rayorch.plan.machines import Described, Machine, described_pools
from rayorch.plan.prices import Fact

LiveNode = Machine
"""A node that lives; a pool is made of it as it is of a node type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePool:
    """The living nodes of a pool. `problem` says why their labels describe none."""

    pool: str
    nodes: int
    slots: int
    described: Described | None
    problem: str = ""


def live_nodes(address: str | None) -> list[LiveNode]:
    """Return the nodes that live on the cluster at an address. Raises: ClusterError."""
    connect(address)
    nodes: list[dict[str, Any]] = import_ray().nodes()
    return [machine_of(node) for node in nodes if node["Alive"]]


def machine_of(node: dict[str, Any]) -> Machine:
    """Return a node of Ray's node table as a machine."""
    name = f"node {node['NodeID'][:8]}"
    source = f"resources of {name}"
    resources = node["Resources"]
    given = {
        "vcpu": Fact(resources.get("CPU", 0.0), source),
        "gpus": Fact(resources.get("GPU", 0.0), source),
    }
    if "memory" in resources:
        given["memory"] = Fact(resources["memory"], source)
    return Machine(name=name, labels=node["Labels"], given=given)


def live_pools(nodes: Sequence[LiveNode]) -> list[LivePool]:
    """Return the pools of living nodes; one that cannot be described hides none of the others."""
    members: dict[str, list[Machine]] = {}
    for node in nodes:
        members.setdefault(node.pool, []).append(node)
    return [_live_pool(pool, some) for pool, some in sorted(members.items())]


def _live_pool(pool: str, nodes: Sequence[Machine]) -> LivePool:
    slots = sum(int(float(node.given["vcpu"].value)) for node in nodes)
    described, problem = None, ""
    try:
        # What Ray finds of memory differs by some bytes from node to node.
        found = described_pools(_alike_in_memory(nodes))
        described = found[0] if found else None
    except PoolsError as error:
        problem = str(error)
    return LivePool(pool=pool, nodes=len(nodes), slots=slots, described=described, problem=problem)


def _alike_in_memory(nodes: Sequence[Machine]) -> list[Machine]:
    said = [node.given["memory"] for node in nodes if "memory" in node.given]
    if len(said) < len(nodes):
        return list(nodes)
    least = min(said, key=lambda fact: float(fact.value))
    return [
        Machine(name=node.name, labels=node.labels, given={**node.given, "memory": least})
        for node in nodes
    ]
