"""Find out whether a store gives a key to exactly one of many contenders, and shows every write.

The journal rests on these promises. A store that breaks one does not fail, it loses data weeks
later: so it is raced, and looked at through a second client, before it is trusted.
"""

import os
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from connectors.errors import ObjectMissingError, UnsafeStoreError
from connectors.store import Created, Store

CONTENDERS: Final = 8
ROUNDS: Final = 5
LOOKS: Final = 10
"""How often a round of `probe_reads` asks the second client."""
_FOLDER: Final = ".probe"

# A lost reply is settled within the store's own deadline; this is for a thread that died.
_START_S_MAX: Final = 60

PutIfAbsent = Callable[[str, bytes], Created]


@runtime_checkable
class DistrustedStore(Protocol):
    """A store that refuses `put_if_absent` until a race has shown that it is safe."""

    def put_if_absent_unchecked(self, key: str, data: bytes) -> Created:
        """Do as put_if_absent does, without the refusal."""
        ...

    def trust_exclusive_create(self) -> None:
        """Refuse no more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """What a race for exclusive create has shown."""

    url: str
    rounds: int
    contenders: int
    # Why exclusive create cannot be trusted; empty when it can.
    reason: str

    @property
    def atomic(self) -> bool:
        """Say whether every round had exactly one winner, whose bytes stayed."""
        return not self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReport:
    """What a second client saw of what a first one wrote and removed."""

    url: str
    looks: int
    # What it should have seen and did not, each once; empty when it saw everything.
    stale: tuple[str, ...]


def probe_exclusive_create(
    store: Store, contenders: int = CONTENDERS, rounds: int = ROUNDS
) -> ProbeReport:
    """Race for fresh keys, then try to take them again; leave nothing behind.

    Raises: StoreError, when the store does not work at all.
    """
    put: PutIfAbsent = store.put_if_absent
    if isinstance(store, DistrustedStore):
        put = store.put_if_absent_unchecked
    nonce = os.urandom(8).hex()
    reason = ""
    done = 0
    with ThreadPoolExecutor(contenders, thread_name_prefix="probe") as pool:
        while done < rounds and not reason:
            key = f"{_FOLDER}/{nonce}-{done}"
            try:
                reason = _race(store, put, key, pool, contenders)
            except UnsafeStoreError as error:
                reason = error.reason
            finally:
                store.delete([key])
            done += 1
    return ProbeReport(url=store.url, rounds=done, contenders=contenders, reason=reason)


def probe_reads(store: Store, second: Store | None = None, rounds: int = ROUNDS) -> ReadReport:
    """Write, overwrite and remove objects, and look for each through a second client at once.

    It has looked at each key before, so that what it keeps of old answers shows. Without `second`
    the store is opened again. Leaves nothing behind. Raises: StoreError.
    """
    if second is None:
        second = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own object, of just now.
    folder = f"{_FOLDER}/{os.urandom(8).hex()}"
    stale: dict[str, None] = {}
    for number in range(rounds):
        key = f"{folder}/{number}"
        try:
            stale |= dict.fromkeys(_unseen(store, second, key))
        finally:
            store.delete([key])
    return ReadReport(url=store.url, looks=rounds * LOOKS, stale=tuple(stale))


def _unseen(store: Store, second: Store, key: str) -> Iterator[str]:
    """Yield what the second client should see and does not: `LOOKS` times it is asked."""
    yield from _differing(second, key, None, "a key that was never written")
    store.put(key, b"first")
    yield from _differing(second, key, b"first", "a new object")
    store.put(key, b"and second")
    yield from _differing(second, key, b"and second", "an object that was overwritten", lists=False)
    store.delete([key])
    yield from _differing(second, key, None, "an object that was deleted", gets=False)


def _differing(
    second: Store,
    key: str,
    data: bytes | None,
    what: str,
    *,
    lists: bool = True,
    gets: bool = True,
) -> Iterator[str]:
    """Ask by all calls; an answer that is not of this moment is told."""
    if gets and _got(second, key) != data:
        yield f"a get of {what} is not of now"
    info = second.head(key)
    if (None if info is None else info.size_bytes) != (None if data is None else len(data)):
        yield f"a head of {what} is not of now"
    if lists and (key in {each.key for each in second.list(key)}) != (data is not None):
        yield f"a list of {what} is not of now"


def _got(second: Store, key: str) -> bytes | None:
    try:
        return second.get(key)
    except ObjectMissingError:
        return None


def require_exclusive_create(store: Store) -> None:
    """Probe a store that does not promise exclusive create, and let it promise when it may.

    Its reads are probed with it: who loses a race must see who won.

    Raises: UnsafeStoreError, with what the probe has shown.
    """
    if store.promises.exclusive_create:
        return
    report = probe_exclusive_create(store)
    if not report.atomic:
        raise UnsafeStoreError(store.url, "", report.reason)
    stale = probe_reads(store, rounds=1).stale
    if stale:
        raise UnsafeStoreError(store.url, "", f"reads lag: {'; '.join(stale)}")
    if isinstance(store, DistrustedStore):
        store.trust_exclusive_create()


def _race(
    store: Store, put: PutIfAbsent, key: str, pool: ThreadPoolExecutor, contenders: int
) -> str:
    """Let contenders race for a key; say what went wrong, or nothing."""
    start = threading.Barrier(contenders)

    def contend(number: int) -> Created:
        body = f"{key} {number}".encode()
        start.wait(_START_S_MAX)
        return put(key, body)

    outcomes = list(pool.map(contend, range(contenders)))
    winners = [number for number, outcome in enumerate(outcomes) if outcome == "won"]
    if len(winners) != 1:
        return f"{len(winners)} of {contenders} contenders won the same key"
    expected = f"{key} {winners[0]}".encode()
    if store.get(key) != expected:
        return "the key does not hold the winner's bytes"
    if put(key, b"late " + expected) != "occupied" or store.get(key) != expected:
        return "a taken key was given away again"
    return ""
