"""Luck, drawn once and met by every plan alike: run times, whole-pool outages, speeds, start-up.

Common random numbers make the difference of two plans far less noisy than either of them, which is
what lets a search compare plans on a hundred scenarios.  The scenarios are a Latin hypercube: each
pool is lost, and each of a few tasks is long, in as many of them as is to be expected, so that a
search finds no pool that is better than the others by mere luck.
Source: McKay, Beckman, Conover 1979.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.inflight import left_s
from placement.model import SPLIT_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placement.model import Pool, Problem, Spot, TaskClass
    from placement.tables import Floats, Ints

# Draws per class and scenario; larger classes use them again from the start.  The sum over a
# class of 2,048 draws varies by cv / 45, so re-use is not visible in a finish time.
DRAWS_MAX: Final = 2_048
OUTAGES_MAX: Final = 64
# Only of a few tasks does each have its share of every kind of luck; many even out by themselves.
_EVEN_MAX: Final = 64
# Quantiles of the normal distribution, to read others between them.
Stream = tuple[int, int, int]  # seed, what is drawn, of which class or pool
_NORMAL: Final = np.linspace(-6.0, 6.0, 2_401)
_BELOW: Final = np.array([0.5 * math.erfc(-z / math.sqrt(2.0)) for z in _NORMAL.tolist()])


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenarios:
    """`size` draws of everything that is random.

    Shapes: noise[c] (S, min(count, DRAWS_MAX)), factors on work with mean 1; gone, back (S, P, K)
    ends of outages, inf where there are no more; slow (S, P) factor on run time; startup (S, P);
    left_s, one for each of `Problem.running`, (S, count): what running tasks still compute.
    """

    size: int
    noise: tuple[Floats, ...]
    gone: Floats
    back: Floats
    slow: Floats
    startup: Floats
    left_s: tuple[Floats, ...] = ()


def draw(problem: Problem, size: int, seed: int, *, horizon_s: float) -> Scenarios:
    """Draw `size` scenarios; the same seed gives the same luck.

    Each class and pool has a stream of its own, so that adding one changes no other's luck.
    """
    noise = tuple(
        _cut(_lognormal((seed, 1, k), c.cv, (size, min(c.count, DRAWS_MAX))), c)
        for k, c in enumerate(problem.classes)
    )
    pools = problem.pools
    outages = [
        _pool_outages((seed, 2, k), problem, p, size, horizon_s) for k, p in enumerate(pools)
    ]
    depth = max(1, max((len(o) for pool in outages for o in pool), default=1))
    gone = np.full((size, len(pools), depth), np.inf)
    back = np.full((size, len(pools), depth), np.inf)
    for p, pool in enumerate(outages):
        for s, intervals in enumerate(pool):
            for k, (a, b) in enumerate(intervals):
                gone[s, p, k], back[s, p, k] = a, b
    slow = np.stack(
        [_lognormal((seed, 3, k), p.speed_cv, (size,)) for k, p in enumerate(pools)], axis=1
    )
    start = [_lognormal((seed, 4, k), p.startup_cv, (size,)) for k, p in enumerate(pools)]
    return Scenarios(
        size=size,
        noise=noise,
        gone=gone,
        back=back,
        slow=slow,
        startup=np.stack(start, axis=1),
        left_s=left_s(problem, noise, slow),
    )


def mean_scenario(problem: Problem) -> Scenarios:
    """The one scenario in which nothing is random: mean run times and no outage."""
    pools = len(problem.pools)
    noise = tuple(np.ones((1, min(c.count, DRAWS_MAX))) for c in problem.classes)
    slow = np.ones((1, pools))
    return Scenarios(
        size=1,
        noise=noise,
        gone=np.full((1, pools, 1), np.inf),
        back=np.full((1, pools, 1), np.inf),
        slow=slow,
        startup=np.ones((1, pools)),
        left_s=left_s(problem, noise, slow),
    )


def take(scenarios: Scenarios, chosen: Ints) -> Scenarios:
    """Some scenarios, by their indices."""
    return Scenarios(
        size=chosen.size,
        noise=tuple(n[chosen] for n in scenarios.noise),
        gone=scenarios.gone[chosen],
        back=scenarios.back[chosen],
        slow=scenarios.slow[chosen],
        startup=scenarios.startup[chosen],
        left_s=tuple(left[chosen] for left in scenarios.left_s),
    )


def first(scenarios: Scenarios, size: int) -> Scenarios:
    """The first `size` of some scenarios, for a quick look before a full one."""
    return Scenarios(
        size=min(size, scenarios.size),
        noise=tuple(n[:size] for n in scenarios.noise),
        gone=scenarios.gone[:size],
        back=scenarios.back[:size],
        slow=scenarios.slow[:size],
        startup=scenarios.startup[:size],
        left_s=tuple(left[:size] for left in scenarios.left_s),
    )


def is_random(problem: Problem) -> bool:
    """Whether two scenarios of the problem can differ at all."""
    spread = any(c.cv > 0 for c in problem.classes)
    return spread or any(p.spot or p.speed_cv > 0 or p.startup_cv > 0 for p in problem.pools)


def _even(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Numbers in [0, 1) of which the first axis has one in each of its equal parts."""
    size = shape[0]
    strata = rng.permuted(np.broadcast_to(_column(size, len(shape)), shape), axis=0)
    return np.asarray((strata + rng.random(shape)) / size)


def _column(size: int, axes: int) -> Floats:
    return np.arange(size, dtype=np.float64).reshape(size, *(1,) * (axes - 1))


def _lognormal(stream: Stream, cv: float, shape: tuple[int, ...]) -> Floats:
    """Lognormal factors with mean 1 and coefficient of variation `cv`."""
    if cv <= 0:
        return np.ones(shape)
    rng = np.random.default_rng(stream)
    sigma = float(np.sqrt(np.log1p(cv * cv)))
    if len(shape) > 1 and shape[1] > _EVEN_MAX:
        return np.asarray(rng.lognormal(-sigma * sigma / 2, sigma, shape))
    normal = np.interp(_even(rng, shape), _BELOW, _NORMAL)
    return np.asarray(np.exp(sigma * normal - sigma * sigma / 2))


def _cut(noise: Floats, cls: TaskClass) -> Floats:
    """Cut the long tasks of a class that can be split: the others take over what is cut off.

    All the work of a scenario stays the same, and no task is longer than SPLIT_MAX times the mean.
    """
    if not cls.splittable:
        return noise
    mean = np.minimum(noise.mean(axis=1, keepdims=True), SPLIT_MAX)
    short = np.minimum(noise, SPLIT_MAX)
    over, room = mean - short.mean(axis=1, keepdims=True), SPLIT_MAX - short
    share = over / np.maximum(room.mean(axis=1, keepdims=True), 1e-12)
    return np.asarray(short + share * room)


def _pool_outages(
    stream: Stream, problem: Problem, pool: Pool, size: int, horizon_s: float
) -> list[list[tuple[float, float]]]:
    if pool.spot is None:
        return [[] for _ in range(size)]
    rng = np.random.default_rng(stream)
    down = pool.name in problem.down
    source = _from_trace if pool.spot.trace_up else _from_rate
    drawn = []
    for luck in _even(rng, (size,)).tolist():
        outages: list[tuple[float, float]] = []
        for gone, back in source(rng, pool.spot, down, luck):
            if gone > horizon_s or len(outages) == OUTAGES_MAX:
                break
            outages.append((gone + problem.now_s, back + problem.now_s))
        drawn.append(outages)
    return drawn


def _from_rate(
    rng: np.random.Generator,
    spot: Spot,
    down: bool,
    luck: float,
) -> Iterator[tuple[float, float]]:
    """Exponential up and down times; the chance to start in an outage is that of steady state.

    `luck` in [0, 1) says when the first one begins: the less, the sooner.
    """
    rate = spot.reclaims_per_h / 3600.0
    if rate <= 0 and not down:
        return
    away = spot.outage_s * rate / (1.0 + spot.outage_s * rate)
    gone = 0.0
    if not down and luck >= away:
        gone = -math.log1p(-(luck - away) / (1.0 - away)) / rate
    while True:
        back = gone + (rng.exponential(spot.outage_s) if spot.outage_s > 0 else 1e-3)
        yield gone, back
        if rate <= 0:
            return
        gone = back + rng.exponential(1.0 / rate)


def _from_trace(
    rng: np.random.Generator,
    spot: Spot,
    down: bool,
    luck: float,
) -> Iterator[tuple[float, float]]:
    """Read the measured trace round and round from the place that `luck` in [0, 1) says."""
    del rng
    up = np.array(spot.trace_up)
    if up.all():
        return
    if not up.any():
        yield 0.0, np.inf
        return
    starts = np.flatnonzero(~up) if down else np.arange(up.size)
    turned = np.roll(up, -int(starts[int(luck * starts.size)])).astype(np.int8)
    edges = np.flatnonzero(np.diff(np.concatenate([[1], turned, [1]])))
    span = up.size * spot.gap_s
    lap = 0.0
    while True:
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            yield lap + a * spot.gap_s, lap + b * spot.gap_s
        lap += span
