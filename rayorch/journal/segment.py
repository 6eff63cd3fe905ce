"""One segment of the journal, as bytes: a header line, then one event a line.

    {"n":12,"epoch":9,"nonce":"…","kind":"data","count":2,"prev":"…","format":1,"by":"0.1.0","seal":"…"}
    [41,1795000000.1,{"type":"AttemptFinished",…}]
    [42,1795000000.1,{"type":"AttemptFinished",…}]

`prev` is the checksum of the segment before and `seal` that of everything else in this one, so
that a flipped bit, a lost segment and a foreign one are all found by reading. (The header is under
the seal, too: a flipped epoch would make its segment void, and whoever appended the next one would
vouch for that.) A *fence* has no events: to create it is to lead, and its number is the epoch.

`format` grows when an older version of this library could misread what a newer one writes; `by` is
the version that wrote it. What is whole but not understood is refused by the name of that version.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from connectors.sealed import checksum, is_sealed, sealed
from rayorch.core.facts import Event
from rayorch.errors import JournalDamagedError, JournalNewerError
from rayorch.ids import Epoch
from rayorch.version import our_version

Kind = Literal["fence", "data"]

GENESIS: Final = "genesis"
"""What the first segment names as the one before it."""
FORMAT: Final = 1
"""Of segments and snapshots. Add one when an older version would misread what this one writes."""


class Header(msgspec.Struct, frozen=True):
    """The first line of a segment."""

    n: int
    epoch: Epoch
    nonce: str
    kind: Kind
    count: int
    prev: str
    format: int = 1
    by: str = ""  # nothing: a version that did not say
    seal: str = ""


class Segment(msgspec.Struct, frozen=True):
    """A segment that was read and found whole."""

    header: Header
    events: tuple[Event, ...]
    checksum: str  # of all its bytes; the next segment's `prev`


_ENCODER: Final = msgspec.json.Encoder()
_EVENTS: Final = msgspec.json.Decoder(Event)
_HEADERS: Final = msgspec.json.Decoder(Header)


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
    count = len(events or ())
    header = Header(n, epoch, nonce, kind, count, prev, FORMAT, our_version())
    return sealed(_ENCODER.encode(header), body) + b"\n" + body


def decode_segment(key: str, n: int, data: bytes) -> Segment:
    """Return the segment that the bytes hold.

    Raises: JournalDamagedError, naming the key and what is wrong with it; JournalNewerError.
    """
    line, _, body = data.partition(b"\n")
    check_format(key, line, body)
    try:
        header = _HEADERS.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalDamagedError(key, f"its header cannot be read ({error})") from error
    if header.n != n:
        raise JournalDamagedError(key, f"it says that it is segment {header.n}")
    try:
        events = tuple(_EVENTS.decode_lines(body))
    except msgspec.DecodeError as error:
        # The seal is right, so this is what was written.
        raise JournalNewerError(key, header.by, our_version(), str(error)) from error
    if len(events) != header.count:
        raise JournalDamagedError(key, f"it holds {len(events)} events of {header.count}")
    return Segment(header, events, checksum(data))


class _Writer(msgspec.Struct, frozen=True):
    """What every version, also a later one, says in a header."""

    format: int = 1
    by: str = ""


_WRITERS: Final = msgspec.json.Decoder(_Writer)


def check_format(key: str, line: bytes, body: bytes) -> None:
    """Refuse what is not what was written, then what a newer version has written.

    Raises: JournalDamagedError, JournalNewerError.
    """
    if not is_sealed(line, body):
        raise JournalDamagedError(key, "its checksum does not match its content")
    try:
        writer = _WRITERS.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalDamagedError(key, f"its header cannot be read ({error})") from error
    if writer.format > FORMAT:
        what = f"format {writer.format}, and format {FORMAT} is the newest it knows"
        raise JournalNewerError(key, writer.by, our_version(), what)
