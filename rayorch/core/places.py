"""The room that machines have for runners: what whoever starts them goes by.

Shared by the executor of Ray and by trials (`rayorch.sim`), so that a simulated machine has the
runners that a real one would have.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from rayorch.core.commands import EnsureRunners
from rayorch.core.sizes import Size
from rayorch.ids import NodeId


class Placed(NamedTuple):
    """A runner that was asked for, and its node; "" until anybody knows where it is."""

    size: Size
    node: NodeId


class Missing(NamedTuple):
    """Runners that are asked for and not there: all of them, and those to start now."""

    wanted: int
    start: int


class Places(NamedTuple):
    """Where runners of a size may be: how many fit, how many of them now, and nodes to keep off."""

    fit: int
    free: int
    kept_off: frozenset[NodeId]

    def missing(self, command: EnsureRunners, own: Collection[Placed], others: int = 0) -> Missing:
        """Return how many runners a command asks for beyond `own`, those of its pool.

        `others` are on machines that other runs have asked for.
        """
        # Where nothing says which pool, somebody may know of machines that are larger.
        wanted = min(max(self.fit, not command.pool), command.count_max + others)
        fits = sum(each.size.serves(command.size) for each in own)
        # Those of another size have their place until the core lets go of them. One is asked for
        # all the same where there is none: it is the next to get a place, before any smaller one.
        return Missing(wanted - fits, min(wanted - fits, max(self.free + others, not fits)))


def places(size: Size, machines: Mapping[NodeId, Size], own: Collection[Placed]) -> Places:
    """Return the room for runners of a size on some machines.

    What needs no GPU keeps off machines that have some, unless no others are large enough.
    """
    able = {node: machine for node, machine in machines.items() if machine.holds(size)}
    plain = {node: machine for node, machine in able.items() if not machine.gpus}
    kept_off: frozenset[NodeId] = frozenset()
    if plain and not size.gpus:
        kept_off = frozenset(able.keys() - plain.keys())
        able = plain
    on: dict[NodeId, list[Size]] = {}
    for each in own:
        on.setdefault(each.node, []).append(each.size)
    # Nobody knows yet where those will be that have not joined.
    free = -len(on.get(NodeId(""), ()))
    for node, machine in able.items():
        free += machine.without(on.get(node, ())).holds(size)
    return Places(sum(machine.holds(size) for machine in able.values()), free, kept_off)
