"""One run: its states, its tasks and what they staged.

    queued
        |
    planning -> running -> publishing -> succeeded
        |          |            |
        |          v            |
        |       draining -------+--> failed, stopped, blocked  (resumed: running again)
        +--------> cancelled, interrupted

`draining` hands out no leases and waits for those that run; where it ends was decided when it
began (`target`). A run that lost its control actor with its whole cluster is `interrupted` until
somebody resumes it.
"""

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final

import msgspec

from rayorch.core.accounts import Accounts
from rayorch.core.cheap import Cheap
from rayorch.core.facts import (
    AttemptFailed,
    AttemptLost,
    PlacementFailed,
    PlacementKept,
    PlacementReady,
    PlanFailed,
    PlanReady,
    PoolIdled,
    PublishFailed,
    RunCancelRequested,
    RunFailed,
    RunResumed,
    RunStopRequested,
    RunSwept,
    SecondTry,
    SinkPublished,
    StagePlanned,
)
from rayorch.core.limit_facts import RunAdmitted, RunBlocked, RunHeld
from rayorch.core.node_facts import NodeWithdrawn
from rayorch.core.placed import Charged, LinkSpent, NodesWanted, Paid, Spent
from rayorch.core.policy import Policy
from rayorch.core.queues import ReadyQueue, Routes
from rayorch.core.task import Task, TaskState
from rayorch.core.values import ErrorInfo, ExchangeResult, RetryLimits, SinkResult, StageShape
from rayorch.ids import DEFAULT_TENANT, EventId, RunId, RunnerId, TaskId, TenantId

if TYPE_CHECKING:
    from rayorch.core.leasing import Kind

FAILURES_KEPT_MAX: Final = 100
"""Failures that a run remembers with their text; the rest are counted."""


class RunState(Enum):
    """Where a run stands."""

    QUEUED = "queued"  # many runs are worked on; planned when some have ended
    PLANNING = "planning"  # its sources are being cut into splits
    RUNNING = "running"  # leases are given
    DRAINING = "draining"  # no new leases; waits for what runs
    PUBLISHING = "publishing"  # all committed; outputs become visible
    SUCCEEDED = "succeeded"  # every sink is visible
    FAILED = "failed"  # a task or a publication failed; may be resumed
    STOPPED = "stopped"  # somebody stopped it; may be resumed
    BLOCKED = "blocked"  # a quota is used up; may be resumed when there is room
    INTERRUPTED = "interrupted"  # its cluster died; may be resumed
    CANCELLED = "cancelled"  # ended for good

    # As of TaskState: each event looks one up.
    __hash__ = object.__hash__


R = RunState
ACTIVE: Final = frozenset({R.QUEUED, R.PLANNING, R.RUNNING, R.DRAINING, R.PUBLISHING})
RESUMABLE: Final = frozenset({R.FAILED, R.STOPPED, R.BLOCKED, R.INTERRUPTED})
UNPLANNED: Final = frozenset({R.QUEUED, R.PLANNING})
ENDED: Final = frozenset({R.SUCCEEDED, R.CANCELLED})

_RUN_TABLE: Final[dict[type, dict[RunState, set[RunState]]]] = {
    PlanReady: {
        **{s: {R.RUNNING, R.PUBLISHING, R.SUCCEEDED} for s in UNPLANNED},
        # Stopped while the planner worked: the plan is kept for the resumption.
        **{s: {s} for s in RESUMABLE - {R.FAILED}},
        # Planned twice (stopped while planning, resumed): the first plan counts.
        **{s: {s} for s in ACTIVE - UNPLANNED | ENDED | {R.FAILED}},
    },
    PlanFailed: {
        **{s: {R.FAILED} for s in UNPLANNED},
        **{s: {s} for s in RESUMABLE - {R.FAILED}},
        **{s: {s} for s in ACTIVE - UNPLANNED | ENDED | {R.FAILED}},
    },
    RunAdmitted: {R.QUEUED: {R.PLANNING}, **{s: {s} for s in R if s is not R.QUEUED}},
    RunBlocked: {
        R.RUNNING: {R.DRAINING, R.BLOCKED},
        **{s: {s} for s in R if s is not R.RUNNING},
    },
    RunStopRequested: {
        **{s: {R.STOPPED} for s in UNPLANNED},
        R.RUNNING: {R.DRAINING, R.STOPPED},
        R.DRAINING: {R.DRAINING},
        # Too late to stop: a publication is one step, and it is nearly done.
        R.PUBLISHING: {R.PUBLISHING},
        **{s: {s} for s in RESUMABLE | ENDED},
    },
    RunCancelRequested: {
        **{s: {R.CANCELLED} for s in ACTIVE - {R.PUBLISHING}},
        # What is committed and partly visible is finished, not torn.
        R.PUBLISHING: {R.PUBLISHING},
        # Of those, too, whose publication began and failed.
        **{s: {R.CANCELLED, s} for s in RESUMABLE},
        **{s: {s} for s in ENDED},
    },
    RunResumed: {
        **{s: {R.QUEUED, R.PLANNING, R.RUNNING, R.PUBLISHING, R.SUCCEEDED} for s in RESUMABLE},
        # To a replay, which holds no leases, a draining run has ended: both must go on from it.
        R.DRAINING: {R.RUNNING, R.PUBLISHING, R.SUCCEEDED},
        **{s: {s} for s in (ACTIVE - {R.DRAINING}) | ENDED},
    },
    RunFailed: {
        **{s: {R.FAILED} for s in UNPLANNED},
        R.RUNNING: {R.DRAINING, R.FAILED},
        R.DRAINING: {R.DRAINING, R.FAILED},
        R.PUBLISHING: {R.FAILED},
        **{s: {R.FAILED} for s in RESUMABLE},
        **{s: {s} for s in ENDED},
    },
    SinkPublished: {
        R.PUBLISHING: {R.PUBLISHING, R.SUCCEEDED},
        # Another sink could not be published, and this one was under way.
        R.FAILED: {R.FAILED, R.SUCCEEDED},
        R.SUCCEEDED: {R.SUCCEEDED},
    },
    # Tasks to come, advice and accounts: welcome in every state, and none changes it.
    **{
        kind: {s: {s} for s in R}
        for kind in (
            StagePlanned,
            SecondTry,
            NodeWithdrawn,
            RunHeld,
            PlacementReady,
            PlacementFailed,
            PlacementKept,
            PoolIdled,
        )
    },
    PublishFailed: {R.PUBLISHING: {R.PUBLISHING}, **{s: {s} for s in RESUMABLE | ENDED}},
    RunSwept: {s: {s} for s in ENDED},
}
RUN_KINDS: Final[frozenset[type]] = frozenset(_RUN_TABLE)
RUN_TRANSITIONS: Final[dict[tuple[RunState, type], frozenset[RunState]]] = {
    (state, kind): frozenset(targets)
    for kind, rows in _RUN_TABLE.items()
    for state, targets in rows.items()
}
"""What each fact about a run may lead to. A pair that is not here is impossible."""


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


class Totals(msgspec.Struct, forbid_unknown_fields=True):
    """Sums over the committed attempts, and counts of the others."""

    rows_in: int = 0
    bytes_in: int = 0
    rows_out: int = 0
    bytes_out: int = 0
    read_s: float = 0.0
    compute_s: float = 0.0
    write_s: float = 0.0
    wait_s: float = 0.0
    cpu_s: float = 0.0
    memory_bytes_max: int = 0
    cuts: int = 0  # tasks far behind whose rest became tasks
    second_tries: int = 0  # of tasks far behind
    duplicates: int = 0  # reports of a task that was committed already
    failures: dict[str, int] = {}  # by kind


class Failure(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One failed attempt, as it is shown."""

    task: TaskId
    attempt: int
    kind: str
    at_s: float
    error: ErrorInfo


class Run(msgspec.Struct, forbid_unknown_fields=True):
    """Everything durable about one run. Changed by the machine alone."""

    id: RunId
    pipeline: str
    version: str
    owner: str
    stages: tuple[StageShape, ...]
    sinks: tuple[str, ...]
    retry: RetryLimits
    submitted_s: float
    tenant: TenantId = DEFAULT_TENANT
    priority: int = 0
    deadline_s: float = 0.0  # after its submission; 0: none
    cheap: Cheap | None = None
    held_by: RunHeld | None = None  # for what it waits, while it runs
    state: RunState = R.PLANNING
    target: RunState | None = None  # where draining ends
    planned: bool = False
    task_counts: tuple[int, ...] = ()
    size_bytes: int = 0
    files: int = 0
    tasks: list[Task] = []
    outputs: dict[int, tuple[SinkResult, ...]] = {}  # task -> what it committed
    schemas: dict[int, dict[str, TaskId]] = {}  # sink -> schema fingerprint -> first task
    generation: int = 0
    published: dict[int, SinkPublished] = {}
    totals: Totals = msgspec.field(default_factory=Totals)
    failures: list[Failure] = []
    error: ErrorInfo | None = None
    committed: int = 0
    failed: int = 0
    first_start_s: float = 0.0
    finished_s: float = 0.0
    resumed: int = 0
    swept: bool = False
    placement: PlacementReady | None = None
    placement_failures: int = 0
    unplanned: list[int] = []  # stages that are to be planned, or planned again
    revisions: dict[int, int] = {}  # stage -> how often it was planned
    waits: dict[int, tuple[int, ...]] = {}  # stage of files -> those to be measured before it
    first_tasks: dict[int, TaskId] = {}  # stage -> its first task; the others follow
    parts: dict[int, tuple[ExchangeResult, ...]] = {}  # task -> exchange files that it committed
    splits: dict[TaskId, bytes] = {}  # of tasks that were cut, and of those that have the rest
    notes: dict[int, tuple[str, ...]] = {}  # stage -> how it was cut, and why
    together: dict[int, int] = {}  # stage -> neighbours that share what they read, if they do
    parted: list[int] = []  # stages that read an exchange, and whose tasks can be cut
    ledger: dict[int, dict[str, Spent]] = {}  # stage -> pool -> what it took
    charged: dict[TaskId, tuple[Charged, ...]] = {}
    links: list[LinkSpent] = []
    paid: dict[str, dict[int, Paid]] = {}  # pool -> day -> node time
    asked_usd: dict[int, float] = {}  # day -> egress and requests

    @property
    def task_count(self) -> int:
        """How many tasks the plan has."""
        return sum(self.task_counts)

    @property
    def is_complete(self) -> bool:
        """Whether every stage is planned and every task committed."""
        return self.planned and not self.unplanned and self.committed == len(self.tasks)

    def before(self, stage: int) -> tuple[int, ...]:
        """Return the stages that must be complete before a stage is planned."""
        return self.waits.get(stage) or self.stages[stage].after

    def revision_of(self, stage: int) -> int:
        """Return how often a stage was planned."""
        return self.revisions.get(stage, 0)

    def note_failure(self, event: AttemptFailed | AttemptLost, at_s: float) -> None:
        """Count a failed attempt and keep its text while there is room."""
        kinds = self.totals.failures
        kinds[event.kind] = kinds.get(event.kind, 0) + 1
        if len(self.failures) < FAILURES_KEPT_MAX:
            error = (
                event.error if isinstance(event, AttemptFailed) else ErrorInfo(message=event.reason)
            )
            self.failures.append(Failure(event.task, event.attempt, event.kind, at_s, error))


class Snapshot(msgspec.Struct, forbid_unknown_fields=True):
    """The durable state of a machine through event `through`."""

    through: EventId
    runs: list[Run]
    at_s: float = 0.0  # of the latest event
    policy: Policy = Policy()
    units: dict[RunnerId, dict[str, int]] = {}  # what runners hold of outside resources
    accounts: Accounts = msgspec.field(default_factory=Accounts)
