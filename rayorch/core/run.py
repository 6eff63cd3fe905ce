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

from enum import Enum
from typing import Final

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
from rayorch.core.node_facts import NodeWithdrawn, PoolIdled
from rayorch.core.placed import Charged, LinkSpent, Paid, Spent
from rayorch.core.policy import Policy
from rayorch.core.task import Task
from rayorch.core.values import ErrorInfo, ExchangeResult, RetryLimits, SinkResult, StageShape
from rayorch.ids import DEFAULT_TENANT, EventId, RunId, RunnerId, TaskId, TenantId

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
RUNNING: Final = R.RUNNING
"""What nearly every event asks for, by a name that is found ten times as fast as in the Enum."""
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
    keys: dict[int, bytes] = {}  # stage -> of what its tasks read (`near.pack_keys`)
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
