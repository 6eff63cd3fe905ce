"""System calls on files, in the form that a store needs: whole, hidden until done, synced."""

import contextlib
import os
from typing import TYPE_CHECKING, Final

from connectors.errors import BadKeyError, StoreUnsureError
from connectors.store import ObjectInfo
from connectors.stores.os_errors import read_error

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Begins with a dot, so that Spark, pyarrow and DuckDB skip it too.
TEMP_PREFIX: Final = ".~ro-"


def sync_name(path: str, url: str, key: str) -> None:
    """Make a new name survive a power cut. Raises: StoreUnsureError."""
    try:
        sync_folder(path[: path.rfind("/") + 1])
    except OSError as error:
        reason = f"the name is visible but may not survive a power cut ({error.strerror})"
        raise StoreUnsureError(url, key, reason) from error


def entries(
    root: str, folder: str, prefix: str, after: str, url: str
) -> list[tuple[str, os.DirEntry[str]]]:
    """Pair what a folder holds with its key, in key order; a folder's key ends with a slash."""
    try:
        with os.scandir(root + folder) as found:
            pairs = [
                (folder + entry.name + ("/" if entry.is_dir() else ""), entry)
                for entry in found
                # Neither pipes and sockets, which block, nor links to nothing.
                if not entry.name.startswith(TEMP_PREFIX) and (entry.is_file() or entry.is_dir())
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


def file_info(key: str, stat: os.stat_result) -> ObjectInfo:
    """What a store tells of a file."""
    # The inode tells two writes apart that fall into one tick of the file system's clock.
    version = f"{stat.st_mtime_ns:x}-{stat.st_size:x}-{stat.st_ino:x}"
    return ObjectInfo(key, stat.st_size, stat.st_mtime, version)


def read_rest(descriptor: int) -> bytes:
    """Read from the current place to the end."""
    with open(descriptor, "rb", buffering=0, closefd=False) as rest:
        return rest.read()


def read_range(descriptor: int, start: int, length: int) -> bytes:
    """Read `length` bytes from `start`, fewer when the file ends."""
    data = os.pread(descriptor, length, start)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), start + len(data))
        if not more:
            break
        data += more
    return data


def write_all(descriptor: int, data: "Buffer") -> int:
    """Write all bytes; a full disk or a size limit may take only some of them first."""
    written = os.write(descriptor, data)
    view = memoryview(data).cast("B")
    while written < view.nbytes:
        written += os.write(descriptor, view[written:])
    return written


def make_folders(folder: str, *, durable: bool) -> None:
    """Make a folder and those above it."""
    above = folder[: folder.rfind("/")] or "/"
    if not os.path.isdir(above):
        make_folders(above, durable=durable)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    if durable:
        sync_folder(above)


def sync_folder(folder: str) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_quietly(path: str) -> None:
    """Remove a hidden file, if that is possible."""
    # The name may be gone already, and a disk that refuses the removal has refused more before:
    # the first error is the one to tell. What stays is hidden, and sweep_unfinished finds it.
    with contextlib.suppress(OSError):
        os.unlink(path)


def remove_if_older(path: str, before_s: float) -> bool:
    """Remove a file that was last written before a time; say whether it was."""
    with contextlib.suppress(FileNotFoundError):
        if os.stat(path).st_mtime < before_s:
            os.unlink(path)
            return True
    return False
