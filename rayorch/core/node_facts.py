"""What happens to machines. Volatile, but for what they cost: whoever leads next looks anew."""

from rayorch.core.placed import NodeWindow
from rayorch.core.wire import Wire
from rayorch.ids import NodeId


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
