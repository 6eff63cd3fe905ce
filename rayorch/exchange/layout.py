"""In what order a segment's rows are written: by bucket, heavy keys apart; or by sort keys."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayorch.exchange.hashing import Words, buckets_of, key_hashes
from rayorch.exchange.ordering import Order, sort_order
from rayorch.exchange.parts import Counts, HeavyKey
from rayorch.relational import HashKeys, Keying, RangeKeys

HEAVY_SHARE: Final = 1 / 512
"""A key with this share of a segment's rows, or that of two buckets, is a heavy one."""
HEAVY_MAX: Final = 128
HEAVY_ROWS_MIN: Final = 64
_LOW_BITS: Final = 12
_TEXT_CHARS_MAX: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The order of a segment's rows; None: as they are."""

    order: Order | None
    bucket_rows: Counts  # empty: there is one bucket
    heavy: tuple[HeavyKey, ...] = ()


_NO_BUCKETS: Final = np.empty(0, dtype=np.int64)


def layout_of(table: pa.Table, keying: Keying, buckets: int) -> Layout:
    """Return in what order rows are written. Raises: KeyRefusedError."""
    match keying:
        case HashKeys():
            return _hashed(table, keying, buckets)
        case RangeKeys(keys=keys):
            return Layout(order=sort_order(table, keys), bucket_rows=_NO_BUCKETS)
        case _:
            return Layout(order=None, bucket_rows=_NO_BUCKETS)


def _hashed(table: pa.Table, keying: HashKeys, buckets: int) -> Layout:
    hashes = key_hashes(table, keying.columns)
    ids = buckets_of(hashes, buckets)
    counts = np.bincount(ids, minlength=buckets)
    order: Order = np.argsort(ids, kind="stable")
    ends = np.cumsum(counts)
    heavy: list[HeavyKey] = []
    for bucket in np.flatnonzero(counts >= heavy_rows(table.num_rows, buckets)):
        inside = order[ends[bucket] - counts[bucket] : ends[bucket]]
        found = heavy_hashes(hashes[inside], heavy_rows(table.num_rows, buckets))
        heavy += [
            HeavyKey(int(bucket), key, rows, _key_text(table, keying, inside[first]))
            for key, rows, first in found
        ]
    kept = sorted(heavy, key=lambda key: (-key.rows, key.bucket, key.key_hash))[:HEAVY_MAX]
    kept.sort(key=lambda key: (key.bucket, key.key_hash))
    for split in dict.fromkeys(key.bucket for key in kept):
        inside = order[ends[split] - counts[split] : ends[split]]
        inside[:] = _rest_first(inside, hashes[inside], kept, split)
    return Layout(order=order, bucket_rows=counts, heavy=tuple(kept))


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
