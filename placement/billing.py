"""What the nodes of a fleet cost in every scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from placement.fate import Fate
    from placement.layout import Fleet
    from placement.model import Pool, Problem
    from placement.tables import Floats

_EPS: Final = 1e-9


def fleet_usd(
    problem: Problem, fleet: Fleet, fate: Fate, free_s: Floats, last_start_s: Floats
) -> Floats:
    """USD of a fleet: nothing when all its work had started before it was asked for.

    Shapes: free_s (S, nodes, slots); last_start_s, result (S,).
    """
    pools = problem.pools
    ends = np.maximum(free_s.max(axis=2), last_start_s[:, None])
    held = fleet.held >= 0
    at = fate.up_s[:, 0] - np.array([p.provision_s for p in pools])[fate.pool[:, 0]]
    wanted = np.ones(last_start_s.shape, bool) if held else at < last_start_s
    usd = np.zeros(last_start_s.size)
    for phase in range(fate.pool.shape[1]):
        up, lost = fate.up_s[:, phase], fate.lost_s[:, phase]
        rows = np.flatnonzero(wanted & np.isfinite(up))
        if not rows.size:
            break
        until = np.minimum(ends[rows], lost[rows, None])
        until = np.maximum(until, np.minimum(fate.ready_s[rows, phase], lost[rows])[:, None])
        for pool in np.unique(fate.pool[rows, phase]):
            mine = fate.pool[rows, phase] == pool
            spans = until[mine] - up[rows[mine], None]
            usd[rows[mine]] += bills_usd(pools[pool], spans).sum(axis=1)
            if held and phase == 0:
                paid = bills_usd(pools[pool], np.array([problem.now_s - up[rows[0]]]))
                usd[rows[mine]] -= float(paid[0]) * fleet.count
        wanted = wanted & (lost < last_start_s)
    return usd


def bills_usd(pool: Pool, spans_s: Floats) -> Floats:
    """USD for nodes of a pool that were up for so long, rounded up as the pool bills."""
    billed = np.ceil(np.maximum(spans_s, pool.min_bill_s) / pool.bill_s - _EPS) * pool.bill_s
    return np.where(spans_s > 0, billed * (pool.usd_h / 3600.0), 0.0)
