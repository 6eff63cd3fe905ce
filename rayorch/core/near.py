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
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from hashlib import shake_128
from itertools import chain
from typing import Final

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

    __slots__ = ("_caches", "_points")

    def __init__(self, caches: Iterable[CacheId] = (), like: "Ring | None" = None) -> None:
        """Place caches. `like` is a ring of most of them, if there is one."""
        own = set(caches)
        placed = [each for each in like.placed() if each[1] in own] if like is not None else []
        new = own.difference(cache for _, cache in placed)
        placed += sorted((point, cache) for cache in new for point in _points_of(cache))
        placed.sort()  # Two runs in order: that is a pass, and no sort.
        self._points = [point for point, _ in placed]
        self._caches = [cache for _, cache in placed]

    def __len__(self) -> int:
        """Return how many points it has."""
        return len(self._points)

    def placed(self) -> Iterator[tuple[int, CacheId]]:
        """Go through its points, and whose they are."""
        return zip(self._points, self._caches, strict=True)

    def cache_of(self, key: int) -> CacheId:
        """Return the cache that a key belongs to; none, where there is none."""
        if not self._points:
            return NO_CACHE
        at = bisect_right(self._points, key << (POINT_BITS - KEY_BITS))
        return self._caches[at % len(self._points)]

    def owners(self, keys: Collection[int]) -> Sequence[CacheId]:
        """Return `cache_of` of each key, in a third of the time."""
        points, caches, count = self._points, self._caches, len(self._points)
        if not points:
            return [NO_CACHE] * len(keys)
        ats = [bisect_right(points, key << (POINT_BITS - KEY_BITS)) for key in keys]
        return [caches[at % count] for at in ats]


def _points_of(cache: CacheId) -> Iterator[int]:
    step = POINT_BITS // 8
    digest = shake_128(cache.encode()).digest(step * POINTS)
    return (int.from_bytes(digest[at : at + step]) for at in range(0, len(digest), step))


NOBODY: Final = Ring()


class Caches:
    """The caches of runners that take work, by pool."""

    __slots__ = ("_before", "_living", "_rings")

    def __init__(self) -> None:
        self._living: Counter[tuple[str, CacheId]] = Counter()  # -> runners
        self._rings: dict[frozenset[str], Ring] = {}
        # As they were when somebody asked last: most of a thousand caches stay where they are when
        # one comes, and to hash and sort their points took a fifth of the time.
        self._before: dict[frozenset[str], Ring] = {}

    def count(self, pool: str, cache: CacheId, sign: int) -> None:
        """Count a runner that came (1) or went (-1)."""
        if cache == NO_CACHE:
            return
        before = self._living[pool, cache]
        self._living[pool, cache] = left = before + sign
        if not left:
            del self._living[pool, cache]
        if not (before and left) and self._rings:
            self._before, self._rings = self._rings, {}

    def ring(self, pools: frozenset[str]) -> Ring:
        """Return the ring of the caches in these pools; no pools: in all of them.

        The same one, as long as no cache comes or goes.
        """
        ring = self._rings.get(pools)
        if ring is None:
            some = {cache for pool, cache in self._living if not pools or pool in pools}
            before = self._before.get(pools)
            ring = self._rings[pools] = Ring(some, like=before) if some else NOBODY
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
        found: dict[CacheId, deque[int]] = {}
        for key, owner in zip(self._tasks, ring.owners(self._tasks), strict=True):
            keys = found.get(owner)
            if keys is None:
                found[owner] = keys = deque()
            keys.append(key)
        self._keys = found
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
