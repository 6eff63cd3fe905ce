"""URLs of stores and keys of objects: parsing, joining, refusing.

A URL is taken literally, as fsspec does: nothing is percent-decoded, so that spaces and
unicode need no escaping. A bare path is a `file` URL; `~` is the user's home directory.
"""

import os
import re
from typing import Final

import msgspec

from connectors.errors import BadKeyError, BadUrlError

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://(.*)", re.DOTALL)
# A segment that is empty, "." or "..", or a NUL anywhere.
_BAD_SEGMENT: Final = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|\x00")
_GLOB_CHARS: Final = re.compile(r"[*?\[]")
_PASSWORD: Final = re.compile(r"//([^/:@]*):[^/@]*@")


class Location(msgspec.Struct, frozen=True):
    """A URL in its parts. `bucket` is empty for files; `path` is absolute for files only."""

    scheme: str
    bucket: str
    path: str

    @property
    def url(self) -> str:
        """The normalised URL: no slash at the end, absolute for files."""
        if self.scheme == "file":
            return f"file://{self.path}"
        return f"{self.scheme}://{self.bucket}/{self.path}".rstrip("/")


def parse_url(url: str) -> Location:
    """Take a URL or a local path apart.

    Raises: BadUrlError, when it is empty, names no bucket, or climbs with `..`.
    """
    if not url or "\x00" in url:
        raise BadUrlError(url, "it is empty" if not url else "it holds a NUL character")
    match = _SCHEME.fullmatch(url)
    scheme, rest = (match[1].lower(), match[2]) if match else ("file", url)
    if scheme in {"file", "local"}:
        return Location("file", "", os.path.abspath(os.path.expanduser(rest or "/")))
    bucket, _, path = rest.partition("/")
    if not bucket:
        raise BadUrlError(redact_url(url), f"{scheme}:// must be followed by a name")
    path = path.strip("/")
    if path and _BAD_SEGMENT.search(path):
        raise BadUrlError(redact_url(url), "it holds an empty, '.' or '..' segment")
    return Location(scheme, bucket, path)


def check_key(url: str, key: str) -> None:
    """Refuse a key that is empty, absolute, or holds an empty, `.` or `..` segment.

    Raises: BadKeyError.
    """
    if _BAD_SEGMENT.search(key):
        reason = "a key is relative and holds no empty, '.' or '..' segment"
        raise BadKeyError(url, key, reason)


def join_url(url: str, key: str) -> str:
    """The URL of an object, from the URL of its store and its key."""
    return f"{url.rstrip('/')}/{key}"


def split_url(url: str) -> tuple[str, str]:
    """The URL of the folder that holds an object, and the object's key in it."""
    head, _, name = url.rstrip("/").rpartition("/")
    if not head or head.endswith(":/"):
        return parse_url(url).url, ""
    return parse_url(head).url, name


def split_glob(url: str) -> tuple[str, str]:
    """The URL of the deepest folder above the first wildcard, and the pattern under it.

    The pattern is empty when the URL holds no wildcard.
    """
    match = _GLOB_CHARS.search(url)
    if match is None:
        return parse_url(url).url, ""
    cut = url.rfind("/", 0, match.start())
    if cut < 0:
        return parse_url(".").url, url
    return parse_url(url[: cut + 1]).url, url[cut + 1 :]


def redact_url(url: str) -> str:
    """The URL without a password, fit for a log or an error."""
    return _PASSWORD.sub(r"//\1:***@", url)
