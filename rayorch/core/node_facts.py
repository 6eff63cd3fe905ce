"""What happens to machines. What they cost and why one was refused is durable, the rest is not."""

from rayorch.core.placed import NodeWindow
from rayorch.core.wire import Wire
from rayorch.ids import NodeId, RunId, RunnerId


class NodeJoined(Wire, frozen=True):
    """A machine is there: its runners can be asked for."""

    node: NodeId
    pool: str
    cores: float
    memory_bytes: int = 0
    gpus: float = 0.0
    usd_h: float | None = None  # by its own account


class NodeDraining(Wire, frozen=True):
    """A machine is going to be taken away: nothing new goes there, and what runs is to end soon.

    `until_s` is when it goes, on the wall clock; 0: nobody said.
    """

    node: NodeId
    pool: str
    reason: str = ""
    until_s: float = 0.0


class NodeLost(Wire, frozen=True):
    """A machine is gone. What ran there is told of by `RunnerLost`."""

    node: NodeId
    pool: str
    reason: str = ""


class NodesMetered(Wire, frozen=True):
    """What some nodes did since they were last metered: what they cost is paid by who used them."""

    windows: tuple[NodeWindow, ...]


class PoolIdled(Wire, frozen=True):
    """What runners waited for a run, in journals of before nodes were metered. Made no more."""

    run: RunId
    pool: str
    core_s: float


class RunnerRefused(Wire, frozen=True):
    """A runner is not used: it runs other code than whoever leads, or cannot begin.

    `cores_left` are on machines of which nothing of that kind is known.
    """

    runner: RunnerId
    node: NodeId
    pool: str
    reason: str = ""
    cores_left: int = 0


class NodeWithdrawn(Wire, frozen=True):
    """A node that the run works on is being taken back. `running` are tasks that it was at.

    Made by the machine, of `NodeDraining`: it is a part of the run's story.
    """

    run: RunId
    node: NodeId
    pool: str
    reason: str = ""
    running: int = 0
