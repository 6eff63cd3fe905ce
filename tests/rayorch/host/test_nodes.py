"""What becomes of machines between two looks; where they are looked at is played by the test."""

import threading
from collections.abc import Sequence

import pytest

from rayorch.core.facts import Fact
from rayorch.core.node_facts import NodeDraining, NodeJoined, NodeLost
from rayorch.errors import ClusterError
from rayorch.host.nodes import Machine, Machines, NodeWatch, changes
from rayorch.ids import NodeId

A, B = NodeId("a"), NodeId("b")


def machines(*found: Machine) -> Machines:
    return {machine.node: machine for machine in found}


def machine(node: NodeId = A, until_s: float | None = None) -> Machine:
    return Machine(node=node, pool="spot", cores=4.0, gpus=1.0, until_s=until_s)


def test_a_machine_that_was_not_there_has_joined() -> None:
    assert changes({}, machines(machine())) == [NodeJoined(A, "spot", 4.0, gpus=1.0)]


def test_one_that_is_drained_is_told_of_once() -> None:
    drained = machines(machine(until_s=7.0))

    assert changes(machines(machine()), drained) == [NodeDraining(A, "spot", "Ray drains it", 7.0)]
    assert changes(drained, drained) == []


def test_one_that_joins_while_it_is_drained_is_both() -> None:
    """As all are to a control actor that has just begun."""
    facts = changes({}, machines(machine(until_s=0.0)))

    assert [type(fact) for fact in facts] == [NodeJoined, NodeDraining]


def test_one_that_is_not_in_the_table_any_more_is_lost() -> None:
    facts = changes(machines(machine(until_s=1.0), machine(B)), {})

    assert [(type(f), f.reason) for f in facts if isinstance(f, NodeLost)] == [
        (NodeLost, "it was taken away"),
        (NodeLost, "it is not in the node table any more"),
    ]


def test_the_watch_tells_what_a_look_found_and_goes_on_when_one_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The head of a cluster may be away for a minute; what was seen last holds meanwhile."""
    looks: list[Machines | Exception] = [
        {},
        ClusterError("the head", "no head"),
        machines(machine()),
    ]
    told, heard = threading.Event(), list[Fact]()

    def look() -> Machines:
        found = looks.pop(0) if len(looks) > 1 else looks[0]
        if isinstance(found, Exception):
            raise found
        return found

    def tell(facts: Sequence[Fact]) -> None:
        heard.extend(facts)
        told.set()

    watch = NodeWatch(look, tell)
    watch.start()
    assert told.wait(30.0)
    watch.close()

    assert heard == [NodeJoined(A, "spot", 4.0, gpus=1.0)]
    assert set(watch.machines) == {A}
    assert "no head" in caplog.text
