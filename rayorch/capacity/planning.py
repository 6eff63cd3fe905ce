"""A plan for a question: the solver makes it on a workload that is thinned for what it uses."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from placement import PlacementError
from rayorch.capacity.asking import Question
from rayorch.capacity.errors import CapacityError
from rayorch.capacity.fitting import fitting
from rayorch.capacity.rehearsal import Prepared, prepared
from rayorch.capacity.scaling import Scaled, scaled_of
from rayorch.capacity.thinning import RUNNERS, Thin, thin_of
from rayorch.spec.objective import Objective

if TYPE_CHECKING:
    from rayorch.plan.pools import PoolSpec

ROUNDS: Final = 4
"""Thinned workloads that are tried until one is fine enough for its plan."""
RUNNERS_MIN: Final = RUNNERS // 2
RUNNERS_MAX: Final = RUNNERS * 6


def made(
    question: Question, objective: Objective | None, before: Prepared | None = None
) -> Prepared:
    """Return what the solver plans, on a workload that is thinned for what it uses."""
    runners = _guessed(question) if before is None else used_by(before)
    plan = planned_for(question, runners, objective)
    for _ in range(ROUNDS):
        used = used_by(plan)
        if all(_is_fine(*each) for each in _simulated(plan.thin, used)):
            break
        plan = planned_for(question, used, objective)
    return plan


def _simulated(thin: Thin, used: Mapping[str, float]) -> Iterator[tuple[float, float]]:
    """Yield, of stages that share machines, how many runners are one, and how many that makes."""
    factors = {room.stages: room.factor for room in thin.rooms.values()}
    for stages, factor in factors.items():
        runners = sum(used[pool] for pool, room in thin.rooms.items() if room.stages == stages)
        tasks = sum(thin.scaled.stages[number].tasks for number in stages)
        yield factor, max(1.0, min(runners, float(tasks)) / factor)


def _is_fine(factor: float, simulated: float) -> bool:
    """Say whether so many runners can stand for all of them."""
    is_coarse = factor > 1.0 and simulated < RUNNERS_MIN
    return not is_coarse and simulated <= RUNNERS_MAX


def planned_for(
    question: Question, runners: Mapping[str, float], objective: Objective | None
) -> Prepared:
    """Return what the solver plans, thinned for so many runners of each pool at work.

    Raises: CapacityError: a task fits in no pool.
    """
    slots = max(1, round(sum(runners.values())))
    scaled = scaled_of(question.profile, question.growth, slots)
    thin = thin_of(scaled, question.pools, runners)
    try:
        return prepared(thin, objective, there={}, search_s=question.search_s)
    except PlacementError as error:
        raise CapacityError(str(error), "name other pools: --pools FILE") from error


def _guessed(question: Question) -> dict[str, float]:
    """Return about how many runners of each pool a plan uses: only to begin with."""
    scaled = scaled_of(question.profile, question.growth, RUNNERS)
    pools, rooms = fitting(scaled, question.pools)
    shared: dict[frozenset[int], list[PoolSpec]] = {}
    for pool in pools.pools:
        shared.setdefault(rooms[pool.name].stages, []).append(pool)
    found = {}
    for stages, some in shared.items():
        most = sum(pool.max_nodes * rooms[pool.name].runners for pool in some)
        # Said of the first of them: pools that are shared count together.
        found[some[0].name] = _at_once(question, scaled, stages, most)
    return found


def _at_once(question: Question, scaled: Scaled, stages: frozenset[int], most: int) -> float:
    work_s = sum(_work_s(scaled, number) for number in stages)
    tasks = sum(scaled.stages[number].tasks for number in stages)
    if question.deadline_s is None:
        return min(float(most), max(1.0, tasks / 8.0))
    return min(float(most), max(1.0, 1.3 * work_s / question.deadline_s))


def _work_s(scaled: Scaled, number: int) -> float:
    stage = scaled.stages[number]
    overhead_s, gb_s, mrow_s = stage.profile.estimate().line_s
    each_s = overhead_s + gb_s * stage.task_bytes / 1e9 + mrow_s * stage.task_rows / 1e6
    return stage.tasks * each_s * stage.profile.bias


def used_by(plan: Prepared) -> dict[str, float]:
    """Return how many runners of full size of each pool a plan uses at most."""
    assert plan.ready is not None
    used = dict.fromkeys(plan.thin.rooms, 0.0)
    for each in plan.ready.runners:
        runners = each.count * plan.thin.rooms[each.pool].factor
        used[each.pool] = max(used[each.pool], runners)
    return used
