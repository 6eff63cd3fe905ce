"""The core on a large cluster: unlike pools, many runs of several tenants, at a steady pace.

    python -m benchmarks.core_scale [--runners 10000] [--pools 50] [--tasks 1000000] [--runs 100]
                                    [--tenants 10] [--rate 5000]

The clock is simulated: each runner works for `runners / rate` seconds on a task, so that `rate`
tasks end a second. What is measured is the CPU time of `Machine.handle` alone; `cores` is what it
needs of one core at that pace. Prints one JSON line.
"""

import argparse
import heapq
import json
import random
import resource
import time
from collections import deque
from typing import Final

from rayorch.core.commands import (
    Command,
    Lease,
    MakePlan,
    PublishSink,
    Record,
    RevokeLeases,
    SendLeases,
    SolvePlacement,
    SweepRun,
)
from rayorch.core.facts import (
    AttemptFinished,
    AttemptStarted,
    Event,
    Fact,
    LeaseReturned,
    Led,
    PlacementKept,
    PlacementReady,
    PlanReady,
    RunnerJoined,
    RunSubmitted,
    RunSwept,
    SinkPublished,
    Ticked,
)
from rayorch.core.machine import Machine
from rayorch.core.placed import ClassPlacement, pack_classes
from rayorch.core.values import AttemptOutput, SinkResult, StageShape, StepSeconds
from rayorch.ids import Epoch, EventId, RunId, RunnerId, TenantId

TURN_S: Final = 0.02
"""Between two turns of the host: about what a write to the journal takes."""
CLASSES: Final = 20  # of a run's tasks
POOLS_OF_CLASS: Final = 3
SPREAD: Final = 0.3  # tasks take so much more or less than the mean
GIB: Final = 1 << 30


class Fleet:
    """Runners without machines: each works its queue first in, first out, on a simulated clock."""

    def __init__(self, task_s: float) -> None:
        self._luck = random.Random(1)
        self._task_s = task_s
        self._queues: dict[RunnerId, deque[Lease]] = {}
        self._ends: list[tuple[float, RunnerId]] = []
        self._outputs: dict[RunnerId, float] = {}

    def enqueue(self, runner: RunnerId, leases: tuple[Lease, ...], now_s: float) -> list[Fact]:
        """Take leases; say which of them begins at once."""
        queue = self._queues.setdefault(runner, deque())
        begins = not queue
        queue.extend(leases)
        return [self._begin(runner, now_s)] if begins else []

    def revoke(self, runner: RunnerId, leases: tuple[Lease, ...]) -> list[Fact]:
        """Give back what has not begun."""
        queue = self._queues[runner]
        back = [lease for lease in leases if lease in queue and lease is not queue[0]]
        for lease in back:
            queue.remove(lease)
        return [LeaseReturned(*_about(lease, runner)) for lease in back]

    def ended(self, now_s: float) -> list[Fact]:
        """Return what has ended until now, and what began instead."""
        facts: list[Fact] = []
        while self._ends and self._ends[0][0] <= now_s:
            end_s, runner = heapq.heappop(self._ends)
            queue = self._queues[runner]
            facts.append(_finished(queue.popleft(), runner, self._outputs[runner]))
            if queue:
                facts.append(self._begin(runner, end_s))
        return facts

    def _begin(self, runner: RunnerId, now_s: float) -> Fact:
        duration_s = self._task_s * self._luck.uniform(1.0 - SPREAD, 1.0 + SPREAD)
        self._outputs[runner] = duration_s
        heapq.heappush(self._ends, (now_s + duration_s, runner))
        return AttemptStarted(*_about(self._queues[runner][0], runner))


class Bench:
    """A host without I/O."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.machine = Machine()
        self.events = 0
        self.now_s = 0.0
        self.handling_s = 0.0
        self.revoked = 0
        self._answers: list[Fact] = []
        self._luck = random.Random(2)
        self._options = options
        self._tasks = options.tasks // options.runs
        self._pools = [f"pool-{number:02d}" for number in range(options.pools)]
        self._fleet = Fleet(options.runners / options.rate)

    def begin(self) -> None:
        """Lead, and have all runners and all runs."""
        options = self._options
        self.feed([Led(Epoch(1))])
        for number in range(options.runners):
            pool = self._pools[number % len(self._pools)]
            self.feed([RunnerJoined(RunnerId(f"runner-{number:05d}"), pool, 4.0, 8 * GIB)])
        for number in range(options.runs):
            tenant = TenantId(f"tenant-{number % options.tenants}")
            stages = (StageShape("lines", sinks=(0,)),)
            self.turn(
                [RunSubmitted(RunId(f"run-{number:03d}"), "p", "v", stages, ("o",), tenant=tenant)]
            )

    def turn(self, facts: list[Fact]) -> None:
        """One turn of the host: facts, then a tick, until nothing more is to be recorded."""
        while facts:
            facts = self._recorded(self.feed(facts))
        facts = self._recorded(self.feed([Ticked()]))
        if facts:
            self.turn(facts)

    def run_out(self) -> float:
        """Go on until every run has ended; return the seconds that it took."""
        while any(not run.swept for run in self.machine.runs.values()):
            self.now_s += TURN_S
            answers, self._answers = self._answers, []
            self.turn([*answers, *self._fleet.ended(self.now_s)])
        return self.now_s

    def feed(self, facts: list[Fact]) -> list[Command]:
        """Stamp and handle facts; return what is asked."""
        events = [Event(EventId(self.events + i), self.now_s, f) for i, f in enumerate(facts)]
        self.events += len(events)
        begun_s = time.process_time()
        commands = [command for event in events for command in self.machine.handle(event)]
        self.handling_s += time.process_time() - begun_s
        return commands

    def _recorded(self, commands: list[Command]) -> list[Fact]:
        """Carry commands out, to be answered at the next turn; return what is to be recorded."""
        facts = self._answers
        for command in commands:
            match command:
                case MakePlan(run=run):
                    facts += [self._placement(run), PlanReady(run, (self._tasks,))]
                case SolvePlacement(run=run):
                    facts.append(PlacementKept(run))
                case SendLeases(runner=runner, leases=leases):
                    facts += self._fleet.enqueue(runner, leases, self.now_s)
                case RevokeLeases(runner=runner, leases=leases):
                    self.revoked += len(leases)
                    facts += self._fleet.revoke(runner, leases)
                case PublishSink(run=run, sink=sink):
                    facts.append(SinkPublished(run, sink, "1", 0, 0, 0))
                case SweepRun(run=run):
                    facts.append(RunSwept(run, 0))
                case _:
                    pass
        return [command.fact for command in commands if isinstance(command, Record)]

    def _placement(self, run: RunId) -> Fact:
        usual_s = self._options.runners / self._options.rate
        count = min(POOLS_OF_CLASS, len(self._pools))
        classes = tuple(
            ClassPlacement(
                name=f"lines/{number}",
                stage=0,
                tasks=self._tasks // CLASSES,
                pools=tuple(self._luck.sample(self._pools, count)),
                expected_s=(usual_s,) * count,
            )
            for number in range(CLASSES)
        )
        class_of = pack_classes([task * CLASSES // self._tasks for task in range(self._tasks)])
        return PlacementReady(run, 1, classes, class_of, is_reviewed=True)


def _about(lease: Lease, runner: RunnerId) -> tuple[RunId, int, int, Epoch, RunnerId]:
    return (lease.run, lease.task, lease.attempt, lease.epoch, runner)


def _finished(lease: Lease, runner: RunnerId, duration_s: float) -> Fact:
    payload = f'{{"files":[["data/{lease.run}/{lease.task:07d}.parquet",10,4096,"9f86d081"]]}}'
    result = SinkResult(0, rows=10, size_bytes=4096, schema_fp="one", payload=payload)
    output = AttemptOutput(10, 800, (result,), StepSeconds(compute_s=duration_s))
    return AttemptFinished(*_about(lease, runner), output)


def main() -> None:
    """Run it and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name, usual in (
        ("runners", 10_000),
        ("pools", 50),
        ("tasks", 1_000_000),
        ("runs", 100),
        ("tenants", 10),
        ("rate", 5_000),
    ):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args()
    bench = Bench(options)
    bench.begin()
    begun_s, begun_events, starting_s = bench.now_s, bench.events, bench.handling_s
    took_s = bench.run_out() - begun_s
    handling_s = bench.handling_s - starting_s
    tasks = sum(run.committed for run in bench.machine.runs.values())
    assert tasks == options.tasks // options.runs * options.runs
    numbers = {
        "benchmark": "core_scale",
        **vars(options),
        "simulated_s": round(took_s, 1),
        "tasks_per_s": round(tasks / took_s),
        "revoked": bench.revoked,
        "events": bench.events - begun_events,
        "handling_cpu_s": round(handling_s, 2),
        "starting_cpu_s": round(starting_s, 2),
        "cpu_us_per_task": round(handling_s / tasks * 1e6, 1),
        "cores": round(handling_s / tasks * options.rate, 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
