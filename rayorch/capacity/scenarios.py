"""Many simulated runs of one workload: luck, drawn so that few of them say much."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from rayorch.capacity.rehearsal import Prepared, Rehearsal
from rayorch.core.sizes import Size
from rayorch.plan.estimate import DRIFT_CV
from rayorch.plan.pools import PoolSpec
from rayorch.plan.profile import Overheads, drawn
from rayorch.sim.fleet import TrialPool
from rayorch.sim.trial import Trial, TrialOutcome

NORMAL: Final = statistics.NormalDist()
SURE: Final = 0.95
"""How sure what is said of a share of all runs is to be."""
BISECTIONS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsure:
    """How far a whole run may be off what is expected of it: logarithms, one sigma."""

    run: float = DRIFT_CV  # tomorrow's machines, and what the simulator itself gets wrong
    pools: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A pool that is lost for good, so long after the submission."""

    pools: frozenset[str]
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """An end, and how many of the runs may miss it."""

    within_s: float
    missed_max: int

    def is_broken(self, outcomes: Sequence[TrialOutcome]) -> bool:
        """Say whether more runs have missed it than may."""
        late = (not each.finished or each.whole_s > self.within_s for each in outcomes)
        return sum(late) > self.missed_max


class Runs:
    """What some scenarios came to, at full size. Shapes: (scenarios,)."""

    def __init__(self, outcomes: Sequence[TrialOutcome], prepared: Prepared) -> None:
        thin = prepared.thin
        self.outcomes = tuple(outcomes)
        self.finished = np.array([each.finished for each in outcomes])
        self.whole_s = np.array([each.whole_s for each in outcomes])
        rooms = thin.rooms
        self.usd = np.array(
            [
                np.nan
                if each.usd is None
                else sum(usd * rooms[pool].factor for pool, usd in each.usd.items())
                for each in outcomes
            ]
        )
        self.core_hours = np.array(
            [
                sum(hours * rooms[pool].factor for pool, hours in each.core_hours.items())
                for each in outcomes
            ]
        )
        self.nodes = {
            pool.name: np.array(
                [thin.nodes(pool.name, each.nodes.get(pool.name, 0)) for each in outcomes]
            )
            for pool in thin.pools.pools
        }
        self.events = sum(each.events for each in outcomes)

    @property
    def usual_nodes(self) -> dict[str, int]:
        """What half of the runs have at most, of each pool."""
        return {pool: math.ceil(float(np.median(nodes))) for pool, nodes in self.nodes.items()}

    @property
    def most_nodes(self) -> dict[str, int]:
        """What any run had of each pool."""
        return {pool: int(nodes.max()) for pool, nodes in self.nodes.items()}

    @property
    def nodes_most(self) -> int:
        """The most machines of all pools together that a run had of each of them."""
        return int(sum(self.nodes.values(), np.zeros(1)).max())

    def quantile_s(self, share: float) -> float:
        """Return by when so many of the runs have ended; those that did not never have."""
        ends = np.sort(np.where(self.finished, self.whole_s, np.inf))
        at = min(len(ends) - 1, max(0, int(np.ceil(share * len(ends))) - 1))
        return float(ends[at])

    def kept(self, within_s: float) -> float:
        """Return the share of the runs that end in time."""
        return float((self.finished & (self.whole_s <= within_s)).mean())

    def middle(self) -> TrialOutcome:
        """Return the run that ended neither first nor last."""
        return self.outcomes[int(np.argsort(self.whole_s, kind="stable")[len(self.whole_s) // 2])]

    @property
    def mean_usd(self) -> float | None:
        """Dollars of a run; None where a price is not known."""
        usd = float(self.usd.mean())
        return None if np.isnan(usd) else usd


def told_share(scenarios: int) -> float:
    """Return the largest share of all runs that so many simulated ones can tell from all."""
    return 1.0 - 1.0 / scenarios


def scenarios_for(confidence: float) -> int:
    """Return how many simulated runs can tell a share, at the least."""
    return math.ceil(1.0 / (1.0 - confidence) - 1e-9)


def surely_kept(kept: int, runs: int, sure: float = SURE) -> float:
    """Return what share of all runs is kept at least, when so many of some were.

    Their luck is drawn more evenly than by chance, so that they say more than this.
    Source: the one-sided lower bound of Clopper and Pearson 1934.
    """
    assert 0 <= kept <= runs
    if not kept:
        return 0.0
    counts = np.arange(kept, runs + 1)
    ways = np.array([math.log(math.comb(runs, int(count))) for count in counts])
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        share = (low + high) / 2.0
        logs = ways + counts * math.log(share) + (runs - counts) * math.log1p(-share)
        if float(np.exp(logs).sum()) > 1.0 - sure:
            high = share
        else:
            low = share
    return low


def unsure_of(prepared: Prepared, simulator: float) -> Unsure:
    """Return how unsure the speed of each pool is: little where it was measured."""
    thin, pools = prepared.thin, {}
    for pool, room in thin.rooms.items():
        stages = [thin.stages[number] for number in sorted(room.stages)]
        heavy = max(stages, key=lambda stage: float(stage.each_s.sum()))
        known = heavy.line.scale_cv
        pools[pool] = known.get(pool, known[""])
    return Unsure(run=float(np.hypot(DRIFT_CV, simulator)), pools=pools)


def runs_of(  # noqa: PLR0913 - what may be unlike in them.
    prepared: Prepared,
    scenarios: int,
    seed: int,
    unsure: Unsure,
    *,
    there: Mapping[str, int] | None = None,
    loss: Loss | None = None,
    promise: Promise | None = None,
) -> Runs:
    """Simulate so many runs: the same seed gives the same.

    With a promise, no more than it takes to know that it is not kept.
    """
    pools = prepared.thin.pools.pools
    lots = _stratified(scenarios, 1 + len(pools), seed)
    outcomes = []
    for number in range(scenarios):
        own = [
            _trial_pool(
                prepared,
                pool,
                there or {},
                _slowness(lots[number], at + 1, unsure, pool.name),
                loss,
            )
            for at, pool in enumerate(pools)
        ]
        trial = Trial(Rehearsal(prepared, seed * 100_003 + number), own, seed * 100_003 + number)
        outcomes.append(trial.go())
        if promise is not None and promise.is_broken(outcomes):
            break
    return Runs(outcomes, prepared)


def _stratified(rows: int, columns: int, seed: int) -> np.ndarray:
    """Return normal luck, each part of it as often as is to be expected (a Latin hypercube)."""
    luck = np.random.default_rng(seed)
    levels = [NORMAL.inv_cdf((number + 0.5) / rows) for number in range(rows)]
    return np.stack([luck.permutation(levels) for _ in range(columns)], axis=1)


def _slowness(lots: np.ndarray, at: int, unsure: Unsure, pool: str) -> float:
    own = unsure.pools.get(pool, 0.0)
    return float(np.exp(unsure.run * lots[0] + own * lots[at] - (unsure.run**2 + own**2) / 2.0))


def _joins_s(overheads: Overheads, runners: int) -> tuple[float, ...]:
    """Return how long each of so many runners takes to join."""
    return tuple((overheads.start_s * drawn(overheads.starts, runners)).tolist())


def _trial_pool(
    prepared: Prepared, pool: PoolSpec, there: Mapping[str, int], slowness: float, loss: Loss | None
) -> TrialPool:
    room, standing = prepared.thin.rooms[pool.name], there.get(pool.name, 0)
    runners = room.runners if room.factor <= 1.0 else max(1, room.runners // room.parts)
    return TrialPool(
        name=pool.name,
        nodes_max=pool.max_nodes,
        size=Size(pool.vcpu, pool.memory, pool.gpus),
        provision_s=pool.provision_s,
        boot_s=pool.boot_s,
        reclaims_per_h=0.0 if pool.spot is None else pool.spot.reclaims_per_h,
        outage_s=0.0 if pool.spot is None else pool.spot.outage_s,
        slowness=slowness,
        there=standing,
        joins_s=_joins_s(prepared.thin.scaled.profile.overheads, max(1, runners * standing)),
        gone_s=loss.at_s if loss is not None and pool.name in loss.pools else None,
        usd_h=pool.usd_h,
        stood_s=prepared.thin.scaled.profile.stood.get(pool.name),
    )
