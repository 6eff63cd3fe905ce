"""What a run has cost so far, as a value, beside what it was expected to cost.

The numbers are the ledger's (`rayorch.core.ledger`). Where a pool has no known price there are core
hours and no dollars: a sum with an unknown part is unknown, and `known_usd` says what is known.
"""

from collections.abc import Collection, Iterator

import msgspec

from rayorch.core.ledger import CORE_HOUR_S, IDLE
from rayorch.core.placed import Forecast, Spent
from rayorch.core.run import Run


class CostLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one stage took on one pool; without a stage, what a pool's runners waited.

    Units: cores times seconds, bytes, USD. The waste is that part of the work that came to nothing;
    to wait is not among it. Dollars are None where the pool's price is not known.
    """

    pool: str
    stage: str = ""
    attempts: int = 0
    core_s: float = 0.0
    wasted_core_s: float = 0.0
    moved_bytes: int = 0
    known_usd: float = 0.0
    compute_usd: float | None = None
    wasted_usd: float | None = None
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
        """Of runners that waited for the run."""
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
    if placement is None and not run.ledger:
        return None
    work = tuple(
        _line(run.stages[stage].name, pool, spent)
        for stage, pools in sorted(run.ledger.items())
        if stage != IDLE
        for pool, spent in sorted(pools.items())
    )
    waited = sorted(run.ledger.get(IDLE, {}).items())
    expected = placement.forecast if placement is not None else Forecast()
    return RunCost(
        work=work,
        idle=tuple(_line("", pool, spent) for pool, spent in waited),
        datasets=tuple(_datasets(run)),
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


def _line(stage: str, pool: str, spent: Spent) -> CostLine:
    known, is_work = spent.is_priced, bool(stage)
    return CostLine(
        pool=pool,
        stage=stage,
        attempts=spent.attempts,
        core_s=spent.core_s,
        wasted_core_s=spent.wasted_core_s if is_work else 0.0,
        moved_bytes=spent.moved_bytes,
        known_usd=spent.compute_usd + spent.egress_usd + spent.request_usd,
        compute_usd=spent.compute_usd if known else None,
        wasted_usd=(spent.wasted_usd if is_work else 0.0) if known else None,
        egress_usd=spent.egress_usd if known else None,
        request_usd=spent.request_usd if known else None,
    )


def charges_of(run: Run) -> Iterator[tuple[str, str, float, float]]:
    """Yield (pool, kind, core seconds, known USD) of all that a run was charged.

    The kinds are disjoint, so that they add up: useful, wasted, idle, egress, requests. Work
    without a known price has core seconds and no dollars.
    """
    for stage, pools in run.ledger.items():
        for pool, spent in pools.items():
            if stage == IDLE:
                yield pool, "idle", spent.core_s, spent.compute_usd
                continue
            useful_s = spent.core_s - spent.wasted_core_s
            yield pool, "useful", useful_s, spent.compute_usd - spent.wasted_usd
            yield pool, "wasted", spent.wasted_core_s, spent.wasted_usd
            yield pool, "egress", 0.0, spent.egress_usd
            yield pool, "requests", 0.0, spent.request_usd


# --- by dataset ---------------------------------------------------------------------------------


def _datasets(run: Run) -> Iterator[DatasetCost]:
    """Yield what each output cost, once all are visible: before that, their sizes are not known.

    What waited belongs to none of them.
    """
    if not run.sinks or len(run.published) < len(run.sinks):
        return
    fed = _fed(run)
    for sink, url in enumerate(run.sinks):
        core_s, usd = 0.0, []
        for index, pools in run.ledger.items():
            if index == IDLE or sink not in fed[index]:
                continue
            share = _share(run, fed[index], sink)
            for spent in pools.values():
                core_s += share * spent.core_s
                usd.append(None if spent.usd is None else share * spent.usd)
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
