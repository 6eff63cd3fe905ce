"""A cluster file made small: which nodes stand for it on this machine, and what its pools are then.

An emulated node has the labels and resources of its node type, but no more slots than this machine
can bear; its price is then as much smaller. Unlike speeds become unlike shares of this machine's
cores: `cores_used` of a node is what all its runners together may use.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from rayorch.errors import PoolsError, near_miss
from rayorch.plan.labels import POOL_LABEL
from rayorch.plan.machines import Described, Machine
from rayorch.plan.pool_files import PoolFile
from rayorch.plan.pools import UNKNOWN_BYTES, PoolsSpec

SLOTS_USUAL: Final = 2
"""Of an emulated node: each slot is a process of 130 MB."""
NODES_MAX: Final = 50
"""Each is a Ray node with all that belongs to it: some processes, and seconds to start them."""
NODE_LABEL: Final = "emulated-node"
"""The label by which an emulated node is told from the others of its pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedSpec:
    """A node to start. `cores_used` is what it may use of this machine; 0: as much as there is."""

    name: str
    pool: str
    slots: int
    gpus: int
    memory_bytes: int | None
    labels: Mapping[str, str]
    speed: float
    cores_used: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulation:
    """The nodes that stand for a cluster file, and its pools as small as they are."""

    file: str
    nodes: tuple[EmulatedSpec, ...]
    pools: PoolsSpec

    @property
    def has_unlike_speeds(self) -> bool:
        """Whether some node is slower than another."""
        return len({node.speed for node in self.nodes}) > 1


def emulation_of(
    file: PoolFile, cores: int, *, sizes: Mapping[str, int] | None = None, slots_max: int | None
) -> Emulation:
    """Return how a cluster file is emulated on a machine with so many cores.

    `sizes` has the nodes of a pool, else its node types' `min_workers` are.
    Raises: PoolsError, when the file is no cluster file, a pool is not in it, or no node is left.
    """
    if file.kind != "cluster":
        problem = "only a cluster file can be emulated, one with `available_node_types`"
        raise PoolsError(problem, file.file, "", "")
    counts = _counts(file, sizes or {})
    limit = SLOTS_USUAL if slots_max is None else slots_max
    machines = {machine.name: machine for machine in file.machines}
    nodes = [
        _node(each, machines[each.machines[number % len(each.machines)]], number, limit)
        for each in file.described
        for number in range(counts[each.spec.name])
    ]
    pools = [
        each.spec.model_copy(update=_smaller(each, counts[each.spec.name], limit))
        for each in file.described
        if counts[each.spec.name]
    ]
    return Emulation(
        file=file.file,
        nodes=tuple(_shared(nodes, cores)),
        pools=file.spec.model_copy(update={"pools": pools, "data_location": file.spec.source}),
    )


def parsed_sizes(text: str) -> dict[str, int]:
    """Return the nodes of each pool, of `spot=2,steady=1`. Raises: ValueError."""
    sizes: dict[str, int] = {}
    for part in text.split(","):
        pool, equals, count = part.strip().partition("=")
        if not equals or not pool or not count.isdecimal():
            raise ValueError("nodes are like spot=2,steady=1")
        sizes[pool] = int(count)
    return sizes


def _counts(file: PoolFile, sizes: Mapping[str, int]) -> dict[str, int]:
    counts = {each.spec.name: each.nodes_min for each in file.described}
    for pool in sizes:
        if pool not in counts:
            hint = near_miss(pool, counts) or f"there are: {', '.join(counts)}"
            raise PoolsError(f"no such pool; {hint}", file.file, "--emulate-nodes", pool)
    if sizes:
        counts = {pool: sizes.get(pool, 0) for pool in counts}
    total = sum(counts.values())
    if not total:
        first = next(iter(counts))
        problem = f"no node is left to emulate: `min_workers` are all 0; --emulate-nodes {first}=1"
        raise PoolsError(problem, file.file, "min_workers", "")
    if total > NODES_MAX:
        problem = f"at most {NODES_MAX} nodes are emulated on one machine"
        raise PoolsError(problem, file.file, "--emulate-nodes", str(total))
    return counts


def _node(pool: Described, machine: Machine, number: int, slots_max: int) -> EmulatedSpec:
    spec = pool.spec
    slots = _slots(spec.vcpu, slots_max)
    name = f"{spec.name}-{number}"
    memory = None if spec.memory >= UNKNOWN_BYTES else int(spec.memory * slots / spec.vcpu)
    return EmulatedSpec(
        name=name,
        pool=spec.name,
        slots=slots,
        gpus=int(spec.gpus),
        memory_bytes=memory,
        labels={**machine.labels, POOL_LABEL: spec.name, NODE_LABEL: name},
        speed=spec.speed,
    )


def _slots(vcpu: float, slots_max: int) -> int:
    return max(1, min(int(vcpu), slots_max))


def _smaller(pool: Described, nodes: int, slots_max: int) -> dict[str, object]:
    """Return what is different of a pool whose nodes have fewer slots, and run already."""
    spec = pool.spec
    slots = _slots(spec.vcpu, slots_max)
    part = slots / spec.vcpu
    return {
        "vcpu": float(slots),
        "usd_h": None if spec.usd_h is None else spec.usd_h * part,
        "memory": spec.memory if spec.memory >= UNKNOWN_BYTES else int(spec.memory * part),
        "max_nodes": nodes,
    }


def _shared(nodes: list[EmulatedSpec], cores: int) -> list[EmulatedSpec]:
    """Divide this machine's cores by slots and speed, so that the fastest slot has one at most.

    All at once they ask for no more than there is: else the fast would be as slow as the slow.
    """
    wanted = sum(node.slots * node.speed for node in nodes)
    fastest = max(node.speed for node in nodes)
    unit = min(1.0 / fastest, cores / wanted)
    return [replace(node, cores_used=node.slots * node.speed * unit) for node in nodes]
