"""Divide rows by ranges of their order, or by their number alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rayorch.exchange.index import SideIndex
from rayorch.exchange.parts import KEY_BYTES_MAX
from rayorch.exchange.sizing import Drawn, DrawnTask, Reason, side_bytes, side_rows
from rayorch.exchange.splits import Cut, KeyRange, RowRange, Take
from rayorch.relational import SortKey


@dataclass(frozen=True, slots=True)
class _Sample:
    """The first row of a block, and the bytes that stand about it."""

    key: bytes
    run: int
    block: int
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
    samples = sorted(_samples(side), key=lambda item: (item.key, item.run, item.block))
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
    for number, run in enumerate(side.runs):
        raw = np.diff(run.raw_starts).astype(np.float64)
        rows = np.diff(run.block_starts).astype(np.float64)
        # A block's rows lie between its first key and the next one's: half with each.
        for values in (raw, rows):
            half = values / 2
            values[:] = half
            values[1:] += half[:-1]
        for block, key in enumerate(run.segment.samples[:-1]):
            found.append(_Sample(key, number, block, raw[block], rows[block]))
        last = run.segment.samples[-1]
        blocks = len(raw)
        ends = [np.diff(starts)[-1] / 2 for starts in (run.raw_starts, run.block_starts)]
        found.append(_Sample(last, number, blocks, ends[0], ends[1]))
    return found


def _place(
    samples: Sequence[_Sample], before: NDArray[np.float64], aim: float, *, cuts_equal: bool
) -> int:
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
    return Cut(sample.key, sample.run, sample.block)


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
