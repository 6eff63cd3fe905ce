"""What clients ask for through the home: `requests/<time>-<id>.json`.

A client that cannot reach the control actor (another terminal, another network, a plain process)
leaves a request under the home: to begin a run, to stop, cancel or resume one. Whoever leads looks
there once a second while a run is active, and when it starts; a control actor that serves clients
looks all the time. A request is a fact; it is deleted once it is journaled, and applying it twice
does nothing. What is no request is deleted, and `refused/` has the reason for whoever waits.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from connectors.errors import ConnectorError, ObjectMissingError
from rayorch.clock import Clock
from rayorch.home import REFUSED, REQUESTS, Home
from rayorch.host.intake import ClientFact, client_request
from rayorch.submit_errors import RefusedRequestError

LOOK_S: Final = 1.0
LOOK_S_IDLE: Final = 2.0
"""Between looks of a control actor that serves clients and has nothing to do. On S3 a look costs
0.0005 cents: 22 cents a day."""
TAKEN_MAX: Final = 200
"""Requests that are taken at one look; the others wait for the next."""


class RequestBox:
    """The requests under one home, as its leader sees them."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._store = home.store
        self._clock = clock
        self._looked_s: float | None = None
        self._taken: list[str] = []

    def take(self, *, active: bool, serves: bool = False) -> list[ClientFact]:
        """Return new requests. The ones returned by the call before are journaled: delete them.

        The first call looks whatever is active: what was asked while nobody led is answered before
        anything new begins. While the store does not answer, there is nothing new.
        """
        is_due = self._is_due(active=active, serves=serves)
        if not is_due and not self._taken:
            return []
        try:
            # As long as one that was returned is there it must not be looked at again: asked to
            # stop, stopped and resumed, the run would stop once more.
            self._store.delete(self._taken)
            self._taken = []
            if not is_due:
                return []
            self._looked_s = self._clock.monotonic_s()
            keys = [info.key for info in self._store.list(REQUESTS)][:TAKEN_MAX]
            found = [request for key in keys for request in self._read(key)]
        except ConnectorError:
            return []
        self._taken = keys
        return found

    def _is_due(self, *, active: bool, serves: bool) -> bool:
        if self._looked_s is None:
            return True
        if not (active or serves):
            return False
        pause_s = LOOK_S if active else LOOK_S_IDLE
        return self._clock.monotonic_s() - self._looked_s >= pause_s

    def _read(self, key: str) -> Sequence[ClientFact]:
        try:
            return [client_request(self._store.get(key))]
        except ObjectMissingError:
            return []
        except RefusedRequestError as error:
            self._store.put(_refused_key(key), msgspec.json.encode(error.args))
            return []


def leave_request(home: Home, request: ClientFact, now_s: float, nonce: str) -> str:
    """Ask whoever leads the home; return the key, which disappears when it is done."""
    key = f"{REQUESTS}{now_s:015.3f}-{nonce}.json"
    home.store.put(key, msgspec.json.encode(request))
    return key


def take_back(home: Home, key: str) -> None:
    """Delete a request that nobody has taken up. It may be too late."""
    home.store.delete([key])


def check_not_refused(home: Home, key: str) -> None:
    """Raise what a request was refused for, once. Raises: RefusedRequestError."""
    try:
        said = msgspec.json.decode(home.store.get(_refused_key(key)), type=tuple[str, str, str])
    except ObjectMissingError:
        return
    home.store.delete([_refused_key(key)])
    raise RefusedRequestError(*said)


def _refused_key(key: str) -> str:
    return f"{REFUSED}{key.removeprefix(REQUESTS)}"
