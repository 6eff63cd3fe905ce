"""Byte ranges of remote objects on this machine's disk: bounded, shared by its processes.

An entry is one file, named by the hash of what it holds (store, key, version, first byte, length):

    <folder>/<2 hex>/<30 hex>     a header line of checksum and length, then the bytes
    <folder>/name                 what the cache is called, wherever its folder is

It is written beside and renamed, so that nobody sees half of one; what a power cut tore fails its
checksum and is fetched again. The version is part of the name: an object that was written anew has
other entries. Used entries are touched, and the ones that were not used for the longest go first.

The cache is never the cause of a failure: a disk that is full or refuses costs the caching alone,
and is counted.
"""

import fcntl
import hashlib
import os
import secrets
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

_TEMP: Final = ".~ro-"
_LOCK: Final = "lock"
_NAME: Final = "name"
_LOOK_SHARE: Final = 64
"""A process looks how large the folder is whenever it wrote this part of the limit."""
_ENTRY_SHARE: Final = 8
"""What is larger than this part of the limit would only push out everything else."""
_KEPT: Final = 0.9
"""Of the limit, when something has to go: or the next entry would have something go again."""
_PAUSE_PUTS: Final = 100
"""Writes that are left out after one that the disk refused."""
_STALE_S: Final = 3600.0
"""The age of a half-written file whose writer is dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCounts:
    """What a cache did. `misses` were fetched; `refused` could not be kept."""

    hits: int = 0
    hit_bytes: int = 0
    misses: int = 0
    miss_bytes: int = 0
    refused: int = 0
    corrupt: int = 0

    def since(self, before: "CacheCounts") -> "CacheCounts":
        """Return what was done after an earlier count."""
        return CacheCounts(
            hits=self.hits - before.hits,
            hit_bytes=self.hit_bytes - before.hit_bytes,
            misses=self.misses - before.misses,
            miss_bytes=self.miss_bytes - before.miss_bytes,
            refused=self.refused - before.refused,
            corrupt=self.corrupt - before.corrupt,
        )


@dataclass(frozen=True, slots=True)
class RangeKey:
    """A range of one version of an object."""

    url: str
    key: str
    version: str
    start: int
    length: int

    @property
    def name(self) -> str:
        """The name of its file, without the folder."""
        said = "\0".join((self.url, self.key, self.version, f"{self.start}+{self.length}"))
        digest = hashlib.blake2b(said.encode(), digest_size=16).hexdigest()
        return f"{digest[:2]}/{digest[2:]}"


class RangeCache:
    """The cache in one folder. Safe for threads and for several processes at once."""

    def __init__(self, folder: str, bytes_max: int) -> None:
        assert bytes_max > 0, bytes_max
        self._folder = folder
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._counts = CacheCounts()
        self._unseen_bytes = bytes_max  # written since the last look: look before the first entry
        self._pause = 0

    @property
    def counts(self) -> CacheCounts:
        """What was done so far, by this process."""
        return self._counts

    def name(self) -> str:
        """Return what this cache is called, by all that use its folder: it names itself, once.

        "" where the disk refuses: then nothing will be kept either.
        """
        path = f"{self._folder}/{_NAME}"
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=_TEMP, dir=self._folder)
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(secrets.token_hex(8))
                with suppress(FileExistsError):
                    os.link(temporary, path)
            finally:
                os.unlink(temporary)
            with open(path) as file:
                return file.read()
        except OSError:
            return ""

    def get(self, wanted: RangeKey) -> bytes | None:
        """Return a range, or None where it is not kept, or not kept whole."""
        path = f"{self._folder}/{wanted.name}"
        try:
            with open(path, "rb") as file:
                header, data = file.readline(64), file.read()
        except OSError:
            return None
        if header != _header(data) or len(data) != wanted.length:
            self._count(corrupt=1)
            self.drop([wanted])
            return None
        with suppress(OSError):
            os.utime(path)
        self._count(hits=1, hit_bytes=len(data))
        return data

    def put(self, key: RangeKey, data: bytes) -> bool:
        """Keep a range that had to be fetched; say whether it is kept."""
        self._count(misses=1, miss_bytes=len(data))
        if len(data) != key.length or len(data) > self._bytes_max // _ENTRY_SHARE:
            return False
        with self._lock:
            self._pause = max(0, self._pause - 1)
            if self._pause:
                self._counts = replace(self._counts, refused=self._counts.refused + 1)
                return False
            self._unseen_bytes += len(data)
            looks = self._unseen_bytes > self._bytes_max // _LOOK_SHARE
            if looks:
                self._unseen_bytes = 0
        try:
            if looks:
                self._make_room()
            self._write(f"{self._folder}/{key.name}", data)
        except OSError:
            with self._lock:
                self._pause = _PAUSE_PUTS
                self._counts = replace(self._counts, refused=self._counts.refused + 1)
            return False
        return True

    def drop(self, keys: list[RangeKey]) -> None:
        """Forget ranges."""
        for key in keys:
            with suppress(OSError):
                os.unlink(f"{self._folder}/{key.name}")

    def _count(self, **more: int) -> None:
        with self._lock:
            now = {name: getattr(self._counts, name) + count for name, count in more.items()}
            self._counts = replace(self._counts, **now)

    def _write(self, path: str, data: bytes) -> None:
        """Write a file beside its place and put it there. Raises: OSError."""
        folder = os.path.dirname(path)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=_TEMP, dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_header(data))
                file.write(data)
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    # --- the limit -----------------------------------------------------------------------------

    def _make_room(self) -> None:
        """Let go of what was not used for the longest, if there is too much. Raises: OSError."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        with self._only_one() as now_s:
            if now_s is None:
                return  # Another process is at it.
            entries = []
            for entry in self._entries():
                # Another process may have let go of it since it was listed.
                with suppress(FileNotFoundError):
                    stat = entry.stat()
                    if not entry.name.startswith(_TEMP):
                        entries.append((stat.st_mtime, stat.st_size, entry.path))
                    elif now_s - stat.st_mtime > _STALE_S:
                        os.unlink(entry.path)
            used_bytes = sum(size for _, size, _ in entries)
            # What this process and others write until the next look must fit, too.
            limit = self._bytes_max - self._bytes_max // _LOOK_SHARE
            if used_bytes <= limit:
                return
            for _, size_bytes, path in sorted(entries):
                with suppress(FileNotFoundError):
                    os.unlink(path)
                used_bytes -= size_bytes
                if used_bytes <= _KEPT * limit:
                    return

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        with os.scandir(self._folder) as folders:
            for folder in folders:
                if folder.is_dir():
                    with os.scandir(folder.path) as found:
                        yield from found

    @contextmanager
    def _only_one(self) -> Iterator[float | None]:
        """Give the time by this disk's clock to one process at a time, None to the others."""
        with open(f"{self._folder}/{_LOCK}", "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            os.utime(file.fileno())
            yield os.fstat(file.fileno()).st_mtime


def _header(data: bytes) -> bytes:
    return b"ro1 %08x %d\n" % (zlib.crc32(data), len(data))
