"""The state of all runs through one segment, as bytes: a header line, then compressed JSON."""

import zlib
from typing import Final

import msgspec

from connectors.sealed import sealed
from rayorch.core.run import Snapshot
from rayorch.errors import JournalDamagedError, JournalNewerError
from rayorch.ids import Epoch
from rayorch.journal.segment import FORMAT, check_format
from rayorch.version import our_version


class Header(msgspec.Struct, frozen=True):
    """The first line of a snapshot."""

    n: int
    epoch: Epoch
    prev: str  # checksum of segment n
    format: int = 1  # as of segments
    by: str = ""
    seal: str = ""  # checksum of everything else


class Found(msgspec.Struct, frozen=True):
    """A snapshot that was read and found whole."""

    n: int
    epoch: Epoch
    prev: str
    state: Snapshot


_ENCODER: Final = msgspec.json.Encoder()
_HEADERS: Final = msgspec.json.Decoder(Header)
_STATES: Final = msgspec.json.Decoder(Snapshot)


def encode_snapshot(n: int, epoch: Epoch, prev: str, state: Snapshot) -> bytes:
    """Return the bytes of a snapshot through segment `n`."""
    body = zlib.compress(_ENCODER.encode(state), level=1)
    header = Header(n, epoch, prev, FORMAT, our_version())
    return sealed(_ENCODER.encode(header), body) + b"\n" + body


def decode_snapshot(key: str, data: bytes) -> Found:
    """Return the snapshot that the bytes hold. Raises: JournalDamagedError, JournalNewerError."""
    line, _, body = data.partition(b"\n")
    check_format(key, line, body)
    try:
        header = _HEADERS.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalDamagedError(key, f"its header cannot be read ({error})") from error
    try:
        state = _STATES.decode(zlib.decompress(body))
    except (msgspec.DecodeError, zlib.error) as error:
        # The seal is right, so this is what was written.
        raise JournalNewerError(key, header.by, our_version(), str(error)) from error
    return Found(header.n, header.epoch, header.prev, state)
