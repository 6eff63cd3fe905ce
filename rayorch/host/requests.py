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
from rayorch.home import REQUESTS, Home

LOOK_S: Final = 1.0

Request = RunStopRequested | RunCancelRequested
_DECODER: Final = msgspec.json.Decoder(Request)


class RequestBox:
    """The requests under one home, as its leader sees them."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._store = home.store
        self._clock = clock
        self._looked_s = 0.0
        self._taken: list[str] = []

    def take(self, *, active: bool) -> list[Request]:
        """Return new requests. The ones returned by the call before are journaled: delete them."""
        if self._taken:
            self._store.delete(self._taken)
            self._taken = []
        now_s = self._clock.monotonic_s()
        if not active or now_s - self._looked_s < LOOK_S:
            return []
        self._looked_s = now_s
        found: list[Request] = []
        try:
            for info in self._store.list(REQUESTS):
                self._taken.append(info.key)
                found.extend(self._read(info.key))
        except ConnectorError:
            # A store that is down now is asked again; the requests stay where they are.
            self._taken = []
            return []
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
