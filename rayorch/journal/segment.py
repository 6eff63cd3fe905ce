"""One segment of the journal, as bytes: a header line, then one event a line.

    {"n":12,"epoch":9,"nonce":"…","kind":"data","count":2,"prev":"…","seal":"…"}
    [41,1795000000.1,{"type":"AttemptFinished",…}]
    [42,1795000000.1,{"type":"AttemptFinished",…}]

`prev` is the checksum of the segment before and `seal` that of everything else in this one, so
that a flipped bit, a lost segment and a foreign one are all found by reading. (The header is under
the seal, too: a flipped epoch would make its segment void, and whoever appended the next one would
vouch for that.) A *fence* has no events: to create it is to lead, and its number is the epoch.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec
import xxhash
from msgspec.structs import replace

from rayorch.core.facts import Event
from rayorch.errors import JournalDamagedError
from rayorch.ids import Epoch

Kind = Literal["fence", "data"]

GENESIS: Final = "genesis"
"""What the first segment names as the one before it."""


class Header(msgspec.Struct, frozen=True):
    """The first line of a segment."""

    n: int
    epoch: Epoch
    nonce: str
    kind: Kind
    count: int
    prev: str
    seal: str = ""


class Segment(msgspec.Struct, frozen=True):
    """A segment that was read and found whole."""

    header: Header
    events: tuple[Event, ...]
    checksum: str  # of all its bytes; the next segment's `prev`


_ENCODER: Final = msgspec.json.Encoder()
_EVENTS: Final = msgspec.json.Decoder(Event)
_HEADERS: Final = msgspec.json.Decoder(Header)


def checksum(data: bytes) -> str:
    """Return the 64-bit xxh3 of some bytes, as 16 hex digits."""
    return xxhash.xxh3_64_hexdigest(data)


def encode_events(events: Sequence[Event]) -> bytes:
    """Return the lines of some events. Encoding has an order, so equal events give equal bytes."""
    buffer = bytearray()
    for event in events:
        _ENCODER.encode_into(event, buffer, -1)
        buffer += b"\n"
    return bytes(buffer)


def encode_segment(
    n: int, epoch: Epoch, nonce: str, prev: str, events: Sequence[Event] | None
) -> bytes:
    """Return the bytes of segment `n`; `events` of None make it a fence."""
    body = encode_events(events or ())
    kind: Kind = "fence" if events is None else "data"
    header = Header(n, epoch, nonce, kind, len(events or ()), prev)
    return _ENCODER.encode(replace(header, seal=_seal(header, body))) + b"\n" + body


def _seal(header: Header, body: bytes) -> str:
    return checksum(_ENCODER.encode(replace(header, seal="")) + body)


def decode_segment(key: str, n: int, data: bytes) -> Segment:
    """Return the segment that the bytes hold.

    Raises: JournalDamagedError, naming the key and what is wrong with it.
    """
    line, _, body = data.partition(b"\n")
    try:
        header = _HEADERS.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalDamagedError(key, f"its header cannot be read ({error})") from error
    if header.n != n:
        raise JournalDamagedError(key, f"it says that it is segment {header.n}")
    if _seal(header, body) != header.seal:
        raise JournalDamagedError(key, "its checksum does not match its content")
    try:
        events = tuple(_EVENTS.decode(row) for row in body.splitlines())
    except msgspec.DecodeError as error:
        raise JournalDamagedError(key, f"an event cannot be read ({error})") from error
    if len(events) != header.count:
        raise JournalDamagedError(key, f"it holds {len(events)} events of {header.count}")
    return Segment(header, events, checksum(data))
