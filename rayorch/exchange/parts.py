"""What a map task tells of the exchange file it wrote: enough to plan with and to read by."""

import zlib
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

FORMAT: Final = 1
MAGIC: Final = b"RAYXCH01"
ALIGN_BYTES: Final = 64
"""Blocks begin at multiples of it, so that a memory map of the file is fit for Arrow."""
KEY_BYTES_MAX: Final = 512
"""Samples are cut to it; rows whose keys agree so far are never parted."""

Counts = NDArray[np.int64]


class HeavyKey(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key whose rows stand apart behind the rest of its bucket. The count is exact."""

    bucket: int
    key_hash: int
    rows: int
    text: str  # the key as people read it
    raw_bytes: int = 0  # of its rows in memory, where rows were weighed
    # Packed, one a part: how many of its rows are there, which are in the order of parts.
    parts: bytes = b""


class Segment(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one filling of the writer's memory became: blocks of rows in the order of buckets.

    Rows are ordered by bucket and, within it, as they came: first those of no heavy key, then those
    of each heavy key, by its hash. Rows of an order by keys have that order, and no buckets. The
    packed arrays are made by `packed`.
    """

    rows: int
    offset: int  # of the first block in the file
    bucket_rows: bytes  # packed, one a bucket; empty when there is one bucket
    heavy: tuple[HeavyKey, ...]  # by bucket, then hash
    block_rows: bytes
    block_bytes: bytes  # packed; as they are stored, without the padding behind them
    block_raw_bytes: bytes  # packed; in memory
    checksums: bytes  # eight bytes a block: XXH3-64 of what is stored
    # Of rows in an order: the encoded key of every so many rows from the first, and of the last
    # row. A block has a multiple of so many.
    samples: tuple[bytes, ...] = ()
    sample_rows: int = 1


class ExchangePart(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One exchange file: all rows of one map task for one side of an exchange."""

    key: str  # of the object
    rows: int
    size_bytes: int  # of the object
    raw_bytes: int  # of the rows in memory
    buckets: int
    schema_ipc: bytes
    segments: tuple[Segment, ...]
    format: int = FORMAT

    @property
    def schema(self) -> pa.Schema:
        """The columns that the file carries."""
        return pa.ipc.read_schema(pa.py_buffer(self.schema_ipc))


def dump_part(part: ExchangePart) -> bytes:
    """Return the part as bytes."""
    return msgspec.msgpack.encode(part)


def load_part(data: bytes) -> ExchangePart:
    """Return the part that `dump_part` dumped."""
    return msgspec.msgpack.decode(data, type=ExchangePart)


def packed(values: Sequence[int] | Counts) -> bytes:
    """Return counts as few bytes: the narrowest that holds them all, deflated."""
    counts = np.asarray(values, dtype=np.uint64)
    width = next(w for w in (1, 2, 4, 8) if not counts.size or int(counts.max()) < 1 << 8 * w)
    return bytes([width]) + zlib.compress(counts.astype(f"<u{width}").tobytes(), 1)


def unpacked(data: bytes) -> Counts:
    """Return the counts that `packed` packed."""
    return np.frombuffer(zlib.decompress(data[1:]), dtype=f"<u{data[0]}").astype(np.int64)


def starts_of(counts: Counts) -> Counts:
    """Return where each begins when they stand one behind the other, and where the last ends."""
    starts = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts


def padded(size_bytes: int) -> int:
    """Return a size rounded up to where the next block begins."""
    return -(-size_bytes // ALIGN_BYTES) * ALIGN_BYTES


def carried_schema(schema: pa.Schema) -> pa.Schema:
    """Return the columns as an exchange carries them: without dictionaries, views and run-ends.

    A block then needs nothing but itself to be read.
    """
    return pa.schema([field.with_type(_plain(field.type)) for field in schema])


def carried(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with the columns of a carried schema."""
    if table.schema.equals(schema):
        return table
    columns = [table.column(field.name).cast(field.type) for field in schema]
    return pa.table(columns, schema=schema)


def _plain(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_):
        return _plain(type_.value_type)
    if pa.types.is_string_view(type_):
        return pa.string()
    if pa.types.is_binary_view(type_):
        return pa.binary()
    return _plain_nested(type_)


def _plain_nested(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_plain(field.type)) for field in type_])
    if pa.types.is_map(type_):
        return pa.map_(_plain_field(type_.key_field), _plain_field(type_.item_field))
    if pa.types.is_large_list(type_):
        return pa.large_list(_plain_field(type_.value_field))
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(_plain_field(type_.value_field), type_.list_size)
    if pa.types.is_list(type_):
        return pa.list_(_plain_field(type_.value_field))
    return type_


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(_plain(field.type))
