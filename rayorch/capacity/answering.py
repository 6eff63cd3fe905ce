"""From a question to its answer: plans made and tried in simulated runs, until one keeps its word.

scaled ── thinned ── planned by the solver ── simulated ──┬── late: planned for an earlier end
                                                          └── in time: simulated many times
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import numpy as np

from rayorch.capacity.asking import (
    Capacity,
    Finish,
    PoolNeed,
    Question,
    StageNeed,
    Standing,
    Traded,
    WhatIf,
)
from rayorch.capacity.errors import CapacityError
from rayorch.capacity.itself import itself_of, simulator_off, untold_gpus
from rayorch.capacity.limits import uses_of
from rayorch.capacity.planning import made, planned_for, used_by
from rayorch.capacity.rehearsal import Prepared
from rayorch.capacity.scaling import Scaled
from rayorch.capacity.scenarios import (
    Loss,
    Promise,
    Runs,
    runs_of,
    scenarios_for,
    surely_kept,
    told_share,
    unsure_of,
)
from rayorch.capacity.trading import TRIED, traded, traded_of
from rayorch.observe.figures import seconds_text
from rayorch.sim.turns import TASK_CPU_S
from rayorch.spec.objective import Deadline, Objective, Weighted

MONTH_S: Final = 86_400.0 * 365.25 / 12.0
ROUNDS: Final = 4
"""Plans that are tried until one keeps the deadline."""
LOSSES_MAX: Final = 4
SURER: Final = 0.97
SOONER_MIN: Final = 0.6
"""A plan that was late is asked to end as much sooner, and a little more; not at once by half."""
BOUND: Final = 0.5
"""Of a run: where the control actor is at work for longer, it is what the end waits for."""


def capacity(question: Question) -> Capacity:
    """Answer a question. The same question has the same answer.

    Raises: CapacityError: no machine is large enough, or the question contradicts itself.
    """
    if not question.pools.pools:
        raise CapacityError("there are no pools to plan for", "name some: --pools cluster.yaml")
    itself = itself_of(question.profile, question.seed)
    simulated_s = float(itself.whole_s.mean())
    unsure = simulator_off(question, simulated_s)
    question, found = _within(question, _kept(question, unsure), unsure)
    planned, ask_s, runs = found.plan, found.ask_s, found.runs
    refused, nearest = _refusal(question, runs, planned) if found.is_late else ("", "")
    doubled_plan, doubled = _doubled(question, planned, ask_s, unsure)
    losses = _losses(question, planned, runs, unsure)
    scaled = planned.thin.scaled
    runs_month = None if question.every_s is None else MONTH_S / question.every_s
    usd = runs.mean_usd
    frontier = _frontier(question, found, unsure)
    tried = [each.nodes for each in losses] + [each.pools for each in frontier]
    nodes = [runs.most_nodes, *tried] + ([] if doubled is None else [doubled.most_nodes])
    return Capacity(
        pipeline=question.profile.pipeline,
        growth=question.growth,
        data_bytes=scaled.source_bytes,
        tasks=scaled.tasks,
        stages=_stages(scaled),
        deadline_s=question.deadline_s,
        confidence=question.confidence,
        ask_s=ask_s,
        pools=_needs(question, runs),
        finish=_finish(runs, question),
        usd=usd,
        core_hours=float(runs.core_hours.mean()),
        runs_month=runs_month,
        usd_month=None if usd is None or runs_month is None else usd * runs_month,
        headroom=_headroom(runs, question.confidence),
        headroom_99=_headroom(runs, 0.99),
        doubled=None
        if doubled is None
        else _what_if("twice the data, planned for it", doubled, question),
        uses=uses_of(question, planned, runs, doubled_plan, doubled),
        losses=losses,
        frontier=frontier,
        scenarios=question.scenarios,
        seed=question.seed,
        runners_each=planned.thin.factor,
        runners_by_pool={pool: room.factor for pool, room in planned.thin.rooms.items()},
        tasks_each=max(stage.bundle for stage in planned.thin.stages),
        measured_s=question.profile.whole_s,
        simulated_s=simulated_s,
        measured_core_s=question.profile.core_s,
        simulated_core_s=3600.0 * float(itself.core_hours.mean()),
        calibrated=question.calibrated,
        unknown=(
            *question.unknown,
            *_unknown_of(question, nodes),
            *untold_gpus(question.profile),
            *_untold(question),
        ),
        refused=refused,
        nearest=nearest,
        standing=tuple(
            Standing(round(at_s, 3), pool, planned.thin.nodes(pool, nodes))
            for at_s, pool, nodes in runs.middle().standing
        ),
    )


# --- a plan that keeps its word ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A plan, the deadline that it was asked to keep, and what its runs come to."""

    plan: Prepared
    ask_s: float | None
    runs: Runs
    is_late: bool = False


def _kept(question: Question, unsure: float) -> _Kept:
    """Return the first plan that keeps the promise in all scenarios, or the fastest one."""

    def tried(plan: Prepared, promise: Promise | None) -> Runs:
        return runs_of(
            plan, question.scenarios, question.seed, unsure_of(plan, unsure), promise=promise
        )

    within_s = question.deadline_s
    if within_s is None:
        plan = made(question, None)
        return _Kept(plan=plan, ask_s=None, runs=tried(plan, None))
    missed_max = math.floor((1.0 - question.confidence) * question.scenarios + 1e-9)
    promise = Promise(within_s=within_s, missed_max=missed_max)
    ask_s, before = within_s, None
    for _ in range(ROUNDS):
        plan = made(question, Deadline(timedelta(seconds=ask_s)), before)
        runs = tried(plan, promise)
        if not promise.is_broken(runs.outcomes):
            return _Kept(plan=plan, ask_s=ask_s, runs=runs)
        before = plan
        if plan.is_hopeless:
            break
        ends_s = float(np.where(runs.finished, runs.whole_s, 2.0 * within_s).max())
        ask_s *= max(SOONER_MIN, SURER * within_s / ends_s)
    plan = made(question, Weighted(1.0), before)
    runs = tried(plan, None)
    return _Kept(plan=plan, ask_s=None, runs=runs, is_late=promise.is_broken(runs.outcomes))


def _within(question: Question, found: _Kept, unsure: float) -> tuple[Question, _Kept]:
    """Keep to what there can be of all pools together: each gets its part of what was planned."""
    limit = question.nodes_max
    if limit is None or found.runs.nodes_most <= limit:
        return question, found
    used = found.runs.most_nodes
    total = sum(used.values())
    parts = {pool: count * limit // total for pool, count in used.items()}
    by_rest = sorted(used, key=lambda pool: (-(used[pool] * limit % total), pool))
    for pool in by_rest[: limit - sum(parts.values())]:
        parts[pool] += 1
    pools = [
        pool.model_copy(update={"max_nodes": parts[pool.name]})
        for pool in question.pools.pools
        if parts.get(pool.name)
    ]
    shares = ", ".join(f"{count} of {pool}" for pool, count in parts.items() if count)
    held = f"{limit} machines can be had of all pools, fewer than were planned: held to {shares}"
    less = replace(
        question,
        pools=question.pools.model_copy(update={"pools": pools}),
        unknown=(*question.unknown, f"whether others would be better: {held}"),
    )
    return less, _kept(less, unsure)


def _refusal(question: Question, runs: Runs, plan: Prepared) -> tuple[str, str]:
    """Return that nothing keeps the promise, and what could."""
    ends_s = runs.quantile_s(question.confidence)
    share, wanted = f"{100.0 * question.confidence:g} %", seconds_text(question.deadline_s or 0.0)
    fastest = seconds_text(ends_s) if math.isfinite(ends_s) else "for ever"
    refused = (
        f"nothing keeps {wanted} in {share} of the runs: the fastest plan that was found takes "
        f"{fastest}"
    )
    used = plan.ready.runners if plan.ready is not None else ()
    limits = {pool.name: pool.max_nodes for pool in plan.thin.pools.pools}
    full = sorted({each.pool for each in used if each.nodes >= limits.get(each.pool, 0)})
    more = f", or more machines of {', '.join(full)} (all that can be had are used)" if full else ""
    work_s = TASK_CPU_S * plan.thin.scaled.tasks
    if work_s > BOUND * ends_s:
        refused += (
            f", because one control actor schedules {1.0 / TASK_CPU_S:,.0f} tasks a second and "
            f"takes {seconds_text(work_s)} for {plan.thin.scaled.tasks:,}"
        )
        more += ", or larger tasks, or the data in several runs, each under a home of its own"
    could = f"--deadline {math.ceil(ends_s)}s" if math.isfinite(ends_s) else "other pools"
    return refused, f"{could}{more}"


# --- what if ------------------------------------------------------------------------------------


def _doubled(
    question: Question, plan: Prepared, ask_s: float | None, unsure: float
) -> tuple[Prepared | None, Runs | None]:
    """Return the plan for twice the data on the same pools, and what some runs of it come to."""
    twice = replace(question, growth=question.growth * 2.0)
    objective: Objective | None = None
    if question.deadline_s is not None:
        objective = Weighted(1.0) if ask_s is None else Deadline(timedelta(seconds=ask_s))
    try:
        twofold = {pool: 2.0 * runners for pool, runners in used_by(plan).items()}
        plan = planned_for(twice, twofold, objective)
    except CapacityError:
        return None, None  # Its largest task fits nowhere, which `uses` tells.
    return plan, runs_of(plan, TRIED, question.seed + 2, unsure_of(plan, unsure))


def _losses(question: Question, plan: Prepared, runs: Runs, unsure: float) -> tuple[WhatIf, ...]:
    """Lose each pool that is used, and each zone, half-way for good."""
    used = sorted(
        (pool for pool, nodes in runs.nodes.items() if nodes.any()),
        key=lambda pool: -float(runs.nodes[pool].mean()),
    )
    lost: list[tuple[str, tuple[str, ...]]] = [
        (f"without {pool} from half-way on", (pool,)) for pool in used[:LOSSES_MAX]
    ]
    known = {pool.name for pool in plan.thin.pools.pools}
    for zone, pools in question.zones:
        if known.intersection(pools):
            lost.append((f"without zone {zone} from half-way on", pools))
    found = []
    for name, gone in lost[: 2 * LOSSES_MAX]:
        loss = Loss(pools=frozenset(gone), at_s=runs.quantile_s(0.5) / 2.0)
        after = runs_of(plan, TRIED, question.seed + 3, unsure_of(plan, unsure), loss=loss)
        found.append(_what_if(name, after, question))
    return tuple(found)


def _what_if(name: str, runs: Runs, question: Question) -> WhatIf:
    return WhatIf(
        name=name,
        p50_s=runs.quantile_s(0.5),
        p95_s=runs.quantile_s(0.95),
        usd=runs.mean_usd,
        hit=None if question.deadline_s is None else runs.kept(question.deadline_s),
        unfinished=int((~runs.finished).sum()),
        nodes={pool: count for pool, count in runs.most_nodes.items() if count},
    )


# --- in full size -------------------------------------------------------------------------------


def _frontier(question: Question, found: _Kept, unsure: float) -> tuple[Traded, ...]:
    """Return cost against time; what was asked is a part of it."""
    if not question.search_s:
        return ()
    # Where nothing keeps the deadline, the plan is the fastest there is: no deadline asks for it.
    ask_s = found.plan.foreseen_s if found.is_late else found.ask_s
    asked = traded_of(ask_s, found.runs, is_priced=question.pools.is_priced)
    return traded(question, found.plan, unsure, asked)


def _needs(question: Question, runs: Runs) -> tuple[PoolNeed, ...]:
    usual, most = runs.usual_nodes, runs.most_nodes
    return tuple(
        PoolNeed(
            pool.name, usual.get(pool.name, 0), most.get(pool.name, 0), pool.max_nodes, pool.gpus
        )
        for pool in question.pools.pools
    )


def _stages(scaled: Scaled) -> tuple[StageNeed, ...]:
    return tuple(
        StageNeed(
            stage.profile.name,
            stage.tasks,
            stage.task_bytes,
            stage.memory_bytes,
            size.cores,
            size.gpus,
        )
        for stage, size in zip(scaled.stages, scaled.sizes, strict=True)
    )


def _headroom(runs: Runs, share: float) -> float:
    late_s, half_s = runs.quantile_s(share), runs.quantile_s(0.5)
    return late_s / half_s - 1.0 if half_s > 0.0 and math.isfinite(late_s) else 0.0


def _untold(question: Question) -> Sequence[str]:
    """Say when there are too few simulated runs for what is promised."""
    wanted = scenarios_for(question.confidence)
    if question.deadline_s is None or question.scenarios >= wanted:
        return ()
    told = 100.0 * told_share(question.scenarios)
    said = (
        f"whether {100.0 * question.confidence:g} % of the runs keep the promise: "
        f"{question.scenarios} simulated ones tell up to {told:.3g} % (--scenarios {wanted})"
    )
    return (said,)


def _finish(runs: Runs, question: Question) -> Finish:
    hit = None if question.deadline_s is None else runs.kept(question.deadline_s)
    count = len(runs.outcomes)
    return Finish(
        p50_s=runs.quantile_s(0.5),
        p95_s=runs.quantile_s(0.95),
        p99_s=runs.quantile_s(0.99),
        hit=hit,
        hit_surely=None if hit is None else surely_kept(round(hit * count), count),
        ends_s=tuple(round(float(each), 3) for each in np.sort(runs.whole_s[runs.finished])),
    )


def _unknown_of(question: Question, answered: Sequence[Mapping[str, int]]) -> Iterator[str]:
    """Say what is not known of pools: in a word of those that no run has a machine of."""
    used = {pool for nodes in answered for pool, count in nodes.items() if count}
    measured = {pool for stage in question.profile.stages for pool in stage.pools}
    known = dict(question.unknown_of)
    for pool in question.pools.pools:
        facts = dict(known.get(pool.name, ()))
        if pool.name not in measured:
            # Their stated speed is all that is known.
            facts["how fast it is"] = (
                f"how fast it is was not measured; it is said to be {pool.speed:g} times as fast "
                f"as {', '.join(sorted(measured))}"
            )
        if pool.name in used:
            yield from (f"pool {pool.name}: {said}" for said in facts.values())
        elif facts:
            yield f"pool {pool.name}: nothing uses it (not known of it: {', '.join(facts)})"
