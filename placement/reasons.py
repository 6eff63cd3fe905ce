"""When a plan no longer describes its run.

Everything is compared with the problem that the plan in force was made for.  A plan made again is
made for the problem of that moment, so that the same news is never a reason twice; and news must be
both sure and large enough to matter, so that noise is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from placement.errors import InvalidProblemError
from placement.model import Deadline
from placement.observed import check_names, remaining
from placement.replan import carried_over
from placement.risk import hit_interval
from placement.scenarios import draw
from placement.simulate import ClassSimulator
from placement.starts import is_served
from placement.tables import tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placement.layout import Layout
    from placement.model import Problem, TaskClass
    from placement.observed import Observed

# Standard errors that the mean of what was measured must be off: it is looked at many times in a
# run, and one error is exceeded by luck at every third look.
_SURE: Final = 3.0
# What a plan does not change for, even when it is sure: a factor on run times, on a price, and on
# the chance to keep the deadline.
_DRIFT_MIN: Final = 0.05
_PRICE_MIN: Final = 0.02
_CHANCE_MIN: Final = 0.02
_CHANCE_SIZE: Final = 16


def reasons_to_replan(
    problem: Problem,
    observed: Observed,
    layout: Layout | None = None,
    *,
    promised: float = 1.0,
    seed: int = 0,
) -> tuple[str, ...]:
    """Say what has changed enough to plan again; empty when the plan still describes the run.

    `problem` and `layout` are those of the plan in force, `promised` its forecast of keeping the
    deadline: a plan that was never sure is not made again for that.  Without a layout the deadline
    is not looked at; with one this takes a simulation of some milliseconds.
    Raises: InvalidProblemError for a class or pool that the problem does not have.
    """
    check_names(problem, observed)
    out = [f"pool {name} was reclaimed" for name in observed.reclaimed]
    out += [f"pool {name} is gone" for name in observed.down if name not in problem.down]
    out += [f"pool {name} is back" for name in problem.down if name not in observed.down]
    out += _prices(problem, observed)
    out += _drifts(problem, observed)
    out += [f"class {cls.name} is new" for cls in observed.new]
    if layout is not None:
        out += _lateness(problem, observed, layout, promised, seed)
    return tuple(out)


def _prices(problem: Problem, observed: Observed) -> Iterator[str]:
    for pool in problem.pools:
        usd = observed.usd_h.get(pool.name, pool.usd_h)
        if abs(usd - pool.usd_h) > _PRICE_MIN * pool.usd_h:
            yield f"pool {pool.name} now costs {usd:g} USD/h, not {pool.usd_h:g}"


def _drifts(problem: Problem, observed: Observed) -> Iterator[str]:
    """Classes whose mean run time is off by more than luck and than what matters.

    Source: z-test on the mean, with the spread that the class was planned with.
    """
    every: dict[str, TaskClass] = {c.name: c for c in (*problem.classes, *observed.new)}
    for name, factor in observed.slower.items():
        if not factor > 0.0:
            raise InvalidProblemError(f"observed.slower[{name!r}]", "must be above 0", repr(factor))
        measured = observed.measured.get(name, 1)
        # The spread goes with the mean: tasks that take twice as long differ by twice as much.
        error = max(1.0, factor) * every[name].cv / max(1, measured) ** 0.5
        if abs(factor - 1.0) > max(_SURE * error, _DRIFT_MIN):
            yield f"class {name} takes {factor:.2f} times as long as expected"


def _lateness(
    problem: Problem, observed: Observed, layout: Layout, promised: float, seed: int
) -> Iterator[str]:
    objective = problem.objective
    if not isinstance(objective, Deadline):
        return
    if observed.now_s >= objective.at_s:
        yield "the deadline has passed"
        return
    after = remaining(problem, observed)
    if after is None:
        return
    chance = chance_to_meet(problem, layout, after, seed=seed)
    best = hit_interval(round(chance * _CHANCE_SIZE), _CHANCE_SIZE)[1]
    if best < min(objective.confidence, promised) - _CHANCE_MIN:
        yield f"the deadline is kept in {chance:.0%} of runs, not {objective.confidence:.0%}"


def chance_to_meet(before: Problem, layout: Layout, after: Problem, *, seed: int = 0) -> float:
    """Give the share of runs that keep the deadline when a layout is followed as it is.

    `after` is what is left of `before`; 1 where there is no deadline, 0 where the layout has no
    nodes for some of the work.  The same seed looks at the same luck.
    """
    objective = after.objective
    if not isinstance(objective, Deadline):
        return 1.0
    tables = tables_of(after)
    carried = carried_over(before, layout, after, tables)
    if not is_served(tables, carried):
        return 0.0
    luck = draw(after, _CHANCE_SIZE, seed, horizon_s=2.0 * (objective.at_s - after.now_s))
    sample = ClassSimulator(after, tables, luck).run(carried)
    return 1.0 - sample.miss_share(objective.at_s)
