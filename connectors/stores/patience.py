"""How long a store waits, and how it settles a write whose outcome is unknown."""

import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

from connectors.errors import BadUrlError, StoreError, StoreUnsureError
from connectors.store import Created

# A part of eight megabytes must pass in it, at one megabyte a second with others beside it.
_TIMEOUT_S: Final = 20.0
_DEADLINE_S: Final = 60.0
_FIRST_PAUSE_S: Final = 0.05
_PAUSE_S_MAX: Final = 2.0
# Not for secrets: only so that contenders do not knock in step.
_JITTER: Final = random.Random()  # noqa: S311


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long one request, and one call with all its repetitions, may take.

    A call ends at the latest after `deadline_s` and one more request.
    """

    timeout_s: float = _TIMEOUT_S
    deadline_s: float = _DEADLINE_S

    @classmethod
    def from_options(cls, url: str, options: Mapping[str, str]) -> Self:
        """Read `timeout_s` and `deadline_s`. Raises: BadUrlError, naming a bad value."""
        return cls(
            timeout_s=_seconds(url, options, "timeout_s", _TIMEOUT_S),
            deadline_s=_seconds(url, options, "deadline_s", _DEADLINE_S),
        )

    def tries(self) -> Iterator[int]:
        """Count tries from 1, with a growing, jittered pause between them, until the deadline."""
        # Connectors sit below the clock that the rest of the project shares; what is measured
        # here is a real server's silence.
        began_s = time.monotonic()  # noqa: TID251
        pause_s = _FIRST_PAUSE_S
        for number in itertools.count(1):
            yield number
            wait_s = _JITTER.uniform(pause_s / 2, pause_s)
            if time.monotonic() - began_s + wait_s >= self.deadline_s:  # noqa: TID251
                return
            time.sleep(wait_s)  # noqa: TID251
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)


@dataclass(frozen=True, slots=True)
class ExclusiveCreate:
    """One object to be created by at most one contender, on a store that may lose replies."""

    url: str
    key: str
    data: bytes
    # True: created. False: the key is taken, perhaps by an earlier request of ours.
    create: Callable[[], bool]
    # What the key holds, or None.
    read: Callable[[], bytes | None]

    def settle(self, patience: Patience) -> Created:
        """Send the same bytes to the same key until it is taken, then see whose bytes they are.

        A time-out says "maybe, or maybe later": a request that the server held back can still
        be applied, so neither an error nor a read that finds nothing proves that we lost.
        A client that retries by itself reports its own first success as "already there".

        Raises: StoreUnsureError, when that stayed so until the deadline; another StoreError,
        when it is certain that nothing was written.
        """
        doubt: StoreError | None = None
        for _ in patience.tries():
            try:
                if self.create():
                    return "won"
                stored = self.read()
            except StoreError as error:
                # Only a first request that is refused proves that nothing of ours is under way.
                if doubt is None and error.remedy == "fix":
                    raise
                doubt = error
                continue
            if stored is not None:
                return "won" if stored == self.data else "occupied"
        reason = doubt.reason if doubt is not None else "the key is taken but holds nothing"
        raise StoreUnsureError(self.url, self.key, reason) from doubt


def _seconds(url: str, options: Mapping[str, str], name: str, default: float) -> float:
    text = options.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise BadUrlError(url, f"option {name} must be a number of seconds above 0, not {text!r}")
    return value
