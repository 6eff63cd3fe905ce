"""A placement in force: what a run keeps of its plan while it goes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from placement import Layout, Problem, TaskClass
from placement.plan import Forecast
from rayorch.core.placed import ClassPlacement, PoolPrice
from rayorch.core.sizes import Size
from rayorch.ids import RunId
from rayorch.plan.pools import PoolsSpec


@dataclass(frozen=True, slots=True)
class Awaited:
    """So many machines were there `since_s`, and more had been asked for."""

    since_s: float
    nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A placement in force, and the problem that it was made for.

    `layout` is what `method` found, and `forecast` what it was to come to.
    `sizes` are of the runners that each of `stages` needs.
    `classes` are all classes of the run, as it was first cut: tasks are numbered by them. `done`
    counts, by class, what was committed when `problem` was made; `problem` holds the rest. `ran`
    are the pools that had runners, `out` those that are left alone, and until when. `elastic` are
    the pools that more machines can be asked of, `awaited` those that were and have not come, and
    `stuck` the pools that are taken as they are until some time, because none came.
    """

    run: RunId
    submitted_s: float
    pools: PoolsSpec
    sizes: tuple[Size, ...]
    classes: tuple[TaskClass, ...]
    stages: tuple[str, ...]
    class_of: bytes
    problem: Problem
    layout: Layout
    forecast: Forecast
    method: str
    revision: int = 1
    done: Mapping[str, int]
    placed: Mapping[str, ClassPlacement]
    up_s: Mapping[str, float] = field(default_factory=dict)
    ran: frozenset[str] = frozenset()
    out: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    prices: tuple[PoolPrice, ...] = ()
    elastic: frozenset[str] = frozenset()
    awaited: Mapping[str, Awaited] = field(default_factory=dict)
    stuck: Mapping[str, float] = field(default_factory=dict)
    is_searched: bool = False  # by the solver: before that, it is what greedy gave
