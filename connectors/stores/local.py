"""Objects as files under a local folder.

A file appears whole: it is written under a hidden name in the same folder and then renamed
(`put`, `open_output`) or linked (`put_if_absent`). Linking gives the name to one contender and
never replaces, which a rename cannot promise and `open("x")` only promises for an empty file
that a crash leaves half-written (slatedb and Delta use the same primitive).

Paths are built by joining strings and folders are made only when a write finds them missing:
small files are the hot path, and pathlib would cost more than the system calls.
"""

import contextlib
import errno
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from stat import S_ISDIR
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import pyarrow as pa

from connectors.errors import (
    BadKeyError,
    BadUrlError,
    StoreError,
    StoreUnsureError,
    UnsafeStoreError,
)
from connectors.store import Created, ObjectInfo, OutputStream, Promises
from connectors.stores.os_errors import read_error, write_error
from connectors.url import Location, check_key

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Begins with a dot, so that Spark, pyarrow and DuckDB skip it too.
_TEMP_PREFIX: Final = ".~ro-"
_TEMP_MARK: Final = "/" + _TEMP_PREFIX
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_CLOEXEC
_MODE: Final = 0o666
# A folder can be removed by someone else between its making and its use; twice is bad luck.
_MKDIR_TRIES: Final = 3
_LINK_UNSUPPORTED: Final = "the file system cannot make hard links"


def open_location(location: Location, options: Mapping[str, str]) -> "LocalStore":
    """Open the folder that a `file` URL names; it need not exist yet."""
    durable = options.get("durable", "false")
    if durable not in {"true", "false"}:
        raise BadUrlError(location.url, f"option durable must be true or false, not {durable!r}")
    return LocalStore(location.path, durable=durable == "true")


class LocalStore:
    """Objects as files under a folder.

    `put_if_absent` always reaches the disk before it returns; `put` and `open_output` only when
    `durable`, because data files are made again after a power cut and a fsync costs ten times
    the write.
    """

    __slots__ = ("_durable", "_root", "_sequence", "_token", "promises", "url")

    def __init__(self, folder: str, *, durable: bool = False) -> None:
        path = os.path.abspath(folder)
        self.url: Final = f"file://{path}"
        self.promises: Final = Promises(
            exclusive_create=True,
            read_after_write=True,
            durable=durable,
            note="files of one machine, or of a shared mount that keeps POSIX link and rename",
        )
        self._root = path if path.endswith("/") else path + "/"
        self._durable = durable
        # With the process id, hidden names never meet: not between instances, forks or machines.
        self._token = os.urandom(6).hex()
        self._sequence = itertools.count()

    def __reduce__(self) -> tuple[Callable[..., "LocalStore"], tuple[str, bool]]:
        return _reopen, (self._root, self._durable)

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        path = self._path(key)
        try:
            descriptor = os.open(path, _READ)
            try:
                size_bytes = os.fstat(descriptor).st_size
                data = os.read(descriptor, size_bytes + 1)
                # One read returns at most 2 GiB, and a foreign writer may be appending.
                return data if len(data) == size_bytes else data + _read_rest(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise read_error(error, self.url, key) from error

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""
        assert start >= 0, start
        assert length >= 0, length
        path = self._path(key)
        try:
            descriptor = os.open(path, _READ)
            try:
                # pread allocates what it is asked for, however short the file is.
                length = min(length, max(0, os.fstat(descriptor).st_size - start))
                return _read_range(descriptor, start, length)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise read_error(error, self.url, key) from error

    def put(self, key: str, data: bytes) -> ObjectInfo:
        """Write an object whole, over whatever had the key."""
        path = self._path(key)
        temp: str | None = None
        try:
            descriptor, temp = self._create_temp(path, durable=self._durable)
            info = _info(key, self._fill(descriptor, data, durable=self._durable))
            os.replace(temp, path)
        except OSError as error:
            if temp is not None:
                _remove_quietly(temp)
            raise write_error(error, self.url, key) from error
        if self._durable:
            self._sync_folder(path, key)
        return info

    def put_if_absent(self, key: str, data: bytes) -> Created:
        """Write an object unless its key is taken, atomically and durably."""
        path = self._path(key)
        temp: str | None = None
        try:
            descriptor, temp = self._create_temp(path, durable=True)
            self._fill(descriptor, data, durable=True)
            os.link(temp, path)
        except FileExistsError:
            # A repeated call, or a server that applied a link whose reply was lost (NFS), finds
            # its own bytes: that is a win.
            return "won" if self._holds(key, data) else "occupied"
        except OSError as error:
            raise self._link_error(error, key, has_temp=temp is not None) from error
        finally:
            if temp is not None:
                _remove_quietly(temp)
        self._sync_folder(path, key)
        return "won"

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None."""
        path = self._path(key)
        try:
            stat = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise read_error(error, self.url, key) from error
        return None if S_ISDIR(stat.st_mode) else _info(key, stat)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix` and is greater than `after`."""
        folder = prefix[: prefix.rfind("/") + 1]
        if folder:
            check_key(self.url, folder[:-1])
        return self._walk(folder, prefix, after, frozenset())

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; a missing one is no error."""
        for key in keys:
            path = self._path(key)
            try:
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                continue
            except OSError as error:
                raise write_error(error, self.url, key) from error

    def open_input(self, key: str) -> pa.NativeFile:
        """Open an object for random access.

        Not a memory map: a file that a foreign writer truncates would kill the process.
        """
        path = self._path(key)
        try:
            if os.path.isdir(path):
                raise IsADirectoryError(errno.EISDIR, "it is a folder", path)
            return pa.OSFile(path)
        except OSError as error:
            raise read_error(error, self.url, key) from error

    def open_output(self, key: str) -> OutputStream:
        """Open a streaming writer; the object appears whole when it is closed."""
        path = self._path(key)
        try:
            descriptor, temp = self._create_temp(path, durable=self._durable)
        except OSError as error:
            raise write_error(error, self.url, key) from error
        return LocalOutput(self, key, path, temp, descriptor)

    def local_path(self, key: str) -> str | None:
        """Return the path of the file that holds the object."""
        return self._path(key)

    def sweep_unfinished(self, prefix: str, before_s: float) -> int:
        """Remove hidden files that dead writers left before a time; return how many."""
        folder = self._root + prefix[: prefix.rfind("/") + 1]
        swept = 0
        for parent, _, names in os.walk(folder):
            for name in names:
                if name.startswith(_TEMP_PREFIX):
                    swept += _remove_if_older(f"{parent}/{name}", before_s)
        return swept

    def _path(self, key: str) -> str:
        check_key(self.url, key)
        path = self._root + key
        if _TEMP_MARK in path:
            raise BadKeyError(self.url, key, f"names that begin with {_TEMP_PREFIX!r} are reserved")
        return path

    def _create_temp(self, path: str, *, durable: bool) -> tuple[int, str]:
        """Create a hidden file beside `path`, with its folders when they are missing."""
        folder = path[: path.rfind("/") + 1]
        name = f"{_TEMP_PREFIX}{self._token}-{os.getpid():x}-{next(self._sequence):x}"
        temp = folder + name
        for _ in range(_MKDIR_TRIES):
            try:
                return os.open(temp, _CREATE, _MODE), temp
            except FileNotFoundError:
                _make_folders(folder.rstrip("/"), durable=durable)
        return os.open(temp, _CREATE, _MODE), temp

    def _fill(self, descriptor: int, data: bytes, *, durable: bool) -> os.stat_result:
        """Write all of `data` and close; return what the file then looks like."""
        try:
            _write_all(descriptor, data)
            if durable:
                os.fsync(descriptor)
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def _holds(self, key: str, data: bytes) -> bool:
        info = self.head(key)
        return info is not None and info.size_bytes == len(data) and self.get(key) == data

    def _link_error(self, error: OSError, key: str, *, has_temp: bool) -> StoreError:
        # The hidden file was written, so a refused link is about linking, not about permission.
        if has_temp and isinstance(error, PermissionError):
            return UnsafeStoreError(self.url, key, _LINK_UNSUPPORTED)
        return write_error(error, self.url, key)

    def _sync_folder(self, path: str, key: str) -> None:
        """Make a new name survive a power cut."""
        try:
            _sync(path[: path.rfind("/") + 1])
        except OSError as error:
            reason = f"the name is visible but may not survive a power cut ({error.strerror})"
            raise StoreUnsureError(self.url, key, reason) from error

    def _walk(
        self, folder: str, prefix: str, after: str, above: frozenset[tuple[int, int]]
    ) -> Iterator[ObjectInfo]:
        """Yield a folder's objects in key order.

        `above` holds the folders on the way here that were reached through a symbolic link.
        """
        for key, entry in _entries(self._root, folder, prefix, after, self.url):
            if not key.endswith("/"):
                with contextlib.suppress(FileNotFoundError):
                    yield _info(key, entry.stat())
                continue
            inside = above
            if entry.is_symlink():
                stat = entry.stat()
                identity = (stat.st_dev, stat.st_ino)
                if identity in above:
                    continue
                inside = above | {identity}
            yield from self._walk(key, prefix, after, inside)


class LocalOutput:
    """A file under a hidden name until it is closed.

    Not an io.IOBase: its finaliser would call close and so publish a dropped stream.
    """

    __slots__ = ("_bytes", "_descriptor", "_key", "_path", "_store", "_temp", "closed")

    def __init__(self, store: LocalStore, key: str, path: str, temp: str, descriptor: int) -> None:
        self._store = store
        self._key = key
        self._path = path
        self._temp = temp
        self._descriptor = descriptor
        self._bytes = 0
        self.closed = False

    def write(self, data: "Buffer", /) -> int:
        """Add bytes; return how many."""
        if self.closed:
            raise ValueError("write to a closed stream")
        try:
            size_bytes = _write_all(self._descriptor, data)
        except OSError as error:
            raise write_error(error, self._store.url, self._key) from error
        self._bytes += size_bytes
        return size_bytes

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._bytes

    def flush(self) -> None:
        """Do nothing: writes are not buffered here."""

    def readable(self) -> bool:
        """Say no."""
        return False

    def writable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say no."""
        return False

    def close(self) -> None:
        """Make the object visible."""
        if self.closed:
            return
        self.closed = True
        durable = self._store.promises.durable
        try:
            try:
                if durable:
                    os.fsync(self._descriptor)
            finally:
                os.close(self._descriptor)
            os.replace(self._temp, self._path)
        except OSError as error:
            _remove_quietly(self._temp)
            raise write_error(error, self._store.url, self._key) from error
        if durable:
            self._store._sync_folder(self._path, self._key)  # noqa: SLF001 - same module

    def abort(self) -> None:
        """Forget what was written."""
        if self.closed:
            return
        self.closed = True
        os.close(self._descriptor)
        _remove_quietly(self._temp)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        self.abort()


def _reopen(folder: str, durable: bool) -> LocalStore:
    return LocalStore(folder, durable=durable)


def _entries(
    root: str, folder: str, prefix: str, after: str, url: str
) -> list[tuple[str, os.DirEntry[str]]]:
    """Pair what a folder holds with its key, in key order; a folder's key ends with a slash."""
    try:
        with os.scandir(root + folder) as found:
            pairs = [
                (folder + entry.name + ("/" if entry.is_dir() else ""), entry)
                for entry in found
                if not entry.name.startswith(_TEMP_PREFIX)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise read_error(error, url, folder) from error
    for key, _ in pairs:
        if not key.isascii():
            _check_unicode(url, key)
    return sorted(
        (pair for pair in pairs if _is_wanted(pair[0], prefix, after)), key=lambda pair: pair[0]
    )


def _is_wanted(key: str, prefix: str, after: str) -> bool:
    """Say whether an object, or anything in a folder, can match prefix and after."""
    if key.endswith("/"):
        begins = key.startswith(prefix) or prefix.startswith(key)
        return begins and (key > after or after.startswith(key))
    return key.startswith(prefix) and key > after


def _check_unicode(url: str, key: str) -> None:
    """Refuse a name that no journal and no other store could hold."""
    try:
        key.encode()
    except UnicodeEncodeError as error:
        shown = key.encode(errors="backslashreplace").decode()
        raise BadKeyError(url, shown, "a file has a name that is not UTF-8: rename it") from error


def _info(key: str, stat: os.stat_result) -> ObjectInfo:
    # The inode tells two writes apart that fall into one tick of the file system's clock.
    version = f"{stat.st_mtime_ns:x}-{stat.st_size:x}-{stat.st_ino:x}"
    return ObjectInfo(key, stat.st_size, stat.st_mtime, version)


def _read_rest(descriptor: int) -> bytes:
    with open(descriptor, "rb", buffering=0, closefd=False) as rest:
        return rest.read()


def _read_range(descriptor: int, start: int, length: int) -> bytes:
    data = os.pread(descriptor, length, start)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), start + len(data))
        if not more:
            break
        data += more
    return data


def _write_all(descriptor: int, data: "Buffer") -> int:
    """Write all bytes; a full disk or a size limit may take only some of them first."""
    written = os.write(descriptor, data)
    view = memoryview(data).cast("B")
    while written < view.nbytes:
        written += os.write(descriptor, view[written:])
    return written


def _make_folders(folder: str, *, durable: bool) -> None:
    """Make a folder and those above it."""
    above = folder[: folder.rfind("/")] or "/"
    if not os.path.isdir(above):
        _make_folders(above, durable=durable)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    if durable:
        _sync(above)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_quietly(path: str) -> None:
    # The name may be gone already, and a disk that refuses the removal has refused more before:
    # the first error is the one to tell. What stays is hidden, and sweep_unfinished finds it.
    with contextlib.suppress(OSError):
        os.unlink(path)


def _remove_if_older(path: str, before_s: float) -> bool:
    with contextlib.suppress(FileNotFoundError):
        if os.stat(path).st_mtime < before_s:
            os.unlink(path)
            return True
    return False
