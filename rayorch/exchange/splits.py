"""What a reduce task takes from an exchange; crosses processes as bytes."""

import msgspec

from rayorch.relational import SortKey


class Buckets(msgspec.Struct, frozen=True, tag="buckets", gc=False):
    """All rows of some buckets in a row, but for those of heavy keys that are cut elsewhere."""

    first: int
    last: int  # not included
    without: tuple[int, ...] = ()  # key hashes


class HotKey(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A heavy key, by where it is."""

    bucket: int
    key_hash: int


class HotRows(msgspec.Struct, frozen=True, tag="hot", gc=False):
    """Some rows of one heavy key, counted through all parts where it stands apart."""

    bucket: int
    key_hash: int
    first: int
    last: int  # not included


class HotParts(msgspec.Struct, frozen=True, tag="parts", gc=False):
    """Some parts of a heavy key: rows of equal values are of one part, in every file."""

    bucket: int
    key_hash: int
    first: int
    last: int  # not included


class Cut(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A place in the order of all rows: behind all lesser keys.

    Rows of this very key are before it in runs before `run`, after it in later ones, and in `run`
    itself before it when they are before `row`. A run is a segment of a part, counted through
    all parts; -1: all rows of the key are after it.
    """

    key: bytes
    run: int = -1
    row: int = 0


class KeyRange(msgspec.Struct, frozen=True, tag="range"):
    """All rows between two places in the order of keys; None: from the first, to the last."""

    keys: tuple[SortKey, ...]
    low: Cut | None
    high: Cut | None


class RowRange(msgspec.Struct, frozen=True, tag="rows", gc=False):
    """Some rows, counted through all parts."""

    first: int
    last: int  # not included


Take = Buckets | HotRows | HotParts | KeyRange | RowRange


class ReduceSplit(msgspec.Struct, frozen=True):
    """The input of one reduce task: what it takes of each side, and how much that should be."""

    index: int
    sides: tuple[tuple[Take, ...], ...]
    rows: tuple[int, ...]
    raw_bytes: tuple[int, ...]
    requests: int  # ranges that are read


def dump_split(split: ReduceSplit) -> bytes:
    """Return the split as bytes."""
    return msgspec.msgpack.encode(split)


def load_split(data: bytes) -> ReduceSplit:
    """Return the split that `dump_split` dumped."""
    return msgspec.msgpack.decode(data, type=ReduceSplit)
