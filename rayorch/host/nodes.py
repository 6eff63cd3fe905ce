"""The machines of a cluster: what has changed since the last look at them becomes facts.

Ray tells nobody that a node is going to be taken away; whoever wants to know looks. This is the one
place that does, about twice a second.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rayorch.core.facts import Fact
from rayorch.core.node_facts import NodeDraining, NodeJoined, NodeLost
from rayorch.core.sizes import Size
from rayorch.errors import ClusterError
from rayorch.ids import NodeId

WATCH_S: Final = 0.5
SHARE_MAX: Final = 0.1
"""Of a core, for looking: the table of ten thousand nodes takes a while to read."""
GONE: Final = "it is not in the node table any more"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A node as the cluster has it now. Units: `until_s` wall clock, None where it stays."""

    node: NodeId
    pool: str
    cores: float
    memory_bytes: int = 0
    gpus: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    until_s: float | None = None
    usd_h: float | None = None

    @property
    def size(self) -> Size:
        """How large it is."""
        return Size(self.cores, self.memory_bytes, self.gpus)

    @property
    def is_draining(self) -> bool:
        """Whether it is going to be taken away."""
        return self.until_s is not None


Machines = Mapping[NodeId, Machine]


def changes(before: Machines, after: Machines) -> list[Fact]:
    """Return what became of the machines between two looks."""
    facts: list[Fact] = [
        NodeLost(node, machine.pool, "it was taken away" if machine.is_draining else GONE)
        for node, machine in before.items()
        if node not in after
    ]
    for node, machine in after.items():
        known = before.get(node)
        if known is None:
            facts.append(
                NodeJoined(
                    node,
                    machine.pool,
                    machine.cores,
                    machine.memory_bytes,
                    machine.gpus,
                    machine.usd_h,
                )
            )
        if machine.is_draining and not (known is not None and known.is_draining):
            facts.append(NodeDraining(node, machine.pool, "Ray drains it", machine.until_s or 0.0))
    return facts


class NodeWatch:
    """Looks at the machines from a thread of its own, and tells of what has changed."""

    def __init__(
        self, look: Callable[[], Machines], tell: Callable[[Sequence[Fact]], None]
    ) -> None:
        self._look = look
        self._tell = tell
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._machines: Machines = {}
        self._thread = threading.Thread(target=self._watch, name="rayorch-nodes", daemon=True)

    @property
    def machines(self) -> Machines:
        """What the last look found."""
        return self._machines

    def start(self) -> None:
        """Look once, so that what is there is known, and go on looking."""
        self.refresh()
        self._thread.start()

    def refresh(self) -> Machines:
        """Look now, and tell of what has changed. Any thread."""
        # One look at a time: two that overtake each other would tell of what is over.
        with self._lock:
            found = self._look()
            news, self._machines = changes(self._machines, found), found
            if news:
                self._tell(news)
        return found

    def close(self) -> None:
        """Look no more."""
        self._ending.set()

    def _watch(self) -> None:
        pause_s = WATCH_S
        while not self._ending.wait(pause_s):
            cpu_s = time.thread_time()
            try:
                self.refresh()
            except ClusterError as error:
                # The head is away: what was seen last holds until it is back.
                logger.warning("cannot look at the nodes. reason=%s", error)
            # Not by the wall: a busy machine would look so seldom that a notice is over.
            pause_s = max(WATCH_S, (time.thread_time() - cpu_s) / SHARE_MAX)
