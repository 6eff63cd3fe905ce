"""What an OSError from a file system means to the caller of a store."""

import errno
from collections.abc import Mapping
from typing import Final

from connectors.errors import (
    BadKeyError,
    ObjectMissingError,
    StoreDeniedError,
    StoreError,
    StoreFaultError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
)

_KINDS: Final[Mapping[int, type[StoreError]]] = {
    errno.ENOENT: ObjectMissingError,
    # A folder is not an object, and an object is not a folder.
    errno.EISDIR: ObjectMissingError,
    errno.ENOTDIR: ObjectMissingError,
    errno.ENOSPC: StoreFullError,
    errno.EDQUOT: StoreFullError,
    errno.EFBIG: StoreFullError,
    errno.EROFS: StoreReadOnlyError,
    errno.EACCES: StoreDeniedError,
    errno.EPERM: StoreDeniedError,
    errno.ENAMETOOLONG: BadKeyError,
    errno.EILSEQ: BadKeyError,
    errno.ELOOP: BadKeyError,
    errno.EAGAIN: StoreUnavailableError,
    errno.EBUSY: StoreUnavailableError,
    errno.EMFILE: StoreUnavailableError,
    errno.ENFILE: StoreUnavailableError,
    errno.ESTALE: StoreUnavailableError,
    errno.ETIMEDOUT: StoreUnavailableError,
    errno.ECONNREFUSED: StoreUnavailableError,
    errno.ECONNRESET: StoreUnavailableError,
    errno.EHOSTUNREACH: StoreUnavailableError,
}
# On the way to a write these say that the key collides with a folder or an object above it.
_COLLISIONS: Final = frozenset({errno.EISDIR, errno.ENOTDIR, errno.EEXIST})


def read_error(error: OSError, url: str, key: str) -> StoreError:
    """The store error for a failed read."""
    kind = _KINDS.get(error.errno or 0, StoreFaultError)
    return kind(url, key, error.strerror or str(error))


def write_error(error: OSError, url: str, key: str) -> StoreError:
    """The store error for a failed write, when it is certain that nothing was written."""
    if error.errno in _COLLISIONS:
        return BadKeyError(url, key, "a folder has this name, or an object the name of its folder")
    return read_error(error, url, key)
