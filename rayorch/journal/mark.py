"""How far the log is known to go: a small object beside it.

The chain of segments finds whatever is missing before its last one. The last one itself, and those
before it that went with it, are missed by nobody but this note: a home that was restored from an
older copy, or from half of one, would otherwise pass for one where less has happened, and the next
leader would use the same numbers again.
"""

from typing import Final

import msgspec

from connectors.errors import ObjectMissingError
from connectors.sealed import is_sealed, sealed
from connectors.store import Store
from rayorch.errors import JournalDamagedError

MARK: Final = "journal/mark.json"


class Mark(msgspec.Struct, frozen=True):
    """The last segment that somebody knows of."""

    n: int = 0
    checksum: str = ""  # of its bytes; nothing: not known
    seal: str = ""

    def differs(self, checksum: str) -> bool:
        """Say whether a segment of this number is another one than was meant."""
        return self.checksum not in {"", checksum}


_MARKS: Final = msgspec.json.Decoder(Mark)


def put_mark(store: Store, mark: Mark) -> None:
    """Note it, over what was noted before. Raises: StoreError."""
    store.put(MARK, sealed(msgspec.json.encode(mark)))


def load_mark(store: Store) -> Mark:
    """Return what was noted; segment 0, where nothing was.

    Raises: JournalDamagedError, StoreError.
    """
    try:
        data = store.get(MARK)
    except ObjectMissingError:
        return Mark()
    if not is_sealed(data):
        raise JournalDamagedError(MARK, "its checksum does not match its content")
    return _MARKS.decode(data)
