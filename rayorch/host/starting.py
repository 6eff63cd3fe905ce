"""How long runners take until they have work: from when they were asked for, or could be."""

from typing import Final

from rayorch.core.facts import AttemptStarted, Event, RunnerJoined, RunnerLost
from rayorch.core.node_facts import NodeJoined, NodeLost
from rayorch.ids import NodeId, RunnerId

AT_ONCE_S: Final = 0.5
"""What begins so soon after its runner was free had been waiting for it."""


class Starts:
    """Machines and runners that are there, and since when."""

    def __init__(self) -> None:
        self._nodes: dict[NodeId, float] = {}
        self._joined: dict[RunnerId, tuple[NodeId, float]] = {}

    def saw(self, event: Event) -> None:
        """Note who comes and who goes."""
        match event.fact:
            case NodeJoined(node=node):
                self._nodes.setdefault(node, event.at_s)
            case NodeLost(node=node):
                self._nodes.pop(node, None)
            case RunnerJoined(runner=runner, node=node):
                self._joined.setdefault(runner, (node, event.at_s))
            case RunnerLost(runner=runner):
                self._joined.pop(runner, None)
            case _:
                pass

    def took_s(self, first: AttemptStarted, at_s: float, planned_s: float) -> float:
        """Return what passed before a runner's first attempt of a run that was planned then.

        Where its machine came later, it counts from there. One that had joined and waited on had
        its turn later, or there was nothing for it before: that is not a start.
        """
        node, joined_s = self._joined.get(first.runner, (NodeId(""), 0.0))
        ready_s = max(planned_s, joined_s)
        begun_s = at_s if at_s - ready_s < AT_ONCE_S else ready_s
        return max(0.0, begun_s - max(planned_s, self._nodes.get(node, 0.0)))
