"""What a run, or a part of it, waits for that is not its own work: told of the durable state."""

from collections import Counter
from datetime import UTC, datetime

import msgspec

from rayorch.core.machine import Machine
from rayorch.core.run import Run, RunState
from rayorch.core.task import TaskState
from rayorch.ids import RunId


class WaitView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run that does not go on, or not with all of its stages, and what it waits for.

    `stages` are those that are blocked, `tasks` how many of their tasks could be worked on else.
    """

    run: RunId
    tenant: str
    cause: str  # quota, policy, limit, cheap, share, machines
    why: str
    until_s: float = 0.0  # the latest, where that is known
    stages: tuple[int, ...] = ()
    tasks: int = 0

    @property
    def text(self) -> str:
        """What it waits for, in words."""
        if not self.until_s:
            return self.why
        until = datetime.fromtimestamp(self.until_s, UTC).astimezone()
        return f"{self.why}; it goes on at {until:%Y-%m-%d %H:%M} at the latest"


def wait_of(machine: Machine, run: Run) -> WaitView | None:
    """Return what a run waits for, if it does."""
    every = tuple(range(len(run.stages)))
    if run.state is RunState.QUEUED:
        runs = machine.book.policy.of(run.tenant).runs
        why = f"{runs} runs of {run.tenant} are worked on at once, or all there is"
        return _wait(machine, run, "policy", why, every)
    if run.state is RunState.BLOCKED and run.error is not None:
        return _wait(machine, run, "quota", run.error.message, every)
    if run.state is not RunState.RUNNING:
        return None
    held = run.held_by
    if held is not None and held.cause != "limit":
        return _wait(machine, run, held.cause, f"waits for {held.why}", every, held.until_s)
    return _limit(machine, run)


def _limit(machine: Machine, run: Run) -> WaitView | None:
    """Return the outside resource that some stages of a run wait for."""
    book, counts = machine.book, machine.flows[run.id].counts
    held: Counter[str] = Counter()
    for units in book.units.values():
        held.update(units)
    for name in sorted({name for stage in run.stages for name, _ in stage.uses}):
        limit = book.policy.limit_of(name)
        stages = tuple(
            number
            for number, stage in enumerate(run.stages)
            if limit is not None
            and counts[number][TaskState.READY]
            and held[name] + dict(stage.uses).get(name, 0) > limit
            and name in dict(stage.uses)
        )
        if stages:
            return _wait(machine, run, "limit", f"{held[name]} of {limit} {name} are held", stages)
    return None


def _wait(
    machine: Machine,
    run: Run,
    cause: str,
    why: str,
    stages: tuple[int, ...],
    until_s: float = 0.0,
) -> WaitView:
    counts = machine.flows[run.id].counts
    ready = sum(counts[number][TaskState.READY] for number in stages)
    return WaitView(
        run=run.id,
        tenant=run.tenant,
        cause=cause,
        why=why,
        until_s=until_s,
        stages=stages,
        tasks=ready,
    )
