"""Keeps of each run what it took, as a profile: noted as it goes, written when it is at rest.

The host's thread notes numbers alone (`Traces`); what the tasks read, and how all of it is spread,
is looked up and reckoned in the thread that also keeps the estimates. Of a run that was resumed, or
whose control actor moved, no thread has seen the whole: `retracing` reads its journal again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from connectors.errors import ObjectMissingError
from connectors.splits import Split
from rayorch.core.facts import (
    AttemptFinished,
    AttemptStarted,
    Event,
    Led,
    PlanReady,
    RunnerLost,
    RunResumed,
    RunSubmitted,
    StagePlanned,
)
from rayorch.core.ledger import pools_spent, spent_usd
from rayorch.core.machine import Machine
from rayorch.core.run import Run, RunState
from rayorch.core.values import AttemptOutput, StageShape
from rayorch.home import Home, RunPlan, decode_split
from rayorch.host.at_once import AtOnce
from rayorch.host.starting import AT_ONCE_S, Starts
from rayorch.host.stood import Stood
from rayorch.host.unread import Unread, unread
from rayorch.ids import RunId, RunnerId, TaskId
from rayorch.plan.estimate import History, Measured, Work, estimate_of, observe
from rayorch.plan.history import work_of
from rayorch.plan.profile import KIND, VERSION, Overheads, Profile, StageProfile, shape_of
from rayorch.runner.pieces import pieces_of
from rayorch.version import our_version

NOTED_MAX: Final = 100_000
"""Attempts of one run that its profile rests on."""
LOOKED_AT_MAX: Final = 200
"""Tasks of a stage of which it is looked up into how many parts they can be cut."""
USUAL_MIN: Final = 4
"""Attempts that are not the first on their runner, from which on those are told apart."""


class Ended(msgspec.Struct, frozen=True, gc=False):
    """What is noted of one attempt that was committed."""

    stage: int
    pool: str
    duration_s: float
    memory_bytes: int
    out_bytes: int
    exchange_bytes: int
    moved_bytes: int
    gets: int
    puts: int
    rows: int
    is_first: bool  # of its stage on its runner: what it loads and imports is there afterwards


@dataclass(slots=True)
class Trace:
    """One run as it was seen to go.

    `busy` has, by stage, attempts, and the seconds around and in them; `starts_s` how long runners
    took until they had work; `again_s` when it went on after a rest, or under another leader;
    `stood` how long the machines of pools had waited that it was the first to use.
    """

    submitted_s: float = 0.0
    planned_s: float = 0.0
    asked_s: float = 0.0  # when runners were asked for last: for the plan, or a stage
    started_s: float = 0.0
    ended: dict[TaskId, Ended] = field(default_factory=dict)
    starts_s: dict[RunnerId, float] = field(default_factory=dict)
    begun: dict[RunnerId, float] = field(default_factory=dict)
    rested: dict[RunnerId, float] = field(default_factory=dict)
    at_once: AtOnce = field(default_factory=AtOnce)
    committed_s: dict[int, float] = field(default_factory=dict)
    divided_s: list[float] = field(default_factory=list)
    met: set[tuple[RunnerId, int]] = field(default_factory=set)
    busy: dict[int, tuple[int, float, float]] = field(default_factory=dict)
    again_s: list[float] = field(default_factory=list)
    stood: dict[str, float] = field(default_factory=dict)
    final: "AtRest | None" = None

    def apart_s(self, from_s: float, to_s: float) -> float:
        """Return the time between two points of it, less what was before it went on."""
        since_s = max([from_s, *(each for each in self.again_s if each <= to_s)])
        return round(max(0.0, to_s - since_s), 4) if from_s and to_s else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AtRest:
    """A run as it was when it came to rest."""

    pipeline: str
    state: str
    stages: tuple[StageShape, ...]
    task_counts: tuple[int, ...]
    first_tasks: dict[int, int]
    finished_s: float
    core_s: float
    usd: float | None
    retries: int
    resumed: int


class Traces:
    """The traces of the runs that go. The host's thread."""

    def __init__(self) -> None:
        self._runs: dict[RunId, Trace] = {}
        self._starts = Starts()
        self._stood = Stood()

    def saw(self, event: Event, machine: Machine) -> None:  # noqa: C901 - one case a fact.
        """Note what an event says of how its run goes."""
        fact = event.fact
        self._starts.saw(event)
        self._stood.saw(fact, machine)
        match fact:
            case RunnerLost():
                for each in self._runs.values():
                    each.at_once.lost(fact.runner, event.at_s)
            case RunSubmitted():
                self._runs[fact.run] = Trace(submitted_s=event.at_s)
            case Led():
                for each in self._runs.values():
                    each.again_s.append(event.at_s)
            case RunResumed() if fact.run in self._runs:
                self._runs[fact.run].again_s.append(event.at_s)
            case PlanReady() if fact.run in self._runs:
                self._runs[fact.run].planned_s = self._runs[fact.run].asked_s = event.at_s
            case StagePlanned() if fact.run in self._runs:
                _note_divided(self._runs[fact.run], machine.runs[fact.run], fact, event.at_s)
            case AttemptStarted() if fact.run in self._runs:
                trace = self._runs[fact.run]
                trace.started_s = trace.started_s or event.at_s
                trace.begun[fact.runner] = event.at_s
                if fact.runner not in trace.starts_s:
                    took_s = self._starts.took_s(fact, event.at_s, trace.asked_s)
                    trace.starts_s[fact.runner] = took_s
            case AttemptFinished() if fact.run in self._runs:
                _note_ended(self._runs[fact.run], machine, fact, event.at_s)
            case _:
                pass

    def found(self, run: Run) -> None:
        """Begin in the middle of a run, where a snapshot has taken the place of what was before."""
        self._runs[run.id] = Trace(submitted_s=run.submitted_s)

    def taken(self, run: Run, machine: Machine) -> Trace | None:
        """Return the trace of a run that has come to rest, and let go of it."""
        trace = self._runs.pop(run.id, None)
        if trace is not None:
            trace.final = _final(run, unread(run, machine))
            trace.stood = self._stood.taken(run.id)
        return trace


def _note_divided(trace: Trace, run: Run, fact: StagePlanned, at_s: float) -> None:
    trace.asked_s = at_s
    known = trace.committed_s
    before = [known[each] for each in run.before(fact.stage) if each in known]
    if before:
        trace.divided_s.append(trace.apart_s(max(before), at_s))


def _note_ended(trace: Trace, machine: Machine, fact: AttemptFinished, at_s: float) -> None:
    run = machine.runs.get(fact.run)
    if run is None or not 0 <= fact.task < len(run.tasks):
        return
    stage, output = run.tasks[fact.task].stage, fact.output
    # The journal has no starts: about then, the first that ended began.
    trace.started_s = trace.started_s or at_s - output.seconds.total_s
    trace.committed_s[stage] = at_s
    slot = machine.runners.get(fact.runner)
    pool = slot.pool if slot is not None else fact.pool
    took_s = output.seconds.total_s
    trace.at_once.ended(fact.runner, pool, run.stages[stage], slot, at_s=at_s, took_s=took_s)
    begun_s, rested_s = trace.begun.pop(fact.runner, None), trace.rested.get(fact.runner)
    trace.rested[fact.runner] = at_s
    if begun_s is not None:
        waited = rested_s is not None and begun_s - rested_s < AT_ONCE_S
        since_s = rested_s if waited and rested_s is not None else begun_s
        count, around_s, in_s = trace.busy.get(stage, (0, 0.0, 0.0))
        own_s = output.seconds.total_s
        trace.busy[stage] = (count + 1, around_s + at_s - since_s - own_s, in_s + own_s)
    # As in the estimates: one that was cut did not read what was planned for it.
    if not output.cut and fact.task not in trace.ended and len(trace.ended) < NOTED_MAX:
        is_first = (fact.runner, stage) not in trace.met
        trace.ended[fact.task] = _ended(stage, pool, output, is_first=is_first)
    trace.met.add((fact.runner, stage))


def _ended(stage: int, pool: str, output: AttemptOutput, *, is_first: bool) -> Ended:
    return Ended(
        stage=stage,
        pool=pool,
        duration_s=output.seconds.total_s,
        memory_bytes=output.memory_bytes,
        out_bytes=sum(result.size_bytes for result in output.results),
        exchange_bytes=sum(part.size_bytes for part in output.parts),
        moved_bytes=output.moved_bytes + output.cached_bytes,
        gets=output.gets + output.cached_gets,
        puts=output.puts,
        rows=output.rows_in,
        is_first=is_first,
    )


def _final(run: Run, last: Unread) -> AtRest:
    counts = run.task_counts or (0,) * len(run.stages)
    first, firsts = 0, {}
    for stage, count in enumerate(counts):
        if run.stages[stage].after or stage in run.waits:
            continue
        firsts[stage] = first
        first += count
    pools = pools_spent(run).values()
    return AtRest(
        pipeline=run.pipeline,
        state=run.state.value,
        stages=run.stages,
        task_counts=counts,
        first_tasks={**firsts, **{k: int(v) for k, v in run.first_tasks.items()}},
        finished_s=run.finished_s,
        core_s=sum(each.core_s + each.other_core_s for each in pools) + last.core_s,
        usd=spent_usd(run) + last.usd if pools and all(each.is_priced for each in pools) else None,
        retries=sum(run.totals.failures.values()),
        resumed=run.resumed,
    )


# --- in the thread that keeps it --------------------------------------------------------------


def profile_of(home: Home, run: RunId, trace: Trace) -> Profile:
    """Return what a run at rest took. Raises: StoreError."""
    final = trace.final
    assert final is not None
    by_stage: dict[int, dict[TaskId, Ended]] = {}
    for task, each in trace.ended.items():
        by_stage.setdefault(each.stage, {})[task] = each
    try:
        plan = home.get_plan(run)
    except ObjectMissingError:
        plan = RunPlan(())
    stages = tuple(
        _stage(home, run, plan, number, trace, by_stage.get(number, {}))
        for number in range(len(final.stages))
    )
    succeeded = final.state == RunState.SUCCEEDED.value
    last_s = max(trace.committed_s.values(), default=final.finished_s)
    # A journal has no starts.
    starts_s = list(trace.starts_s.values()) or [trace.apart_s(trace.planned_s, trace.started_s)]
    return Profile(
        kind=KIND,
        version=VERSION,
        pipeline=final.pipeline,
        state=final.state,
        stages=stages,
        overheads=Overheads(
            plan_s=trace.apart_s(trace.submitted_s, trace.planned_s),
            start_s=round(float(np.mean(starts_s)), 4),
            starts=shape_of(starts_s),
            divide_s=round(float(np.mean(trace.divided_s)), 4) if trace.divided_s else 0.0,
            publish_s=trace.apart_s(last_s, final.finished_s),
        ),
        whole_s=round(final.finished_s - trace.submitted_s, 4) if succeeded else 0.0,
        runners=trace.at_once.most,
        sized=trace.at_once.sized(),
        stood=trace.stood,
        core_s=round(final.core_s, 3),
        usd=final.usd,
        retries=final.retries,
        resumed=final.resumed,
        made_by=our_version(),
    )


def _stage(
    home: Home, run: RunId, plan: RunPlan, number: int, trace: Trace, ended: dict[TaskId, Ended]
) -> StageProfile:
    final = trace.final
    assert final is not None
    shape, count = final.stages[number], final.task_counts[number]
    splits = _splits(plan, number, count)
    first = final.first_tasks.get(number, 0)
    # Bytes as the planner knew them; of an exchange, rows are known of the attempts alone.
    sizes = [split.size_bytes for split in splits] or _exchange_bytes(home, run, number)
    works = {
        task: _work(splits, sizes, task - first, each.rows)
        for task, each in ended.items()
        if 0 <= task - first < max(len(splits), len(sizes))
    }
    every = [
        (
            each.is_first,
            Measured(works[task], each.pool, each.duration_s, each.memory_bytes, each.out_bytes),
        )
        for task, each in ended.items()
        if task in works
    ]
    usual = [each for is_first, each in every if not is_first]
    # A stage of which each runner had one task has no others to compare them with.
    measured = usual if len(usual) >= USUAL_MIN else [each for _, each in every]
    history = observe(History(shape.name, shape.name), measured)
    estimate = estimate_of(history)
    ratios = [each.duration_s / estimate.seconds(each.work, each.pool).mean for each in measured]
    firsts = [each for is_first, each in every if is_first] if measured is usual else []
    more_s = [each.duration_s - estimate.seconds(each.work, each.pool).mean for each in firsts]
    some = list(ended.values())
    whole = count / max(1, len(some))  # what was not noted was like the rest
    attempts, around_s, in_s = trace.busy.get(number, (0, 0.0, 0.0))
    return StageProfile(
        name=shape.name,
        tasks=count,
        after=shape.after,
        cores=shape.cores,
        memory_bytes=shape.memory_bytes,
        gpus=shape.gpus,
        measured=len(measured),
        files=len(plan.stages[number].discovery.files) if number < len(plan.stages) else 0,
        size_bytes=sum(sizes[:count]),
        rows=round(whole * sum(each.rows for each in some)),
        sizes=shape_of(sizes[:count]),
        spread=shape_of(ratios),
        bias=round(float(np.mean(ratios)), 4) if ratios else 1.0,
        pools=history.pools,
        out_bytes=round(whole * sum(each.out_bytes for each in some)),
        exchange_bytes=round(whole * sum(each.exchange_bytes for each in some)),
        moved_bytes=_mean([each.moved_bytes for each in some]),
        gets=_mean([each.gets for each in some]),
        puts=_mean([each.puts for each in some]),
        pieces=max(1.0, _mean([len(pieces_of(split)) for split in splits[:LOOKED_AT_MAX]])),
        is_said=number < len(plan.stages) and plan.stages[number].is_said,
        first_s=max(0.0, _mean(more_s)),
        overhead_s=round(max(0.0, around_s / attempts), 5) if attempts else 0.0,
        overlap=round(max(0.0, -around_s / in_s), 4) if in_s > 0.0 else 0.0,
    )


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0


def _splits(plan: RunPlan, number: int, count: int) -> list[Split]:
    """Return what a stage's tasks read of files; of a stage that was cut, what they had to."""
    if number >= len(plan.stages) or not count:
        return []
    return [decode_split(split) for split in plan.stages[number].works]


def _exchange_bytes(home: Home, run: RunId, number: int) -> list[int]:
    # It takes a moment to import: only who exchanges pays.
    from rayorch.exchange.kept import load_plan  # noqa: PLC0415

    try:
        return list(load_plan(home, run, number).task_bytes)
    except (ObjectMissingError, msgspec.DecodeError):
        return []  # Not divided: the run ended before, or others read its files.


def _work(splits: Sequence[Split], sizes: Sequence[int], at: int, rows: int) -> Work:
    if splits:
        return work_of(splits[at])
    return Work(size_bytes=sizes[at], rows=rows)


def keep_profile(home: Home, run: RunId, trace: Trace) -> None:
    """Keep a run's profile under its home. Raises: StoreError."""
    home.put_json(run, "profile", msgspec.to_builtins(profile_of(home, run, trace)))
