"""What a run has cost so far, as a value, beside what it was expected to cost.

The numbers are the ledger's (`rayorch.core.ledger`). Where a pool has no known price there are core
hours and no dollars: a sum with an unknown part is unknown, and `known_usd` says what is known.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from rayorch.core.ledger import CORE_HOUR_S, IDLE, PoolSpent, pools_spent
from rayorch.core.placed import Forecast, LinkSpent, Spent
from rayorch.core.run import Run

CORE_S_MIN: Final = 1.0
"""Of waiting, what is worth a line."""


class CostLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one stage took on one pool; without a stage, what the pool's nodes cost besides.

    Units: cores times seconds, bytes, USD. The waste is that part of the work that came to nothing,
    and the loss that part of it which went with a runner or a node. `saved` is what a cache kept
    from being moved, and is not among the cost. Dollars are None where no price is known.
    """

    pool: str
    stage: str = ""
    attempts: int = 0
    core_s: float = 0.0
    wasted_core_s: float = 0.0
    lost_core_s: float = 0.0
    moved_bytes: int = 0
    cached_bytes: int = 0
    known_usd: float = 0.0
    compute_usd: float | None = None
    wasted_usd: float | None = None
    lost_usd: float | None = None
    saved_usd: float | None = None
    egress_usd: float | None = None
    request_usd: float | None = None

    @property
    def usd(self) -> float | None:
        """All dollars; None where a price is not known."""
        return None if self.compute_usd is None else self.known_usd


class DatasetCost(msgspec.Struct, frozen=True):
    """What one output cost: of each stage that feeds it, by its share of the bytes published."""

    url: str
    core_s: float
    usd: float | None


class RunCost(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run cost, by stage and pool, and what its newest placement expects it to cost."""

    work: tuple[CostLine, ...] = ()
    idle: tuple[CostLine, ...] = ()
    datasets: tuple[DatasetCost, ...] = ()  # once they are published
    links: tuple[LinkSpent, ...] = ()
    estimate: Forecast | None = None
    revision: int = 0  # of the placement; 0: none was made
    solver_failures: int = 0

    @property
    def lines(self) -> tuple[CostLine, ...]:
        """Work, then idle."""
        return self.work + self.idle

    @property
    def core_hours(self) -> float:
        """Of work and idle."""
        return sum(line.core_s for line in self.lines) / CORE_HOUR_S

    @property
    def wasted_core_hours(self) -> float:
        """Of work that came to nothing."""
        return sum(line.wasted_core_s for line in self.work) / CORE_HOUR_S

    @property
    def idle_core_hours(self) -> float:
        """Of nodes that started, waited, or had cores that nobody used, for the run."""
        return sum(line.core_s for line in self.idle) / CORE_HOUR_S

    @property
    def usd(self) -> float | None:
        """All dollars; None where a price is not known, or nothing was charged."""
        return summed(line.usd for line in self.lines) if self.lines else None

    @property
    def known_usd(self) -> float:
        """Dollars of what has a price."""
        return sum(line.known_usd for line in self.lines)

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The pools whose price is not known."""
        return tuple(sorted({line.pool for line in self.lines if line.usd is None}))


def cost_of(run: Run) -> RunCost | None:
    """Return what a run cost so far; None while nothing was charged and nothing was placed."""
    placement = run.placement
    if placement is None and not run.ledger and not run.paid:
        return None
    pools = pools_spent(run)
    work = tuple(_work(run, pools))
    expected = placement.forecast if placement is not None else Forecast()
    return RunCost(
        work=work,
        idle=tuple(_others(pools)),
        datasets=tuple(datasets_of(run)),
        links=tuple(replace(each) for each in run.links),
        # A placement that has nothing to choose foretells nothing either.
        estimate=expected if expected.p95_s > 0.0 else None,
        revision=placement.revision if placement is not None else 0,
        solver_failures=run.placement_failures,
    )


def summed(parts: Iterator[float | None]) -> float | None:
    """Add dollars up; None when any of them is."""
    total = 0.0
    for part in parts:
        if part is None:
            return None
        total += part
    return total


def _work(run: Run, pools: Mapping[str, PoolSpent]) -> Iterator[CostLine]:
    for stage, some in sorted(run.ledger.items()):
        for pool, spent in sorted(some.items()) if stage != IDLE else ():
            yield _line(run.stages[stage].name, pool, spent, pools[pool])


def _line(stage: str, pool: str, spent: Spent, whole: PoolSpent) -> CostLine:
    known = whole.is_priced
    compute_usd = whole.usd_of(spent.core_s, spent.compute_usd)
    return CostLine(
        pool=pool,
        stage=stage,
        attempts=spent.attempts,
        core_s=spent.core_s,
        wasted_core_s=spent.wasted_core_s,
        lost_core_s=spent.lost_core_s,
        moved_bytes=spent.moved_bytes,
        cached_bytes=spent.cached_bytes,
        known_usd=compute_usd + spent.egress_usd + spent.request_usd,
        compute_usd=compute_usd if known else None,
        wasted_usd=whole.usd_of(spent.wasted_core_s, spent.wasted_usd) if known else None,
        lost_usd=whole.usd_of(spent.lost_core_s, spent.lost_usd) if known else None,
        saved_usd=spent.saved_usd if known else None,
        egress_usd=spent.egress_usd if known else None,
        request_usd=spent.request_usd if known else None,
    )


def _others(pools: Mapping[str, PoolSpent]) -> Iterator[CostLine]:
    """Yield what nodes cost besides the work, where that is anything."""
    for pool, spent in sorted(pools.items()):
        if spent.other_core_s > CORE_S_MIN or spent.other_usd:
            known = 0.0 if spent.is_priced else None
            yield CostLine(
                pool=pool,
                core_s=spent.other_core_s,
                known_usd=spent.other_usd,
                compute_usd=spent.other_usd if spent.is_priced else None,
                wasted_usd=known,
                lost_usd=known,
                saved_usd=known,
                egress_usd=known,
                request_usd=known,
            )


def charges_of(run: Run) -> Iterator[tuple[str, str, float, float]]:
    """Yield (pool, kind, core seconds, known USD) of all that a run was charged.

    The kinds are disjoint, so that they add up: useful, wasted, idle, egress, requests. Work
    without a known price has core seconds and no dollars.
    """
    for stage, pools in run.ledger.items():
        for pool, spent in pools.items() if stage != IDLE else ():
            useful_s = spent.core_s - spent.wasted_core_s
            yield pool, "useful", useful_s, spent.compute_usd - spent.wasted_usd
            yield pool, "wasted", spent.wasted_core_s, spent.wasted_usd
            yield pool, "egress", 0.0, spent.egress_usd
            yield pool, "requests", 0.0, spent.request_usd
    for pool, whole in pools_spent(run).items():
        yield pool, "idle", whole.other_core_s, whole.other_usd


# --- by dataset ---------------------------------------------------------------------------------


def datasets_of(run: Run) -> Iterator[DatasetCost]:
    """Yield what each output cost, once all are visible: before that, their sizes are not known.

    With its stages' part of what nodes cost besides, so that all outputs together are the run.
    """
    if not run.sinks or len(run.published) < len(run.sinks):
        return
    fed, pools = _fed(run), pools_spent(run)
    for sink, url in enumerate(run.sinks):
        core_s, usd = 0.0, []
        for index, some in run.ledger.items():
            if index == IDLE or sink not in fed[index]:
                continue
            share = _share(run, fed[index], sink)
            for pool, spent in some.items():
                whole = pools[pool]
                part = spent.core_s / whole.core_s if whole.core_s else 0.0
                own = whole.usd_of(spent.core_s, spent.compute_usd)
                own += spent.egress_usd + spent.request_usd
                core_s += share * (spent.core_s + part * whole.other_core_s)
                usd.append(share * (own + part * whole.other_usd) if whole.is_priced else None)
        yield DatasetCost(url, core_s, summed(iter(usd)))


def _fed(run: Run) -> list[frozenset[int]]:
    """Return, for each stage, the sinks that it feeds, itself or through stages that read it."""
    fed = [set(stage.sinks) for stage in run.stages]
    # A stage reads earlier ones only, so that from the last to the first all is known in time.
    for index in range(len(run.stages) - 1, -1, -1):
        for before in run.stages[index].after:
            fed[before] |= fed[index]
    return [frozenset(sinks) for sinks in fed]


def _share(run: Run, sinks: Collection[int], sink: int) -> float:
    """Return the share of a stage's cost that one of the sinks it feeds bears."""
    sizes = {each: run.published[each].size_bytes for each in sinks}
    whole = sum(sizes.values())
    return sizes[sink] / whole if whole else 1.0 / len(sizes)
