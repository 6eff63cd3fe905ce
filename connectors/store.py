"""The Store port: objects by key under a root URL, on any storage.

A key is relative to the root, '/'-separated, and may hold spaces and unicode. Keys sort by
code point, which is also the order of their UTF-8 bytes.

What every implementation promises, and `tests/connectors/test_store_contract.py` checks:
an object appears whole or not at all; a reader never sees a torn object; `put_if_absent`
gives a key to exactly one of many contenders. Everything else is in `Promises`.
"""

import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Protocol, Self, cast

import msgspec

from connectors.errors import BadUrlError, MissingExtraError
from connectors.url import Location, parse_url, redact_url

if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import Buffer

Created = Literal["won", "occupied"]


class ObjectInfo(msgspec.Struct, frozen=True, gc=False):
    """What a store knows of an object without reading it."""

    key: str
    size_bytes: int
    modified_s: float
    # Changes whenever the object is written again: an etag, or time, size and inode of a file.
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """What a store guarantees beyond whole objects."""

    # put_if_absent is atomic between processes and machines.
    exclusive_create: bool
    # A get, head or list that begins after a put has returned sees it.
    read_after_write: bool
    # What put and open_output have returned from survives a power cut.
    durable: bool
    note: str


class OutputStream(Protocol):
    """A streaming writer of one object, fit for pyarrow's writers.

    The object appears whole when `close` returns. `abort`, an exception inside `with`, and
    dropping the stream unclosed leave nothing visible.
    """

    @property
    def closed(self) -> bool:
        """Say whether close or abort has been called."""
        ...

    def write(self, data: "Buffer", /) -> int:
        """Add bytes; return how many."""
        ...

    def tell(self) -> int:
        """Return how many bytes were written."""
        ...

    def flush(self) -> None:
        """Do nothing that a reader could see."""
        ...

    def close(self) -> None:
        """Make the object visible. Raises: StoreError, and then nothing is visible."""
        ...

    def abort(self) -> None:
        """Forget what was written. Does nothing after close."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Store(Protocol):
    """Objects under one root URL. Safe for threads; a pickled store opens itself again.

    Every call ends within a deadline. Raises, everywhere: StoreDeniedError,
    StoreUnavailableError (retry), BadKeyError.
    """

    @property
    def url(self) -> str:
        """The normalised root URL."""
        ...

    @property
    def promises(self) -> Promises:
        """What this store guarantees."""
        ...

    def get(self, key: str) -> bytes:
        """Return an object's bytes. Raises: ObjectMissingError."""
        ...

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`; fewer, or none, past the end.

        Raises: ObjectMissingError.
        """
        ...

    def put(self, key: str, data: bytes) -> ObjectInfo:
        """Write an object whole, over whatever had the key.

        Raises: StoreFullError, StoreReadOnlyError; what had the key is then unchanged.
        """
        ...

    def put_if_absent(self, key: str, data: bytes) -> Created:
        """Write an object unless its key is taken, atomically and durably.

        "won" says that the key holds exactly these bytes, "occupied" that it holds others.
        Contenders must therefore differ in their bytes: put a nonce in them. Repeating a
        call is safe, and is how a doubtful outcome is settled.

        Raises: StoreUnsureError, when the outcome stayed unknown until the deadline;
        UnsafeStoreError, where exclusive create is not known to be atomic.
        """
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None when there is none."""
        ...

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix` and is greater than `after`.

        In the order of their keys, through all folders. `prefix` is a string prefix: it need
        not end at a folder.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; a missing one is no error."""
        ...

    def open_input(self, key: str) -> "pa.NativeFile":
        """Open an object for random access by pyarrow's readers. Raises: ObjectMissingError."""
        ...

    def open_output(self, key: str) -> OutputStream:
        """Open a streaming writer; the object appears whole when it is closed."""
        ...

    def local_path(self, key: str) -> str | None:
        """Return the path of the file that holds the object, or None when there is no file."""
        ...

    def sweep_unfinished(self, prefix: str, before_s: float) -> int:
        """Remove what dead writers left half-written before a time; return how many.

        Such leftovers are never visible to get or list. Stores that keep them where only
        their own lifecycle rules reach return 0.
        """
        ...


class _StoreModule(Protocol):
    def open_location(self, location: Location, options: Mapping[str, str]) -> Store: ...


@dataclass(frozen=True, slots=True)
class _Backend:
    module: str
    library: str = ""
    extra: str = ""


_OBJECT_STORE: Final = "connectors.stores.object_store"
_BACKENDS: Final[Mapping[str, _Backend]] = {
    "file": _Backend("connectors.stores.local"),
    "memory": _Backend("connectors.stores.memory"),
    "s3": _Backend(_OBJECT_STORE, "obstore", "s3"),
    "s3a": _Backend(_OBJECT_STORE, "obstore", "s3"),
    "gs": _Backend(_OBJECT_STORE, "obstore", "gcs"),
    "gcs": _Backend(_OBJECT_STORE, "obstore", "gcs"),
    "az": _Backend(_OBJECT_STORE, "obstore", "azure"),
    "abfs": _Backend(_OBJECT_STORE, "obstore", "azure"),
}
_GENERIC: Final = _Backend("connectors.stores.generic", "fsspec", "s3")


def open_store(url: str, options: Mapping[str, str] | None = None) -> Store:
    """Open the store at a URL; nothing is read or created yet.

    Any scheme that fsspec knows opens; the ones above have a faster, safer client.
    Options: `durable` ("true": a file survives a power cut once put has returned),
    `timeout_s`, `deadline_s` (object stores), and the client's own settings.

    Raises: BadUrlError; MissingExtraError, when the client library is not installed.
    """
    location = parse_url(url)
    backend = _BACKENDS.get(location.scheme, _GENERIC)
    try:
        # By name, because the clients are heavy (obstore, s3fs) and most runs need only one.
        module = cast("_StoreModule", importlib.import_module(backend.module))
    except ModuleNotFoundError as error:
        if error.name != backend.library:
            raise
        needed_for = f"{location.scheme}:// ({redact_url(url)})"
        raise MissingExtraError(needed_for, backend.library, backend.extra) from error
    return module.open_location(location, options or {})


def unknown_scheme(location: Location, known: Iterable[str]) -> BadUrlError:
    """The error for a scheme that nothing can open, with the nearest that something can."""
    # Schemes are two or three letters: one wrong letter is half of them.
    near = get_close_matches(location.scheme, [*_BACKENDS, *known], n=1, cutoff=0.5)
    hint = f", did you mean {near[0]}://" if near else ""
    return BadUrlError(redact_url(location.url), f"no store knows {location.scheme}://{hint}")
