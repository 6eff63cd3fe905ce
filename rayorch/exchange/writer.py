"""Write one map task's rows for one side of an exchange as one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import pyarrow as pa
import xxhash

from rayorch.exchange.hashing import BUCKETS_MAX, check_keys
from rayorch.exchange.layout import Apart, layout_of
from rayorch.exchange.ordering import check_order, encoded_keys, in_order
from rayorch.exchange.parts import (
    ALIGN_BYTES,
    KEY_BYTES_MAX,
    MAGIC,
    ExchangePart,
    Segment,
    carried,
    carried_schema,
    packed,
    padded,
)
from rayorch.relational import HashKeys, RangeKeys

if TYPE_CHECKING:
    from connectors.store import OutputStream, Store
    from rayorch.exchange.layout import Layout
    from rayorch.relational import Keying

Codec = Literal["none", "lz4", "zstd"]

MEMORY_BYTES: Final = 256 << 20
BLOCK_BYTES_MIN: Final = 64 << 10
"""Below it, the call for a block costs more than its bytes."""
BLOCKS_MAX: Final = 128
"""Blocks of a segment: a reader takes whole blocks, at most two of them in vain."""
SAMPLES_MAX: Final = 256
# The rows as they came, in one piece and in their order; hashes, places and what sorts them; and
# what an allocator keeps of all that for the next time.
_HELD_TIMES: Final = 6
_SAMPLE_BYTES_MAX: Final = 12 << 10
_SAMPLES_MIN: Final = 16


def codec_for(store: Store) -> Codec:
    """Return how blocks are compressed: not where they stay in memory, else by LZ4."""
    return "none" if store.url.startswith(("file:", "memory:")) else "lz4"


@dataclass(slots=True, kw_only=True)
class _Blocks:
    rows: list[int]
    sizes: list[int]
    raw: list[int]
    checksums: list[bytes]


class ExchangeWriter:
    """The exchange file of one map task for one side, in memory of a bounded size.

    Rows are held until they fill the memory, then laid out and written as a segment. Nothing is
    visible before `close` has returned.
    """

    def __init__(  # noqa: PLR0913 - each is a decision of the planner's.
        self,
        store: Store,
        key: str,
        schema: pa.Schema,
        keying: Keying,
        *,
        buckets: int = 1,
        codec: Codec = "none",
        memory_bytes: int = MEMORY_BYTES,
        apart: Apart | None = None,
    ) -> None:
        """Start a file. Raises: KeyRefusedError, for a column that cannot be a key."""
        assert 1 <= buckets <= BUCKETS_MAX, buckets
        assert len(schema), "rows without columns have nothing to exchange"
        self.schema: Final = carried_schema(schema)
        self._keying = keying
        self._apart = apart or Apart()
        match keying:
            case HashKeys(columns=columns):
                check_keys(self.schema, columns)
            case RangeKeys(keys=keys):
                check_order(self.schema, keys)
            case _:
                pass
        self._buckets = buckets if isinstance(keying, HashKeys) else 1
        self._key = key
        self._options = pa.ipc.IpcWriteOptions(
            compression=None if codec == "none" else codec, use_threads=False
        )
        self._held_bytes_max = max(memory_bytes // _HELD_TIMES, 1)
        self._held: list[pa.Table] = []
        self._held_bytes = 0
        self._segments: list[Segment] = []
        self._rows = 0
        self._raw_bytes = 0
        self._output: OutputStream = store.open_output(key)
        self._output.write(MAGIC.ljust(ALIGN_BYTES, b"\0"))

    def add(self, table: pa.Table) -> None:
        """Take rows. Raises: StoreError."""
        table = carried(table, self.schema)
        rows_max = max(1, table.num_rows * self._held_bytes_max // max(table.nbytes, 1))
        for start in range(0, table.num_rows, rows_max):
            piece = table.slice(start, rows_max)
            if self._held_bytes + piece.nbytes > self._held_bytes_max:
                self._write_segment()
                # The allocator would keep what the segment took beside what the next one takes.
                pa.default_memory_pool().release_unused()
            self._held.append(piece)
            self._held_bytes += piece.nbytes

    def close(self) -> ExchangePart:
        """Write what is held and make the file visible. Raises: StoreError."""
        self._write_segment()
        size_bytes = self._output.tell()
        self._output.close()
        return ExchangePart(
            key=self._key,
            rows=self._rows,
            size_bytes=size_bytes,
            raw_bytes=self._raw_bytes,
            buckets=self._buckets,
            schema_ipc=self.schema.serialize().to_pybytes(),
            segments=tuple(self._segments),
        )

    def abort(self) -> None:
        """Forget the file."""
        self._held.clear()
        self._output.abort()

    def _write_segment(self) -> None:
        if not self._held:
            return
        table = pa.concat_tables(self._held).combine_chunks()
        self._held.clear()
        self._held_bytes = 0
        layout = layout_of(table, self._keying, self._buckets, self._apart)
        offset = self._output.tell()
        sample_rows = _sample_rows(table, self._keying)
        block_rows = _block_rows(table, sample_rows)
        batch = in_order(table, layout.order)
        blocks = _Blocks(rows=[], sizes=[], raw=[], checksums=[])
        for start in range(0, table.num_rows, block_rows):
            self._write_block(batch.slice(start, block_rows), blocks)
        self._rows += table.num_rows
        self._raw_bytes += sum(blocks.raw)
        segment = Segment(
            rows=table.num_rows,
            offset=offset,
            bucket_rows=packed(layout.bucket_rows) if layout.bucket_rows.size else b"",
            heavy=layout.heavy,
            block_rows=packed(blocks.rows),
            block_bytes=packed(blocks.sizes),
            block_raw_bytes=packed(blocks.raw),
            checksums=b"".join(blocks.checksums),
            samples=_samples(table, layout, sample_rows, self._keying),
            sample_rows=sample_rows,
        )
        self._segments.append(segment)

    def _write_block(self, block: pa.RecordBatch, blocks: _Blocks) -> None:
        data = _serialized(block, self._options)
        blocks.rows.append(block.num_rows)
        blocks.sizes.append(data.size)
        blocks.raw.append(max(block.nbytes, block.num_rows))
        blocks.checksums.append(xxhash.xxh3_64_digest(data))
        self._output.write(data)
        self._output.write(bytes(padded(data.size) - data.size))


def _sample_rows(table: pa.Table, keying: Keying) -> int:
    """Return at how many rows there is a sample; fewer samples, the longer they are."""
    if not isinstance(keying, RangeKeys):
        return 1
    (first,) = encoded_keys(table.slice(0, 1), keying.keys)
    fitting = _SAMPLE_BYTES_MAX // min(len(first) + 1, KEY_BYTES_MAX)
    return -(-int(table.num_rows) // min(max(fitting, _SAMPLES_MIN), SAMPLES_MAX))


def _block_rows(table: pa.Table, multiple_of: int) -> int:
    """Return how many rows a block has."""
    row_bytes: float = max(table.nbytes / table.num_rows, 1 / 8)
    rows = max(int(BLOCK_BYTES_MIN / row_bytes), -(-int(table.num_rows) // BLOCKS_MAX), 1)
    return -(-rows // multiple_of) * multiple_of


def _samples(table: pa.Table, layout: Layout, every: int, keying: Keying) -> tuple[bytes, ...]:
    """Return the keys of some rows from the first, and of the last row, of rows in an order."""
    if not isinstance(keying, RangeKeys):
        return ()
    assert layout.order is not None
    rows = pa.array([*layout.order[::every], layout.order[-1]])
    columns = table.select(dict.fromkeys(key.column for key in keying.keys))
    return tuple(key[:KEY_BYTES_MAX] for key in encoded_keys(columns.take(rows), keying.keys))


def _serialized(batch: pa.RecordBatch, options: pa.ipc.IpcWriteOptions) -> pa.Buffer:
    """Return the batch as one IPC message."""
    if options.compression is None:
        return batch.serialize()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=options) as stream:
        stream.write_batch(batch)
        end = sink.tell()
    # The stream begins with its schema, which readers have from the part.
    return sink.getvalue()[batch.schema.serialize().size : end]
