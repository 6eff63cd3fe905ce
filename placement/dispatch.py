"""List scheduling of one part's tasks on lanes, in all scenarios together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from placement.lanes import Batch, Lanes, PartResult, Tally, Work
from placement.pour import pour

if TYPE_CHECKING:
    from placement.tables import Bools, Floats, Ints

# Tasks handed out at once: this share of the lanes.  Handing out one at a time is exact and many
# times slower; the finish moves by less than half a task in a wave.
_CHUNK_SHARE: Final = 4
_CHUNK_SHARE_POURED: Final = 2
_TABLE: Final = 2  # dimensions


def run_tasks(lanes: Lanes, work: Work) -> PartResult:
    """Give the tasks of a part to the lanes that are free first."""
    return _PartRun(lanes, work).run()


class _PartRun:
    """One part under way; arrays by scenario are read flat, which is several times as quick."""

    def __init__(self, lanes: Lanes, work: Work) -> None:
        size, fleets = work.compute_s.shape[:2]
        self.lanes, self.work, self.size, self.fleets = lanes, work, size, fleets
        self.tally = Tally(size, fleets)
        self.ends = np.zeros((size, work.count)) if work.keep_ends else None
        self.lost: list[tuple[Ints, Ints, Floats]] = []
        self.compute, self.io = work.compute_s[:, :, 0].ravel(), work.io_s[:, :, 0].ravel()
        self.gone = None if lanes.lost_s is None else lanes.lost_s[:, :, 0].ravel()
        every = np.arange(size)
        self.every = (every, every[:, None] * lanes.free_s.shape[1], every[:, None] * fleets)

    def run(self) -> PartResult:
        lanes, work = self.lanes, self.work
        ready = work.ready_s
        each = ready.ndim == _TABLE
        _skip_outages(lanes, ready.min(axis=1) if each else ready)
        done = 0 if each else pour(lanes, work, self.tally)
        # With inputs that come one by one, tasks go in the order in which these come.
        order = np.argsort(ready, axis=1, kind="stable") if each else None
        share = _CHUNK_SHARE_POURED if done else _CHUNK_SHARE
        chunk = max(1, min(_lanes_everywhere(lanes) // share, work.count))
        for lo in range(done, work.count, chunk):
            hi = min(lo + chunk, work.count)
            tasks = np.arange(lo, hi) if order is None else order[:, lo:hi]
            self._assign(None, tasks, None)
        self._redo()
        assert self.tally.first_end is not None
        return PartResult(
            first_end_s=self.tally.first_end,
            last_start_s=self.tally.last_start,
            last_end_s=self.tally.last_end,
            tasks_by_fleet=self.tally.by_fleet(),
            end_s=self.ends,
            steps=1 + (work.count - done) // chunk,
            listed=work.count - done,
        )

    def _assign(self, some: Ints | None, tasks: Ints, again_s: Floats | None) -> None:
        """Hand out some tasks in some scenarios; None is all of them.

        Shapes: some (n,); tasks (k,) or (n, k); again_s (n, k) is when a lost task may start again,
        inf for padding.
        """
        lanes, work = self.lanes, self.work
        rows, lane_at, fleet_at = self.every
        if some is not None:
            rows, lane_at, fleet_at = some, lane_at[some], fleet_at[some]
        free = lanes.free_s if some is None else lanes.free_s[some]
        lane, start = _first_free(free, tasks.shape[-1], in_order=tasks.ndim == _TABLE)
        before, real = start, None
        if work.ready_s.ndim == _TABLE:
            start = np.maximum(start, work.ready_s[rows[:, None], tasks])
        if again_s is not None:
            real = np.isfinite(again_s)
            start = np.maximum(start, np.where(real, again_s, 0.0))
        fleet = lanes.fleet.take(lane)
        cell = fleet + fleet_at
        noise = self._noise(some, tasks)
        end = start + self.compute.take(cell) * noise + self.io.take(cell)
        batch = Batch(cell, fleet, start, end, end, real, real)
        if self.gone is not None:
            self._lose(rows, tasks, batch, noise)
        after = batch.after if real is None else np.where(real, batch.after, before)
        lanes.free_s.reshape(-1)[lane + lane_at] = after
        self.tally.add(some, batch)
        if self.ends is not None:
            if batch.ok is None:
                self.ends[rows[:, None], tasks] = batch.end
            else:
                r, c = np.nonzero(batch.ok)
                self.ends[rows[r], _picked(tasks, r, c)] = batch.end[r, c]

    def _noise(self, some: Ints | None, tasks: Ints) -> Floats:
        """Factors on the run times of some tasks.  Shapes: (n, k)."""
        noise = self.work.noise
        draws = noise.shape[1]
        if tasks.ndim == _TABLE:
            row = self.every[0] if some is None else some
            return np.asarray(noise[row[:, None], tasks % draws])
        if some is None and tasks[-1] < draws:
            return np.asarray(noise[:, tasks[0] : tasks[-1] + 1])
        return np.asarray((noise if some is None else noise[some]).take(tasks % draws, axis=1))

    def _lose(self, rows: Ints, tasks: Ints, batch: Batch, noise: Floats) -> None:
        """Follow the few tasks of a batch that do not end before their first reclaim."""
        assert self.gone is not None
        late = batch.end > self.gone.take(batch.cell)
        if batch.real is not None:
            late &= batch.real
        if not late.any():
            return
        r, c = np.nonzero(late)
        where = (rows[r], batch.fleet[r, c])
        end, after, hit, gone = self._through_outages(where, batch.start[r, c], noise[r, c])
        batch.end, batch.after = batch.end.copy(), batch.end.copy()
        batch.end[r, c], batch.after[r, c] = end, after
        if hit.any():
            ok = np.ones_like(late) if batch.real is None else batch.real.copy()
            ok[r[hit], c[hit]] = False
            batch.ok = ok
            self.lost.append((rows[r[hit]], _picked(tasks, r[hit], c[hit]), gone[hit]))

    def _through_outages(
        self, where: tuple[Ints, Ints], start: Floats, noise: Floats
    ) -> tuple[Floats, Floats, Bools, Floats]:
        """End of each task, when its lane is free again, whether a reclaim took it, and when.

        Shapes: all (n,); `where` is the scenario and the fleet of each task.
        """
        lanes, work = self.lanes, self.work
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
        again = readies[item, np.minimum(phase + 1, losses.shape[1] - 1)]
        return end, np.where(end > gone, again, end), end > gone, gone

    def _redo(self) -> None:
        """Run again what reclaims took, until nothing is lost or the phases are used up."""
        phases = 0 if self.lanes.lost_s is None else self.lanes.lost_s.shape[2]
        chunk = max(1, _lanes_everywhere(self.lanes) // _CHUNK_SHARE)
        for _ in range(2 * phases):
            if not self.lost:
                return
            row_of, task_of, gone_of = (
                np.concatenate([lost[k] for lost in self.lost]) for k in range(3)
            )
            self.lost.clear()
            rows, inverse, counts = np.unique(row_of, return_inverse=True, return_counts=True)
            width = int(counts.max())
            real = np.arange(width)[None, :] < counts[:, None]
            by_row = np.argsort(inverse, kind="stable")
            tasks = np.zeros((rows.size, width), dtype=np.intp)
            again_s = np.full((rows.size, width), np.inf)
            tasks[real], again_s[real] = task_of[by_row], gone_of[by_row]
            for lo in range(0, width, chunk):
                self._assign(rows, tasks[:, lo : lo + chunk], again_s[:, lo : lo + chunk])


def _first_free(free: Floats, k: int, *, in_order: bool) -> tuple[Ints, Floats]:
    """The k lanes that are free first and when; soonest first when asked.  Shapes: (n, k)."""
    rows, width = free.shape
    at = (np.arange(rows) * width)[:, None]
    if k == 1:
        lane = free.argmin(axis=1)[:, None]
        return lane, free.take(lane + at)
    lane = free.argpartition(k - 1, axis=1)[:, :k]
    start = free.take(lane + at)
    if not in_order:
        return lane, start
    by_time = start.argsort(axis=1)
    cell = by_time + (np.arange(rows) * k)[:, None]
    return lane.take(cell), start.take(cell)


def _lanes_everywhere(lanes: Lanes) -> int:
    """Lanes that there are in every scenario."""
    return int(np.isfinite(lanes.free_s).sum(axis=1).min())


def _picked(tasks: Ints, r: Ints, c: Ints) -> Ints:
    return np.asarray(tasks[c] if tasks.ndim == 1 else tasks[r, c])


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
