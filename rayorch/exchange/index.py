"""Where in the exchange files the rows of a reduce task are."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import msgspec
import numpy as np
import xxhash

from rayorch.exchange.errors import ExchangeLostError
from rayorch.exchange.parts import ALIGN_BYTES, Counts, ExchangePart, Segment, starts_of, unpacked
from rayorch.exchange.splits import Buckets, Cut, HotParts, HotRows, KeyRange, RowRange, Take
from rayorch.relational import SortKey

_CHECKSUM_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """A row of a block that is found by its key: the first that is not less, or not equal."""

    keys: tuple[SortKey, ...]
    key: bytes
    after_equal: bool
    first: int  # it is this row of the block, or one of so many behind it
    rows: int


Place = int | KeyPlace


class BlockRead(NamedTuple):
    """Some rows of one block of a file."""

    start: int  # of the block in the file
    size_bytes: int
    checksum: bytes
    low: Place
    high: Place | None  # None: to the block's end


class Run:
    """One segment of one part: where its blocks are, and where in it the buckets' rows."""

    def __init__(self, part: int, segment: Segment) -> None:
        self.part: Final = part
        self.segment: Final = segment

    @cached_property
    def block_starts(self) -> Counts:
        """The first row of each block, and the end."""
        return starts_of(unpacked(self.segment.block_rows))

    @cached_property
    def _block_rows(self) -> list[int]:
        # Lists, where single values are taken: from an array each costs ten times as much.
        rows: list[int] = self.block_starts.tolist()
        return rows

    @cached_property
    def _block_places(self) -> list[tuple[int, int]]:
        sizes = self.block_bytes
        offsets = starts_of(-(-sizes // ALIGN_BYTES) * ALIGN_BYTES) + self.segment.offset
        return list(zip(offsets[:-1].tolist(), sizes.tolist(), strict=True))

    @cached_property
    def block_bytes(self) -> Counts:
        """The stored size of each block."""
        return unpacked(self.segment.block_bytes)

    @cached_property
    def raw_starts(self) -> Counts:
        """Bytes in memory of all blocks before each, and of all."""
        return starts_of(unpacked(self.segment.block_raw_bytes))

    @cached_property
    def bucket_starts(self) -> Counts:
        """The first row of each bucket, and the end."""
        packed_rows = self.segment.bucket_rows
        return starts_of(unpacked(packed_rows) if packed_rows else np.array([self.segment.rows]))

    @cached_property
    def heavy_rows(self) -> dict[tuple[int, int], tuple[int, int]]:
        """The rows of each heavy key, by bucket and hash."""
        found: dict[tuple[int, int], tuple[int, int]] = {}
        ends: dict[int, int] = {}
        for key in reversed(self.segment.heavy):
            end = ends.get(key.bucket, int(self.bucket_starts[key.bucket + 1]))
            ends[key.bucket] = end - key.rows
            found[key.bucket, key.key_hash] = (end - key.rows, end)
        return found

    @cached_property
    def part_starts(self) -> dict[tuple[int, int], Counts]:
        """Where each part of a heavy key begins, and where its rows end."""
        return {
            (key.bucket, key.key_hash): starts_of(unpacked(key.parts))
            + self.heavy_rows[key.bucket, key.key_hash][0]
            for key in self.segment.heavy
            if key.parts
        }

    @cached_property
    def bucket_bytes(self) -> Counts:
        """Bytes in memory of each bucket: its share of its blocks, by rows.

        But of keys that were weighed, what they weigh: one row of theirs may be most of a block.
        """
        weighed = [key for key in self.segment.heavy if key.raw_bytes]
        rows, raw = self.block_starts, np.diff(self.raw_starts).astype(np.float64)
        for key in weighed:
            low, high = self.heavy_rows[key.bucket, key.key_hash]
            inside = np.minimum(rows[1:], high) - np.maximum(rows[:-1], low)
            raw -= np.maximum(inside, 0) * (key.raw_bytes / key.rows)
        ends = np.concatenate([[0.0], np.cumsum(np.maximum(raw, 0.0))])
        found: Counts = np.diff(np.interp(self.bucket_starts, rows, ends).astype(np.int64))
        for key in weighed:
            found[key.bucket] += key.raw_bytes
        return found

    def raw_bytes(self, rows: Counts) -> Counts:
        """Return the bytes in memory of all rows before each of some rows."""
        return np.interp(rows, self.block_starts, self.raw_starts).astype(np.int64)

    def rows_of(self, take: Buckets) -> Iterator[tuple[int, int]]:
        """Yield the ranges of rows that buckets have here."""
        starts = self.bucket_starts
        low, end = int(starts[take.first]), int(starts[min(take.last, len(starts) - 1)])
        if not take.without:
            yield low, end
            return
        skipped = [
            rows
            for (bucket, key), rows in self.heavy_rows.items()
            if take.first <= bucket < take.last and key in take.without
        ]
        for first, last in sorted(skipped):
            yield low, first
            low = last
        yield low, end

    def reads(self, low: int, high: int) -> Iterator[BlockRead]:
        """Yield what to read for a range of rows."""
        if low >= high:
            return
        starts = self._block_rows
        for block in range(bisect_right(starts, low) - 1, bisect_left(starts, high)):
            begin = starts[block]
            end = min(high, starts[block + 1]) - begin
            yield self._read(block, max(low - begin, 0), end)

    def reads_between(
        self, run: int, keys: tuple[SortKey, ...], low: Cut | None, high: Cut | None
    ) -> Iterator[BlockRead]:
        """Yield what to read for the rows between two cuts; `run` is this one's number."""
        blocks = len(self.block_bytes)
        first, low_place = (0, 0) if low is None else self._place(run, keys, low)
        last, high_place = (blocks, 0) if high is None else self._place(run, keys, high)
        for block in range(first, min(last + 1, blocks)):
            end = high_place if block == last else None
            if end != 0:
                yield self._read(block, low_place if block == first else 0, end)

    def _place(self, run: int, keys: tuple[SortKey, ...], cut: Cut) -> tuple[int, Place]:
        """Return the block in which a cut falls, and where in it."""
        if run == cut.run:
            return self._block_of(cut.row)
        after_equal = run < cut.run
        bisect = bisect_right if after_equal else bisect_left
        sample = bisect(self.segment.samples[:-1], cut.key) - 1
        if sample < 0:
            return 0, 0
        block, first = self._block_of(sample * self.segment.sample_rows)
        return block, KeyPlace(keys, cut.key, after_equal, first, self.segment.sample_rows)

    def _block_of(self, row: int) -> tuple[int, int]:
        block = bisect_right(self._block_rows, row) - 1
        return block, row - self._block_rows[block]

    def _read(self, block: int, low: Place, high: Place | None) -> BlockRead:
        at = block * _CHECKSUM_BYTES
        offset, size_bytes = self._block_places[block]
        return BlockRead(
            offset,
            size_bytes,
            self.segment.checksums[at : at + _CHECKSUM_BYTES],
            low,
            high,
        )


class SideIndex:
    """The parts of one side, and where rows are in them."""

    def __init__(self, parts: Sequence[ExchangePart]) -> None:
        self.parts: Final = tuple(parts)
        self.runs: Final = tuple(
            Run(number, segment) for number, part in enumerate(parts) for segment in part.segments
        )

    @cached_property
    def run_starts(self) -> Counts:
        """The first row of each run, counted through all, and the end."""
        return starts_of(np.array([run.segment.rows for run in self.runs], dtype=np.int64))

    @cached_property
    def heavy_starts(self) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """For each heavy key the runs where it stands apart: its rows before, and the run."""
        found: dict[tuple[int, int], list[tuple[int, int]]] = {}
        rows: dict[tuple[int, int], int] = {}
        for number, run in enumerate(self.runs):
            for key in run.segment.heavy:
                name = (key.bucket, key.key_hash)
                found.setdefault(name, []).append((rows.get(name, 0), number))
                rows[name] = rows.get(name, 0) + key.rows
        return found

    def reads(self, takes: Iterable[Take]) -> dict[int, list[BlockRead]]:
        """Return what to read of each part, in the order of parts and of rows in them."""
        ranges: dict[int, list[tuple[int, int]]] = {}
        found: dict[int, list[BlockRead]] = {}
        for take in takes:
            if isinstance(take, KeyRange):
                for number, run in enumerate(self.runs):
                    read = run.reads_between(number, take.keys, take.low, take.high)
                    found.setdefault(run.part, []).extend(read)
            else:
                for number, low, high in self._rows_of(take):
                    ranges.setdefault(number, []).append((low, high))
        for number in sorted(ranges):
            run = self.runs[number]
            for low, high in merged(ranges[number]):
                found.setdefault(run.part, []).extend(run.reads(low, high))
        return {part: found[part] for part in sorted(found) if found[part]}

    def _rows_of(
        self, take: Buckets | HotRows | HotParts | RowRange
    ) -> Iterator[tuple[int, int, int]]:
        match take:
            case Buckets():
                for number, run in enumerate(self.runs):
                    for low, high in run.rows_of(take):
                        yield number, low, high
            case HotRows(bucket=bucket, key_hash=key_hash):
                for before, number in self.heavy_starts.get((bucket, key_hash), ()):
                    low, high = self.runs[number].heavy_rows[bucket, key_hash]
                    first, last = take.first - before, take.last - before
                    yield number, low + max(first, 0), min(low + last, high)
            case HotParts(bucket=bucket, key_hash=key_hash):
                for _, number in self.heavy_starts.get((bucket, key_hash), ()):
                    starts = self.runs[number].part_starts[bucket, key_hash]
                    yield number, int(starts[take.first]), int(starts[take.last])
            case RowRange():
                starts = self.run_starts
                for number, run in enumerate(self.runs):
                    before = int(starts[number])
                    low = max(take.first - before, 0)
                    yield number, low, min(take.last - before, run.segment.rows)


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges in order, empty ones left out and those that touch made one."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(item for item in ranges if item[0] < item[1]):
        if result and low <= result[-1][1]:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return result


class ExchangeIndex:
    """All parts of an exchange, by side. One object under the home; a runner loads it once."""

    def __init__(self, sides: Iterable[Iterable[ExchangePart]]) -> None:
        self.sides: Final = tuple(SideIndex(tuple(parts)) for parts in sides)

    def dump(self) -> bytes:
        """Return the index as bytes."""
        data = msgspec.msgpack.encode(tuple(side.parts for side in self.sides))
        return xxhash.xxh3_64_digest(data) + data

    @classmethod
    def load(cls, data: bytes) -> "ExchangeIndex":
        """Return the index that `dump` dumped. Raises: ExchangeLostError, naming no part."""
        checksum, body = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
        if xxhash.xxh3_64_digest(body) != checksum:
            raise ExchangeLostError(0, (), (), "the index is not what was written")
        return cls(msgspec.msgpack.decode(body, type=tuple[tuple[ExchangePart, ...], ...]))
