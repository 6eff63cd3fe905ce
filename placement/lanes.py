"""Lanes, the work that runs on them, and what is remembered of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from placement.tables import Bools, Floats, Ints


@dataclass(slots=True)
class Lanes:
    """Lanes of several fleets; `free_s` is updated in place.

    Shapes: free_s (S, M); fleet (M,); lost_s, ready_s (S, F, phases), None if nothing is lost.
    """

    free_s: Floats
    fleet: Ints
    lost_s: Floats | None
    ready_s: Floats | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Alike tasks.

    Shapes: compute_s, io_s (S, F, phases); noise (S, N); ready_s (S,) or (S, N).
    """

    count: int
    compute_s: Floats
    io_s: Floats
    noise: Floats
    ready_s: Floats
    keep_ends: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PartResult:
    """What became of a part.

    Shapes: first_end_s, last_start_s, last_end_s (S,); tasks_by_fleet (S, F), attempts that were
    lost included; end_s (S, tasks) or None.  `listed` tasks were handed out in `steps`; the others
    were poured.
    """

    first_end_s: Floats
    last_start_s: Floats
    last_end_s: Floats
    tasks_by_fleet: Floats
    end_s: Floats | None
    steps: int
    listed: int


@dataclass(slots=True)
class Batch:
    """Tasks handed out together.

    Shapes: all (n, k); `cell` counts fleets over scenarios; `real` is False for padding, `ok` also
    for what a reclaim took; None: all.
    """

    cell: Ints
    fleet: Ints
    start: Floats
    end: Floats
    after: Floats
    real: Bools | None
    ok: Bools | None


class Tally:
    """What a part needs to remember of each assignment."""

    def __init__(self, size: int, fleets: int) -> None:
        self.first_end: Floats | None = None
        self.last_start = np.full(size, -np.inf)
        self.last_end = np.full(size, -np.inf)
        self.poured = np.zeros((size, fleets))
        self._cells: list[Ints] = []

    def add(self, some: Ints | None, batch: Batch) -> None:
        """Count a batch in some scenarios: what is lost is no start and no end, but an attempt."""
        if self.first_end is None:
            self.first_end = batch.end.min(axis=1)
        start, end = batch.start, batch.end
        if batch.ok is not None:
            start, end = np.where(batch.ok, start, -np.inf), np.where(batch.ok, end, -np.inf)
        begun, ended = start.max(axis=1), end.max(axis=1)
        if some is None:
            np.maximum(self.last_start, begun, out=self.last_start)
            np.maximum(self.last_end, ended, out=self.last_end)
        else:
            self.last_start[some] = np.maximum(self.last_start[some], begun)
            self.last_end[some] = np.maximum(self.last_end[some], ended)
        self._cells.append(batch.cell.ravel() if batch.real is None else batch.cell[batch.real])

    def by_fleet(self) -> Floats:
        """Tasks that each fleet has had, lost attempts included.  Shapes: (S, F)."""
        if not self._cells:
            return self.poured
        cells = np.concatenate(self._cells)
        counted = np.bincount(cells, minlength=self.poured.size)
        return self.poured + counted.reshape(self.poured.shape)
