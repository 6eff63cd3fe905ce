"""The volatile side of a run: what is ready, by the runner that it needs, and who has what."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rayorch.core.facts import PlacementReady
from rayorch.core.near import NO_KEY, Keys
from rayorch.core.placed import NodesWanted, RunnersWanted
from rayorch.core.queues import ReadyQueue, Routes
from rayorch.core.sizes import Size
from rayorch.core.task import TaskState
from rayorch.core.values import StageShape

if TYPE_CHECKING:
    from rayorch.core.leasing import Kind
    from rayorch.ids import RunnerId, TaskId

Wanted = dict[tuple[str, Size], int]
"""How many runners of a size are wanted in a pool."""


class Lane(NamedTuple):
    """Ready tasks and suspects of stages that need runners of one size.

    Stages that use outside resources have one each: what they wait for keeps nobody else waiting.
    """

    stage: int  # -1: all of that size that use nothing outside
    size: Size
    ready: ReadyQueue
    suspects: ReadyQueue

    @property
    def open_count(self) -> int:
        """How many tasks are queued."""
        return self.ready.size + self.suspects.size

    def classes(self) -> set[int]:
        """Return the classes of what is queued."""
        return {*self.ready.classes(), *self.suspects.classes()}


class Flow:
    """The volatile side of a run: what is ready, what waits, what is expected of a task."""

    __slots__ = (
        "aside",
        "asked",
        "barren",
        "collected",
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
        "keys",
        "lane_of",
        "lanes",
        "limited",
        "near_due_s",
        "on",
        "others",
        "paces",
        "peers",
        "planning",
        "publish_due_s",
        "publishing",
        "rescuers",
        "review_due_s",
        "routes",
        "second",
        "seconds",
        "seen",
        "served_s",
        "sizes",
        "solving",
        "straggle_due_s",
        "stranded",
        "stranded_due_s",
        "sweeping",
        "unserved",
        "waiting",
        "wanted",
    )

    def __init__(
        self, stages: Sequence[StageShape], placement: PlacementReady | None = None
    ) -> None:
        # What a runner must have for a task of each stage.
        self.sizes = tuple(Size(each.cores, each.memory_bytes, each.gpus) for each in stages)
        # Tasks by state, for each stage: kept along, since to count a million takes a while.
        self.counts: list[dict[TaskState, int]] = [dict.fromkeys(TaskState, 0) for _ in stages]
        self.done: dict[int, int] = {}  # class -> committed tasks, kept along likewise
        self.routes = Routes(placement)
        self.limited = frozenset(number for number, stage in enumerate(stages) if stage.uses)
        # The common ones first. The largest of them is the first: others can do without it.
        common = {
            size: Lane(-1, size, ReadyQueue(), ReadyQueue())
            for size in sorted(set(self.sizes), reverse=True)
        }
        own = {n: Lane(n, self.sizes[n], ReadyQueue(), ReadyQueue()) for n in sorted(self.limited)}
        self.lane_of = tuple(own.get(n, common[size]) for n, size in enumerate(self.sizes))
        self.lanes = (*common.values(), *own.values())
        # stage -> the key of what each of its tasks reads, where a cache may keep it; and when
        # the caches that there are may be looked at again.
        self.keys: dict[int, Keys] = {}
        self.near_due_s = 0.0
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
        self.second: set[TaskId] = set()  # stragglers that are being tried a second time
        # Who is at a task besides the one that its next commit is expected of: it was tried again,
        # or was silent and is back. They are to let go of it when somebody commits.
        self.others: dict[TaskId, list[RunnerId]] = {}
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
        self.wanted: Wanted = {}
        self.asked: tuple[NodesWanted, ...] = ()  # of the autoscaler
        self.seen: dict[int, tuple[int, float]] = {}  # class -> attempts, measured / expected
        self.unserved: dict[int, float] = {}  # class -> since when no runner of its pools lives

    def key_of(self, stage: int, number: int) -> int:
        """Return the key of what a stage's task of this number reads."""
        keys = self.keys.get(stage, ())
        # The rest of a task that was cut is behind all others of its stage, and has none.
        return keys[number] if number < len(keys) else NO_KEY

    @property
    def open_count(self) -> int:
        """How many tasks are ready."""
        count = 0
        for lane in self.lanes:
            count += lane.ready.size + lane.suspects.size
        return count

    def sizes_of(self, wanted: RunnersWanted) -> Collection[Size]:
        """Return the sizes of the runners that a placement wants."""
        size = Size(wanted.cores, wanted.memory_bytes, wanted.gpus)
        # Journals of before do not say it, and a resumed run may have other needs by now.
        return (size,) if size in self.sizes else dict.fromkeys(self.sizes)

    def left(self, size: Size) -> int:
        """Return how many tasks of this size are not committed."""
        return sum(
            sum(counts.values()) - counts[TaskState.COMMITTED]
            for counts, own in zip(self.counts, self.sizes, strict=True)
            if own == size
        )

    def offered(self, at_s: float) -> None:
        """Note that something became ready."""
        self.barren.clear()
        if not self.open_count:
            self.served_s = at_s  # Nobody waited for anything until now.
