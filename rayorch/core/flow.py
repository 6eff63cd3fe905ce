"""The volatile side of a run: what of it is ready and waits, who has it, and what is expected."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rayorch.core.facts import PlacementReady
from rayorch.core.queues import ReadyQueue, Routes
from rayorch.core.task import TaskState
from rayorch.core.values import StageShape

if TYPE_CHECKING:
    from rayorch.core.leasing import Kind
    from rayorch.core.placed import NodesWanted
    from rayorch.ids import RunnerId, TaskId


class Flow:
    """The volatile side of a run: what is ready, what waits, what is expected of a task."""

    __slots__ = (
        "aside",
        "asked",
        "barren",
        "collected",
        "cores",
        "counts",
        "cutting",
        "dear",
        "done",
        "draining_since_s",
        "given",
        "held",
        "held_due_s",
        "is_due",
        "is_held",
        "lanes",
        "limited",
        "memory_bytes",
        "on",
        "paces",
        "peers",
        "planning",
        "publish_due_s",
        "publishing",
        "ready",
        "rescuers",
        "review_due_s",
        "routes",
        "second",
        "seconds",
        "seen",
        "served_s",
        "solving",
        "straggle_due_s",
        "stranded",
        "stranded_due_s",
        "suspects",
        "sweeping",
        "unserved",
        "waiting",
        "wanted",
    )

    def __init__(
        self, stages: Sequence[StageShape], placement: PlacementReady | None = None
    ) -> None:
        # What a runner must have: fused or not, it may get a task of every stage.
        self.cores = max((stage.cores for stage in stages), default=0.0)
        self.memory_bytes = max((stage.memory_bytes for stage in stages), default=0)
        # Tasks by state, for each stage: kept along, since to count a million takes a while.
        self.counts: list[dict[TaskState, int]] = [dict.fromkeys(TaskState, 0) for _ in stages]
        self.done: dict[int, int] = {}  # class -> committed tasks, kept along likewise
        self.routes = Routes(placement)
        self.ready = ReadyQueue()
        self.suspects = ReadyQueue()
        # Stages that use outside resources -> ready and suspects of their own: what they wait for
        # keeps nobody else waiting.
        self.limited = {
            number: (ReadyQueue(), ReadyQueue())
            for number, stage in enumerate(stages)
            if stage.uses
        }
        # Ready tasks and suspects, by stage; the common ones first, as of -1.
        self.lanes: list[tuple[int, ReadyQueue, ReadyQueue]] = [
            (-1, self.ready, self.suspects),
            *((stage, *queues) for stage, queues in self.limited.items()),
        ]
        self.waiting: list[tuple[float, TaskId]] = []  # heap of (until_s, task)
        # Of tasks that an earlier attempt committed, or came back to: the last one that was leased.
        self.given: dict[TaskId, int] = {}
        self.held = 0  # tasks leased or running
        self.on: dict[RunnerId, int] = {}  # runners -> how many of the run's leases they have
        self.barren: set[Kind] = set()  # runners of these kinds have found nothing ready
        # pool -> pools whose runners serve the same classes, and when that was true of the cluster.
        self.peers: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.served_s = 0.0  # when it was given a lease last, or had nothing to be given
        self.straggle_due_s = 0.0
        self.stranded: tuple[int, ...] = ()  # classes without a runner of their own, and
        self.rescuers: frozenset[str] = frozenset()  # pools that may serve them, too
        self.stranded_due_s = 0.0
        self.seconds: dict[int, float] = {}  # stage -> moving average of an attempt's seconds
        self.paces: dict[tuple[int, RunnerId], float] = {}  # the same of a stage on one runner
        self.second: dict[TaskId, tuple[RunnerId, RunnerId]] = {}  # stragglers -> who runs them
        self.cutting: dict[TaskId, float] = {}  # stragglers that were asked to be cut, and when
        self.draining_since_s = 0.0
        self.publishing: set[int] = set()
        self.publish_due_s: dict[int, float] = {}
        self.sweeping = False
        self.planning: set[int] = set()  # stages that are being planned
        self.collected: set[int] = set()  # stages whose input is deleted, or is being
        self.aside: dict[int, list[TaskId]] = {}  # stage -> ready tasks that wait for lost input
        # Of its rule: whether it waits, pools that are too dear, whether it is late, the next look.
        self.is_held = False
        self.dear: frozenset[str] = frozenset()
        self.is_due = False
        self.held_due_s = 0.0
        # Of the placement: whether it is being looked at, when next, and what it asked for last.
        self.solving = False
        self.review_due_s = 0.0
        self.wanted: dict[str, int] = {}
        self.asked: tuple[NodesWanted, ...] = ()  # of the autoscaler
        self.seen: dict[int, tuple[int, float]] = {}  # class -> attempts, measured / expected
        self.unserved: dict[int, float] = {}  # class -> since when no runner of its pools lives

    @property
    def open_count(self) -> int:
        """How many tasks are ready."""
        count = 0
        for _, ready, suspects in self.lanes:
            count += ready.size + suspects.size
        return count

    def offered(self, at_s: float) -> None:
        """Note that something became ready."""
        self.barren.clear()
        if not self.open_count:
            self.served_s = at_s  # Nobody waited for anything until now.
