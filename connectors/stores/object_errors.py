"""What an answer of an object store, or the lack of one, means to the caller."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from obstore import exceptions

from connectors.errors import (
    BadKeyError,
    BadUrlError,
    ConnectorError,
    ObjectMissingError,
    StoreDeniedError,
    StoreError,
    StoreFaultError,
    StoreFullError,
    StoreUnavailableError,
)
from connectors.stores.os_errors import read_error

_BUCKET_MISSING: Final = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not")
# The client has one type for all of these; its text is the only thing that tells them apart.
# Whatever is in none of the rows never reached the server, or got no answer from it.
_BY_TEXT: Final[tuple[tuple[str, type[StoreError]], ...]] = (
    ("KeyTooLong", BadKeyError),
    ("QuotaExceeded", StoreFullError),
    ("507 Insufficient Storage", StoreFullError),
    # Of a list, which has no path that the client could call forbidden.
    ("status code: 401", StoreDeniedError),
    ("status code: 403", StoreDeniedError),
    ("status code: 408", StoreUnavailableError),
    ("status code: 409", StoreUnavailableError),
    ("status code: 429", StoreUnavailableError),
    ("status code: 4", StoreFaultError),
    ("status code: 501", StoreFaultError),
    ("builder error", StoreFaultError),
)
_BY_TYPE: Final[tuple[tuple[type[Exception], type[StoreError]], ...]] = (
    (FileNotFoundError, ObjectMissingError),
    (exceptions.PermissionDeniedError, StoreDeniedError),
    (exceptions.UnauthenticatedError, StoreDeniedError),
    (exceptions.InvalidPathError, BadKeyError),
)
_ANSWER: Final = re.compile(r"<Code>(.*?)</Code>\s*<Message>(.*?)</Message>", re.DOTALL)
_REASON_CHARS_MAX: Final = 300


@contextmanager
def translated(url: str, key: str) -> Iterator[None]:
    """Turn the client's errors inside the block into ours."""
    try:
        yield
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        # Answers, not failures: whoever asked for a condition deals with them.
        raise
    except exceptions.BaseError as error:
        raise client_error(error, url, key) from error
    except OSError as error:
        raise client_error(error, url, key) from error
    except ValueError as error:
        # The client parses keys, and has no type of its own for one that it refuses.
        raise BadKeyError(url, key, _reason(str(error))) from error


def client_error(error: Exception, url: str, key: str) -> ConnectorError:
    """The error for a failure of the client or an answer of the server."""
    text = str(error)
    if any(mark in text for mark in _BUCKET_MISSING):
        return BadUrlError(url, "there is no such bucket")
    reason = _reason(text)
    for kind, ours in _BY_TYPE:
        if isinstance(error, kind):
            return ours(url, key, reason)
    if isinstance(error, OSError) and error.errno is not None:
        return read_error(error, url, key)
    for mark, ours in _BY_TEXT:
        if mark in text:
            return ours(url, key, reason)
    return StoreUnavailableError(url, key, reason)


def _reason(text: str) -> str:
    """The server's own words when it said any, else the client's first line."""
    if (answer := _ANSWER.search(text)) is not None:
        return f"{answer[1]}, {answer[2]}"[:_REASON_CHARS_MAX]
    return text.partition("\n")[0][:_REASON_CHARS_MAX]
