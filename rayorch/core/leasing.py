"""Who holds what: runners, their queues, and how many leases to send to each.

All of it is volatile. A runner works its queue first in, first out, so the head of the queue is
what it runs, and only the head is to blame when the runner dies.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from rayorch.core.commands import Lease, RevokeLeases
from rayorch.core.facts import RunnerJoined
from rayorch.core.sizes import Size
from rayorch.ids import Epoch, EventId, RunId, RunnerId, TaskId, TenantId

WINDOW_S: Final = 0.25
"""Work queued on a runner, so that it never waits for the scheduler."""
FLUSHES: Final = 8.0
"""Flushes of the journal that it lasts for at least. It is filled up when half of it is left; until
that is known and answered, a report may wait for a flush of others, its own, and the same for the
report before it."""
WINDOW_S_MAX: Final = 30.0
"""What is on a runner comes before all that becomes more urgent, and goes where it was planned to
go: an hour of a store that did not answer is no reason to give out hours of work at once."""
QUEUE_MIN: Final = 2
"""One that runs and one whose input is being read."""
QUEUE_MAX: Final = 2048
"""A bound on what one lost runner gives back, and on one message."""

UNFILLED: Final = 2 * QUEUE_MAX
"""More than twice of any queue: it has not been found full."""

Key = tuple[RunId, TaskId]
Kind = tuple[str, Size]
"""Pool and size: runners that are alike in these are alike to whoever gives leases."""


class RunnerSlot:
    """One runner as the machine sees it."""

    __slots__ = (
        "alone",
        "cache",
        "cores",
        "dying",
        "filled",
        "holder",
        "id",
        "kind",
        "leaving",
        "memory_bytes",
        "node",
        "pool",
        "queue",
        "revoking",
        "shut",
        "size",
        "started",
        "started_s",
        "strange_s",
    )

    def __init__(self, joined: RunnerJoined) -> None:
        self.id = joined.runner
        self.pool = joined.pool
        self.node = joined.node
        self.cache = joined.cache
        self.cores = joined.cores
        self.memory_bytes = joined.memory_bytes
        self.size = Size(joined.cores, joined.memory_bytes, joined.gpus)
        self.kind: Kind = (joined.pool, self.size)
        self.queue: dict[Key, Lease] = {}
        self.revoking: set[Key] = set()
        self.started: Lease | None = None  # what the runner said it began last
        self.started_s = 0.0
        # Since when it works on what was given away, and has begun nothing that it holds.
        self.strange_s: float | None = None
        self.dying = False  # we ended it: nothing more for it, and no blame on what it runs
        self.leaving = False  # its node is being taken away, or its place
        self.shut = False  # one of the two: it takes nothing more
        self.alone = False  # runs a suspect: give it nothing else
        self.holder: TenantId | None = None  # whose leases it has: of one tenant at a time
        self.filled = UNFILLED  # leases that it had when it had no room for more

    @property
    def head(self) -> Lease | None:
        """The lease that runs now, or will next."""
        return next(iter(self.queue.values()), None)

    def begin(self, key: Key, attempt: int, epoch: Epoch, at_s: float) -> Lease | None:
        """Note that the runner began a lease: whatever order we thought of, it is the head."""
        if not self.holds(key, attempt, epoch):
            return None
        lease = self.queue[key]
        self.started, self.started_s = lease, at_s
        self.strange_s = None
        if lease is not self.head:
            self.queue = {key: lease, **self.queue}
        return lease

    def holds(self, key: Key, attempt: int, epoch: Epoch) -> bool:
        """Say whether an attempt is in the queue."""
        lease = self.queue.get(key)
        return lease is not None and (lease.attempt, lease.epoch) == (attempt, epoch)

    def room(self, expected_s: float | None, window_s: float) -> int:
        """Return how many more leases to send, 0 until half of the queue is worked off."""
        if self.shut or self.alone:
            return 0
        wanted = queue_length(expected_s, window_s)
        held = len(self.queue)
        return wanted - held if held <= wanted // 2 else 0


def window(flush_s: float) -> float:
    """Return the seconds of work that a runner is to have, by what a flush of the journal takes."""
    return min(max(WINDOW_S, FLUSHES * flush_s), WINDOW_S_MAX)


def queue_length(expected_s: float | None, window_s: float = WINDOW_S) -> int:
    """Return the leases that keep a runner busy for a window of seconds.

    Units: expected_s, seconds of one attempt; None before the first has finished.
    """
    if expected_s is None:
        return QUEUE_MIN
    if expected_s * QUEUE_MAX <= window_s:
        return QUEUE_MAX
    return max(QUEUE_MIN, math.ceil(window_s / expected_s))


def share(room: int, ready: int, runners: int) -> int:
    """Return how many of the ready tasks one runner gets, so that the last ones are spread."""
    assert runners > 0
    return min(room, max(1, math.ceil(ready / runners)))


def steal(
    idle: Sequence[RunnerSlot],
    deep: Iterable[RunnerSlot],
    cause: EventId,
    serves: Callable[[RunnerSlot, Lease], bool],
) -> RevokeLeases | None:
    """Take back half of the longest unstarted queue for a runner that has nothing to do.

    `deep` are the runners with leases behind the first; `serves` says whether a runner may run a
    lease: of others' it has no use.
    """
    for longest in sorted(deep, key=lambda slot: len(slot.queue), reverse=True):
        # The head may run already; a suspect's runner has nothing but the head.
        waiting = list(longest.queue.items())[1:]
        if longest.dying or not any(serves(slot, waiting[-1][1]) for slot in idle):
            continue
        started = longest.started
        halted = set() if started is None else {(started.run, started.task)}
        if longest.revoking - halted:
            return None  # Some are on their way already; what runs may not end for long.
        return take_back(longest, len(waiting) - len(waiting) // 2, cause)
    return None


def take_back(slot: RunnerSlot, count: int, cause: EventId) -> RevokeLeases:
    """Take back so many of the leases that a runner has not started, the last ones."""
    back = list(slot.queue.items())[-count:]
    slot.revoking.update(key for key, _ in back)
    return RevokeLeases(cause, slot.id, tuple(lease for _, lease in back))


__all__ = [
    "QUEUE_MAX",
    "QUEUE_MIN",
    "WINDOW_S",
    "WINDOW_S_MAX",
    "Key",
    "Kind",
    "RunnerId",
    "RunnerSlot",
    "queue_length",
    "share",
    "steal",
    "take_back",
    "window",
]
