"""What is ready to be leased, by class of task, and which pools a class may go to.

Without a placement all tasks are of one class that goes anywhere, and the queue is a plain one, but
for tasks whose input a cache may keep (`near`).
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Final

from rayorch.core.facts import PlacementReady
from rayorch.core.near import NO_KEY, NearQueue
from rayorch.core.placed import unpack_classes
from rayorch.ids import NO_CACHE, CacheId, TaskId

ANYWHERE: Final = -1
"""The class of tasks that no placement covers."""


class Routes:
    """Which class a task is of, and which pools serve which class."""

    __slots__ = ("_class_of", "_of_pool", "_pools")

    def __init__(self, placement: PlacementReady | None = None) -> None:
        self._class_of = unpack_classes(placement.class_of) if placement else ()
        self._pools = [frozenset(each.pools) for each in placement.classes] if placement else []
        self._of_pool: dict[str, tuple[int, ...]] = {}

    def class_of(self, task: TaskId) -> int:
        """Return the class of a task."""
        return self._class_of[task] if task < len(self._class_of) else ANYWHERE

    def counted(self, tasks: Collection[TaskId]) -> dict[int, int]:
        """Return how many of some tasks each class has, of those that have any."""
        classes, known = self._class_of, len(self._class_of)
        if not known:
            return {ANYWHERE: len(tasks)} if tasks else {}
        counts: dict[int, int] = {}
        for task in tasks:  # A `Counter` takes twice as long for a few, and as long for many.
            number = classes[task] if task < known else ANYWHERE
            counts[number] = counts.get(number, 0) + 1
        return counts

    def numbered(self, tasks: Iterable[TaskId]) -> Iterator[tuple[TaskId, int]]:
        """Go through some tasks, and the class of each."""
        classes, known = self._class_of, len(self._class_of)
        return ((task, classes[task] if task < known else ANYWHERE) for task in tasks)

    def classes_for(self, pool: str) -> tuple[int, ...]:
        """Return the classes that runners of a pool serve, first to serve first."""
        known = self._of_pool.get(pool)
        if known is None:
            some = (c for c, pools in enumerate(self._pools) if not pools or pool in pools)
            known = self._of_pool[pool] = (*some, ANYWHERE)
        return known

    def pools_of(self, number: int) -> frozenset[str]:
        """Return the pools that a class may go to; none: all of them."""
        return self._pools[number] if 0 <= number < len(self._pools) else frozenset()

    def serves(self, pool: str, task: TaskId) -> bool:
        """Say whether runners of a pool may run a task."""
        pools = self.pools_of(self.class_of(task))
        return not pools or pool in pools


class ReadyQueue:
    """Tasks in the order in which they became ready, a queue for each class.

    Those with a key (`near`) are in queues of their own, behind the others of their class.
    """

    __slots__ = ("_by_class", "near", "size")

    def __init__(self) -> None:
        self._by_class: dict[int, deque[TaskId]] = {}
        self.near: dict[int, NearQueue] = {}
        self.size = 0  # how many tasks are queued

    def __len__(self) -> int:
        """Return how many tasks are queued."""
        return self.size

    def __iter__(self) -> Iterator[TaskId]:
        """Go through all tasks, class by class."""
        return chain.from_iterable((*self._by_class.values(), *self.near.values()))

    def add(self, task: TaskId, number: int, key: int = NO_KEY) -> None:
        """Queue a task under its class, and by the key of what it reads, if it has one."""
        if key != NO_KEY:
            near = self.near.get(number)
            if near is None:
                near = self.near[number] = NearQueue()
            near.add(task, key)
            self.size += 1
            return
        queue = self._by_class.get(number)
        if queue is None:
            queue = self._by_class[number] = deque()
        queue.append(task)
        self.size += 1

    def clear(self) -> None:
        """Let go of all tasks."""
        self._by_class.clear()
        self.near.clear()
        self.size = 0

    def classes(self) -> list[int]:
        """Return the classes that have tasks."""
        some = [number for number, queue in self._by_class.items() if queue]
        return some + [number for number, near in self.near.items() if near]

    def count(self, classes: Collection[int]) -> int:
        """Return how many tasks of these classes are queued."""
        count = 0
        for queues in (self._by_class, self.near):
            if queues:
                for number in classes:
                    count += len(queues.get(number, ()))
        return count

    def has(self, classes: Collection[int]) -> bool:
        """Say whether a task of these classes is queued."""
        if not self.size:
            return False
        for number in classes:  # Not `any`: it is asked for each lease.
            if self._by_class.get(number):
                return True
            if self.near and self.near.get(number):
                return True
        return False

    def first(self, classes: Collection[int], cache: CacheId = NO_CACHE) -> TaskId | None:
        """Return the task of these classes that is next, the first class first.

        cache: that of the runner that is to have it.
        """
        if not self.size:
            return None
        for number in classes:
            queue = self._by_class.get(number)
            if queue:
                return queue[0]
            if self.near and (near := self.near.get(number)):
                return near.first(cache)
        return None

    def pop(self, classes: Collection[int], cache: CacheId = NO_CACHE) -> TaskId | None:
        """Take the task of these classes that is next."""
        for number in classes:
            queue = self._by_class.get(number)
            if queue:
                self.size -= 1
                return queue.popleft()
            if self.near and (near := self.near.get(number)):
                self.size -= 1
                return near.pop(cache)
        return None
