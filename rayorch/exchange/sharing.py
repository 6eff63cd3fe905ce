"""Which small neighbouring tasks of a hash exchange are read together, and what that asks for.

The planner counts requests by it, the scheduler leases such tasks to one runner at a time, and
`TogetherReader` reads them at once. Pure: from the division and the number of files alone.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from rayorch.exchange.splits import Buckets, ReduceSplit
from rayorch.exchange.writer import BLOCK_BYTES_MIN

TOGETHER_BYTES: Final = 128 << 20
TOGETHER_SHARE: Final = 6
"""The part of a task's memory that rows of others may have, for all sides of an operator."""
_BLOCKS: Final = 2
"""Of each file, so that a read has at most as much for nobody as it has for somebody."""

Group = tuple[int, int]
"""Tasks, from the first to one behind the last."""


def together_bytes(memory_bytes: int, sides: int, runs: int) -> int:
    """Return how many bytes of a side tasks are read together for, at most.

    Beyond some blocks of each run, reading more of it at once saves little.
    """
    by_memory = memory_bytes // (TOGETHER_SHARE * sides)
    return min(_BLOCKS * BLOCK_BYTES_MIN * runs, TOGETHER_BYTES, by_memory)


def tasks_together(splits: Sequence[ReduceSplit], runs: Sequence[int], memory_bytes: int) -> int:
    """Return how many neighbours one runner should have, so that it reads all files for all.

    runs: of each side. 1: tasks have enough of their own.
    """
    counts = []
    for side, count in enumerate(runs):
        sizes = [split.raw_bytes[side] for split in splits if bucket_range(split, side) is not None]
        if sum(sizes):
            most = together_bytes(memory_bytes, len(runs), count)
            counts.append(most * len(sizes) // sum(sizes))
    return max(1, min(counts, default=1))


def groups(
    splits: Sequence[ReduceSplit], side: int, together: int, bytes_max: int
) -> Iterator[Group]:
    """Yield the tasks of which a side is read at once: neighbours, two at least, in small groups.

    together: groups end where the number of a task is a multiple of it.
    """
    first, held_bytes, end = 0, 0, -1
    for number, split in enumerate(splits):
        taken = bucket_range(split, side)
        size_bytes = split.raw_bytes[side]
        is_next = taken is not None and taken[0] == end and number % together != 0
        if not is_next or held_bytes + size_bytes > bytes_max:
            if number - first > 1:
                yield first, number
            # What cannot be read with others stands between two groups.
            first = number if taken is not None else number + 1
            held_bytes = 0
        held_bytes += size_bytes
        end = -1 if taken is None else taken[1]
    if len(splits) - first > 1:
        yield first, len(splits)


def shared_requests(
    splits: Sequence[ReduceSplit], runs: Sequence[int], together: int, memory_bytes: int
) -> tuple[ReduceSplit, ...]:
    """Return the splits with the requests of each, where those of a group are its first one's."""
    if together == 1:
        return tuple(splits)
    saved = [0] * len(splits)
    for side, count in enumerate(runs):
        bytes_max = together_bytes(memory_bytes, len(runs), count)
        for first, end in groups(splits, side, together, bytes_max):
            for number in range(first + 1, end):
                saved[number] += count
    return tuple(
        msgspec.structs.replace(split, requests=split.requests - less)
        for split, less in zip(splits, saved, strict=True)
    )


def bucket_range(split: ReduceSplit, side: int) -> tuple[int, int] | None:
    """Return the buckets that a task takes of a side, if that is all that it takes."""
    takes = split.sides[side]
    if len(takes) != 1 or not isinstance(takes[0], Buckets) or takes[0].without:
        return None
    return takes[0].first, takes[0].last
