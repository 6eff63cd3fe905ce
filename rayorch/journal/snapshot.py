"""The state of all runs through one segment, as bytes: a header line, then compressed JSON."""

import zlib
from typing import Final

import msgspec
from msgspec.structs import replace

from rayorch.core.run import Snapshot
from rayorch.errors import JournalDamagedError
from rayorch.ids import Epoch
from rayorch.journal.segment import checksum


class Header(msgspec.Struct, frozen=True):
    """The first line of a snapshot."""

    n: int
    epoch: Epoch
    prev: str  # checksum of segment n
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
    header = Header(n, epoch, prev)
    return _ENCODER.encode(replace(header, seal=_seal(header, body))) + b"\n" + body


def _seal(header: Header, body: bytes) -> str:
    return checksum(_ENCODER.encode(replace(header, seal="")) + body)


def decode_snapshot(key: str, data: bytes) -> Found:
    """Return the snapshot that the bytes hold. Raises: JournalDamagedError."""
    line, _, body = data.partition(b"\n")
    try:
        header = _HEADERS.decode(line)
        if _seal(header, body) != header.seal:
            raise JournalDamagedError(key, "its checksum does not match its content")
        state = _STATES.decode(zlib.decompress(body))
    except (msgspec.DecodeError, UnicodeDecodeError, zlib.error) as error:
        raise JournalDamagedError(key, f"it cannot be read ({error})") from error
    return Found(header.n, header.epoch, header.prev, state)
