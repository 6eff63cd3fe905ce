"""Read what a reduce task takes of one side, ahead of who uses it and checked."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import xxhash

from connectors.errors import ObjectMissingError
from rayorch.exchange.errors import ExchangeLostError
from rayorch.exchange.index import KeyPlace
from rayorch.exchange.ordering import encoded_keys
from rayorch.exchange.parts import KEY_BYTES_MAX, padded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from connectors.store import Store
    from rayorch.exchange.index import BlockRead, ExchangeIndex, Place, SideIndex
    from rayorch.exchange.parts import Counts, ExchangePart
    from rayorch.exchange.splits import ReduceSplit

AHEAD_BYTES: Final = 64 << 20
THREADS: Final = 8
TABLE_BYTES: Final = 8 << 20
"""Tables are this large, when there is as much: a kernel's call costs more than many small ones."""
_CHUNK_ROWS_MIN: Final = 1024
_RANGE_BYTES_MAX: Final = 8 << 20
# Ranges this near are read as one: on an object store a request costs as long as so many bytes.
_GAP_BYTES_MAX: Final = 256 << 10
# To map a file and let go of it costs more than to copy so many bytes.
_COPIED_BYTES_MAX: Final = 256 << 10
_PROBED_ROWS: Final = 32


_Rows = tuple[pa.RecordBatch, int]
"""A batch, and about how many bytes it has."""


@dataclass(slots=True)
class Fetched:
    """What readers have asked the store for, and how many bytes that was."""

    requests: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Range:
    """Blocks of one part that are fetched at once."""

    part: int
    start: int
    length: int
    blocks: tuple[BlockRead, ...]


def open_side(  # noqa: PLR0913 - what is read, from where, and how far ahead.
    store: Store,
    index: ExchangeIndex,
    split: ReduceSplit,
    side: int = 0,
    *,
    fetched: Fetched | None = None,
    ahead_bytes: int = AHEAD_BYTES,
    threads: int = THREADS,
) -> Iterator[pa.Table]:
    """Yield the rows that a task takes of a side, in the order of parts, then of each file.

    At most `ahead_bytes` are held before they are asked for, one range at least. What is asked for
    is added to `fetched`.

    Raises: ExchangeLostError, naming the part whose file is missing or damaged; StoreError.
    """
    reader = _SideReader(store, index.sides[side], side, fetched)
    ranges = reader.ranges(index.sides[side].reads(split.sides[side]))
    return _tables(reader.fetched(ranges, ahead_bytes, threads))


def rows_of_runs(
    store: Store, index: ExchangeIndex, side: int, bounds: tuple[Counts, Counts], fetched: Fetched
) -> pa.Table | None:
    """Return a range of rows of each run of a side, in one piece; None, when there are none.

    Raises: ExchangeLostError, naming the part whose file is missing or damaged; StoreError.
    """
    reads: dict[int, list[BlockRead]] = {}
    runs = index.sides[side].runs
    lows, highs = (each.tolist() for each in bounds)
    for run, low, high in zip(runs, lows, highs, strict=True):
        if low < high:
            reads.setdefault(run.part, []).extend(run.reads(low, high))
    reader = _SideReader(store, index.sides[side], side, fetched)
    found = reader.fetched(reader.ranges(reads), AHEAD_BYTES, THREADS)
    batches = [batch for some in found for batch, _ in some]
    if not batches:
        return None
    first = batches[0].schema
    if all(batch.schema is first or batch.schema.equals(first) for batch in batches):
        return pa.Table.from_batches(batches).combine_chunks()
    tables = [pa.Table.from_batches([batch]) for batch in batches]
    return pa.concat_tables(tables, promote_options="permissive").combine_chunks()


class _SideReader:
    def __init__(
        self, store: Store, index: SideIndex, side: int, fetched: Fetched | None = None
    ) -> None:
        self._store = store
        self._fetched = fetched if fetched is not None else Fetched()
        self._index = index
        self._side = side
        self._schemas: dict[bytes, pa.Schema] = {}
        self._map: tuple[int, pa.MemoryMappedFile] | None = None
        self._wanted: tuple[int, ...] = ()

    def ranges(self, reads: Mapping[int, Sequence[BlockRead]]) -> list[_Range]:
        """Return what to fetch for blocks of parts."""
        self._wanted = tuple(reads)
        found = [item for part, blocks in reads.items() for item in _coalesced(part, blocks)]
        self._fetched.requests += len(found)
        self._fetched.size_bytes += sum(item.length for item in found)
        return found

    def fetched(
        self, ranges: Sequence[_Range], ahead_bytes: int, threads: int
    ) -> Iterator[list[_Rows]]:
        """Yield the rows of ranges, in order."""
        if not self._is_local(ranges):
            yield from _fetched_ahead(self.remote_batches, ranges, ahead_bytes, threads)
            return
        for item in ranges:
            is_mapped = item.length > _COPIED_BYTES_MAX
            yield self.local_batches(item) if is_mapped else self.remote_batches(item)

    def _is_local(self, ranges: Sequence[_Range]) -> bool:
        if not ranges:
            return False
        try:
            return self._store.local_path(self._part(ranges[0].part).key) is not None
        except ObjectMissingError:
            return False

    def local_batches(self, item: _Range) -> list[_Rows]:
        """Return a range's rows, where the file's pages are: nothing is copied."""
        mapped = self._mapped(item.part)
        batches = []
        for block in item.blocks:
            mapped.seek(block.start)
            batches.append(self._batch(item.part, block, mapped.read_buffer(block.size_bytes)))
        return batches

    def remote_batches(self, item: _Range) -> list[_Rows]:
        """Fetch a range and return its rows."""
        part = self._part(item.part)
        try:
            data = self._store.get_range(part.key, item.start, item.length)
        except ObjectMissingError as error:
            raise self._gone() from error
        held = pa.py_buffer(data)
        batches = []
        for block in item.blocks:
            stored = held.slice(min(block.start - item.start, held.size))
            batches.append(self._batch(item.part, block, stored[: block.size_bytes]))
        return batches

    def _mapped(self, number: int) -> pa.MemoryMappedFile:
        if self._map is None or self._map[0] != number:
            part = self._part(number)
            try:
                path = self._store.local_path(part.key)
                mapped = pa.memory_map(path)
            except (ObjectMissingError, FileNotFoundError) as error:
                raise self._gone() from error
            # A map of a file that is too short would end the process where it is read.
            if mapped.size() != part.size_bytes:
                what = f"the file has {mapped.size()} bytes and had {part.size_bytes}"
                raise self._lost(number, what)
            self._map = (number, mapped)
        return self._map[1]

    def _batch(self, part: int, block: BlockRead, data: pa.Buffer) -> _Rows:
        if data.size != block.size_bytes:
            raise self._lost(part, f"the file ends within the block at byte {block.start}")
        if xxhash.xxh3_64_digest(data) != block.checksum:
            raise self._lost(part, f"the block at byte {block.start} is not what was written")
        batch = pa.ipc.read_record_batch(data, self._schema(part))
        low = _row(batch, block.low)
        high = batch.num_rows if block.high is None else _row(batch, block.high)
        rows = max(high - low, 0)
        # What it was stored in: to ask Arrow costs more than all else here.
        return batch.slice(low, rows), block.size_bytes * rows // max(batch.num_rows, 1)

    def _schema(self, number: int) -> pa.Schema:
        data = self._part(number).schema_ipc
        if data not in self._schemas:
            self._schemas[data] = self._part(number).schema
        return self._schemas[data]

    def _part(self, number: int) -> ExchangePart:
        return self._index.parts[number]

    def _gone(self) -> ExchangeLostError:
        """Name all files that the task misses: one gone is rarely alone, and each costs a try."""
        parts = tuple(
            part for part in self._wanted if self._store.head(self._part(part).key) is None
        )
        keys = tuple(self._part(part).key for part in parts)
        return ExchangeLostError(self._side, parts, keys, "the files are gone")

    def _lost(self, part: int, why: str) -> ExchangeLostError:
        return ExchangeLostError(self._side, (part,), (self._part(part).key,), why)


def _coalesced(part: int, blocks: Sequence[BlockRead]) -> Iterator[_Range]:
    held: list[BlockRead] = []
    for block in blocks:
        if held:
            end = held[-1].start + padded(held[-1].size_bytes)
            far = block.start - end > _GAP_BYTES_MAX or block.start < end
            if far or block.start + block.size_bytes - held[0].start > _RANGE_BYTES_MAX:
                yield _range(part, held)
                held = []
        held.append(block)
    if held:
        yield _range(part, held)


def _range(part: int, blocks: list[BlockRead]) -> _Range:
    start, last = blocks[0].start, blocks[-1]
    return _Range(part, start, last.start + last.size_bytes - start, tuple(blocks))


def _row(batch: pa.RecordBatch, place: Place) -> int:
    """Return the row at a place of a batch."""
    if not isinstance(place, KeyPlace):
        return place
    bisect = bisect_right if place.after_equal else bisect_left
    names = [key.column for key in place.keys]
    columns = pa.Table.from_batches([batch]).select(dict.fromkeys(names))
    columns = columns.slice(place.first, place.rows)
    # Some rows far apart first, then all between two of them: few keys are made bytes.
    step = max(columns.num_rows // _PROBED_ROWS, 1)
    probes = encoded_keys(columns.take(pa.array(range(0, columns.num_rows, step))), place.keys)
    low = max(bisect([key[:KEY_BYTES_MAX] for key in probes], place.key) - 1, 0) * step
    between = encoded_keys(columns.slice(low, step), place.keys)
    found: int = place.first + low
    found += bisect([key[:KEY_BYTES_MAX] for key in between], place.key)
    return found


def _fetched_ahead(
    fetch: Callable[[_Range], list[_Rows]],
    ranges: Sequence[_Range],
    ahead_bytes: int,
    threads: int,
) -> Iterator[list[_Rows]]:
    """Yield what threads fetch, in order, a bounded number of bytes ahead."""
    waiting: deque[tuple[int, Future[list[_Rows]]]] = deque()
    held_bytes = 0
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="exchange")
    try:
        for item in ranges:
            while waiting and held_bytes + item.length > ahead_bytes:
                length, first = waiting.popleft()
                yield first.result()
                held_bytes -= length
            waiting.append((item.length, pool.submit(fetch, item)))
            held_bytes += item.length
        while waiting:
            yield waiting.popleft()[1].result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _tables(found: Iterator[list[_Rows]]) -> Iterator[pa.Table]:
    """Yield batches as tables of a size that is worth a kernel's call."""
    held: list[pa.RecordBatch] = []
    held_bytes = 0
    for batches in found:
        for batch, size_bytes in batches:
            if held and held[0].schema is not batch.schema and held[0].schema != batch.schema:
                # Of a part that has other columns: whoever reads makes them the same.
                yield _table(held)
                held, held_bytes = [], 0
            if batch.num_rows:
                held.append(batch)
                held_bytes += size_bytes
            if held_bytes >= TABLE_BYTES:
                yield _table(held)
                held, held_bytes = [], 0
    if held:
        yield _table(held)


def _table(batches: list[pa.RecordBatch]) -> pa.Table:
    table = pa.Table.from_batches(batches)
    many = table.num_rows < _CHUNK_ROWS_MIN * len(batches)
    return table.combine_chunks() if many and len(batches) > 1 else table
