"""Divide rows by ranges of their order, or by their number alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from rayorch.exchange.index import SideIndex
from rayorch.exchange.packing import Sizes
from rayorch.exchange.parts import KEY_BYTES_MAX, Counts
from rayorch.exchange.sizing import Drawn, DrawnTask, Reason, side_bytes, side_rows
from rayorch.exchange.splits import Cut, KeyRange, RowRange, Take
from rayorch.relational import SortKey

SAMPLES_MAX: Final = 1 << 16
_SAMPLES_MIN: Final = 8


@dataclass(frozen=True, slots=True)
class _Sample:
    """A row's key, and the bytes and rows that stand about it."""

    key: bytes
    run: int
    row: int
    raw_bytes: float
    rows: float


def range_tasks(
    side: SideIndex,
    keys: tuple[SortKey, ...],
    tasks: int,
    *,
    cuts_equal: bool,
    reasons: list[Reason],
) -> Drawn:
    """Return tasks of neighbouring ranges of the order.

    With `cuts_equal`, rows of one key may fall into several ranges, in the order of the parts.
    """
    samples = sorted(_samples(side), key=lambda item: (item.key, item.run, item.row))
    if not samples:
        return Drawn(tasks=[])
    before = np.cumsum([0.0] + [item.raw_bytes for item in samples])
    rows = np.cumsum([0.0] + [item.rows for item in samples])
    places = sorted(
        {
            _place(samples, before, before[-1] * number / tasks, cuts_equal=cuts_equal)
            for number in range(1, tasks)
        }
        - {0, len(samples)}
    )
    cuts: list[Cut | None] = [None]
    cuts.extend(_cut(samples[place], cuts_equal=cuts_equal) for place in places)
    cuts.append(None)
    ends = [0, *places, len(samples)]
    within = sum(1 for place in places if samples[place].key == samples[place - 1].key)
    if within and cuts_equal:
        why = "so many rows have one key; they stay in the order of the parts"
        reasons.append(Reason(f"{within} cuts within equal keys", why, {}))
    if len(places) < tasks - 1:
        numbers = {"wanted": float(tasks), "samples": float(len(samples))}
        why = "rows of equal keys stay together" if not cuts_equal else "there are few rows"
        reasons.append(Reason(f"{len(places) + 1} ranges", why, numbers))
    drawn = [
        DrawnTask(
            takes=((KeyRange(keys, cuts[at], cuts[at + 1]),),),
            rows=(round(rows[high] - rows[low]),),
            raw_bytes=(round(before[high] - before[low]),),
        )
        for at, (low, high) in enumerate(pairwise(ends))
    ]
    return Drawn(tasks=drawn, broadcast=(False,))


def _samples(side: SideIndex) -> list[_Sample]:
    found = []
    most = max(SAMPLES_MAX // max(len(side.runs), 1), _SAMPLES_MIN)
    for number, run in enumerate(side.runs):
        samples, rows = run.segment.samples, run.segment.rows
        # Fewer of each, when there are many runs: together they are as many.
        step = -(-(len(samples) - 1) // most)
        places = np.append(np.arange(0, rows, step * run.segment.sample_rows), rows - 1)
        ends = np.append(places[:-1], rows)
        # What lies between two samples is half with each.
        raw = _halves(np.diff(run.raw_bytes(ends)))
        counts = _halves(np.diff(ends))
        keys = [*samples[:-1:step], samples[-1]]
        found += [
            _Sample(key, number, int(place), size, count)
            for key, place, size, count in zip(keys, places, raw, counts, strict=True)
        ]
    return found


def _halves(between: Counts) -> Sizes:
    halves = np.zeros(len(between) + 1)
    halves[:-1] += between / 2
    halves[1:] += between / 2
    return halves


def _place(samples: Sequence[_Sample], before: Sizes, aim: float, *, cuts_equal: bool) -> int:
    """Return the sample before which a cut comes nearest to an aim."""
    place = int(np.abs(before - aim).argmin())
    if cuts_equal or place in {0, len(samples)}:
        return place
    first = place
    while first > 0 and samples[first - 1].key == samples[place].key:
        first -= 1
    after = place
    while after < len(samples) and samples[after].key == samples[place].key:
        after += 1
    return min((first, after), key=lambda at: (abs(before[at] - aim), at))


def _cut(sample: _Sample, *, cuts_equal: bool) -> Cut:
    # What a sample was cut to says nothing of the order behind it.
    if not cuts_equal or len(sample.key) >= KEY_BYTES_MAX:
        return Cut(sample.key)
    return Cut(sample.key, sample.run, sample.row)


def row_tasks(sides: Sequence[SideIndex], cut_side: int, whole: Sequence[int], tasks: int) -> Drawn:
    """Return tasks that take equal bytes of one side as its rows come, and all of the others."""
    side = sides[cut_side]
    starts, sizes = [0], [0]
    for run in side.runs:
        starts += [starts[-1] + int(end) for end in run.block_starts[1:]]
        sizes += [sizes[-1] + int(end) for end in run.raw_starts[1:]]
    aims = np.linspace(0, sizes[-1], tasks + 1)
    ends = sorted({round(row) for row in np.interp(aims, sizes, starts)})
    drawn = []
    for low, high in pairwise(ends):
        takes: list[tuple[Take, ...]] = [(RowRange(0, side_rows(item)),) for item in sides]
        takes[cut_side] = (RowRange(low, high),)
        rows = [side_rows(item) for item in sides]
        rows[cut_side] = high - low
        raw = [side_bytes(item) for item in sides]
        raw[cut_side] = round(float(np.diff(np.interp([low, high], starts, sizes))[0]))
        drawn.append(DrawnTask(takes=tuple(takes), rows=tuple(rows), raw_bytes=tuple(raw)))
    return Drawn(tasks=drawn, broadcast=tuple(number in whole for number in range(len(sides))))
