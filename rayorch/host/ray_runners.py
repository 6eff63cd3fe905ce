"""What the Ray executor knows of a runner, and the machines on which it may start one."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import ray

from rayorch.core.commands import EnsureRunners
from rayorch.core.places import Placed, Places, places
from rayorch.core.sizes import Size
from rayorch.core.values import FailureKind
from rayorch.host.actors import ORDERS
from rayorch.host.nodes import Machines
from rayorch.host.ray_nodes import NODE_LABEL
from rayorch.host.runner_actor import RunnerSpec
from rayorch.ids import NodeId
from rayorch.plan.labels import LOCAL, POOL_LABEL

_CREATION: Final = "creation task"
"""How Ray says that what failed was the start of an actor."""


class KnownRunner:
    """A runner as the executor knows it."""

    __slots__ = (
        "cut",
        "enqueue",
        "fresh",
        "handle",
        "heard_s",
        "joined",
        "node",
        "pool",
        "revoke",
        "size",
    )

    def __init__(
        self,
        handle: Any,  # noqa: ANN401 - Ray's handles have no type.
        spec: RunnerSpec,
        heard_s: float,
        *,
        fresh: bool,
    ) -> None:
        self.handle = handle
        self.fresh = fresh  # started by this control actor, not found
        self.pool = spec.pool
        self.enqueue = handle.enqueue.options(concurrency_group=ORDERS)
        self.cut = handle.cut.options(concurrency_group=ORDERS)
        self.revoke = handle.revoke.options(concurrency_group=ORDERS)
        self.size = spec.size
        self.heard_s = heard_s
        self.joined = False
        self.node = NodeId("")  # until it has joined

    def stays(self, machines: Machines) -> bool:
        """Say whether nobody takes its machine away."""
        machine = machines.get(self.node)
        return machine is None or not machine.is_draining


def cores_by_pool(machines: Machines, barred: frozenset[NodeId]) -> dict[str, int]:
    """Return the cores by pool of the machines that stay and can be used."""
    cores: dict[str, float] = {}
    for machine in machines.values():
        if not machine.is_draining and machine.node not in barred:
            cores[machine.pool] = cores.get(machine.pool, 0.0) + machine.cores
    # A head without cores of its own is a machine that no runner fits on.
    return {pool: int(count) for pool, count in sorted(cores.items()) if count >= 1.0}


def sizes_by_pool(machines: Machines, barred: frozenset[NodeId]) -> dict[str, list[Size]]:
    """Return the sizes, by pool, of the machines that stay and can be used."""
    sizes: dict[str, list[Size]] = {}
    for machine in machines.values():
        if not machine.is_draining and machine.node not in barred and machine.cores >= 1.0:
            sizes.setdefault(machine.pool, []).append(machine.size)
    return sizes


def room_for(
    command: EnsureRunners,
    machines: Machines,
    barred: frozenset[NodeId],
    own: Collection[Placed],
) -> Places:
    """Return the room for runners on the machines that stay, and nodes to keep off."""
    usable = {
        machine.node: machine.size
        for machine in machines.values()
        if command.pool in {"", machine.pool}
        and not machine.is_draining
        and machine.node not in barred
    }
    room = places(command.size, usable, own)
    return room._replace(kept_off=room.kept_off | barred)


def selector(pool: str, pools: Mapping[str, int]) -> dict[str, str]:
    """Return what a node's labels must be for it to be of a pool."""
    if pool != LOCAL:
        return {POOL_LABEL: pool} if pool else {}
    # Nodes without the label are of this pool, too.
    others = [name for name in pools if name != LOCAL]
    return {POOL_LABEL: f"!in({','.join(others)})"} if others else {}


def all_but(barred: frozenset[NodeId]) -> dict[str, str]:
    """Return what keeps a runner off some nodes."""
    return {NODE_LABEL: f"!in({','.join(sorted(barred))})"} if barred else {}


def kind_of_end(error: BaseException | None) -> FailureKind:
    """Return what the end of a runner's process counts as."""
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "oom"
    if getattr(error, "preempted", False):
        return "preempted"
    return "lost"


def why_stillborn(error: BaseException | None) -> str:
    """Return why a runner's process could not begin; nothing, where it ended later or was ended."""
    if not isinstance(error, ray.exceptions.ActorDiedError) or _CREATION not in str(error):
        return ""
    return str(error).strip().splitlines()[-1].strip()
