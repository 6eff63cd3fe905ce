"""A JSON object whose last field, `seal`, is the checksum of every other byte of it.

    {"number":37,…,"seal":"56c415eaefa7a506"}

The seal is over the bytes as they are stored, not over what they mean: no flipped bit is outside
it, and a reader can check it without knowing the other fields. That is a promise to later
versions: what they add stands before the seal, so that this one can still tell a damaged object
from one that is newer than itself.
"""

import re
from collections.abc import Callable
from typing import Final

import xxhash

_BLANK: Final = b'"seal":""}'
_SEAL: Final = re.compile(rb'"seal":"([0-9a-f]{16})"\}\Z')
_TAIL: Final = re.compile(rb"\nxxh3:([0-9a-f]{16})\Z")
MENDED_BYTES_MAX: Final = 64 << 10
"""A flipped bit is looked for in objects up to this size: the search is quadratic, and takes a
few seconds here."""


def checksum(data: bytes | bytearray) -> str:
    """Return the 64-bit xxh3 of some bytes, as 16 hex digits."""
    return xxhash.xxh3_64_hexdigest(data)


def sealed(document: bytes, body: bytes = b"") -> bytes:
    """Return the document, which ends with an empty seal, sealed together with a body."""
    assert document.endswith(_BLANK), document[-40:]
    seal = checksum(document + body).encode()
    return document.removesuffix(b'"}') + seal + b'"}'


def is_sealed(document: bytes | bytearray, body: bytes | bytearray = b"") -> bool:
    """Say whether the document and the body are what was sealed."""
    found = _SEAL.search(document)
    if found is None:
        return False
    return checksum(document[: found.start()] + _BLANK + body).encode() == found[1]


def tailed(data: bytes) -> bytes:
    """Return bytes of any kind, a checksum behind them."""
    return data + b"\nxxh3:" + checksum(data).encode()


def untailed(data: bytes) -> bytes | None:
    """Return what `tailed` was given; None: it is damaged.

    Without a checksum at its end it is what an earlier version wrote, or its tail alone is hurt.
    """
    found = _TAIL.search(data)
    if found is None:
        return data
    body = data[: found.start()]
    return body if checksum(body).encode() == found[1] else None


def mended(data: bytes, is_right: Callable[[bytes | bytearray], bool]) -> tuple[bytes, int] | None:
    """Return the data with the one bit flipped that makes it right, and which bit that was.

    None: no single bit does, or there are too many to try. A checksum of 64 bits makes a wrong
    answer as likely as 1 in 10^13.
    """
    if len(data) > MENDED_BYTES_MAX:
        return None
    # Changed in place: a copy for each try would cost as much as its checksum.
    changed = bytearray(data)
    for bit in range(len(data) * 8):
        mask = 1 << bit % 8
        changed[bit // 8] ^= mask
        if is_right(changed):
            return bytes(changed), bit
        changed[bit // 8] ^= mask
    return None
