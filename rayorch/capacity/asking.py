"""What is asked about a workload's capacity, and what is answered: values alone."""

from dataclasses import dataclass

import msgspec

from rayorch.plan.deciding import SOLVE_S
from rayorch.plan.pools import PoolsSpec
from rayorch.plan.profile import Profile


class Calibrated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the simulator was off runs that it was not fitted on: shares of what was measured."""

    version: int
    runs: int
    whole_median: float
    whole_worst: float
    usd_median: float
    made_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked.

    Units: `growth` times the measured data; `deadline_s` after the submission, kept by `confidence`
    of all runs; a run `every_s`. `zones` has the pools of each zone that is known, `unknown` what
    is not known, in words, and `unknown_of` what is not known of a pool: its facts, and what is
    reckoned with in their place; `nodes_max` is how many machines of all pools there can be.
    `search_s` are counted seconds of the solver for a plan; 0 takes the first one, and then there
    is no frontier either.
    """

    profile: Profile
    growth: float
    pools: PoolsSpec
    deadline_s: float | None = None
    confidence: float = 0.95
    every_s: float | None = None
    zones: tuple[tuple[str, tuple[str, ...]], ...] = ()
    unknown: tuple[str, ...] = ()
    unknown_of: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    scenarios: int = 50
    seed: int = 0
    search_s: float = SOLVE_S
    calibrated: Calibrated | None = None
    nodes_max: int | None = None


class StageNeed(msgspec.Struct, frozen=True):
    """A stage at full size. Of a runner for it: `cores` and `gpus`; `memory_bytes` of a task."""

    name: str
    tasks: int
    task_bytes: float
    memory_bytes: int
    cores: float = 1.0
    gpus: float = 0.0


class PoolNeed(msgspec.Struct, frozen=True):
    """Machines of a pool: what half of the runs have at most, what any had, what may be had.

    Each has so many `gpus`.
    """

    pool: str
    nodes: int
    nodes_most: int
    nodes_max: int
    gpus: float = 0.0


class Finish(msgspec.Struct, frozen=True):
    """When runs end, in seconds after the submission; `hit` of them keep the deadline.

    Of all runs, `hit_surely` do at least, as far as so many simulated ones can tell (95 % sure).
    `ends_s` has each simulated run that ended, in order.
    """

    p50_s: float
    p95_s: float
    p99_s: float
    hit: float | None = None
    hit_surely: float | None = None
    ends_s: tuple[float, ...] = ()


class Standing(msgspec.Struct, frozen=True):
    """So many machines of a pool, from so many seconds after the submission on."""

    at_s: float
    pool: str
    nodes: int


class WhatIf(msgspec.Struct, frozen=True):
    """The same runs, but for one thing."""

    name: str
    p50_s: float
    p95_s: float
    usd: float | None
    hit: float | None
    unfinished: int
    nodes: dict[str, int]


class Traded(msgspec.Struct, frozen=True):
    """What a run costs that is given more time, or less: `--deadline ask_s`; None: without one.

    `cost` is dollars, or core hours where prices are not known; `pools` has the usual machines of
    each. It is of so many simulated `runs`, or as the solver foresees it: 0.
    """

    ask_s: float | None
    p95_s: float
    usd: float | None
    cost: float
    pools: dict[str, int]
    runs: int = 0


class Use(msgspec.Struct, frozen=True):
    """How much of something is used: now, and of twice the data. 1 is all that there is."""

    name: str
    share: float
    doubled: float
    why: str


class Capacity(msgspec.Struct, frozen=True):
    """What a workload will need, cost and take.

    `standing` are the machines of the middle one of the simulated runs, as they come and go.
    Dollars are None where a price is not known. `ask_s` is the deadline to give to a run, so that
    `confidence` of them keep `deadline_s`; `headroom` how much later than half of the runs that is,
    `headroom_99` how much later 99 % of them end. One simulated runner stands for
    `runners_each` where these are most, `runners_by_pool` elsewhere.
    """

    pipeline: str
    growth: float
    data_bytes: float
    tasks: int
    stages: tuple[StageNeed, ...]
    deadline_s: float | None
    confidence: float
    ask_s: float | None
    pools: tuple[PoolNeed, ...]
    finish: Finish
    usd: float | None
    core_hours: float
    runs_month: float | None
    usd_month: float | None
    headroom: float
    headroom_99: float
    doubled: WhatIf | None
    uses: tuple[Use, ...]
    losses: tuple[WhatIf, ...]
    frontier: tuple[Traded, ...]
    scenarios: int
    seed: int
    runners_each: float
    tasks_each: int
    measured_s: float
    simulated_s: float
    measured_core_s: float
    simulated_core_s: float
    calibrated: Calibrated | None
    unknown: tuple[str, ...]
    refused: str = ""
    nearest: str = ""
    standing: tuple[Standing, ...] = ()
    runners_by_pool: dict[str, float] = {}
