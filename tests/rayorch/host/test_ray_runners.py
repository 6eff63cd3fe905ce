"""The room that a cluster's machines have for runners of a size."""

from rayorch.core.commands import EnsureRunners
from rayorch.core.places import Placed, Places
from rayorch.core.sizes import Size
from rayorch.host.nodes import Machine
from rayorch.host.ray_runners import room_for
from rayorch.ids import EventId, NodeId, RunId

GIB = 1 << 30
NONE: frozenset[NodeId] = frozenset()


def machine(name: str, *, pool: str = "local", gpus: float = 0.0, gib: int = 16) -> Machine:
    return Machine(node=NodeId(name), pool=pool, cores=4.0, memory_bytes=gib * GIB, gpus=gpus)


def room(size: Size, *machines: Machine, pool: str = "", on: tuple[Placed, ...] = ()) -> Places:
    command = EnsureRunners(EventId(1), RunId("r"), *size[:2], 9, pool, size.gpus)
    return room_for(command, {each.node: each for each in machines}, NONE, on)


def test_memory_and_cores_limit_how_many_runners_there_are_at_once() -> None:
    assert room(Size(1.0, GIB), machine("a")).fit == 4
    assert room(Size(1.0, 6 * GIB), machine("a")).fit == 2
    assert room(Size(3.0, GIB), machine("a"), machine("b")).fit == 2


def test_what_others_have_is_not_free() -> None:
    on = (Placed(Size(2.0, 4 * GIB), NodeId("a")),)

    assert room(Size(1.0, 6 * GIB), machine("a"), on=on)[:2] == (2, 2)
    assert room(Size(1.0, GIB), machine("a"), on=on)[:2] == (4, 2)
    # Of one that has not joined nobody knows the node.
    assert room(Size(1.0, GIB), machine("a"), on=(Placed(Size(2.0, GIB), NodeId("")),)).free == 3


def test_what_needs_no_gpu_keeps_off_machines_that_have_some() -> None:
    some = (machine("plain"), machine("device", gpus=1.0))

    assert room(Size(1.0, GIB), *some) == (4, 4, frozenset({NodeId("device")}))
    assert room(Size(1.0, GIB, 0.5), *some) == (2, 2, NONE)


def test_where_no_other_machine_is_large_enough_one_with_a_gpu_serves() -> None:
    some = (machine("plain", gib=2), machine("device", gpus=1.0))

    assert room(Size(1.0, 8 * GIB), *some) == (2, 2, NONE)


def test_only_machines_of_the_pool_that_was_asked_for_count() -> None:
    some = (machine("a", pool="one"), machine("b", pool="two"))

    assert room(Size(1.0, GIB), *some, pool="two").fit == 4
