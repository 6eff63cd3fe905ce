"""What the contract asks of each executor, in one form: leases, a gate before their end, time.

A rig stands in for the host and its home; the executor and its runners are the real ones.
"""

import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import pyarrow as pa

from rayorch.clock import SystemClock
from rayorch.core.commands import EnsureRunners, Lease
from rayorch.core.facts import (
    AttemptFinished,
    AttemptStarted,
    Fact,
    LeaseReturned,
    RunnerJoined,
    RunnerLost,
)
from rayorch.host.executor import Executor, HostPort
from rayorch.host.inbox import Ticket
from rayorch.host.inprocess import InProcessExecutor
from rayorch.ids import Epoch, EventId, RunId, RunnerId, TaskId
from rayorch.sim.config import SimPool
from rayorch.sim.executor import SimExecutor
from tests.rayorch.runner import make

CAUSE = EventId(1)
GIB = 1 << 30
TASKS = 8
SOURCE = f"range://{TASKS * 10}?splits={TASKS}"
WAIT_S = 60.0
F = TypeVar("F", bound=Fact)


gate = threading.Event()
"""Functions are pickled by reference: what they share with a test is their module's."""


def waiting(table: pa.Table) -> pa.Table:
    """Pass rows on, once the test lets them."""
    opened: threading.Event = sys.modules[__name__].gate
    assert opened.wait(WAIT_S)
    return table


class ListeningHost:
    """The host's side of the port: hears facts, and knows the splits."""

    def __init__(self, split_of: Callable[[TaskId], bytes]) -> None:
        self.facts: list[Fact] = []
        self.heard = threading.Condition()
        self._split_of = split_of

    def offer(self, facts: Sequence[Fact]) -> Ticket:
        with self.heard:
            self.facts.extend(facts)
            self.heard.notify_all()
        ticket = Ticket()
        ticket.settle()
        return ticket

    def split_of(self, run: RunId, task: TaskId) -> bytes:
        assert run == make.RUN
        return self._split_of(task)

    def of(self, kind: type[F]) -> list[F]:
        """Return the facts of a kind, in the order in which they came."""
        with self.heard:
            return [fact for fact in self.facts if isinstance(fact, kind)]


class Rig(ABC):
    """An executor under test."""

    slots = 2
    pools: ClassVar[Mapping[str, int]]  # of those slots
    outlives = True  # runners are still there for the next host
    executor: Executor

    def __init__(self, split_of: Callable[[TaskId], bytes]) -> None:
        self._split_of = split_of
        self.host = ListeningHost(split_of)

    # --- what differs ---------------------------------------------------------------------------

    @abstractmethod
    def restarted(self) -> Executor:
        """Return an executor for the host that leads after this one died without a word."""

    @abstractmethod
    def open_gate(self) -> None:
        """Let attempts come to their end."""

    @abstractmethod
    def let_happen(self) -> None:
        """Let something happen, or a little time pass."""

    @abstractmethod
    def is_running(self, runner: RunnerId) -> bool:
        """Say whether a runner still takes the machine's time."""

    @abstractmethod
    def close(self) -> None:
        """End everything."""

    # --- what all have ----------------------------------------------------------------------------

    def attach(self) -> None:
        """Have the executor meet the host."""
        port: HostPort = self.host
        self.executor.attach(port)

    def succeed(self) -> None:
        """Have another host lead, which has heard nothing yet."""
        self.executor = self.restarted()
        self.host = ListeningHost(self._split_of)
        self.attach()

    def ensure(self, count_max: int, gib: float = 1.0, pool: str = "") -> None:
        """Ask for runners."""
        memory_bytes = int(gib * GIB)
        asked = EnsureRunners(
            CAUSE, make.RUN, cores=1.0, memory_bytes=memory_bytes, count_max=count_max, pool=pool
        )
        self.executor.start(asked)

    def joined(self, count: int) -> list[RunnerId]:
        """Wait for so many runners, and return all that have joined."""
        self.wait_for(lambda: len(self.host.of(RunnerJoined)) >= count)
        return [fact.runner for fact in self.host.of(RunnerJoined)]

    def runner(self) -> RunnerId:
        """Return a runner, the only one."""
        self.attach()
        self.ensure(1)
        return self.joined(1)[0]

    def lease(self, task: int, attempt: int = 0) -> Lease:
        """Return a lease of one of the tasks."""
        return Lease(make.RUN, TaskId(task), attempt, Epoch(1), stage=0, version=make.VERSION)

    def wait_for(self, holds: Callable[[], Any]) -> None:
        """Wait until something is so."""
        clock = SystemClock()
        begun_s = clock.monotonic_s()
        while not holds():
            assert clock.monotonic_s() - begun_s < WAIT_S, self.host.facts
            self.let_happen()

    def finished(self) -> list[int]:
        """Return the tasks whose end was reported, in that order."""
        return [fact.task for fact in self.host.of(AttemptFinished)]

    def started(self) -> list[int]:
        """Return the tasks that were seen to start or end."""
        return [fact.task for fact in self.host.of(AttemptStarted)] + self.finished()

    def returned(self) -> list[int]:
        """Return the tasks whose leases came back unstarted."""
        return [fact.task for fact in self.host.of(LeaseReturned)]

    def lost(self) -> list[RunnerId]:
        """Return the runners that are reported as gone."""
        return [fact.runner for fact in self.host.of(RunnerLost)]


class InProcessRig(Rig):
    """Runners as threads."""

    outlives = False
    pools: ClassVar[Mapping[str, int]] = {"a": 1, "b": 1}

    def __init__(self) -> None:
        gate.clear()
        self._plan = make.planned(make.stage(SOURCE, make.chain(waiting)))
        super().__init__(lambda task: self._plan.lease(task)[1])
        self._made: list[Executor] = []
        self.executor = self.restarted()

    def restarted(self) -> Executor:
        self._made.append(InProcessExecutor(self._plan.home, SystemClock(), self.pools))
        return self._made[-1]

    def open_gate(self) -> None:
        gate.set()

    def let_happen(self) -> None:
        with self.host.heard:
            self.host.heard.wait(0.01)

    def is_running(self, runner: RunnerId) -> bool:
        return any(runner in thread.name for thread in threading.enumerate())

    def close(self) -> None:
        self.open_gate()
        for executor in self._made:
            executor.close()


class SimRig(Rig):
    """Simulated runners; attempts come to their end only while somebody lets time pass."""

    # Where nobody says which pool, a simulated cluster starts so many runners in each.
    pools: ClassVar[Mapping[str, int]] = {"simulated": 2}

    def __init__(self) -> None:
        super().__init__(lambda _: b"")
        pools = tuple(SimPool(name=name, runners=n, cores=1.0) for name, n in self.pools.items())
        self._made = SimExecutor(seed=7, pools=pools)
        self.executor = self._made

    def restarted(self) -> Executor:
        self._made.close()
        return self._made

    def open_gate(self) -> None:
        """Nothing waits: a second of virtual time is long enough for everything before it."""

    def let_happen(self) -> None:
        self.executor.check(0.0)

    def is_running(self, runner: RunnerId) -> bool:
        return self._made.world.cluster.runners[runner].alive

    def close(self) -> None:
        self._made.close()
