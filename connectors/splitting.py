"""Pack files and their row groups into splits of about one size. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MIB: Final = 1 << 20
# Opening a file costs about as much as reading this much of it: 5,000 files of 4 KB are
# worth some dozens of tasks, not one.
OPEN_COST_BYTES: Final = MIB
TARGET_BYTES_MIN: Final = 4 * MIB
TARGET_BYTES_MAX: Final = 128 * MIB
# Eight tasks a slot even out slow machines without paying for many small files.
SPLITS_PER_SLOT: Final = 8


class Unit(msgspec.Struct, frozen=True):
    """The least that can be read by itself: a row group, or a range of lines.

    `part` is the row group's number; -1 where a file is one unit.
    """

    size_bytes: int
    rows: int | None = None
    part: int = -1
    start: int = 0
    end: int = 0


class Chunk(msgspec.Struct, frozen=True):
    """Neighbouring units of one file that one split reads."""

    file: int
    units: tuple[Unit, ...]
    whole: bool


def target_bytes(size_bytes: int, files: int, slots: int) -> int:
    """Return the size, with the cost of opening files in it, that a split should aim at."""
    assert slots > 0
    cost_bytes = size_bytes + files * OPEN_COST_BYTES
    wanted_bytes = cost_bytes // (slots * SPLITS_PER_SLOT)
    return min(max(wanted_bytes, TARGET_BYTES_MIN), TARGET_BYTES_MAX)


def one_split_per_file(files: Sequence[Sequence[Unit]]) -> list[tuple[Chunk, ...]]:
    """Return each file as a split of its own."""
    return [(Chunk(index, tuple(units), True),) for index, units in enumerate(files) if units]


def packed(files: Sequence[Sequence[Unit]], target: int) -> list[tuple[Chunk, ...]]:
    """Pack neighbouring units until the next one would pass the target.

    Every unit is in exactly one split, in order. A split passes the target only if it is a
    single unit, and two neighbouring splits together always pass it.
    Source: next-fit bin packing (Johnson 1973); order matters more here than the last bin.
    """
    splits: list[tuple[Chunk, ...]] = []
    chunks: list[Chunk] = []
    cost_bytes = 0
    for file, units in enumerate(files):
        # The common case by far, and one step instead of one for each row group.
        whole_bytes = OPEN_COST_BYTES + sum(unit.size_bytes for unit in units)
        if not units or cost_bytes + whole_bytes <= target:
            chunks += [Chunk(file, tuple(units), True)] if units else []
            cost_bytes += whole_bytes if units else 0
            continue
        for run in _runs(units, cost_bytes, target):
            if run.starts_split and chunks:
                splits.append(tuple(chunks))
                chunks, cost_bytes = [], 0
            chunks.append(Chunk(file, run.units, len(run.units) == len(units)))
            cost_bytes += OPEN_COST_BYTES + sum(unit.size_bytes for unit in run.units)
    if chunks:
        splits.append(tuple(chunks))
    return splits


class _Run(msgspec.Struct, frozen=True):
    starts_split: bool
    units: tuple[Unit, ...]


def _runs(units: Iterable[Unit], used_bytes: int, target: int) -> Iterator[_Run]:
    """Cut a file's units where the target would be passed, the first run filling the open split."""
    run: list[Unit] = []
    starts_split = False
    cost_bytes = used_bytes + OPEN_COST_BYTES
    empty = used_bytes == 0
    for unit in units:
        if not empty and cost_bytes + unit.size_bytes > target:
            if run:
                yield _Run(starts_split, tuple(run))
            run, starts_split, cost_bytes = [], True, OPEN_COST_BYTES
        run.append(unit)
        cost_bytes += unit.size_bytes
        empty = False
    if run:
        yield _Run(starts_split, tuple(run))
