"""Where what a reduce task takes may be cut while the task runs: between buckets, or rows of a key.

A task that turns out to be far behind ends after the piece that it is at; the others become tasks.
Not where rows have an order over all tasks (a sort), where all rows are one group, where as many
parts were asked for as there are tasks, or where a piece would read much of the other side again.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from msgspec.structs import replace

from rayorch.exchange.splits import (
    Buckets,
    HotParts,
    HotRows,
    KeyRange,
    ReduceSplit,
    RowRange,
    Take,
)
from rayorch.relational import (
    AsofCode,
    HashKeys,
    JoinCode,
    OperatorCode,
    RepartitionCode,
    keying_of,
)

PIECES_MAX: Final = 8
PIECE_BYTES_MIN: Final = 32 << 20
"""In memory; an operator begins anew with each piece, which takes tens of milliseconds."""
COPIES_MAX: Final = 0.2
"""Bytes that pieces read again, as a part of what they divide."""

Hot = HotRows | HotParts
Taken = tuple[tuple[Take, ...], ...]


def pieces_of_task(code: OperatorCode, task: ReduceSplit) -> tuple[ReduceSplit, ...]:
    """Return the pieces of a task, which together take what it takes; itself, if it is not cut."""
    count = min(PIECES_MAX, sum(task.raw_bytes) // PIECE_BYTES_MIN)
    if count <= 1 or isinstance(code, RepartitionCode):
        return (task,)
    takes = [take for side in task.sides for take in side]
    if all(isinstance(take, RowRange) for take in takes):
        found = _by_rows(code, task, count)
    elif all(isinstance(take, Buckets | HotRows | HotParts) for take in takes):
        found = _by_key(code, task, count)
    else:
        return (task,)
    if len(found) <= 1:
        return (task,)
    return tuple(_piece(task, taken, share) for taken, share in found)


def joined_pieces(pieces: Sequence[ReduceSplit]) -> ReduceSplit:
    """Return pieces of one task as one: readers read what two of them take once."""
    sides = [
        tuple(_joined([take for piece in pieces for take in piece.sides[side]]))
        for side in range(len(pieces[0].sides))
    ]
    return replace(
        pieces[0],
        sides=tuple(sides),
        rows=tuple(map(sum, zip(*(piece.rows for piece in pieces), strict=True))),
        raw_bytes=tuple(map(sum, zip(*(piece.raw_bytes for piece in pieces), strict=True))),
        requests=sum(piece.requests for piece in pieces),
    )


def _joined(takes: Sequence[Take]) -> Iterator[Take]:
    last: Take | None = None
    for take in takes:
        if last == take:
            continue
        merged = None if last is None else _neighbours(last, take)
        if merged is None and last is not None:
            yield last
        last = take if merged is None else merged
    if last is not None:
        yield last


def _neighbours(one: Take, other: Take) -> Take | None:
    """Return two takes as one, when the second goes on where the first ends."""
    if isinstance(one, KeyRange) or isinstance(other, KeyRange) or one.last != other.first:
        return None
    found = replace(one, last=other.last)
    return found if found == replace(other, first=one.first) else None


def _by_rows(code: OperatorCode, task: ReduceSplit, count: int) -> list[tuple[Taken, float]]:
    """Cut the side whose rows look for their matches alone; each piece takes all of the other."""
    if isinstance(code, AsofCode):
        side = 0
    elif isinstance(code, JoinCode) and code.how != "full":
        larger = int(task.raw_bytes[1] > task.raw_bytes[0])
        side = {"inner": larger, "right": 1}.get(code.how, 0)
    else:
        return []
    copied = sum(task.raw_bytes) - task.raw_bytes[side]
    while count > 1 and copied * (count - 1) > COPIES_MAX * task.raw_bytes[side]:
        count -= 1
    (whole,) = task.sides[side]
    assert isinstance(whole, RowRange)
    found = []
    for low, high in _even(whole.first, whole.last, count):
        taken = list(task.sides)
        taken[side] = (RowRange(low, high),)
        found.append((tuple(taken), 1 / count))
    return found


def _by_key(code: OperatorCode, task: ReduceSplit, count: int) -> list[tuple[Taken, float]]:
    """Cut between buckets, which each side takes alike, and rows of hot keys of one side."""
    hot_sides = [
        side
        for side, takes in enumerate(task.sides)
        if any(not isinstance(take, Buckets) for take in takes)
    ]
    cut_side = hot_sides[0] if hot_sides else 0
    buckets = [take for take in task.sides[cut_side] if isinstance(take, Buckets)]
    hot = [take for take in task.sides[cut_side] if isinstance(take, HotRows | HotParts)]
    if buckets and keying_of(code) == HashKeys(()):
        return []  # Each piece would make a row of its own.
    shares = _hot_shares(hot, task.rows[cut_side], alone=not buckets)
    found = list(_bucket_pieces(buckets, cut_side, len(task.sides), count, 1.0 - sum(shares)))
    for take, share in zip(hot, shares, strict=True):
        parts = max(1, round(count * share))
        for low, high in _even(take.first, take.last, parts):
            taken: list[tuple[Take, ...]] = [
                (Buckets(take.bucket, take.bucket + 1),) for _ in task.sides
            ]
            taken[cut_side] = (replace(take, first=low, last=high),)
            found.append((tuple(taken), share / parts))
    return found


def _hot_shares(hot: Sequence[Hot], rows: int, *, alone: bool) -> list[float]:
    """Return about what part of a task each hot key is."""
    sizes = [take.last - take.first for take in hot]
    whole = sum(sizes) if alone else max(rows, sum(sizes), 1)
    return [size / whole for size in sizes]


def _bucket_pieces(
    buckets: Sequence[Buckets], cut_side: int, sides: int, count: int, share: float
) -> Iterator[tuple[Taken, float]]:
    total = sum(take.last - take.first for take in buckets)
    if not total:
        return
    parts = min(max(1, round(count * share)), total)
    for low, high in _even(0, total, parts):
        own: list[Buckets] = []
        before = 0
        for take in buckets:
            first = take.first + max(low - before, 0)
            last = min(take.first + high - before, take.last)
            before += take.last - take.first
            if first < last:
                own.append(replace(take, first=first, last=last))
        others = tuple(replace(take, without=()) for take in own)
        taken: list[tuple[Take, ...]] = [others] * sides
        taken[cut_side] = tuple(own)
        yield tuple(taken), share / parts


def _even(first: int, last: int, count: int) -> list[tuple[int, int]]:
    """Return neighbouring ranges of about one size, none empty."""
    ends = [first + (last - first) * number // count for number in range(count + 1)]
    return [(low, high) for low, high in pairwise(ends) if low < high]


def _piece(task: ReduceSplit, taken: Taken, share: float) -> ReduceSplit:
    return replace(
        task,
        sides=taken,
        rows=tuple(round(rows * share) for rows in task.rows),
        raw_bytes=tuple(round(size_bytes * share) for size_bytes in task.raw_bytes),
    )
