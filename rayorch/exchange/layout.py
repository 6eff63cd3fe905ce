"""In what order a segment's rows are written: by bucket, heavy keys apart; or by sort keys."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace
from numpy.typing import NDArray

from rayorch.exchange.hashing import Words, buckets_of, key_hashes
from rayorch.exchange.ordering import Order, sort_order
from rayorch.exchange.parts import Counts, HeavyKey, packed
from rayorch.relational import HashKeys, Keying, RangeKeys

HEAVY_SHARE: Final = 1 / 512
"""A key with this share of a segment's rows, or that of two buckets, is a heavy one."""
HEAVY_MAX: Final = 128
HEAVY_ROWS_MIN: Final = 64
HEAVY_BYTES_MIN: Final = 64 << 10
KEY_PARTS: Final = 64
"""Rows of a heavy key that are parted by value are in so many parts: as many tasks can have it."""
_LOW_BITS: Final = 12
_TEXT_CHARS_MAX: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The order of a segment's rows; None: as they are."""

    order: Order | None
    bucket_rows: Counts  # empty: there is one bucket
    heavy: tuple[HeavyKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """How heavy keys stand apart: how many of them, and in what order their rows are.

    values: columns by which the rows of a key are parted: those of equal values are in one part.
    Rows without any value go round the parts, from the one that is `first`.
    weighed: binary columns whose sizes count: one large row makes a key a heavy one.
    """

    keys_max: int = HEAVY_MAX
    values: tuple[str, ...] = ()
    first: int = 0
    weighed: tuple[str, ...] = ()


_USUAL: Final = Apart()
_NO_BUCKETS: Final = np.empty(0, dtype=np.int64)


def layout_of(table: pa.Table, keying: Keying, buckets: int, apart: Apart = _USUAL) -> Layout:
    """Return in what order rows are written. Raises: KeyRefusedError."""
    match keying:
        case HashKeys():
            return _hashed(table, keying, buckets, apart)
        case RangeKeys(keys=keys):
            return Layout(order=sort_order(table, keys), bucket_rows=_NO_BUCKETS)
        case _:
            return Layout(order=None, bucket_rows=_NO_BUCKETS)


def _hashed(table: pa.Table, keying: HashKeys, buckets: int, apart: Apart) -> Layout:
    hashes = key_hashes(table, keying.columns)
    ids = buckets_of(hashes, buckets)
    counts = np.bincount(ids, minlength=buckets)
    order: Order = np.argsort(ids, kind="stable")
    ends = np.cumsum(counts)
    rows_min = heavy_rows(table.num_rows, buckets)
    found: dict[int, tuple[int, int]] = {}  # by hash: how many rows, and the first of them
    for bucket in np.flatnonzero(counts >= rows_min) if apart.keys_max else ():
        inside = order[ends[bucket] - counts[bucket] : ends[bucket]]
        for key, rows, first in heavy_hashes(hashes[inside], rows_min):
            found[key] = rows, int(inside[first])
    weights = _large_added(table, hashes, apart, found)
    heavy = [
        HeavyKey(int(ids[row]), key, rows, _key_text(table, keying, row), weights.get(key, 0))
        for key, (rows, row) in found.items()
    ]
    heavy.sort(key=lambda key: (-key.raw_bytes, -key.rows, key.bucket, key.key_hash))
    kept = heavy[: apart.keys_max]
    kept.sort(key=lambda key: (key.bucket, key.key_hash))
    for split in dict.fromkeys(key.bucket for key in kept):
        inside = order[ends[split] - counts[split] : ends[split]]
        inside[:] = _rest_first(inside, hashes[inside], kept, split)
    if apart.values:
        kept = _parted(table, order, ends, kept, apart)
    return Layout(order=order, bucket_rows=counts, heavy=tuple(kept))


def _large_added(
    table: pa.Table, hashes: Words, apart: Apart, found: dict[int, tuple[int, int]]
) -> dict[int, int]:
    """Add keys that are heavy by their bytes; return what heavy keys weigh, if that is asked."""
    if not apart.weighed or not apart.keys_max:
        return {}
    weights = np.zeros(table.num_rows)
    for name in apart.weighed:
        sizes = pc.fill_null(pc.binary_length(table.column(name)), 0)
        weights += sizes.to_numpy().astype(np.float64)
    keys, firsts, place = np.unique(hashes, return_index=True, return_inverse=True)
    rows, sums = np.bincount(place), np.bincount(place, weights)
    row_bytes = max(0.0, (table.nbytes - float(weights.sum())) / table.num_rows)
    for at in np.flatnonzero(sums >= max(table.nbytes * HEAVY_SHARE, HEAVY_BYTES_MIN)):
        found[int(keys[at])] = int(rows[at]), int(firsts[at])
    return {
        key: round(float(sums[at]) + row_bytes * count)
        for key, (count, _) in found.items()
        for at in [int(np.searchsorted(keys, np.uint64(key)))]
    }


def _parted(
    table: pa.Table, order: Order, ends: Counts, heavy: list[HeavyKey], apart: Apart
) -> list[HeavyKey]:
    """Put the rows of each heavy key in the order of their parts, and count them."""
    found: list[HeavyKey] = []
    behind: dict[int, int] = {}  # rows of heavy keys at the end of a bucket
    for key in reversed(heavy):
        end = int(ends[key.bucket]) - behind.get(key.bucket, 0)
        behind[key.bucket] = behind.get(key.bucket, 0) + key.rows
        own = order[end - key.rows : end]
        rows = table.select(apart.values).take(pa.array(own))
        parts = buckets_of(key_hashes(rows, None), KEY_PARTS)
        nothing = np.ones(len(own), dtype=np.bool_)
        for column in rows.columns:
            nothing &= column.is_null().to_numpy()
        parts[nothing] = (np.arange(int(nothing.sum())) + apart.first) % KEY_PARTS
        own[:] = own[np.argsort(parts, kind="stable")]
        found.append(replace(key, parts=packed(np.bincount(parts, minlength=KEY_PARTS))))
    return found[::-1]


def heavy_rows(rows: int, buckets: int) -> int:
    """Return how many of so many rows make a key a heavy one."""
    share = max(HEAVY_SHARE, 2 / buckets)
    # With one bucket, or two, nothing is planned by buckets.
    return max(int(rows * share), HEAVY_ROWS_MIN)


def heavy_hashes(hashes: Words, rows_min: int) -> list[tuple[int, int, int]]:
    """Return each hash that occurs `rows_min` times, how often, and where first; by hash.

    Counts are exact and none is missed: such a hash makes its lowest bits as frequent, so that
    only rows of frequent low bits are looked at twice, and hardly ever sorted.
    """
    low = _low_bits(hashes)
    frequent = np.bincount(low, minlength=1 << _LOW_BITS) >= rows_min
    rows = np.flatnonzero(frequent[low])
    if not rows.size:
        return []
    some = np.zeros(1 << _LOW_BITS, dtype=np.uint64)
    some[low[rows]] = hashes[rows]
    if (some[low[rows]] == hashes[rows]).all():
        # Each of those low bits belongs to one hash: their counts are its counts.
        lows, firsts, counts = _counted(low[rows])
        found = zip(some[lows], counts, rows[firsts], strict=True)
    else:
        keys, firsts, counts = np.unique(hashes[rows], return_index=True, return_counts=True)
        found = zip(keys, counts, rows[firsts], strict=True)
    return sorted((int(k), int(n), int(at)) for k, n, at in found if n >= rows_min)


def rows_of_hashes(hashes: Words, wanted: Words) -> NDArray[np.bool_]:
    """Say of each row whether its hash is among those wanted."""
    frequent = np.zeros(1 << _LOW_BITS, dtype=np.bool_)
    frequent[_low_bits(wanted)] = True
    found = frequent[_low_bits(hashes)]
    rows = np.flatnonzero(found)
    found[rows] = np.isin(hashes[rows], wanted)
    return found


def _low_bits(hashes: Words) -> NDArray[np.uint16]:
    return (hashes & np.uint64((1 << _LOW_BITS) - 1)).astype(np.uint16)


def _counted(low: NDArray[np.uint16]) -> tuple[Counts, Counts, Counts]:
    """Return which numbers there are, where each is first, and how often it is there."""
    counts = np.bincount(low, minlength=1 << _LOW_BITS)
    firsts = np.zeros(1 << _LOW_BITS, dtype=np.int64)
    # Written backwards, so that the first one stays.
    firsts[low[::-1]] = np.arange(len(low) - 1, -1, -1)
    present = np.flatnonzero(counts)
    return present, firsts[present], counts[present]


def _rest_first(inside: Order, hashes: Words, heavy: list[HeavyKey], bucket: int) -> Order:
    """Return a bucket's rows with those of its heavy keys, by hash, behind the others."""
    place = np.zeros(len(inside), dtype=np.uint8)
    keys = [key.key_hash for key in heavy if key.bucket == bucket]
    for number, key in enumerate(keys, 1):
        place[hashes == np.uint64(key)] = number
    return inside[np.argsort(place, kind="stable")]


def _key_text(table: pa.Table, keying: HashKeys, row: int) -> str:
    names = table.schema.names if keying.columns is None else keying.columns
    row_values = (table.column(name)[int(row)].as_py() for name in names)
    text = ", ".join("null" if value is None else str(value) for value in row_values)
    return text if len(text) <= _TEXT_CHARS_MAX else text[: _TEXT_CHARS_MAX - 1] + "…"
