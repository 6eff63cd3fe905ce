"""Objects in this process's memory, shared by name: for tests and the in-process executor."""

import io
import threading
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from connectors.errors import ObjectMissingError
from connectors.store import Created, ObjectInfo, OutputStream, Promises
from connectors.stores.output import Output
from connectors.url import Location, check_key

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PROMISES: Final = Promises(
    exclusive_create=True,
    read_after_write=True,
    durable=False,
    note="one process only; gone when it ends",
)
# How many objects a list takes under one lock: others may write between two pages.
_PAGE_OBJECTS: Final = 1000


def open_location(location: Location, options: Mapping[str, str]) -> "MemoryStore":
    """Open a part of the named space that a `memory` URL names."""
    del options
    return MemoryStore(location.bucket, location.path)


class _Space:
    """The objects under one name."""

    def __init__(self) -> None:
        self.lock: Final = threading.Lock()
        self.objects: Final[dict[str, tuple[bytes, ObjectInfo]]] = {}
        # The same names in order, so that a list from `after` costs what it yields.
        self.names: Final[list[str]] = []
        self.writes = 0


_SPACES: Final[dict[str, _Space]] = {}
_SPACES_LOCK: Final = threading.Lock()


class MemoryStore:
    """Objects in memory. Every store of one name in this process sees the same ones."""

    __slots__ = ("_folder", "_name", "_now_s", "_space", "promises", "url")

    def __init__(
        self,
        name: str,
        folder: str = "",
        # Connectors sit below the clock that the rest of the project shares: callers that
        # simulate time pass theirs.
        now_s: Callable[[], float] = time.time,  # noqa: TID251
    ) -> None:
        self.url: Final = f"memory://{name}/{folder}".rstrip("/")
        self.promises: Final = _PROMISES
        self._name = name
        self._folder = folder + "/" if folder else ""
        self._now_s = now_s
        with _SPACES_LOCK:
            self._space = _SPACES.setdefault(name, _Space())

    def __reduce__(self) -> tuple[type["MemoryStore"], tuple[str, str]]:
        return MemoryStore, (self._name, self._folder.rstrip("/"))

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        found = self._space.objects.get(self._full(key))
        if found is None:
            raise ObjectMissingError(self.url, key, "no object has this key")
        return found[0]

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""
        assert start >= 0, start
        assert length >= 0, length
        return self.get(key)[start : start + length]

    def put(self, key: str, data: bytes) -> ObjectInfo:
        """Write an object whole, over whatever had the key."""
        with self._space.lock:
            return self._set(key, data)

    def put_if_absent(self, key: str, data: bytes) -> Created:
        """Write an object unless its key is taken."""
        with self._space.lock:
            found = self._space.objects.get(self._full(key))
            if found is not None:
                return "won" if found[0] == data else "occupied"
            self._set(key, data)
        return "won"

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None."""
        found = self._space.objects.get(self._full(key))
        return None if found is None else found[1]

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix` and is greater than `after`."""
        last = self._folder + after
        begin = self._folder + prefix
        inclusive = begin > last
        while page := self._page(begin if inclusive else last, inclusive=inclusive):
            for name, info in page:
                if not name.startswith(begin):
                    return
                yield info
            last, inclusive = page[-1][0], False

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; a missing one is no error."""
        for key in keys:
            name = self._full(key)
            with self._space.lock:
                if self._space.objects.pop(name, None) is not None:
                    del self._space.names[bisect_left(self._space.names, name)]

    def open_input(self, key: str) -> pa.NativeFile:
        """Open an object for random access, without a copy."""
        return pa.BufferReader(self.get(key))

    def open_output(self, key: str) -> OutputStream:
        """Open a streaming writer; the object appears whole when it is closed."""
        check_key(self.url, key)
        return MemoryOutput(self, key)

    def local_path(self, key: str) -> str | None:
        """Return None: there is no file."""
        check_key(self.url, key)
        return None

    def sweep_unfinished(self, prefix: str, before_s: float) -> int:
        """Return 0: nothing is left by a dead writer."""
        del prefix, before_s
        return 0

    def _full(self, key: str) -> str:
        check_key(self.url, key)
        return self._folder + key

    def _set(self, key: str, data: bytes) -> ObjectInfo:
        """Store an object. The caller holds the lock."""
        name = self._full(key)
        space = self._space
        space.writes += 1
        info = ObjectInfo(key, len(data), self._now_s(), f"{space.writes:x}")
        if name not in space.objects:
            insort(space.names, name)
        # A copy, unless it is immutable already: the caller may go on with its buffer.
        space.objects[name] = (bytes(data), info)
        return info

    def _page(self, start: str, *, inclusive: bool) -> Sequence[tuple[str, ObjectInfo]]:
        """Take the next objects from a name on, keyed as this store sees them."""
        space = self._space
        with space.lock:
            cut = bisect_left if inclusive else bisect_right
            first = cut(space.names, start)
            names = space.names[first : first + _PAGE_OBJECTS]
            return [
                (name, _seen_from(self._folder, name, space.objects[name][1])) for name in names
            ]


class MemoryOutput(Output):
    """A buffer that becomes an object when it is closed."""

    __slots__ = ("_buffer", "_key", "_store")

    def __init__(self, store: MemoryStore, key: str) -> None:
        super().__init__()
        self._store = store
        self._key = key
        self._buffer = io.BytesIO()

    def _write(self, data: "Buffer") -> int:
        return self._buffer.write(data)

    def _publish(self) -> None:
        self._store.put(self._key, self._buffer.getvalue())

    def _forget(self) -> None:
        self._buffer.close()


def _seen_from(folder: str, name: str, info: ObjectInfo) -> ObjectInfo:
    # Stores of one space may be rooted at different folders of it.
    key = name[len(folder) :]
    return (
        info if info.key == key else ObjectInfo(key, info.size_bytes, info.modified_s, info.version)
    )
