"""What happens to machines. Volatile: whoever leads next looks for itself."""

from rayorch.core.wire import Wire
from rayorch.ids import NodeId


class NodeJoined(Wire, frozen=True):
    """A machine is there: its runners can be asked for."""

    node: NodeId
    pool: str
    cores: float
    memory_bytes: int = 0
    gpus: float = 0.0


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
