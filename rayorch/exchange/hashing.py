"""A hash of key columns: the same for equal keys in every process, version and column layout.

What a row's hash is made of does not change, or tasks of two versions would disagree about who has
which key; `tests/rayorch/exchange/test_hashing.py` holds golden values.

Each column becomes one 64-bit word a row, and the words of a row are folded from left to right:

    h = SEED;  h = mix(h * FOLD ^ word)  for each column;  bucket = (h >> 32) * buckets >> 32

    null                            NULL_WORD
    integers, bool                  the value, sign-extended
    floats                          the bits of the float64; one NaN, and 0.0 for -0.0
    date                            days
    time, timestamp, duration       whole microseconds, and `^ nanoseconds * NANO` of what is left
    decimal                         its 64-bit words of the unscaled value, folded
    text and bytes                  their size and each eight bytes of them: `text_words`
    dictionary, view, run-end       as their values

Integers of all widths, text of all layouts, and decimals of one scale thus agree. Scales, or an
integer and a float, do not: whoever joins them casts first.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from rayorch.exchange.errors import KeyRefusedError
from rayorch.relational import HashKeys

Words = NDArray[np.uint64]

BUCKETS_MAX: Final = 1 << 16
"""Buckets are sorted as 16-bit numbers, which numpy does by radix."""
_SEED: Final = np.uint64(0x243F6A8885A308D3)
_FOLD: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = np.uint64(0xD6E8FEB86659FD93)
_NANO: Final = np.uint64(0xBF58476D1CE4E5B9)
_NULL_WORD: Final = np.uint64(0x13198A2E03707344)
_NAN_BITS: Final = np.uint64(0x7FF8000000000000)
_HALF: Final = np.uint64(32)
_WORD_BYTES: Final = 8
_MICROS: Final = 1_000_000
# Rows at a time: what is worked on stays in the innermost cache.
_BLOCK_ROWS: Final = 8192
# Longer texts are hashed one by one: a call for each costs less than so many rounds.
_TEXT_BYTES_MAX: Final = 256
_KEEP: Final = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)
"""Which bits of a word hold text, by how many bytes of it are left."""
_PLACE: Final = np.arange(1, _TEXT_BYTES_MAX // 4, 2, dtype=np.uint64) * _FOLD
"""An odd factor for each word of a text."""


def bucket_ids(
    table: pa.Table | pa.RecordBatch, keying: HashKeys, buckets: int
) -> NDArray[np.uint32]:
    """Return the bucket of each row.

    Raises: KeyRefusedError, for a column that cannot be a key.
    """
    hashes = key_hashes(table, keying.columns)
    return buckets_of(hashes, buckets).astype(np.uint32)


def buckets_of(hashes: Words, buckets: int) -> NDArray[np.uint16]:
    """Return the bucket of each hash."""
    assert 1 <= buckets <= BUCKETS_MAX, buckets
    ids = np.empty(len(hashes), dtype=np.uint16)
    for start in range(0, len(hashes), _BLOCK_ROWS):
        high = hashes[start : start + _BLOCK_ROWS] >> _HALF
        high *= np.uint64(buckets)
        high >>= _HALF
        ids[start : start + _BLOCK_ROWS] = high
    return ids


def key_hashes(table: pa.Table | pa.RecordBatch, columns: Sequence[str] | None) -> Words:
    """Return the hash of each row's key; None takes all columns, none at all gives one key.

    Raises: KeyRefusedError, for a column that cannot be a key.
    """
    names = table.schema.names if columns is None else columns
    hashes = np.full(table.num_rows, _SEED, dtype=np.uint64)
    for name in names:
        _fold_in(hashes, column_words(table.column(name), name))
    return hashes


def check_keys(schema: pa.Schema, columns: Sequence[str] | None) -> None:
    """Refuse key columns that cannot be hashed. Raises: KeyRefusedError."""
    for name in schema.names if columns is None else columns:
        column_words(pa.chunked_array([], schema.field(name).type), name)


def column_words(column: pa.Array | pa.ChunkedArray, name: str) -> Words:
    """Return a word for each value of a column. Raises: KeyRefusedError."""
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks != 1:
            chunks = [column_words(chunk, name) for chunk in column.chunks]
            return np.concatenate(chunks) if chunks else _array_words(_no_values(column.type), name)
        column = column.chunk(0)
    return _array_words(column, name)


def _no_values(type_: pa.DataType) -> pa.Array:
    return pa.array([], type_)


def _fold_in(hashes: Words, words: Words) -> None:
    """Fold another column's words into the hashes, in place."""
    other = np.empty(min(_BLOCK_ROWS, len(hashes)), dtype=np.uint64)
    for start in range(0, len(hashes), _BLOCK_ROWS):
        block = hashes[start : start + _BLOCK_ROWS]
        shifted = other[: len(block)]
        np.multiply(block, _FOLD, out=block)
        np.bitwise_xor(block, words[start : start + _BLOCK_ROWS], out=block)
        for _ in range(2):
            np.multiply(block, _MIX, out=block)
            np.right_shift(block, _HALF, out=shifted)
            np.bitwise_xor(block, shifted, out=block)
        np.multiply(block, _MIX, out=block)


def _array_words(array: pa.Array, name: str) -> Words:
    array = plain_array(array)
    if pa.types.is_dictionary(array.type):
        return _dictionary_words(array, name)
    words_of = _words_of(array.type)
    if words_of is None:
        raise KeyRefusedError(name, str(array.type))
    words = words_of(array)
    if array.null_count:
        words = np.where(null_mask(array), _NULL_WORD, words)
    return words


def plain_array(array: pa.Array) -> pa.Array:
    """Undo layouts that say nothing of the values: extensions, views and run-ends."""
    if isinstance(array, pa.ExtensionArray):
        return plain_array(array.storage)
    type_ = array.type
    if pa.types.is_run_end_encoded(type_):
        return plain_array(pc.run_end_decode(array))
    if pa.types.is_string_view(type_) or pa.types.is_binary_view(type_):
        return array.cast(pa.large_binary())
    return array


def null_mask(array: pa.Array) -> NDArray[np.bool_]:
    """Return which values are null."""
    mask: NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
    return mask


def _dictionary_words(array: pa.DictionaryArray, name: str) -> Words:
    of_values = _array_words(array.dictionary, name)
    # One more at the end, so that nulls and an empty dictionary have something to point at.
    of_values = np.append(of_values, _NULL_WORD)
    indices = pc.fill_null(array.indices.cast(pa.int64()), len(of_values) - 1)
    words: Words = of_values[indices.to_numpy(zero_copy_only=False)]
    return words


def _words_of(type_: pa.DataType) -> Callable[[pa.Array], Words] | None:
    for is_kind, words_of in _KINDS:
        if is_kind(type_):
            return words_of
    return None


def _null_words(array: pa.Array) -> Words:
    return np.full(len(array), _NULL_WORD, dtype=np.uint64)


def int_values(array: pa.Array) -> NDArray[np.int64]:
    """Return the values behind a fixed-width column as int64; unsigned ones keep their bits."""
    array = array.cast(pa.uint8()) if pa.types.is_boolean(array.type) else array
    width = array.type.bit_width // 8
    signed = not pa.types.is_unsigned_integer(array.type)
    values = _held(array, f"<{'i' if signed else 'u'}{width}")
    return values.view(np.int64) if values.itemsize == _WORD_BYTES else values.astype(np.int64)


def float_values(array: pa.Array) -> NDArray[np.float64]:
    """Return the values of a float column as float64; a null may be anything."""
    # Adding zero makes 0.0 of -0.0 and copies, so that what the column holds is left alone.
    return _held(array, f"<f{array.type.bit_width // 8}").astype(np.float64, copy=False) + 0.0


def _held(array: pa.Array, dtype: str, per_row: int = 1) -> NDArray[Any]:
    """Return what a column's buffer holds for its rows, nulls included."""
    if not len(array):
        return np.empty(0, dtype=dtype)
    end = (array.offset + len(array)) * per_row
    held = np.frombuffer(array.buffers()[1], dtype=dtype, count=end)
    return held[array.offset * per_row :]


def _int_words(array: pa.Array) -> Words:
    return int_values(array).view(np.uint64)


def _float_words(array: pa.Array) -> Words:
    values = float_values(array)
    words = values.view(np.uint64)
    not_numbers = np.isnan(values)
    if not_numbers.any():
        words[not_numbers] = _NAN_BITS
    return words


def _date64_words(array: pa.Array) -> Words:
    return (int_values(array) // 86_400_000).view(np.uint64)


def _clock_words(array: pa.Array) -> Words:
    values = int_values(array)
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[array.type.unit]
    if per_second <= _MICROS:
        # Times beyond the range of microseconds wrap, the same way in every process.
        return values.view(np.uint64) * np.uint64(_MICROS // per_second)
    whole, rest = np.divmod(values, 1_000)
    return whole.view(np.uint64) ^ rest.view(np.uint64) * _NANO


def _decimal_words(array: pa.Array) -> Words:
    words = decimal_words(array)
    sign = (words[:, -1].view(np.int64) >> 63).view(np.uint64)
    folded = words[:, 0].copy()
    for index in range(1, words.shape[1]):
        # Words that only repeat the sign add nothing, so that the width does not matter.
        folded += (words[:, index] ^ sign) * _FOLD * np.uint64(2 * index + 1)
    return folded


def decimal_words(array: pa.Array) -> Words:
    """Return the unscaled values, as 64-bit words from the lowest to the highest."""
    if array.type.byte_width < 2 * _WORD_BYTES:
        array = array.cast(pa.decimal128(array.type.precision, array.type.scale))
    width = array.type.byte_width // _WORD_BYTES
    words: Words = _held(array, "<u8", width).reshape(-1, width)
    return words


def _text_column_words(array: pa.Array) -> Words:
    data, starts, sizes = text_layout(array)
    return text_words(data, starts, sizes)


def text_layout(array: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Return the bytes and zeros behind them, where each value begins, and its size."""
    type_ = array.type
    if pa.types.is_fixed_size_binary(type_):
        width, held = type_.byte_width, array.buffers()[1]
        starts = np.arange(array.offset, array.offset + len(array), dtype=np.int64) * width
        sizes = np.full(len(array), width, dtype=np.int64)
    else:
        large = pa.types.is_large_string(type_) or pa.types.is_large_binary(type_)
        _, offsets_held, held = array.buffers()
        end = array.offset + len(array) + 1 if len(array) else 0
        dtype = "<i8" if large else "<i4"
        offsets = np.frombuffer(offsets_held or b"", dtype=dtype, count=end)
        offsets = offsets[array.offset :].astype(np.int64)
        starts = offsets[:-1]
        sizes = np.diff(offsets)
    begin = int(starts[0]) if len(starts) else 0
    end = int(starts[-1] + sizes[-1]) if len(starts) else 0
    data = np.zeros(end - begin + _TEXT_BYTES_MAX + 8, dtype=np.uint8)
    if end > begin:
        data[: end - begin] = np.frombuffer(held, dtype=np.uint8)[begin:end]
    if array.null_count:
        # What stands behind a null is nobody's.
        sizes = np.where(null_mask(array), 0, sizes)
    return data, starts - begin, sizes


def text_words(
    data: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> Words:
    """Hash byte strings: their size, and a number for each eight bytes at their place, added up.

    Zeros add nothing, so that no round has to leave out the rows that have ended. Those over
    256 bytes are hashed by XXH3.
    """
    # Every place in the data as the first byte of a little-endian word.
    at = np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))
    words = sizes.view(np.uint64) * _FOLD
    for start in range(0, len(sizes), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        _add_text(words[block], at, starts[block], sizes[block])
    for row in np.flatnonzero(sizes > _TEXT_BYTES_MAX):
        text = data[starts[row] : starts[row] + sizes[row]]
        words[row] = xxhash.xxh3_64_intdigest(text.data, int(_SEED))
    return words


def _add_text(words: Words, at: Words, places: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
    longest, shortest = int(sizes.max()), int(sizes.min())
    rows: NDArray[np.intp] | None = None
    for done in range(0, min(longest, _TEXT_BYTES_MAX), 8):
        if done > shortest and 2 * np.count_nonzero(sizes > done) < len(sizes):
            going = np.flatnonzero(sizes > done)
            rows = going if rows is None else rows[going]
            places, sizes = places[going], sizes[going]
        if done >= shortest:
            # Rows that have ended read some other text here, and keep none of it.
            left = sizes - done
            np.minimum(left, 8, out=left)
            np.maximum(left, 0, out=left)
            piece = at[places + done]
            piece &= _KEEP[left]
        elif done + 8 > shortest:
            piece = at[places + done]
            piece &= _KEEP[np.minimum(sizes - done, 8)]
        else:
            piece = at[places + done]
        piece *= _PLACE[done >> 3]
        piece ^= piece >> _HALF
        piece *= _MIX
        if rows is None:
            words += piece
        else:
            words[rows] += piece


_KINDS: Final[tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], Words]], ...]] = (
    (pa.types.is_null, _null_words),
    (pa.types.is_integer, _int_words),
    (pa.types.is_boolean, _int_words),
    (pa.types.is_floating, _float_words),
    (pa.types.is_date32, _int_words),
    (pa.types.is_date64, _date64_words),
    (pa.types.is_timestamp, _clock_words),
    (pa.types.is_time, _clock_words),
    (pa.types.is_duration, _clock_words),
    (pa.types.is_decimal, _decimal_words),
    (pa.types.is_string, _text_column_words),
    (pa.types.is_large_string, _text_column_words),
    (pa.types.is_binary, _text_column_words),
    (pa.types.is_large_binary, _text_column_words),
    (pa.types.is_fixed_size_binary, _text_column_words),
)
"""Decimals are fixed-size binaries to pyarrow, so that they come before them."""
