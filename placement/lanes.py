"""List scheduling of one part's tasks on lanes, in all scenarios together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from placement.tables import Bools, Floats, Ints

# Tasks handed out at once: this share of the lanes.  Handing out one at a time is exact and many
# times slower; the finish moves by less than half a task in a wave.
CHUNK_SHARE: Final = 4
# Parts larger than this, with more waves than that, are poured in as a fluid but for the last waves.
POUR_MIN: Final = 2_000
_WAVES_MAX: Final = 4
_WAVES_KEPT: Final = 2
_LEVEL_STEPS: Final = 14


@dataclass(slots=True)
class Lanes:
    """Lanes of several fleets; `free_s` is updated in place.

    Shapes: free_s (S, M); fleet (M,); lost_s, ready_s (S, F, phases), None where nothing is lost.
    """

    free_s: Floats
    fleet: Ints
    lost_s: Floats | None
    ready_s: Floats | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Alike tasks.  Shapes: compute_s, io_s (S, F, phases); noise (S, N); ready_s (S,) or (S, N)."""

    count: int
    compute_s: Floats
    io_s: Floats
    noise: Floats
    cv: float
    ready_s: Floats
    keep_ends: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PartResult:
    """Shapes: first_end_s, last_start_s, last_end_s (S,); tasks_by_fleet (S, F); end_s (S, tasks) or None.

    `listed` tasks were handed out, in `steps`; the others were poured.
    """

    first_end_s: Floats
    last_start_s: Floats
    last_end_s: Floats
    tasks_by_fleet: Floats
    end_s: Floats | None
    steps: int
    listed: int


class _Tally:
    """What a part needs to remember of each assignment."""

    def __init__(self, size: int, fleets: int) -> None:
        self.first_end: Floats | None = None
        self.last_start = np.full(size, -np.inf)
        self.last_end = np.full(size, -np.inf)
        self.tasks = np.zeros((size, fleets))

    def add(self, rows: Ints, start: Floats, end: Floats, fleet: Ints, ok: Bools | None) -> None:
        if self.first_end is None:
            self.first_end = end.min(axis=1)
        if ok is None:
            self.last_start[rows] = np.maximum(self.last_start[rows], start.max(axis=1))
            self.last_end[rows] = np.maximum(self.last_end[rows], end.max(axis=1))
        else:
            low = -np.inf
            starts = np.where(ok, start, low).max(axis=1)
            self.last_start[rows] = np.maximum(self.last_start[rows], starts)
            self.last_end[rows] = np.maximum(self.last_end[rows], np.where(ok, end, low).max(axis=1))
        if self.tasks.shape[1] == 1:
            self.tasks[rows, 0] += end.shape[1]
        else:
            for f in range(self.tasks.shape[1]):
                self.tasks[rows, f] += (fleet == f).sum(axis=1)


def run_tasks(lanes: Lanes, work: Work) -> PartResult:
    """Give the tasks of a part to the lanes that are free first."""
    size, fleets = work.compute_s.shape[:2]
    tally = _Tally(size, fleets)
    ready = work.ready_s
    _skip_outages(lanes, ready if ready.ndim == 1 else ready.min(axis=1))
    ends = np.zeros((size, work.count)) if work.keep_ends else None
    done = _pour(lanes, work, tally)
    order: Ints | None = None
    if ready.ndim == 2:
        order = np.argsort(ready, axis=1, kind="stable")[:, done:]
    lost: list[tuple[Ints, Ints, Floats]] = []
    rows = np.arange(size)
    share = CHUNK_SHARE // 2 if done else CHUNK_SHARE
    chunk = max(1, min(lanes.free_s.shape[1] // share, work.count))
    for lo in range(done, work.count, chunk):
        hi = min(lo + chunk, work.count)
        tasks = order[:, lo - done : hi - done] if order is not None else np.arange(lo, hi)
        _assign(lanes, work, (rows, tasks), (tally, ends, lost), None)
    _redo(lanes, work, lost, tally, ends)
    assert tally.first_end is not None
    return PartResult(
        first_end_s=tally.first_end,
        last_start_s=tally.last_start,
        last_end_s=tally.last_end,
        tasks_by_fleet=tally.tasks,
        end_s=ends,
        steps=1 + (work.count - done) // chunk,
        listed=work.count - done,
    )


def _skip_outages(lanes: Lanes, ready: Floats) -> None:
    """No lane is free before there is work, nor between a reclaim and its replacement."""
    np.maximum(lanes.free_s, ready[:, None], out=lanes.free_s)
    if lanes.lost_s is None or lanes.ready_s is None:
        return
    soonest = lanes.lost_s[:, :, 0].min(axis=1)
    rows = np.flatnonzero(lanes.free_s.max(axis=1) >= soonest)
    if not rows.size:
        return
    free, lost = lanes.free_s[rows], lanes.lost_s[rows][:, lanes.fleet]
    again = lanes.ready_s[rows][:, lanes.fleet]
    for phase in range(lost.shape[2] - 1):
        late = free >= lost[:, :, phase]
        np.maximum(free, again[:, :, phase + 1], out=free, where=late)
    lanes.free_s[rows] = free


_Book = tuple[_Tally, Floats | None, list[tuple[Ints, Ints, Floats]]]


def _assign(
    lanes: Lanes, work: Work, what: tuple[Ints, Ints], book: _Book, again_s: Floats | None
) -> None:
    """Give some tasks to the lanes that are free first, in some scenarios.

    Shapes: `what` is rows (n,) and tasks (k,) or (n, k); again_s (n, k) is when a lost task may
    start again, inf for padding.
    """
    rows, tasks = what
    tally, ends, lost = book
    real = None if again_s is None else np.isfinite(again_s)
    k = tasks.shape[-1]
    free = lanes.free_s if rows.size == lanes.free_s.shape[0] else lanes.free_s[rows]
    if k == 1:
        idx = free.argmin(axis=1)[:, None]
        start = np.take_along_axis(free, idx, axis=1)
    else:
        idx = np.argpartition(free, k - 1, axis=1)[:, :k]
        start = np.take_along_axis(free, idx, axis=1)
        if tasks.ndim == 2:
            by_time = np.argsort(start, axis=1)
            idx = np.take_along_axis(idx, by_time, axis=1)
            start = np.take_along_axis(start, by_time, axis=1)
    if work.ready_s.ndim == 2:
        start = np.maximum(start, work.ready_s[rows[:, None], tasks])
    if again_s is not None:
        start = np.maximum(start, np.where(real, again_s, 0.0))
    fleet = lanes.fleet[idx]
    noise = work.noise[rows[:, None], tasks % work.noise.shape[1]]
    at = rows[:, None]
    end = start + work.compute_s[at, fleet, 0] * noise + work.io_s[at, fleet, 0]
    after, ok = end, real
    if lanes.lost_s is not None:
        late = end > lanes.lost_s[at, fleet, 0]
        if real is not None:
            late &= real
        if late.any():
            r, c = np.nonzero(late)
            spans = _through_outages(lanes, work, (rows[r], fleet[r, c]), start[r, c], noise[r, c])
            after = end.copy()
            end[r, c], after[r, c] = spans[:2]
            hit = late.copy()
            hit[r, c] = spans[2]
            gone_s = np.zeros_like(end)
            gone_s[r, c] = spans[3]
            r, c = np.nonzero(hit)
            if r.size:
                picked = tasks[c] if tasks.ndim == 1 else tasks[r, c]
                lost.append((rows[r], picked, gone_s[r, c]))
                ok = ~hit if real is None else real & ~hit
    if real is not None:
        after = np.where(real, after, np.take_along_axis(free, idx, axis=1))
    lanes.free_s[at, idx] = after
    tally.add(rows, start, end, fleet, ok)
    if ends is not None:
        if ok is None:
            ends[at, tasks] = end
        else:
            r, c = np.nonzero(ok)
            ends[rows[r], tasks[c] if tasks.ndim == 1 else tasks[r, c]] = end[r, c]


def _through_outages(
    lanes: Lanes, work: Work, where: tuple[Ints, Ints], start: Floats, noise: Floats
) -> tuple[Floats, Floats, Bools, Floats]:
    """End of each task, when its lane is free again, whether a reclaim took it, and when.

    Shapes: all (n,); `where` is the scenario and the fleet of each task.
    """
    assert lanes.lost_s is not None
    assert lanes.ready_s is not None
    row, fleet = where
    losses, readies = lanes.lost_s[row, fleet], lanes.ready_s[row, fleet]
    phase = np.minimum((start[:, None] >= losses).sum(axis=1), losses.shape[1] - 1)
    item = np.arange(start.size)
    # A start may fall between a reclaim and its replacement: it waits.
    start = np.maximum(start, readies[item, phase])
    end = start + work.compute_s[row, fleet, phase] * noise + work.io_s[row, fleet, phase]
    gone = losses[item, phase]
    hit = end > gone
    again = readies[item, np.minimum(phase + 1, losses.shape[1] - 1)]
    return end, np.where(hit, again, end), hit, gone


def _redo(
    lanes: Lanes,
    work: Work,
    lost: list[tuple[Ints, Ints, Floats]],
    tally: _Tally,
    ends: Floats | None,
) -> None:
    """Run again what reclaims took, until nothing is lost or the phases are used up."""
    phases = 0 if lanes.lost_s is None else lanes.lost_s.shape[2]
    for _ in range(2 * phases):
        if not lost:
            return
        rows_of = np.concatenate([r for r, _, _ in lost])
        task_of = np.concatenate([t for _, t, _ in lost])
        gone_of = np.concatenate([g for _, _, g in lost])
        lost.clear()
        rows, inverse, counts = np.unique(rows_of, return_inverse=True, return_counts=True)
        width = int(counts.max())
        table = np.zeros((rows.size, width), dtype=np.intp)
        real = np.arange(width)[None, :] < counts[:, None]
        by_row = np.argsort(inverse, kind="stable")
        table[real] = task_of[by_row]
        again_s = np.full((rows.size, width), np.inf)
        again_s[real] = gone_of[by_row]
        chunk = max(1, lanes.free_s.shape[1] // 4)
        for lo in range(0, width, chunk):
            hi = min(lo + chunk, width)
            book = (tally, ends, lost)
            _assign(lanes, work, (rows, table[:, lo:hi]), book, again_s[:, lo:hi])


def _pour(lanes: Lanes, work: Work, tally: _Tally) -> int:
    """Give all but the last waves of a large part to the lanes at once; how many tasks went."""
    size, m = lanes.free_s.shape
    waves = work.count // m
    if work.ready_s.ndim == 2:
        return 0
    if waves <= _WAVES_MAX or work.count <= POUR_MIN:
        return 0
    at = np.arange(size)[:, None]
    compute = work.compute_s[:, :, 0][:, lanes.fleet]
    io = work.io_s[:, :, 0][:, lanes.fleet]
    each = compute + io
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
    for f in range(tally.tasks.shape[1]):
        tally.tasks[:, f] += taken[:, lanes.fleet == f].sum(axis=1)
    return poured


def _level(free_s: Floats, each_s: Floats, bulk: int) -> Floats:
    """Time at which lanes that work from `free_s` on have done `bulk` tasks, by bisection."""
    low = free_s.min(axis=1)
    high = free_s.max(axis=1) + each_s.max(axis=1) * (bulk / free_s.shape[1] + 1)
    for _ in range(_LEVEL_STEPS):
        mid = (low + high) / 2
        done = (np.maximum(mid[:, None] - free_s, 0.0) / each_s).sum(axis=1)
        low, high = np.where(done < bulk, mid, low), np.where(done < bulk, high, mid)
    return high


def _pour_over_outages(
    lanes: Lanes, work: Work, begin: Floats, end: Floats, each: Floats
) -> Floats:
    """Stretch poured work over reclaims: half a task is lost, the rest goes on with the next pool."""
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
