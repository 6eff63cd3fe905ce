"""Pouring the first waves of a large part over its lanes, as a fluid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from placement.lanes import Lanes, Tally, Work
    from placement.tables import Floats

# Larger parts, with more waves than these, are poured but for the last waves.
POUR_MIN: Final = 2_000
_WAVES_MAX: Final = 4
_WAVES_KEPT: Final = 2
_LEVEL_STEPS: Final = 14


def pour(lanes: Lanes, work: Work, tally: Tally) -> int:
    """Give all but the last waves of a large part to the lanes at once; how many tasks went."""
    m = lanes.free_s.shape[1]
    waves = work.count // m
    if waves <= _WAVES_MAX or work.count <= POUR_MIN:
        return 0
    compute = work.compute_s[:, :, 0][:, lanes.fleet]
    io = work.io_s[:, :, 0][:, lanes.fleet]
    each = np.maximum(compute + io, 1e-9)
    tally.first_end = (lanes.free_s + each).min(axis=1)
    bulk = work.count - _WAVES_KEPT * m
    level = _level(lanes.free_s, each, bulk)
    taken = np.floor(np.maximum(level[:, None] - lanes.free_s, 0.0) / each)
    # Rounding down loses up to one task a lane; the list scheduling that follows takes them.
    poured = int(taken.sum(axis=1).min())
    surplus = taken.sum(axis=1) - poured
    taken *= np.where(taken.sum(axis=1) > 0, 1 - surplus / taken.sum(axis=1), 0.0)[:, None]
    columns = np.arange(m) % work.noise.shape[1]
    mean = 1.0 + (work.noise[:, columns] - 1.0) / np.sqrt(np.maximum(taken, 1.0))
    end = lanes.free_s + taken * (compute * mean + io)
    if lanes.lost_s is not None and lanes.ready_s is not None:
        end = _pour_over_outages(lanes, work, lanes.free_s, end, each)
    np.copyto(lanes.free_s, end)
    for f in range(tally.poured.shape[1]):
        tally.poured[:, f] += taken[:, lanes.fleet == f].sum(axis=1)
    return poured


def _level(free_s: Floats, each_s: Floats, bulk: int) -> Floats:
    """Time at which lanes that work from `free_s` on have done `bulk` tasks, by bisection."""
    low = free_s.min(axis=1)
    high = free_s.max(axis=1) + each_s.max(axis=1) * (bulk / free_s.shape[1] + 1)
    for _ in range(_LEVEL_STEPS):
        mid = (low + high) / 2
        done = (np.maximum(mid[:, None] - free_s, 0.0) / each_s).sum(axis=1)
        low, high = np.where(done < bulk, mid, low), np.where(done < bulk, high, mid)
    return np.asarray(high)


def _pour_over_outages(
    lanes: Lanes, work: Work, begin: Floats, end: Floats, each: Floats
) -> Floats:
    """Stretch poured work over reclaims: half a task is lost, the rest goes to the next pool."""
    assert lanes.lost_s is not None
    assert lanes.ready_s is not None
    at = np.arange(begin.shape[0])[:, None]
    fleet = lanes.fleet[None, :]
    for phase in range(lanes.lost_s.shape[2] - 1):
        lost = lanes.lost_s[:, :, phase][:, lanes.fleet]
        hit = (end > lost) & (begin < lost)
        if not hit.any():
            break
        slower = work.compute_s[at, fleet, phase + 1] + work.io_s[at, fleet, phase + 1]
        rest = (np.where(hit, end - lost, 0.0) + each / 2) / each * slower
        end = np.where(hit, lanes.ready_s[at, fleet, phase + 1] + rest, end)
    return end
