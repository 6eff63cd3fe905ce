"""The placement of a run that has no choice: one pool, and nothing to keep to.

It must cost next to nothing, for most runs are of this kind: no solver, and none of its imports.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rayorch.core.facts import PlacementReady
from rayorch.core.placed import ClassPlacement, Forecast, PoolPrice, pack_classes
from rayorch.home import RunPlan
from rayorch.ids import RunId
from rayorch.plan.estimate import History
from rayorch.plan.history import Expected
from rayorch.program import Program

METHOD: Final = "no choice"
NORMAL_95: Final = 1.645


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A planned run; `done` are the tasks of it that are committed already."""

    run: RunId
    submitted_s: float
    program: Program
    plan: RunPlan
    histories: Sequence[History]
    expected: Expected
    done: Sequence[int] = ()


def unplaced(
    work: Unplaced,
    slots: int,
    prices: Sequence[PoolPrice],
    sources: Sequence[Sequence[str]] = (),
) -> PlacementReady:
    """Return the placement that sends all tasks anywhere: a class for each stage and place.

    `sources` has where the input of each task lies, stage by stage. The forecast is of the
    estimates alone, all slots at work, with no time to start.
    """
    expected = work.expected
    places = sources or [("",) * count for count in work.plan.task_counts]
    named = [(n, place) for n, some in enumerate(places) for place in sorted(set(some)) or [""]]
    number_of = {each: number for number, each in enumerate(named)}
    cores_s = sum(stage.seconds for stage in expected.stages)
    tasks = sum(stage.tasks for stage in expected.stages)
    p50_s = cores_s / max(1, min(slots, tasks))
    usd_core_h = prices[0].usd_core_h if len(prices) == 1 else None
    core_hours = cores_s / 3600.0
    cv = max((stage.cv for stage in expected.stages), default=0.0)
    return PlacementReady(
        run=work.run,
        revision=1,
        classes=tuple(_class(expected, stage, place, places[stage]) for stage, place in named),
        class_of=pack_classes([number_of[n, p] for n, some in enumerate(places) for p in some]),
        prices=tuple(prices),
        forecast=Forecast(
            usd=None if usd_core_h is None else usd_core_h * core_hours,
            core_hours=core_hours,
            p50_s=p50_s,
            p95_s=p50_s * math.exp(NORMAL_95 * math.sqrt(math.log1p(cv**2))),
        ),
        method=METHOD,
    )


def _class(expected: Expected, number: int, place: str, places: Sequence[str]) -> ClassPlacement:
    stage = expected.stages[number]
    count = places.count(place)
    return ClassPlacement(
        # What reads one place, or nothing that is known yet, is the whole stage.
        name=stage.name if count in {0, len(places)} else f"{stage.name}/{place}",
        stage=number,
        tasks=count or stage.tasks,
        cv=stage.cv,
        source=place,
    )
