"""A store whose reads go through a cache on this machine's disk."""

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pyarrow as pa

from connectors.errors import ObjectMissingError
from connectors.range_cache import RangeCache, RangeKey
from connectors.store import Created, ObjectInfo, OutputStream, Promises, Store

PIECE_BYTES: Final = 8 << 20
"""What is longer is fetched and kept in pieces, several at once: as fast as the store's own way."""
PIECES_AT_ONCE: Final = 4
VERSIONS_MAX: Final = 10_000


def cached(store: Store, cache: RangeCache | None) -> Store:
    """Return a store that reads through a cache; files of this machine are read as they are."""
    if cache is None or store.local_path("x") is not None or store.url.startswith("memory:"):
        return store
    return CachedStore(store, cache)


class CachedStore:
    """Another store, read through a cache. All that is not reading goes to that store."""

    def __init__(self, store: Store, cache: RangeCache) -> None:
        self._store = store
        self._cache = cache
        self._infos: dict[str, ObjectInfo] = {}

    def __reduce__(self) -> tuple[object, ...]:
        # Without the cache: its folder is this machine's.
        return _itself, (self._store,)

    @property
    def url(self) -> str:
        """The normalised root URL."""
        return self._store.url

    @property
    def promises(self) -> Promises:
        """What the store guarantees."""
        return self._store.promises

    def get(self, key: str) -> bytes:
        """Return an object's bytes. Raises: ObjectMissingError."""
        info = self._versioned(key)
        return self._store.get(key) if info is None else self._ranges(info).read_all()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`. Raises: ObjectMissingError."""
        info = self._versioned(key)
        if info is None:
            return self._store.get_range(key, start, length)
        with self._ranges(info) as ranges:
            return ranges.read_at(start, length)

    def open_input(self, key: str) -> pa.NativeFile:
        """Open an object for random access. Raises: ObjectMissingError."""
        info = self._versioned(key)
        if info is None:
            return self._store.open_input(key)
        return pa.PythonFile(CachedInput(self._ranges(info)), mode="r")

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, asked anew: reads are of this version from now on."""
        info = self._store.head(key)
        if info is None:
            self._infos.pop(key, None)
            return None
        if len(self._infos) >= VERSIONS_MAX:
            self._infos.clear()
        self._infos[key] = info
        return info

    def _versioned(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object; None, where its store has no versions to tell apart.

        Raises: ObjectMissingError.
        """
        info = self._infos.get(key) or self.head(key)
        if info is None:
            raise ObjectMissingError(self.url, key, "no object has this key")
        return info if info.version else None

    def _ranges(self, info: ObjectInfo) -> "Ranges":
        return Ranges(self._store, self._cache, info)

    # --- what is not reading -------------------------------------------------------------------

    def put(self, key: str, data: bytes) -> ObjectInfo:
        """Write an object whole."""
        self._infos.pop(key, None)
        return self._store.put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> Created:
        """Write an object unless its key is taken."""
        self._infos.pop(key, None)
        return self._store.put_if_absent(key, data)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects under a prefix."""
        return self._store.list(prefix, after)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects."""
        keys = list(keys)
        for key in keys:
            self._infos.pop(key, None)
        self._store.delete(keys)

    def open_output(self, key: str) -> OutputStream:
        """Open a streaming writer."""
        self._infos.pop(key, None)
        return self._store.open_output(key)

    def local_path(self, key: str) -> str | None:
        """Return None: there is no file of the object."""
        return self._store.local_path(key)

    def sweep_unfinished(self, prefix: str, before_s: float) -> int:
        """Remove what dead writers left."""
        return self._store.sweep_unfinished(prefix, before_s)


def _itself(store: Store) -> Store:
    return store


class Ranges:
    """One version of an object, by ranges. What is not in the cache is fetched and kept.

    A range says nothing of its version, so that an object which is written anew while it is read
    could be kept under the name of the old one: at the end it is asked again, and then forgotten.
    """

    def __init__(self, store: Store, cache: RangeCache, info: ObjectInfo) -> None:
        self._store = store
        self._cache = cache
        self._info = info
        self._source: pa.NativeFile | None = None
        self._kept: list[RangeKey] = []

    @property
    def size_bytes(self) -> int:
        """The size of the object."""
        return self._info.size_bytes

    def read_all(self) -> bytes:
        """Return the whole object."""
        with self:
            return self.read_at(0, self.size_bytes)

    def read_at(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`; fewer, or none, past the end."""
        stop = min(start + length, self.size_bytes)
        pieces = [
            self._key(at, min(PIECE_BYTES, stop - at)) for at in range(start, stop, PIECE_BYTES)
        ]
        found = [self._cache.get(piece) for piece in pieces]
        missing = [piece for piece, data in zip(pieces, found, strict=True) if data is None]
        fetched = dict(zip(missing, self._fetched(missing), strict=True))
        return b"".join(
            fetched[piece] if data is None else data
            for piece, data in zip(pieces, found, strict=True)
        )

    def close(self) -> None:
        """Let go of the object; of ranges that may be of another version, too."""
        if self._source is not None:
            self._source.close()
            self._source = None
        kept, self._kept = self._kept, []
        if kept:
            now = self._store.head(self._info.key)
            if now is None or now.version != self._info.version:
                self._cache.drop(kept)

    def __enter__(self) -> "Ranges":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _key(self, start: int, length: int) -> RangeKey:
        return RangeKey(self._store.url, self._info.key, self._info.version, start, length)

    def _fetched(self, missing: list[RangeKey]) -> list[bytes]:
        if not missing:
            return []
        if self._source is None:
            self._source = self._store.open_input(self._info.key)
        if len(missing) == 1:
            return [self._fetch(missing[0])]
        with ThreadPoolExecutor(PIECES_AT_ONCE) as pool:
            return list(pool.map(self._fetch, missing))

    def _fetch(self, piece: RangeKey) -> bytes:
        assert self._source is not None
        data: bytes = self._source.read_at(piece.length, piece.start)
        if self._cache.put(piece, data):
            self._kept.append(piece)
        return data


class CachedInput(io.RawIOBase):
    """An object for random access through the cache, as a file of Python's."""

    def __init__(self, ranges: Ranges) -> None:
        super().__init__()
        self._ranges = ranges
        self._at = 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place; return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._ranges.size_bytes}
        self._at = base[whence] + offset
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes, or all that are left."""
        left = max(0, self._ranges.size_bytes - self._at)
        data = self._ranges.read_at(self._at, left if size is None or size < 0 else size)
        self._at += len(data)
        return data

    def close(self) -> None:
        """Let go of the object."""
        if not self.closed:
            self._ranges.close()
        super().close()
