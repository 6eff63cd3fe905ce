"""Cost against time: what runs come to that are given more time, from the soonest to the cheapest.

The solver sees the stages that read sources. Where no others come after them, each of its plans
says what a run of it costs and when it ends. Else plans are made for deadlines from the one end to
the other, and runs of each are simulated: they have what stages behind an exchange add to both.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

import numpy as np

from rayorch.capacity.asking import Question, Traded
from rayorch.capacity.planning import made
from rayorch.capacity.rehearsal import Prepared
from rayorch.capacity.scenarios import Runs, runs_of, unsure_of
from rayorch.core.facts import PlacementReady
from rayorch.plan.deciding import frontier_points
from rayorch.sim.turns import TASK_CPU_S
from rayorch.spec.objective import Deadline, Weighted

POINTS: Final = 5
SEARCH_S: Final = 0.4
"""Counted seconds of the solver for each of them: half of what the answer's own plan has."""
TRIED: Final = 6
"""Simulated runs of each plan."""
SLACK: Final = 1.02
"""A deadline that is just the end of the fastest plan would be missed by chance."""
STRETCH: Final = 20.0
"""Times as long as the fastest plan: by then nothing is in a hurry."""


def is_whole(plan: Prepared) -> bool:
    """Say whether the solver sees all stages: none reads what others made."""
    return not any(stage.stage.profile.after and stage.tasks for stage in plan.thin.stages)


def traded(question: Question, plan: Prepared, unsure: float, asked: Traded) -> tuple[Traded, ...]:
    """Return cost against time, the soonest first; none that another beats in both.

    `asked` is what the plan itself was simulated to come to.
    """
    found = _solved(plan) if is_whole(plan) else [asked, *_simulated(question, plan, unsure)]
    kept: list[Traded] = []
    for each in sorted(found, key=lambda each: (each.p95_s, each.cost)):
        if np.isfinite(each.p95_s) and (not kept or each.cost < kept[-1].cost):
            kept.append(each)
    return tuple(kept)


def _solved(plan: Prepared) -> Iterator[Traded]:
    """Yield the solver's own plans, in machines of full size.

    It does not see that one control actor schedules all tasks: none of them ends sooner than that.
    """
    thin = plan.thin
    scheduled_s = TASK_CPU_S * thin.scaled.tasks
    for point in frontier_points(plan.problem, is_priced=thin.pools.is_priced):
        p95_s = max(point.p95_s, scheduled_s)
        yield Traded(
            ask_s=p95_s,
            p95_s=p95_s,
            usd=None if point.usd is None else point.usd * thin.factor,
            cost=point.cost * thin.factor,
            pools={pool: thin.nodes(pool, nodes) for pool, nodes in point.pools.items()},
        )


def _simulated(question: Question, plan: Prepared, unsure: float) -> Iterator[Traded]:
    """Yield what simulated runs come to, of plans for each of some deadlines."""
    quick = replace(question, search_s=min(SEARCH_S, question.search_s))
    seen: list[PlacementReady | None] = []
    for ask_s in _asks(quick, plan):
        plan = made(quick, Deadline(timedelta(seconds=ask_s)), plan)
        if any(_is_same(plan.ready, each) for each in seen):
            continue  # With more time it is no other plan.
        seen.append(plan.ready)
        runs = runs_of(plan, TRIED, question.seed + 4, unsure_of(plan, unsure))
        yield traded_of(ask_s, runs, is_priced=question.pools.is_priced)


def _is_same(plan: PlacementReady | None, other: PlacementReady | None) -> bool:
    """Say whether two plans place the same tasks on the same machines."""
    if plan is None or other is None:
        return plan is other
    return (plan.classes, plan.runners) == (other.classes, other.runners)


def _asks(question: Question, plan: Prepared) -> Iterable[float]:
    """Return deadlines at equal ratios, from the soonest end that the solver sees."""
    first_s = SLACK * made(question, Weighted(1.0), plan).foreseen_s
    unhurried = Deadline(timedelta(seconds=STRETCH * first_s))
    last_s = max(first_s, made(question, unhurried, plan).foreseen_s)
    asks = np.geomspace(first_s, last_s, POINTS)
    return dict.fromkeys(round(float(each), 3) for each in asks)


def traded_of(ask_s: float | None, runs: Runs, *, is_priced: bool) -> Traded:
    """Return what simulated runs of a plan come to: in dollars, where all pools have a price.

    Plans that use none of those without are held against others, which do.
    """
    usd = runs.mean_usd if is_priced else None
    return Traded(
        ask_s=ask_s,
        p95_s=runs.quantile_s(0.95),
        usd=usd,
        cost=float(runs.core_hours.mean()) if usd is None else usd,
        pools=runs.usual_nodes,
        runs=len(runs.outcomes),
    )
