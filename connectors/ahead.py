"""Read many small objects in order, where a request takes longer than what it brings.

From a store over a network, some are asked for before they are wanted: the more, the longer what
was asked for has been there, so that whoever looks whether there is one more asks for one.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final

from connectors.errors import ObjectMissingError
from connectors.store import Store
from connectors.url import parse_url

AT_ONCE: Final = 32
"""Requests that are under way at most."""
NEAR: Final = frozenset({"file", "memory"})
"""Stores whose answers take no longer than a thread does to ask."""


def get_in_order(
    store: Store, keys: Iterable[str], at_once: int | None = None
) -> Generator[bytes | None, None, None]:
    """Yield the bytes of each object, or None where there is none; close it to ask no more.

    `at_once` is how many requests may be under way; None: one of a store that is near, AT_ONCE of
    another. Raises: StoreError, when the turn of that object comes.
    """
    at_once = at_once or at_once_of(store.url)
    if at_once == 1:
        return (_got(store, key) for key in keys)
    return _ahead(store, iter(keys), at_once)


def at_once_of(url: str) -> int:
    """Return how many requests to a store may be under way."""
    return 1 if parse_url(url).scheme in NEAR else AT_ONCE


def _ahead(store: Store, keys: Iterator[str], at_once: int) -> Generator[bytes | None, None, None]:
    asked: deque[Future[bytes | None]] = deque()
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="rayorch-ahead")
    window = 1
    try:
        while True:
            more = max(0, window - len(asked))  # It shrinks while more than that are under way.
            asked.extend(pool.submit(_got, store, key) for key in islice(keys, more))
            if not asked:
                return
            found = asked.popleft().result()
            window = 1 if found is None else min(2 * window, at_once)
            yield found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _got(store: Store, key: str) -> bytes | None:
    try:
        return store.get(key)
    except ObjectMissingError:
        return None
