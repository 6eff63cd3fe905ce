"""Where a run stands, as a value: what the progress display, `show` and `runs` print."""

import msgspec

from rayorch.core.facts import SinkPublished
from rayorch.core.flow import Flow
from rayorch.core.machine import Machine
from rayorch.core.run import ACTIVE, ENDED, RESUMABLE, Failure, Run, RunState, Totals
from rayorch.core.task import TaskState
from rayorch.core.values import ErrorInfo
from rayorch.ids import DEFAULT_TENANT, RunId
from rayorch.observe.cost import RunCost, cost_of
from rayorch.observe.waits import WaitView, wait_of


class StageView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One stage: how many of its tasks are where."""

    name: str
    tasks: int = 0
    committed: int = 0
    running: int = 0
    leased: int = 0
    waiting: int = 0
    failed: int = 0
    blocked: int = 0  # that could be worked on, but for what the run waits for
    expected_s: float = 0.0  # moving average of an attempt, 0 before the first


class RunView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run, at one moment. Units: seconds since the epoch, bytes."""

    run: RunId
    pipeline: str
    version: str
    owner: str
    state: str
    at_s: float
    submitted_s: float
    first_start_s: float
    finished_s: float
    tasks: int
    committed: int
    failed: int
    held: int
    files: int
    size_bytes: int
    totals: Totals
    stages: tuple[StageView, ...] = ()
    tenant: str = DEFAULT_TENANT
    priority: int = 0
    sinks: tuple[str, ...] = ()
    published: tuple[SinkPublished, ...] = ()
    failures: tuple[Failure, ...] = ()
    error: ErrorInfo | None = None
    resumed: int = 0
    runners: int = 0
    epoch: int = 0
    swept: bool = False
    cost: RunCost | None = None
    wait: WaitView | None = None

    @property
    def is_active(self) -> bool:
        """Whether it goes on by itself."""
        return RunState(self.state) in ACTIVE

    @property
    def is_resumable(self) -> bool:
        """Whether `resume` can go on with it."""
        return RunState(self.state) in RESUMABLE

    @property
    def is_planned(self) -> bool:
        """Whether its tasks are cut and placed."""
        return bool(self.tasks)

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen by itself, its sweep aside."""
        return not self.is_active

    @property
    def awaits_sweep(self) -> bool:
        """Whether files that no commit names are still to be deleted."""
        return RunState(self.state) in ENDED and not self.swept

    @property
    def elapsed_s(self) -> float:
        """Seconds from its submission to its end, or to now."""
        return (self.finished_s or self.at_s) - self.submitted_s

    @property
    def retries(self) -> int:
        """Attempts that failed or were lost."""
        return sum(self.totals.failures.values())


def view_of(run: Run, machine: Machine, now_s: float) -> RunView:
    """Return where a run stands."""
    flow, wait = machine.flows[run.id], wait_of(machine, run)
    return RunView(
        run=run.id,
        pipeline=run.pipeline,
        version=run.version,
        owner=run.owner,
        tenant=run.tenant,
        priority=run.priority,
        state=run.state.value,
        at_s=now_s,
        submitted_s=run.submitted_s,
        first_start_s=run.first_start_s,
        finished_s=run.finished_s,
        tasks=sum(run.task_counts),
        committed=run.committed,
        failed=run.failed,
        held=flow.held,
        files=run.files,
        size_bytes=run.size_bytes,
        totals=msgspec.structs.replace(run.totals, failures=dict(run.totals.failures)),
        stages=_stages(run, flow, wait),
        sinks=run.sinks,
        published=tuple(run.published[sink] for sink in sorted(run.published)),
        failures=tuple(run.failures),
        error=run.error,
        resumed=run.resumed,
        runners=len(machine.runners),
        epoch=machine.epoch,
        swept=run.swept,
        cost=cost_of(run),
        wait=wait,
    )


def _stages(run: Run, flow: Flow, wait: WaitView | None) -> tuple[StageView, ...]:
    blocked = wait.stages if wait is not None else ()
    task_counts = run.task_counts or (0,) * len(run.stages)
    return tuple(
        StageView(
            name=stage.name,
            tasks=count,
            committed=states[TaskState.COMMITTED],
            running=states[TaskState.RUNNING],
            leased=states[TaskState.LEASED],
            waiting=states[TaskState.WAITING],
            failed=states[TaskState.FAILED],
            blocked=states[TaskState.READY] if index in blocked else 0,
            expected_s=flow.seconds.get(index, 0.0),
        )
        for index, (stage, count, states) in enumerate(
            zip(run.stages, task_counts, flow.counts, strict=True)
        )
    )
