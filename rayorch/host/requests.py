"""What clients ask for through the home: `requests/<time>-<id>.json`.

A client that cannot reach the control actor (another terminal, an embedded Ray, a plain process)
leaves a request under the home. Whoever leads looks there once a second while a run is active,
and when it starts. A request is a fact; it is deleted once it is journaled, and applying it twice
does nothing.
"""

from typing import Final

import msgspec

from connectors.errors import ConnectorError, ObjectMissingError
from rayorch.clock import Clock
from rayorch.core.facts import RunCancelRequested, RunStopRequested
from rayorch.core.limit_facts import PolicyApplied
from rayorch.home import REQUESTS, Home

LOOK_S: Final = 1.0

Request = RunStopRequested | RunCancelRequested | PolicyApplied
_DECODER: Final = msgspec.json.Decoder(Request)


class RequestBox:
    """The requests under one home, as its leader sees them."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._store = home.store
        self._clock = clock
        self._looked_s: float | None = None
        self._taken: list[str] = []

    def take(self, *, active: bool) -> list[Request]:
        """Return new requests. The ones returned by the call before are journaled: delete them.

        The first call looks whatever is active: what was asked while nobody led is answered before
        anything new begins. While the store does not answer, there is nothing new.
        """
        now_s = self._clock.monotonic_s()
        is_due = self._looked_s is None or (active and now_s - self._looked_s >= LOOK_S)
        if not is_due and not self._taken:
            return []
        try:
            # As long as one that was returned is there it must not be looked at again: asked to
            # stop, stopped and resumed, the run would stop once more.
            self._store.delete(self._taken)
            self._taken = []
            if not is_due:
                return []
            self._looked_s = now_s
            keys = [info.key for info in self._store.list(REQUESTS)]
            found = [request for key in keys for request in self._read(key)]
        except ConnectorError:
            return []
        self._taken = keys
        return found

    def _read(self, key: str) -> list[Request]:
        try:
            return [_DECODER.decode(self._store.get(key))]
        except ObjectMissingError:
            return []
        except msgspec.DecodeError:
            # Not written by us: it is removed, and says nothing that could be obeyed.
            return []


def leave_request(home: Home, request: Request, now_s: float, nonce: str) -> str:
    """Ask whoever leads the home; return the key, which disappears when it is done."""
    key = f"{REQUESTS}{now_s:015.3f}-{nonce}.json"
    home.store.put(key, msgspec.json.encode(request))
    return key
