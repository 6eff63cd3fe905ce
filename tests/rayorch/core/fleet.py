"""Runners on a clock of their own, for tests of who is served when."""

import heapq
from collections.abc import Iterable

from rayorch.core import invariants
from rayorch.core.commands import Command, Lease, Record, RevokeLeases, SendLeases
from rayorch.core.facts import Event, Fact, Led, Ticked
from rayorch.core.machine import Machine
from rayorch.ids import Epoch, EventId, RunId, RunnerId
from tests.rayorch import make

TURN_S = 0.1


class Fleet:
    """A machine, and runners that take a given time for each task of a run."""

    def __init__(self, runners: int, *, checks: bool = False) -> None:
        self.machine = Machine()
        self.now_s = 0.0
        self.task_s: dict[RunId, float] = {}
        self.starts: dict[RunId, list[float]] = {}
        self.running: dict[RunnerId, Lease] = {}
        self.recorded: list[Fact] = []
        self._checks = checks
        self._events = 0
        self._queues: dict[RunnerId, list[Lease]] = {}
        self._ends: list[tuple[float, RunnerId]] = []
        self.feed([Led(Epoch(1))])
        self.feed([make.joined(f"runner-{i}") for i in range(runners)])

    def submit(self, run: str, tasks: int, task_s: float = 1.0, **fields: object) -> None:
        """Begin a run, planned at once."""
        run_id = RunId(run)
        self.task_s[run_id], self.starts[run_id] = task_s, []
        self.feed([make.submitted(run_id, **fields), make.planned(tasks, run=run_id)])

    def pass_time(self, duration_s: float) -> None:
        """Let runners work for so long."""
        until_s = self.now_s + duration_s
        while self.now_s < until_s - 1e-9:
            self.now_s += TURN_S
            facts: list[Fact] = []
            while self._ends and self._ends[0][0] <= self.now_s + 1e-9:
                _, runner = heapq.heappop(self._ends)
                lease = self.running.pop(runner)
                facts.append(make.finished(lease, runner, seconds=self.task_s[lease.run]))
                facts += self._begin(runner)
            self.feed(facts)

    def feed(self, facts: Iterable[Fact]) -> None:
        """One turn of the host, until nothing more is said at once."""
        news = list(facts)
        while news:
            news = [said for fact in news for said in self._handle(fact)]
        if more := self._handle(Ticked()):
            self.feed(more)

    def _handle(self, fact: Fact) -> list[Fact]:
        self._events += 1
        commands = self.machine.handle(Event(EventId(self._events), self.now_s, fact))
        if self._checks:
            invariants.check(self.machine)
        return [said for command in commands for said in self._carry_out(command)]

    def _carry_out(self, command: Command) -> list[Fact]:
        match command:
            case Record(fact=fact):
                self.recorded.append(fact)
                return [fact]
            case SendLeases(runner=runner, leases=leases):
                self._queues.setdefault(runner, []).extend(leases)
                return self._begin(runner)
            case RevokeLeases(runner=runner, leases=leases):
                queue = self._queues[runner]
                back = [lease for lease in leases if lease in queue]
                for lease in back:
                    queue.remove(lease)
                return [make.returned(lease, runner) for lease in back]
            case _:
                return []

    def _begin(self, runner: RunnerId) -> list[Fact]:
        if runner in self.running or not self._queues.get(runner):
            return []
        lease = self.running[runner] = self._queues[runner].pop(0)
        self.starts[lease.run].append(self.now_s)
        heapq.heappush(self._ends, (self.now_s + self.task_s[lease.run], runner))
        return [make.started(lease, runner)]
