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
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from connectors.errors import (
    BadKeyError,
    BadUrlError,
    StoreError,
    UnsafeStoreError,
)
from connectors.store import Created, ObjectInfo, OutputStream, Promises
from connectors.stores.local_files import (
    TEMP_PREFIX,
    entries,
    file_info,
    make_folders,
    read_range,
    read_rest,
    remove_if_older,
    remove_quietly,
    sync_name,
    write_all,
)
from connectors.stores.os_errors import read_error, write_error
from connectors.stores.output import Output
from connectors.url import Location, check_key

if TYPE_CHECKING:
    from typing_extensions import Buffer

_TEMP_MARK: Final = "/" + TEMP_PREFIX
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
                return data if len(data) == size_bytes else data + read_rest(descriptor)
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
                return read_range(descriptor, start, length)
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
            info = file_info(key, self._fill(descriptor, data, durable=self._durable))
            os.replace(temp, path)
        except OSError as error:
            if temp is not None:
                remove_quietly(temp)
            raise write_error(error, self.url, key) from error
        if self._durable:
            sync_name(path, self.url, key)
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
                remove_quietly(temp)
        sync_name(path, self.url, key)
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
        return None if S_ISDIR(stat.st_mode) else file_info(key, stat)

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
                if name.startswith(TEMP_PREFIX):
                    swept += remove_if_older(f"{parent}/{name}", before_s)
        return swept

    def _path(self, key: str) -> str:
        check_key(self.url, key)
        path = self._root + key
        if _TEMP_MARK in path:
            raise BadKeyError(self.url, key, f"names that begin with {TEMP_PREFIX!r} are reserved")
        return path

    def _create_temp(self, path: str, *, durable: bool) -> tuple[int, str]:
        """Create a hidden file beside `path`, with its folders when they are missing."""
        folder = path[: path.rfind("/") + 1]
        name = f"{TEMP_PREFIX}{self._token}-{os.getpid():x}-{next(self._sequence):x}"
        temp = folder + name
        for _ in range(_MKDIR_TRIES):
            try:
                return os.open(temp, _CREATE, _MODE), temp
            except FileNotFoundError:
                make_folders(folder.rstrip("/"), durable=durable)
        return os.open(temp, _CREATE, _MODE), temp

    def _fill(self, descriptor: int, data: bytes, *, durable: bool) -> os.stat_result:
        """Write all of `data` and close; return what the file then looks like."""
        try:
            write_all(descriptor, data)
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

    def _walk(
        self, folder: str, prefix: str, after: str, above: frozenset[tuple[int, int]]
    ) -> Iterator[ObjectInfo]:
        """Yield a folder's objects in key order.

        `above` holds the folders on the way here that were reached through a symbolic link.
        """
        for key, entry in entries(self._root, folder, prefix, after, self.url):
            if not key.endswith("/"):
                with contextlib.suppress(FileNotFoundError):
                    yield file_info(key, entry.stat())
                continue
            inside = above
            if entry.is_symlink():
                stat = entry.stat()
                identity = (stat.st_dev, stat.st_ino)
                if identity in above:
                    continue
                inside = above | {identity}
            yield from self._walk(key, prefix, after, inside)


class LocalOutput(Output):
    """A file under a hidden name until it is closed."""

    __slots__ = ("_descriptor", "_key", "_path", "_store", "_temp")

    def __init__(self, store: LocalStore, key: str, path: str, temp: str, descriptor: int) -> None:
        super().__init__()
        self._store = store
        self._key = key
        self._path = path
        self._temp = temp
        self._descriptor = descriptor

    def __del__(self) -> None:
        self.abort()

    def _write(self, data: "Buffer") -> int:
        try:
            return write_all(self._descriptor, data)
        except OSError as error:
            raise write_error(error, self._store.url, self._key) from error

    def _publish(self) -> None:
        durable = self._store.promises.durable
        try:
            try:
                if durable:
                    os.fsync(self._descriptor)
            finally:
                os.close(self._descriptor)
            os.replace(self._temp, self._path)
        except OSError as error:
            remove_quietly(self._temp)
            raise write_error(error, self._store.url, self._key) from error
        if durable:
            sync_name(self._path, self._store.url, self._key)

    def _forget(self) -> None:
        os.close(self._descriptor)
        remove_quietly(self._temp)


def _reopen(folder: str, durable: bool) -> LocalStore:
    return LocalStore(folder, durable=durable)
