"""Which tasks are for which runner: those first whose input the disk of its machine may hold.

Runners of a machine share a cache of what they read of remote files, and the cache has a name of
its own. Input that a cache may keep has a key: the same in every run that reads the same files.
Each key belongs to one cache of the pools that the task may go to, by consistent hashing, so that
a cache which comes or goes changes the place of few keys.

    a runner takes     what belongs to its cache, the oldest first
    and when that is   what belongs to the cache of which the most is left, the newest first:
    all taken          so that its own runners are the last to come to it

Nobody waits: a read that is saved is worth less than a runner with nothing to do, and what is left
for others at the end is the same in every run, so that their caches have it the next time. Nothing
is remembered of who read what, so nothing is journaled of it, and a restart finds the same places.

    Source: consistent hashing (Karger et al., STOC 1997); soft affinity, as in Presto and Trino.
"""

import heapq
import sys
from array import array
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from hashlib import shake_128
from itertools import chain
from typing import Final

import numpy as np

from rayorch.ids import NO_CACHE, CacheId, TaskId

KEY_BITS: Final = 16
KEY_CODE: Final = "H"
POINT_BITS: Final = 32
NO_KEY: Final = -1
"""Of input that no cache keeps."""
POINTS: Final = 64
"""Of each cache on the ring: what belongs to one is an eighth off the mean, typically."""

Keys = Sequence[int]


def pack_keys(keys: Keys) -> bytes:
    """Return the keys of tasks, two bytes each."""
    packed = array(KEY_CODE, keys)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unpack_keys(data: bytes) -> Keys:
    """Return what `pack_keys` packed."""
    keys = array(KEY_CODE)
    keys.frombytes(data)
    if sys.byteorder == "big":
        keys.byteswap()
    return keys


class Ring:
    """To which of some caches a key belongs."""

    __slots__ = ("_caches", "_owners", "_points")

    def __init__(self, caches: Iterable[CacheId] = ()) -> None:
        self._caches = sorted(set(caches))
        # A point and whose it is are one number, so that they are sorted at once: equal points go
        # by name, however the caches came and went.
        digests = b"".join(map(_digest, self._caches))
        placed = np.frombuffer(digests, np.dtype(">u4")).astype(np.uint64) << np.uint64(POINT_BITS)
        placed |= np.repeat(np.arange(len(self._caches), dtype=np.uint64), POINTS)
        placed.sort()
        self._points = (placed >> np.uint64(POINT_BITS)).astype(np.int64)
        owners = placed.astype(np.uint32).astype(np.intp)
        self._owners = np.append(owners, owners[:1])  # Behind the last point is the first.

    def __len__(self) -> int:
        """Return how many points it has."""
        return len(self._points)

    def cache_of(self, key: int) -> CacheId:
        """Return the cache that a key belongs to; none, where there is none."""
        if not self._caches:
            return NO_CACHE
        at = self._points.searchsorted(key << (POINT_BITS - KEY_BITS), side="right")
        owner: int = self._owners[at]
        return self._caches[owner]

    def divided(self, keys: Collection[int]) -> dict[CacheId, list[int]]:
        """Return which of some keys belong to each cache that has any, in the order given."""
        if not self._caches or not keys:
            return {NO_CACHE: list(keys)} if keys else {}
        some = np.fromiter(keys, np.int64, len(keys))
        ats = self._points.searchsorted(some << (POINT_BITS - KEY_BITS), side="right")
        owners = self._owners[ats]
        order = owners.argsort(kind="stable")
        ends = np.bincount(owners, minlength=len(self._caches)).cumsum().tolist()
        ordered: list[int] = some[order].tolist()
        begins = (0, *ends[:-1])
        return {
            cache: ordered[begin:end]
            for cache, begin, end in zip(self._caches, begins, ends, strict=True)
            if begin < end
        }


def _digest(cache: CacheId) -> bytes:
    return shake_128(cache.encode()).digest(POINT_BITS // 8 * POINTS)


NOBODY: Final = Ring()


class Caches:
    """The caches of runners that take work, by pool."""

    __slots__ = ("_living", "_rings")

    def __init__(self) -> None:
        self._living: Counter[tuple[str, CacheId]] = Counter()  # -> runners
        self._rings: dict[frozenset[str], Ring] = {}

    def count(self, pool: str, cache: CacheId, sign: int) -> None:
        """Count a runner that came (1) or went (-1)."""
        if cache == NO_CACHE:
            return
        before = self._living[pool, cache]
        self._living[pool, cache] = left = before + sign
        if not left:
            del self._living[pool, cache]
        if not (before and left):
            self._rings.clear()

    def ring(self, pools: frozenset[str]) -> Ring:
        """Return the ring of the caches in these pools; no pools: in all of them.

        The same one, as long as no cache comes or goes.
        """
        ring = self._rings.get(pools)
        if ring is None:
            some = {cache for pool, cache in self._living if not pools or pool in pools}
            ring = self._rings[pools] = Ring(some) if some else NOBODY
        return ring


class NearQueue:
    """Ready tasks of one class, by what they read."""

    __slots__ = ("_is_placed", "_keys", "_richest", "_tasks", "ring", "size")

    def __init__(self) -> None:
        self.ring = NOBODY
        self.size = 0
        # Whether each key belongs to somebody: many are queued before anybody looks at the ring.
        self._is_placed = False
        self._tasks: dict[int, list[TaskId]] = {}  # key -> tasks that read the same
        self._keys: dict[CacheId, deque[int]] = {}  # to whom they belong -> keys that have tasks
        # A heap of (minus how many keys belonged to it at most since, cache).
        self._richest: list[tuple[int, CacheId]] = []

    def __len__(self) -> int:
        """Return how many tasks are queued."""
        return self.size

    def __iter__(self) -> Iterator[TaskId]:
        """Go through all tasks."""
        return chain.from_iterable(self._tasks.values())

    @property
    def keys(self) -> int:
        """How many keys have tasks."""
        return len(self._tasks)

    def add(self, task: TaskId, key: int) -> None:
        """Queue a task."""
        self.size += 1
        same = self._tasks.get(key)
        if same is not None:
            same.append(task)
            return
        self._tasks[key] = [task]
        if not self._is_placed:
            return
        owner = self.ring.cache_of(key)
        keys = self._keys.get(owner)
        if keys is None:
            keys = self._keys[owner] = deque()
        keys.append(key)
        heapq.heappush(self._richest, (-len(keys), owner))

    def follow(self, ring: Ring) -> None:
        """Let each key belong to whom it belongs by another ring."""
        self.ring, self._is_placed = ring, True
        found = ring.divided(self._tasks)
        self._keys = {owner: deque(keys) for owner, keys in found.items()}
        self._richest = [(-len(keys), owner) for owner, keys in found.items()]
        heapq.heapify(self._richest)

    def first(self, cache: CacheId) -> TaskId:
        """Return the task that a runner with this cache would take."""
        owner, at = self._next(cache)
        return self._tasks[self._keys[owner][at]][-1]

    def pop(self, cache: CacheId) -> TaskId:
        """Take a task for a runner with this cache."""
        owner, at = self._next(cache)
        keys = self._keys[owner]
        key = keys[at]
        same = self._tasks[key]
        task = same.pop()
        if not same:
            del self._tasks[key]
            del keys[at]
        self.size -= 1
        return task

    def _next(self, cache: CacheId) -> tuple[CacheId, int]:
        """Return whose key is next, and which of them."""
        assert self.size, "nobody takes of an empty queue"
        if not self._is_placed:
            self.follow(self.ring)
        if self._keys.get(cache):
            return cache, 0
        while True:
            count, owner = self._richest[0]
            left = len(self._keys[owner])
            if left == -count:
                return owner, -1
            # Its keys were taken since: its place in the heap is found when it is looked for.
            if left:
                heapq.heapreplace(self._richest, (-left, owner))
            else:
                heapq.heappop(self._richest)
