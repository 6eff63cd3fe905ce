"""What became of a placement: seconds and dollars of classes and attempts, foretold and real.

Told from the durable events alone, folded into a machine of our own: what an attempt was charged is
what it added to the ledger, so that no second set of rules can disagree with the first.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from rayorch.core.facts import (
    AttemptFailed,
    AttemptFinished,
    AttemptLost,
    Event,
    PlacementFailed,
    PlacementReady,
)
from rayorch.core.flow import Flow
from rayorch.core.machine import Machine
from rayorch.core.placed import ClassPlacement, Spent
from rayorch.core.run import Run
from rayorch.ids import RunId, RunnerId, TaskId

ENDS: Final[dict[type, str]] = {
    AttemptFinished: "finished",
    AttemptFailed: "failed",
    AttemptLost: "lost",
}
AMOUNTS: Final = tuple(name for name in Spent.__struct_fields__ if name != "is_priced")
Ended = AttemptFinished | AttemptFailed | AttemptLost


class ClassOutcome(msgspec.Struct, frozen=True):
    """Committed tasks of one class on one pool: seconds foretold and taken, summed over them.

    `expected_s` is None where they went to a pool that the placement did not name.
    """

    name: str
    stage: str
    pool: str
    tasks: int
    expected_s: float | None
    actual_s: float


class StageSpan(msgspec.Struct, frozen=True):
    """When a stage's tasks ran: the first began, the last was committed. Units: epoch seconds."""

    stage: str
    tasks: int
    began_s: float
    ended_s: float


class Outcome(msgspec.Struct, frozen=True):
    """What became of a run's placements, all of them, oldest first."""

    placements: tuple[tuple[float, PlacementReady], ...] = ()  # with the time of each
    failures: tuple[tuple[float, PlacementFailed], ...] = ()
    classes: tuple[ClassOutcome, ...] = ()
    stages: tuple[StageSpan, ...] = ()


class AttemptCost(msgspec.Struct, frozen=True):
    """One attempt that ended: where, how long, for how much.

    `usd` is None where the pool has no known price, `expected_s` where nothing was foretold. An
    attempt that was presumed lost and reported after all is charged once, over both lines.
    """

    at_s: float
    attempt: int
    pool: str
    runner: RunnerId
    how: str
    kind: str
    duration_s: float
    expected_s: float | None
    core_s: float
    usd: float | None


def outcome_of(events: Iterable[Event], run_id: RunId) -> Outcome:
    """Return what became of a run's placements; events of other runs are passed over."""
    placements: dict[int, tuple[float, PlacementReady]] = {}
    failures: list[tuple[float, PlacementFailed]] = []
    classes: dict[tuple[int, str, str], ClassOutcome] = {}
    spans: dict[int, StageSpan] = {}
    for step in _steps(events, run_id):
        fact, run, at_s = step.event.fact, step.run, step.event.at_s
        if isinstance(fact, PlacementReady):
            placements.setdefault(fact.revision, (at_s, fact))
        elif isinstance(fact, PlacementFailed):
            failures.append((at_s, fact))
        elif isinstance(fact, AttemptFinished) and run.committed > step.committed:
            stage = run.tasks[fact.task].stage
            took_s = fact.output.seconds.total_s
            spans[stage] = _span(spans.get(stage), run.stages[stage].name, at_s, took_s)
            if (placed := class_of(run, step.flow, fact.task)) is not None:
                key = (stage, placed.name, fact.pool)
                classes[key] = _added(classes.get(key), run, placed, fact.pool, took_s)
    return Outcome(
        placements=tuple(placements[revision] for revision in sorted(placements)),
        failures=tuple(failures),
        classes=tuple(classes[key] for key in sorted(classes)),
        stages=tuple(spans[stage] for stage in sorted(spans)),
    )


def attempts_of(events: Iterable[Event], run_id: RunId, task: TaskId) -> list[AttemptCost]:
    """Return the attempts of one task that ended, in the order in which they were reported."""
    found = []
    for step in _steps(events, run_id, task):
        fact, run = step.event.fact, step.run
        if step.spent is None or not isinstance(fact, Ended):
            continue
        spent = run.ledger.get(run.tasks[task].stage, {}).get(fact.pool, Spent())
        expected_s = None
        if (placed := class_of(run, step.flow, task)) is not None:
            expected_s = expected_on(placed, fact.pool)
        found.append(
            AttemptCost(
                at_s=step.event.at_s,
                attempt=fact.attempt,
                pool=fact.pool,
                runner=fact.runner,
                how=ENDS[type(fact)],
                kind="" if isinstance(fact, AttemptFinished) else fact.kind,
                duration_s=_duration_s(fact),
                expected_s=expected_s,
                core_s=spent.core_s - step.spent.core_s,
                usd=_dollars(spent) - _dollars(step.spent) if _has_price(run, fact.pool) else None,
            )
        )
    return found


class TaskCost(msgspec.Struct, frozen=True):
    """What the attempts of one task were charged, by pool."""

    pools: dict[str, Spent]


def tasks_of(events: Iterable[Event], run_id: RunId) -> dict[int, TaskCost]:
    """Return what each task of a run was charged for its attempts."""
    found: dict[int, TaskCost] = {}
    for step in _steps(events, run_id, every=True):
        fact, run = step.event.fact, step.run
        if step.spent is None or not isinstance(fact, Ended):
            continue
        now = run.ledger.get(run.tasks[fact.task].stage, {}).get(fact.pool)
        if now is None:
            continue
        pools = found.setdefault(fact.task, TaskCost({})).pools
        known = pools.setdefault(fact.pool, Spent())
        for name in AMOUNTS:
            more = getattr(now, name) - getattr(step.spent, name)
            setattr(known, name, getattr(known, name) + more)
        known.is_priced = now.is_priced
    return found


def class_of(run: Run, flow: Flow, task: TaskId) -> ClassPlacement | None:
    """Return the class that a task is in by the placement of now; None: it goes anywhere."""
    number = flow.routes.class_of(task)
    if run.placement is None or not 0 <= number < len(run.placement.classes):
        return None
    return run.placement.classes[number]


def expected_on(placed: ClassPlacement, pool: str) -> float | None:
    """Return the seconds that a task of a class was expected to take on a pool."""
    return dict(zip(placed.pools, placed.expected_s, strict=False)).get(pool)


# --- the fold -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Step:
    """A run after an event, and what was so before it: commits, and the ledger of what it names."""

    event: Event
    run: Run
    flow: Flow
    committed: int
    spent: Spent | None


def _steps(
    events: Iterable[Event], run_id: RunId, task: TaskId | None = None, *, every: bool = False
) -> Iterator[_Step]:
    """Yield a run as it was after each of its events.

    With `spent` of reports about the task alone, or about `every` one.
    """
    machine = Machine()
    for event in events:
        fact = event.fact
        if getattr(fact, "run", run_id) != run_id:
            continue
        before = machine.runs.get(run_id)
        committed = before.committed if before is not None else 0
        spent = None
        if before is not None and isinstance(fact, Ended) and (every or fact.task == task):
            spent = _spent(before, fact)
        machine.fold(event)
        run = machine.runs.get(run_id)
        if run is not None:
            yield _Step(event, run, machine.flows[run_id], committed, spent)


def _spent(run: Run, fact: Ended) -> Spent | None:
    """Return a copy of the ledger's line that a report may add to."""
    if not 0 <= fact.task < len(run.tasks):
        return None  # Reported after the run was swept.
    stage = run.tasks[fact.task].stage
    return msgspec.structs.replace(run.ledger.get(stage, {}).get(fact.pool, Spent()))


def _dollars(spent: Spent) -> float:
    return spent.compute_usd + spent.egress_usd + spent.request_usd


def _has_price(run: Run, pool: str) -> bool:
    prices = run.placement.prices if run.placement is not None else ()
    return any(each.pool == pool and each.usd_core_h is not None for each in prices)


def _duration_s(fact: Ended) -> float:
    if isinstance(fact, AttemptFinished):
        return fact.output.seconds.total_s
    return fact.duration_s


def _span(before: StageSpan | None, stage: str, at_s: float, took_s: float) -> StageSpan:
    began_s = at_s - took_s
    if before is None:
        return StageSpan(stage, 1, began_s, at_s)
    return StageSpan(stage, before.tasks + 1, min(before.began_s, began_s), at_s)


def _added(
    before: ClassOutcome | None, run: Run, placed: ClassPlacement, pool: str, took_s: float
) -> ClassOutcome:
    """Count a committed task of a class; one unforeseen makes the whole unforeseen."""
    expected_s = expected_on(placed, pool)
    if before is None:
        stage = run.stages[placed.stage].name
        return ClassOutcome(placed.name, stage, pool, 1, expected_s, took_s)
    known = before.expected_s is not None and expected_s is not None
    return ClassOutcome(
        name=before.name,
        stage=before.stage,
        pool=pool,
        tasks=before.tasks + 1,
        expected_s=(before.expected_s or 0.0) + (expected_s or 0.0) if known else None,
        actual_s=before.actual_s + took_s,
    )
