"""What becomes of a request for nodes: granted, refused, reclaimed, replaced.

Pools come and go as a whole, so all nodes of a fleet share one fate in a scenario.  A fate is a
row of phases: a pool, when it is up, when it can work, and when it is reclaimed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from placement.fate import Fate
from placement.layout import NO_POOL

if TYPE_CHECKING:
    from placement.layout import Layout
    from placement.model import Problem
    from placement.scenarios import Scenarios
    from placement.tables import Floats

# Reclaims that one fleet lives through; what comes after the last is taken to last for ever.
PHASES_MAX: Final = 4
_TRIES_MAX: Final = 16


class Fates:
    """Fates of requests in one set of scenarios; those at a fixed time are remembered."""

    def __init__(self, problem: Problem, scenarios: Scenarios) -> None:
        self._scenarios = scenarios
        self._provision = np.array([p.provision_s for p in problem.pools])
        self._boot = np.array([p.boot_s for p in problem.pools])
        self._known: dict[tuple[object, ...], Fate] = {}

    def of(
        self, pool: int, at_s: Floats | float, fallback: tuple[int, ...], patience_s: float
    ) -> Fate:
        """Follow a request for `pool` made at `at_s` (a number, or one a scenario)."""
        if isinstance(at_s, np.ndarray):
            return self._follow(pool, at_s, fallback, patience_s)
        key = (pool, at_s, patience_s, _chain(pool, fallback))
        if key not in self._known:
            times = np.full(self._scenarios.size, at_s)
            self._known[key] = self._follow(pool, times, fallback, patience_s)
        return self._known[key]

    def held(
        self, pool: int, up_s: float, ready_s: float, fallback: tuple[int, ...], patience_s: float
    ) -> Fate:
        """Follow nodes that are there already."""
        size = self._scenarios.size
        fate = self._empty(size)
        fate.pool[:, 0], fate.up_s[:, 0], fate.ready_s[:, 0] = pool, up_s, ready_s
        fate.lost_s[:, 0] = self._scenarios.gone[:, pool, 0]
        self._replace(fate, fallback, patience_s)
        return fate

    def _empty(self, size: int) -> Fate:
        blank = np.full((size, PHASES_MAX), np.inf)
        pool = np.zeros((size, PHASES_MAX), dtype=np.intp)
        return Fate(pool=pool, up_s=blank, ready_s=blank.copy(), lost_s=blank.copy())

    def _follow(
        self, pool: int, at_s: Floats, fallback: tuple[int, ...], patience_s: float
    ) -> Fate:
        scen = self._scenarios
        fate = self._empty(scen.size)
        fate.pool[:] = pool
        fate.up_s[:, 0] = at_s + self._provision[pool] * scen.startup[:, pool]
        fate.ready_s[:, 0] = fate.up_s[:, 0] + self._boot[pool] * scen.startup[:, pool]
        ahead = scen.back[:, pool, :] > at_s[:, None]
        next_up = np.where(ahead, scen.gone[:, pool, :], np.inf).min(axis=1)
        fate.lost_s[:, 0] = next_up
        for s in np.flatnonzero((next_up <= at_s) & np.isfinite(at_s)):
            self._grant(fate, int(s), 0, (pool, float(at_s[s])), fallback, patience_s)
        self._replace(fate, fallback, patience_s)
        return fate

    def _replace(self, fate: Fate, fallback: tuple[int, ...], patience_s: float) -> None:
        """Fill the phases after the first, in the few scenarios that reclaim the fleet."""
        for phase in range(1, PHASES_MAX):
            lost = fate.lost_s[:, phase - 1]
            for s in np.flatnonzero(np.isfinite(lost)):
                old = int(fate.pool[s, phase - 1])
                other = fallback[old]
                ask = (old if other == NO_POOL else other, float(lost[s]))
                self._grant(fate, int(s), phase, ask, fallback, patience_s)
        fate.lost_s[:, -1] = np.inf

    def _grant(
        self,
        fate: Fate,
        s: int,
        phase: int,
        ask: tuple[int, float],
        fallback: tuple[int, ...],
        patience_s: float,
    ) -> None:
        """Find the first pool of the chain that answers a request, in scenario s."""
        scen = self._scenarios
        best_pool, best_at, lost = ask[0], np.inf, np.inf
        pool, at = ask
        for _ in range(_TRIES_MAX):
            gone, back = _outage(scen, s, pool, at)
            granted = back if gone <= at else at
            if granted < best_at:
                best_pool, best_at = pool, granted
                lost = gone if gone > at else _outage(scen, s, pool, back + 1e-6)[0]
            if gone > at or fallback[pool] == NO_POOL or at + patience_s >= best_at:
                break
            pool, at = fallback[pool], at + patience_s
        factor = float(scen.startup[s, best_pool])
        fate.pool[s, phase] = best_pool
        fate.up_s[s, phase] = best_at + self._provision[best_pool] * factor
        fate.ready_s[s, phase] = fate.up_s[s, phase] + self._boot[best_pool] * factor
        fate.lost_s[s, phase] = lost


def _outage(scen: Scenarios, s: int, pool: int, at: float) -> tuple[float, float]:
    """The first outage of a pool that ends after `at`."""
    back = scen.back[s, pool]
    k = int(np.argmax(back > at))
    if back[k] <= at:
        return np.inf, np.inf
    return float(scen.gone[s, pool, k]), float(back[k])


def _chain(pool: int, fallback: tuple[int, ...]) -> tuple[int, ...]:
    """Pools that a request for `pool` can end in, in order."""
    chain = [pool]
    while (pool := fallback[pool]) != NO_POOL and pool not in chain:
        chain.append(pool)
    return tuple(chain)


def deep_enough(problem: Problem, layout: Layout) -> tuple[int, ...]:
    """The layout's fallback, without pools that could not take all who may fall back to them.

    A pool that is full lets requests wait: counting on it would promise what may not come.
    """
    asked = [0] * len(problem.pools)
    for fleet in layout.fleets:
        pool, seen = fleet.pool, {NO_POOL}
        while pool not in seen:
            asked[pool] += fleet.count
            seen.add(pool)
            pool = layout.fallback[pool]
    return tuple(
        other if other != NO_POOL and asked[other] <= problem.pools[other].nodes_max else NO_POOL
        for other in layout.fallback
    )
