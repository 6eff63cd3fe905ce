"""A store whose exclusive creates sometimes leave their outcome unknown."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from connectors.errors import StoreUnsureError
from connectors.store import Created, ObjectInfo, OutputStream, Promises, Store

if TYPE_CHECKING:
    import pyarrow as pa

Mishap = Literal[
    "request lost",  # nothing was written
    "reply lost",  # it was written, or found taken, and nobody heard
    "late",  # it is written after the caller was told that nothing is known
]


class UnsureStore:
    """Passes everything on, and asks before each create what goes wrong with it."""

    def __init__(self, store: Store, mishap: Callable[[str], Mishap | None]) -> None:
        self._store = store
        self._mishap = mishap
        self._late: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        """The root of the store behind this one."""
        return self._store.url

    @property
    def promises(self) -> Promises:
        """What the store behind this one promises."""
        return self._store.promises

    def settle(self) -> None:
        """Let what is late arrive now."""
        late, self._late = self._late, []
        for key, data in late:
            self._store.put_if_absent(key, data)

    def put_if_absent(self, key: str, data: bytes) -> Created:
        """Write an object unless its key is taken, if nothing goes wrong."""
        mishap = self._mishap(key)
        # The second try must not overtake the first for good: what is late arrives in between.
        late = [each for each in self._late if each != (key, data)]
        if mishap is None and len(late) != len(self._late):
            self.settle()
        if mishap == "late":
            self._late.append((key, bytes(data)))
        if mishap in {"request lost", "late"}:
            raise StoreUnsureError(self.url, key, f"simulated: {mishap}")
        created = self._store.put_if_absent(key, data)
        if mishap == "reply lost":
            raise StoreUnsureError(self.url, key, f"simulated: {mishap}")
        return created

    # --- the rest of the port, as it is ---------------------------------------------------------

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        return self._store.get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return a part of an object."""
        return self._store.get_range(key, start, length)

    def put(self, key: str, data: bytes) -> ObjectInfo:
        """Write an object whole."""
        return self._store.put(key, data)

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object."""
        return self._store.head(key)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with a prefix."""
        return self._store.list(prefix, after)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects."""
        self._store.delete(keys)

    def open_input(self, key: str) -> "pa.NativeFile":
        """Open an object for reading."""
        return self._store.open_input(key)

    def open_output(self, key: str) -> OutputStream:
        """Open an object for writing."""
        return self._store.open_output(key)

    def local_path(self, key: str) -> str | None:
        """Return the file behind an object."""
        return self._store.local_path(key)

    def sweep_unfinished(self, prefix: str, before_s: float) -> int:
        """Remove what dead writers left."""
        return self._store.sweep_unfinished(prefix, before_s)
