"""Objects through any fsspec file system: the way in for schemes without a client of their own.

fsspec promises less than a store does, and what it does is not always what it says:

* Its `mode="create"` is "look, then write" in the base class and on local files, so that two
  writers both win; an empty body may truncate what is there. The first `put_if_absent` has
  `connectors.probe` find out whether this file system's own is atomic, and is refused if not.
* Its listings are cached for ever and across instances: a file that exists is "missing". Caches
  and shared instances are off.
* A call of an async file system (s3fs) can hang for ever whatever its time-outs say: each has a
  deadline of its own here.
"""

import contextlib
import io
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import fsspec
import pyarrow as pa
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.exceptions import FSTimeoutError
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem

from connectors.errors import (
    BadUrlError,
    ObjectMissingError,
    StoreError,
    StoreUnavailableError,
    UnsafeStoreError,
)
from connectors.probe import require_exclusive_create
from connectors.store import Created, ObjectInfo, OutputStream, Promises, unknown_scheme
from connectors.stores.os_errors import read_error, write_error
from connectors.stores.output import Output
from connectors.stores.patience import ExclusiveCreate, Patience
from connectors.url import Location, check_key

if TYPE_CHECKING:
    from typing_extensions import Buffer

# fsspec's memory looks first and writes then, too; but all who can see it are in this process.
_CREATING_IN_MEMORY: Final = threading.Lock()
# A body that needs several requests is not created exclusively anywhere, whatever is asked.
_EXCLUSIVE_BYTES_MAX: Final = 8 * 1024 * 1024
_OUR_OPTIONS: Final = frozenset({"timeout_s", "deadline_s", "durable"})
# How the file systems call the time of the last write.
_TIMES: Final = ("mtime", "LastModified", "last_modified", "modified", "updated", "created")
# How they call what changes with every write.
_VERSIONS: Final = ("ETag", "etag", "e_tag", "md5Hash", "version_id", "generation")


def open_location(location: Location, options: Mapping[str, str]) -> "GenericStore":
    """Open a URL by the file system that fsspec has for its scheme.

    Raises: BadUrlError, when it has none, or when its library is missing, which it names.
    """
    return GenericStore(location, options)


class GenericStore:
    """Objects under a folder of an fsspec file system."""

    __slots__ = ("_fs", "_location", "_options", "_patience", "_root", "promises", "url")

    def __init__(self, location: Location, options: Mapping[str, str]) -> None:
        self.url: Final = location.url
        self.promises = _promises(exclusive_create=False)
        self._location = location
        self._options = dict(options)
        self._patience = Patience.from_options(location.url, options)
        self._fs = _file_system(location, options)
        root = str(self._fs._strip_protocol(location.url)).rstrip("/")  # noqa: SLF001 - no public name
        self._root = root + "/"

    def __reduce__(self) -> tuple[Callable[..., "GenericStore"], tuple[object, ...]]:
        return _reopen, (self._location, self._options, self.promises.exclusive_create)

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        return bytes(self._read("cat_file", key))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""
        assert start >= 0, start
        assert length >= 0, length
        info = self.head(key)
        if info is None:
            raise ObjectMissingError(self.url, key, "no object has this key")
        stop = min(start + length, info.size_bytes)
        return bytes(self._read("cat_file", key, start=start, end=stop)) if start < stop else b""

    def put(self, key: str, data: bytes) -> ObjectInfo:
        """Write an object whole, as far as the file system does that; over what had the key."""
        self._write("pipe_file", key, data)
        info = self.head(key)
        if info is None:
            raise StoreUnavailableError(self.url, key, "it was removed while it was written")
        return info

    def put_if_absent(self, key: str, data: bytes) -> Created:
        """Write an object unless its key is taken; the first time, after the store was probed.

        Raises: UnsafeStoreError, with what the probe has shown.
        """
        require_exclusive_create(self)
        return self.put_if_absent_unchecked(key, data)

    def put_if_absent_unchecked(self, key: str, data: bytes) -> Created:
        """Do as put_if_absent does, for the probe that finds out whether that is atomic."""
        check_key(self.url, key)
        if (reason := self.unsafe_reason()) is not None:
            raise UnsafeStoreError(self.url, key, reason)
        if not 0 < len(data) <= _EXCLUSIVE_BYTES_MAX:
            reason = f"{len(data)} bytes are not between 1 and {_EXCLUSIVE_BYTES_MAX}"
            raise UnsafeStoreError(self.url, key, reason)

        def create() -> bool:
            try:
                with self._alone():
                    self._write("pipe_file", key, data, mode="create")
            except FileExistsError:
                return False
            except StoreError:
                # The reply to a taken key is not the same everywhere (s3fs: EINVAL). What the
                # key holds decides, whatever the error was.
                if self._stored(key) is None:
                    raise
                return False
            return True

        return ExclusiveCreate(self.url, key, data, create, lambda: self._stored(key)).settle(
            self._patience
        )

    def unsafe_reason(self) -> str | None:
        """Say why exclusive create cannot be atomic, as far as the code alone shows it."""
        kind = type(self._fs)
        if isinstance(self._fs, LocalFileSystem):
            return "fsspec's local files look first and write then"
        if isinstance(self._fs, AsyncFileSystem):
            own = getattr(kind, "_pipe_file", None) is not AsyncFileSystem._pipe_file  # noqa: SLF001
        else:
            own = kind.pipe_file is not AbstractFileSystem.pipe_file
        if not own:
            return f"{kind.__name__} looks first and writes then (fsspec's base class)"
        return None

    def trust_exclusive_create(self) -> None:
        """Allow put_if_absent: a probe has shown that it is atomic."""
        self.promises = _promises(exclusive_create=True)

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None."""
        try:
            found = self._read("info", key)
        except ObjectMissingError:
            return None
        return self._info(found) if found.get("type") == "file" else None

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix` and is greater than `after`."""
        folder = prefix[: prefix.rfind("/")] if "/" in prefix else ""
        if folder:
            check_key(self.url, folder)
        try:
            found = self._call("find", self._root + folder, detail=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise read_error(error, self.url, prefix) from error
        infos = (self._info(entry) for entry in found.values() if entry.get("type") == "file")
        yield from sorted(
            (info for info in infos if info.key.startswith(prefix) and info.key > after),
            key=lambda info: info.key,
        )

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; a missing one is no error."""
        for key in keys:
            try:
                self._write("rm_file", key)
            except ObjectMissingError:
                continue

    def open_input(self, key: str) -> pa.NativeFile:
        """Open an object for random access."""
        if self.head(key) is None:
            raise ObjectMissingError(self.url, key, "no object has this key")
        try:
            # No read-ahead: pyarrow's readers know which ranges they want.
            return pa.PythonFile(self._fs.open(self._root + key, "rb", cache_type="none"), mode="r")
        except OSError as error:
            raise read_error(error, self.url, key) from error

    def open_output(self, key: str) -> OutputStream:
        """Open a writer that keeps the object in memory until it is closed.

        A stream of fsspec's own may show a part of the object, or all of it when it is dropped.
        """
        check_key(self.url, key)
        return GenericOutput(self, key)

    def local_path(self, key: str) -> str | None:
        """Return None: readers go through the file system."""
        check_key(self.url, key)
        return None

    def sweep_unfinished(self, prefix: str, before_s: float) -> int:
        """Return 0: fsspec has no name for what a dead writer left."""
        del prefix, before_s
        return 0

    def _stored(self, key: str) -> bytes | None:
        # Not `exists`, which some caches answer.
        try:
            return self.get(key)
        except ObjectMissingError:
            return None

    def _read(self, name: str, key: str, **options: object) -> Any:  # noqa: ANN401 - fsspec is untyped
        check_key(self.url, key)
        try:
            return self._call(name, self._root + key, **options)
        except FSTimeoutError as error:
            raise StoreUnavailableError(self.url, key, _timed_out(self._patience)) from error
        except FileNotFoundError as error:
            raise ObjectMissingError(self.url, key, "no object has this key") from error
        except OSError as error:
            raise read_error(error, self.url, key) from error

    def _write(self, name: str, key: str, *values: object, **options: object) -> None:
        check_key(self.url, key)
        path = self._root + key
        try:
            if isinstance(self._fs, LocalFileSystem) and values:
                self._fs.makedirs(path[: path.rfind("/")], exist_ok=True)
            self._call(name, path, *values, **options)
        except FileExistsError:
            raise
        except FSTimeoutError as error:
            raise StoreUnavailableError(self.url, key, _timed_out(self._patience)) from error
        except FileNotFoundError as error:
            raise ObjectMissingError(self.url, key, "no object has this key") from error
        except OSError as error:
            raise write_error(error, self.url, key) from error

    def _call(self, name: str, path: str, *values: object, **options: object) -> Any:  # noqa: ANN401
        if isinstance(self._fs, AsyncFileSystem) and hasattr(self._fs, f"_{name}"):
            work = getattr(self._fs, f"_{name}")
            limit_s = self._patience.timeout_s
            return sync(self._fs.loop, work, path, *values, timeout=limit_s, **options)
        return getattr(self._fs, name)(path, *values, **options)

    def _alone(self) -> contextlib.AbstractContextManager[object]:
        """Return what an exclusive create is done within."""
        is_memory = isinstance(self._fs, MemoryFileSystem)
        return _CREATING_IN_MEMORY if is_memory else contextlib.nullcontext()

    def _info(self, found: Mapping[str, Any]) -> ObjectInfo:
        path = str(self._fs._strip_protocol(found["name"]))  # noqa: SLF001 - no public name
        size_bytes = int(found["size"] or 0)
        modified_s = next((_seconds(found[name]) for name in _TIMES if found.get(name)), 0.0)
        version = next((str(found[name]) for name in _VERSIONS if found.get(name)), "")
        version = version or f"{modified_s}-{size_bytes}"
        return ObjectInfo(path.removeprefix(self._root), size_bytes, modified_s, version)


class GenericOutput(Output):
    """A buffer that becomes an object when it is closed."""

    __slots__ = ("_buffer", "_key", "_store")

    def __init__(self, store: GenericStore, key: str) -> None:
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


def _reopen(location: Location, options: dict[str, str], exclusive_create: bool) -> GenericStore:
    store = GenericStore(location, options)
    if exclusive_create:
        store.trust_exclusive_create()
    return store


def _promises(*, exclusive_create: bool) -> Promises:
    return Promises(
        exclusive_create=exclusive_create,
        read_after_write=True,
        durable=False,
        note="as good as its fsspec implementation",
    )


def _file_system(location: Location, options: Mapping[str, str]) -> AbstractFileSystem:
    settings = {name: value for name, value in options.items() if name not in _OUR_OPTIONS}
    try:
        return fsspec.filesystem(
            location.scheme, use_listings_cache=False, skip_instance_cache=True, **settings
        )
    except ImportError as error:
        # fsspec's own words name the library and how to install it.
        raise BadUrlError(location.url, str(error)) from error
    except ValueError as error:
        if location.scheme not in fsspec.available_protocols():
            raise unknown_scheme(location, fsspec.available_protocols()) from error
        raise BadUrlError(location.url, str(error)) from error


def _seconds(value: object) -> float:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value) if isinstance(value, int | float) else 0.0


def _timed_out(patience: Patience) -> str:
    return f"no answer within {patience.timeout_s} s"
