"""Where a control actor should be, by Ray's table of nodes."""

from typing import Any

from rayorch.host.ray_nodes import HEAD, control_places


def node(
    name: str, resources: dict[str, float] | None = None, *, alive: bool = True
) -> dict[str, Any]:
    return {
        "NodeID": name,
        "Alive": alive,
        "Labels": {},
        "Resources": {"CPU": 1.0} | (resources or {}),
    }


ELSEWHERE = [{"ray.io/market-type": "!spot"}, {}]


def test_a_control_actor_belongs_to_the_head_and_else_where_no_machine_is_taken_back() -> None:
    head = node("h", {HEAD: 1.0})

    assert control_places([node("a"), head]) == [{"ray.io/node-id": "h"}, *ELSEWHERE]
    assert control_places([node("old", {HEAD: 1.0}, alive=False), node("a")]) == ELSEWHERE
