"""Stores on which things go wrong: outcomes that nobody knows, throttling, lies and a full disk."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from connectors.errors import StoreFullError, StoreUnavailableError, StoreUnsureError
from connectors.store import Created, ObjectInfo, OutputStream, Promises, Store
from rayorch.core.values import FailureKind

if TYPE_CHECKING:
    import pyarrow as pa

    from rayorch.clock import Clock

Mishap = Literal[
    "request lost",  # nothing was written
    "reply lost",  # it was written, or found taken, and nobody heard
    "late",  # it is written after the caller was told that nothing is known
]

Hazard = Literal[
    "throttled",  # nothing was done
    "slow",  # it takes seconds
    "full",  # of writes: there is no room
    "corrupt",  # of reads: a bit is wrong
    "lagging",  # of lists: what was written last is not there yet
]
HAZARDS: Final[Mapping[str, tuple[Hazard, ...]]] = {
    "write": ("throttled", "slow", "full"),
    "read": ("throttled", "slow", "corrupt"),
    "list": ("throttled", "slow", "lagging"),
    "look": ("throttled", "slow"),
}
"""What can befall each kind of call; `SimFaults` has the chances."""
LAG_S: Final = 5.0
SLOW_S: Final = 3.0


class StagingTrouble(NamedTuple):
    """What befalls an attempt that writes its files, and how its runner takes it."""

    message: str
    kind: FailureKind
    is_written: bool = False  # all the same


STAGING: Final[tuple[StagingTrouble, ...]] = (
    StagingTrouble("the store says: slow down", "transient"),
    StagingTrouble("no room is left", "refused"),
    StagingTrouble("no answer, and nothing is written", "transient"),
    StagingTrouble("no answer, and all is written", "transient", is_written=True),
)


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


class FlakyStore(UnsureStore):
    """Asks before each call what goes wrong with it, besides what `UnsureStore` asks.

    `clock` is the store's own. `corrupted` counts the reads that lied.
    """

    def __init__(
        self,
        store: Store,
        mishap: Callable[[str], Mishap | None],
        hazard: Callable[[str], Hazard | None],
        clock: "Clock",
    ) -> None:
        super().__init__(store, mishap)
        self._hazard = hazard
        self._clock = clock
        self.corrupted = 0

    def put_if_absent(self, key: str, data: bytes) -> Created:
        """Write an object unless its key is taken, if there is room."""
        self._pass("write", key)
        return super().put_if_absent(key, data)

    def put(self, key: str, data: bytes) -> ObjectInfo:
        """Write an object whole, if there is room."""
        self._pass("write", key)
        return super().put(key, data)

    def get(self, key: str) -> bytes:
        """Return an object's bytes, or nearly."""
        hazard = self._pass("read", key)
        data = super().get(key)
        if hazard != "corrupt" or not data:
            return data
        self.corrupted += 1
        place = len(data) * 2 // 3
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object."""
        self._pass("look", key)
        return super().head(key)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with a prefix, or those that are known of by now."""
        hazard = self._pass("list", prefix)
        oldest_unknown_s = self._clock.now_s() - LAG_S if hazard == "lagging" else float("inf")
        for info in super().list(prefix, after):
            if info.modified_s < oldest_unknown_s:
                yield info

    def _pass(self, call: str, key: str) -> Hazard | None:
        """Take the time that a call takes, or refuse it; return what else is wrong with it."""
        hazard = self._hazard(call)
        if hazard == "throttled":
            raise StoreUnavailableError(self.url, key, "simulated: slow down")
        if hazard == "full":
            raise StoreFullError(self.url, key, "simulated: no room is left")
        if hazard == "slow":
            self._clock.sleep(SLOW_S)
        return hazard
