"""One task: its states, and the table that says what each event does to it.

    ready -> leased -> running -> committed
      ^        |          |
      |        |          +--> waiting (back-off) --> ready
      +--------+----------+--> failed, cancelled

Two kinds of fields. *Durable*: whether the task is open, committed, failed or cancelled, and how
often it failed and killed. They change by durable events alone and never by what a lease says, so
that a replay of the journal, which holds no leases, ends where the live machine was. *Volatile*:
the lease (attempt, epoch, runner) and the back-off; a restart forgets them and every open task is
ready again.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from rayorch.core.facts import (
    AttemptFailed,
    AttemptFinished,
    AttemptLost,
    AttemptStarted,
    LeaseReturned,
)
from rayorch.core.values import FailureKind, RetryLimits
from rayorch.errors import InvalidTransitionError
from rayorch.ids import Epoch, RunId, RunnerId, TaskId


class TaskState(Enum):
    """Where a task stands."""

    READY = "ready"  # may be leased
    LEASED = "leased"  # queued on a runner
    RUNNING = "running"  # a runner said so
    WAITING = "waiting"  # until its back-off ends
    COMMITTED = "committed"  # its output is the partition's output, for ever
    FAILED = "failed"  # given up until the run is resumed
    CANCELLED = "cancelled"  # its run was cancelled

    # Members are singletons. The hash of Enum is a Python function, and each event looks one up.
    __hash__ = object.__hash__


S = TaskState
# What is done for each event names these: to find a member in its Enum takes ten times as long.
READY: Final = S.READY
LEASED: Final = S.LEASED
WAITING: Final = S.WAITING
COMMITTED: Final = S.COMMITTED
FAILED: Final = S.FAILED
OPEN: Final = frozenset({S.READY, S.LEASED, S.RUNNING, S.WAITING})
HELD: Final = frozenset({S.LEASED, S.RUNNING})


class Task(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True):
    """One stage on one split. Replaced, never changed."""

    id: TaskId
    stage: int
    state: TaskState = S.READY
    # Durable.
    failures: int = 0  # attempts that used the retry budget
    strikes: int = 0  # runners that died while they ran it
    shrink: int = 0  # out-of-memory failures: batches are halved so many times
    last: tuple[int, int] = (0, -1)  # (epoch, attempt) of the last failure that was counted
    failed_kind: FailureKind | None = None
    revived: int = 0  # times that its exchange files were lost after its commit
    spoilt: tuple[int, int] = (0, -1)  # (epoch, attempt) of the commit whose files were lost
    # Volatile.
    attempt: int = -1
    epoch: Epoch = Epoch(0)
    runner: RunnerId | None = None
    since_s: float = 0.0  # leased, started, or waiting until


class TaskLeased(msgspec.Struct, frozen=True, gc=False):
    """The machine gave the task to a runner."""

    run: RunId
    task: TaskId
    attempt: int
    epoch: Epoch
    runner: RunnerId


class RetryDue(msgspec.Struct, frozen=True, gc=False):
    """The back-off is over."""


class RunnerGone(msgspec.Struct, frozen=True, gc=False):
    """The runner that held the lease is gone before it started the task."""


class TaskCancelled(msgspec.Struct, frozen=True, gc=False):
    """The run was cancelled."""


class TaskReopened(msgspec.Struct, frozen=True, gc=False):
    """The run was resumed: what failed is tried again with a fresh budget."""


class OutputLost(msgspec.Struct, frozen=True, gc=False):
    """The exchange files of the task's commit are gone, and somebody needs them."""


TaskEvent = (
    TaskLeased
    | RetryDue
    | RunnerGone
    | TaskCancelled
    | TaskReopened
    | OutputLost
    | AttemptStarted
    | AttemptFinished
    | AttemptFailed
    | AttemptLost
    | LeaseReturned
)
TASK_EVENTS: Final[tuple[type[TaskEvent], ...]] = (
    TaskLeased,
    RetryDue,
    RunnerGone,
    TaskCancelled,
    TaskReopened,
    OutputLost,
    AttemptStarted,
    AttemptFinished,
    AttemptFailed,
    AttemptLost,
    LeaseReturned,
)

Rule = Callable[[Task, Any, RetryLimits, float], Task]


class Row(msgspec.Struct, frozen=True):
    """What may come of an event in a state, and the rule that decides."""

    targets: frozenset[TaskState]
    rule: Rule


def _lease(task: Task, event: TaskLeased, _retry: RetryLimits, at_s: float) -> Task:
    return replace(
        task,
        state=LEASED,
        attempt=event.attempt,
        epoch=event.epoch,
        runner=event.runner,
        since_s=at_s,
    )


def _start(task: Task, event: AttemptStarted, _retry: RetryLimits, at_s: float) -> Task:
    return replace(task, state=S.RUNNING, since_s=at_s) if _holds(task, event) else task


def _commit(task: Task, event: AttemptFinished, _retry: RetryLimits, at_s: float) -> Task:
    # The first report wins, whoever holds the lease by now: its files lie under its own name, and
    # nothing is swept before the run has ended.
    if _is_spoilt(task, event):
        held = task.state in HELD and _holds(task, event)
        return replace(task, state=READY, runner=None) if held else task
    return replace(
        task,
        state=COMMITTED,
        failed_kind=None,
        attempt=event.attempt,
        epoch=event.epoch,
        runner=event.runner,
        since_s=at_s,
    )


def _is_spoilt(task: Task, event: AttemptFinished) -> bool:
    """Say whether an attempt is of before its task's files were lost.

    They may be its own. And the task may have been cut by the commit that they were of, or by this
    attempt: what one of both has read is not the rest of what the other has.
    """
    said_again = (event.epoch, event.attempt) == task.spoilt
    return said_again or (event.revived >= 0 and event.revived != task.revived)


def _give_back(task: Task, event: LeaseReturned, _retry: RetryLimits, _at_s: float) -> Task:
    return replace(task, state=READY, runner=None) if _holds(task, event) else task


def _gone(task: Task, _event: RunnerGone, _retry: RetryLimits, _at_s: float) -> Task:
    return replace(task, state=S.READY, runner=None)


def _due(task: Task, _event: RetryDue, _retry: RetryLimits, _at_s: float) -> Task:
    return replace(task, state=S.READY, since_s=0.0)


def _cancel(task: Task, _event: TaskCancelled, _retry: RetryLimits, _at_s: float) -> Task:
    return replace(task, state=S.CANCELLED, runner=None)


def _reopen(task: Task, _event: TaskReopened, _retry: RetryLimits, _at_s: float) -> Task:
    return replace(
        task, state=S.READY, failures=0, strikes=0, shrink=0, failed_kind=None, runner=None
    )


def _forgive(task: Task, _event: TaskReopened, _retry: RetryLimits, _at_s: float) -> Task:
    # Somebody works on it already (a lease that outlived its leader): only the budget is fresh, as
    # it is in a replay, which finds the task ready.
    return replace(task, failures=0, strikes=0, shrink=0, failed_kind=None)


def _revive(task: Task, _event: OutputLost, _retry: RetryLimits, _at_s: float) -> Task:
    return replace(
        task,
        state=S.READY,
        revived=task.revived + 1,
        spoilt=(task.epoch, task.attempt),
        runner=None,
    )


def _ignore(task: Task, _event: object, _retry: RetryLimits, _at_s: float) -> Task:
    return task


def backoff_s(retry: RetryLimits, failures: int) -> float:
    """Return how long to wait after so many failures: doubled each time, up to the limit."""
    assert failures >= 1
    return float(min(retry.backoff_s * 2 ** min(failures - 1, 30), retry.backoff_s_max))


def _again_later(task: Task, retry: RetryLimits, at_s: float) -> Task:
    """Use one attempt of the budget: wait and try again, or give up."""
    failures = task.failures + 1
    if failures >= retry.attempts_max:
        return replace(task, failures=failures, state=S.FAILED)
    until_s = at_s + backoff_s(retry, failures)
    return replace(task, failures=failures, state=S.WAITING, since_s=until_s)


def _again_smaller(task: Task, retry: RetryLimits, at_s: float) -> Task:
    """As above, with batches of half the size."""
    return _again_later(replace(task, shrink=task.shrink + 1), retry, at_s)


def _again_at_once(task: Task, _retry: RetryLimits, _at_s: float) -> Task:
    """The machine was at fault: no budget is used."""
    return replace(task, state=S.READY)


def _suspect(task: Task, retry: RetryLimits, _at_s: float) -> Task:
    """The machine went while it ran this task: try again, but not for ever."""
    strikes = task.strikes + 1
    if strikes >= retry.strikes_max:
        return replace(task, strikes=strikes, state=S.FAILED, failed_kind="poison")
    return replace(task, strikes=strikes, state=S.READY)


def _give_up(task: Task, _retry: RetryLimits, _at_s: float) -> Task:
    return replace(task, failures=task.failures + 1, state=S.FAILED)


TREATMENTS: Final[Mapping[FailureKind, Callable[[Task, RetryLimits, float], Task]]] = {
    "user": _give_up,
    "transient": _again_later,
    "lost": _suspect,
    "preempted": _again_at_once,
    "oom": _again_smaller,
    "timeout": _again_later,
    "upstream": _again_at_once,
    "refused": _give_up,
    "poison": _give_up,
}
"""What each kind of failure does to its task. DESIGN's section on states, as a table."""


def _fail(task: Task, event: AttemptFailed | AttemptLost, retry: RetryLimits, at_s: float) -> Task:
    # Twice reported is once failed. The comparison is with the last failure that was journaled,
    # not with the lease, so that a replay decides alike.
    reported = (event.epoch, event.attempt)
    if reported == task.last:
        # A runner that was presumed lost came back with its lease, and failed: the lease ends.
        over = task.state in HELD and _holds(task, event)
        return replace(task, state=S.READY, runner=None) if over else task
    blamed = replace(task, last=reported, failed_kind=event.kind, runner=None)
    after = TREATMENTS[event.kind](blamed, retry, at_s)
    return after if after.state is S.FAILED else replace(after, failed_kind=None)


def _holds(
    task: Task,
    event: AttemptStarted | AttemptFinished | LeaseReturned | AttemptFailed | AttemptLost,
) -> bool:
    return (task.attempt, task.epoch, task.runner) == (event.attempt, event.epoch, event.runner)


def _row(
    state: TaskState, kind: type[TaskEvent], targets: set[TaskState], rule: Rule
) -> tuple[tuple[TaskState, type[TaskEvent]], Row]:
    return (state, kind), Row(frozenset(targets), rule)


_AFTER_FAILURE: Final = {S.READY, S.WAITING, S.FAILED}

# A pair is ruled, ignored on purpose (_ignore), or impossible (no row).
TRANSITIONS: Final[Mapping[tuple[TaskState, type[TaskEvent]], Row]] = dict(
    [
        _row(S.READY, TaskLeased, {S.LEASED}, _lease),
        # A lease that was given away: the machine let go of it before the runner spoke.
        _row(S.READY, AttemptStarted, {S.READY}, _ignore),
        _row(S.READY, LeaseReturned, {S.READY}, _ignore),
        # In a replay, which knows no leases, these find the task ready.
        _row(S.READY, AttemptFinished, {S.COMMITTED, S.READY}, _commit),
        _row(S.READY, AttemptFailed, _AFTER_FAILURE, _fail),
        _row(S.READY, AttemptLost, _AFTER_FAILURE, _fail),
        _row(S.READY, TaskCancelled, {S.CANCELLED}, _cancel),
        _row(S.READY, TaskReopened, {S.READY}, _reopen),
        _row(S.LEASED, AttemptStarted, {S.LEASED, S.RUNNING}, _start),
        _row(S.LEASED, LeaseReturned, {S.LEASED, S.READY}, _give_back),
        _row(S.LEASED, RunnerGone, {S.READY}, _gone),
        _row(S.LEASED, AttemptFinished, {S.COMMITTED, S.LEASED, S.READY}, _commit),
        _row(S.LEASED, AttemptFailed, _AFTER_FAILURE | {S.LEASED}, _fail),
        _row(S.LEASED, AttemptLost, _AFTER_FAILURE | {S.LEASED}, _fail),
        _row(S.LEASED, TaskCancelled, {S.CANCELLED}, _cancel),
        _row(S.LEASED, TaskReopened, {S.LEASED}, _forgive),
        # A second try of a task that is far behind: what is expected of it now is of that one.
        _row(S.RUNNING, TaskLeased, {S.LEASED}, _lease),
        _row(S.RUNNING, AttemptStarted, {S.RUNNING}, _ignore),
        _row(S.RUNNING, LeaseReturned, {S.RUNNING, S.READY}, _give_back),
        _row(S.RUNNING, RunnerGone, {S.READY}, _gone),
        _row(S.RUNNING, AttemptFinished, {S.COMMITTED, S.RUNNING, S.READY}, _commit),
        _row(S.RUNNING, AttemptFailed, _AFTER_FAILURE | {S.RUNNING}, _fail),
        _row(S.RUNNING, AttemptLost, _AFTER_FAILURE | {S.RUNNING}, _fail),
        _row(S.RUNNING, TaskCancelled, {S.CANCELLED}, _cancel),
        _row(S.RUNNING, TaskReopened, {S.RUNNING}, _forgive),
        _row(S.WAITING, RetryDue, {S.READY}, _due),
        _row(S.WAITING, AttemptStarted, {S.WAITING}, _ignore),
        _row(S.WAITING, LeaseReturned, {S.WAITING}, _ignore),
        _row(S.WAITING, AttemptFinished, {S.COMMITTED, S.WAITING}, _commit),
        _row(S.WAITING, AttemptFailed, _AFTER_FAILURE, _fail),
        _row(S.WAITING, AttemptLost, _AFTER_FAILURE, _fail),
        _row(S.WAITING, TaskCancelled, {S.CANCELLED}, _cancel),
        _row(S.WAITING, TaskReopened, {S.READY}, _reopen),
        # Committed is for ever: a second report loses, whatever it says. Unless what it wrote
        # for another stage is lost: then it is made again.
        _row(S.COMMITTED, OutputLost, {S.READY}, _revive),
        _row(S.COMMITTED, AttemptStarted, {S.COMMITTED}, _ignore),
        _row(S.COMMITTED, LeaseReturned, {S.COMMITTED}, _ignore),
        _row(S.COMMITTED, AttemptFinished, {S.COMMITTED}, _ignore),
        _row(S.COMMITTED, AttemptFailed, {S.COMMITTED}, _ignore),
        _row(S.COMMITTED, AttemptLost, {S.COMMITTED}, _ignore),
        _row(S.COMMITTED, RunnerGone, {S.COMMITTED}, _ignore),
        _row(S.COMMITTED, TaskCancelled, {S.COMMITTED}, _ignore),
        _row(S.COMMITTED, TaskReopened, {S.COMMITTED}, _ignore),
        _row(S.FAILED, AttemptStarted, {S.FAILED}, _ignore),
        _row(S.FAILED, LeaseReturned, {S.FAILED}, _ignore),
        # A presumed-dead runner hands in good work after all.
        _row(S.FAILED, AttemptFinished, {S.COMMITTED, S.FAILED}, _commit),
        _row(S.FAILED, AttemptFailed, {S.FAILED}, _ignore),
        _row(S.FAILED, AttemptLost, {S.FAILED}, _ignore),
        _row(S.FAILED, TaskCancelled, {S.CANCELLED}, _cancel),
        _row(S.FAILED, TaskReopened, {S.READY}, _reopen),
        # Its files are being swept: nothing may commit any more.
        _row(S.CANCELLED, AttemptStarted, {S.CANCELLED}, _ignore),
        _row(S.CANCELLED, LeaseReturned, {S.CANCELLED}, _ignore),
        _row(S.CANCELLED, AttemptFinished, {S.CANCELLED}, _ignore),
        _row(S.CANCELLED, AttemptFailed, {S.CANCELLED}, _ignore),
        _row(S.CANCELLED, AttemptLost, {S.CANCELLED}, _ignore),
        _row(S.CANCELLED, RunnerGone, {S.CANCELLED}, _ignore),
    ]
)


def step(task: Task, event: TaskEvent, retry: RetryLimits, at_s: float) -> Task:
    """Return the task after the event.

    Raises: InvalidTransitionError for an impossible pair; nothing has changed then.
    """
    row = TRANSITIONS.get((task.state, type(event)))
    if row is None:
        raise InvalidTransitionError(str(task.id), task.state.value, type(event).__name__)
    after = row.rule(task, event, retry, at_s)
    assert after.state in row.targets, (task, event, after)
    return after
