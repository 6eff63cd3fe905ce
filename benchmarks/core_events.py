"""The core alone: a million tasks to the end, and how many events a second that is.

    python -m benchmarks.core_events [--tasks 1000000] [--runners 16]

Prints one JSON line. Events are made before they are timed only where a runner would make them;
what is timed is the CPU of `Machine.handle`, the garbage that it makes included.
"""

import argparse
import json
import resource
import time
from collections import deque

from rayorch.core.commands import Command, Lease, PublishSink, SendLeases, SweepRun
from rayorch.core.facts import (
    AttemptFinished,
    AttemptStarted,
    Event,
    Fact,
    Led,
    PlanReady,
    RunnerJoined,
    RunSubmitted,
    RunSwept,
    SinkPublished,
    Ticked,
)
from rayorch.core.machine import Machine
from rayorch.core.run import RunState
from rayorch.core.values import AttemptOutput, SinkResult, StageShape, StepSeconds
from rayorch.ids import Epoch, EventId, RunId, RunnerId

RUN = RunId("million")
BATCH = 2_000  # events between two ticks, as the host applies them


class Bench:
    """A host without I/O: runners that are done at once."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.events = 0
        self.handling_s = 0.0
        self.queues: dict[RunnerId, deque[Lease]] = {}
        self.answers: list[Fact] = []

    def feed(self, facts: list[Fact]) -> None:
        """Stamp and handle facts, and carry out what is asked."""
        events = [Event(EventId(self.events + i), 1.0, fact) for i, fact in enumerate(facts)]
        self.events += len(events)
        begun_s = time.process_time()
        commands = [command for event in events for command in self.machine.handle(event)]
        self.handling_s += time.process_time() - begun_s
        for command in commands:
            self._execute(command)

    def _execute(self, command: Command) -> None:
        match command:
            case SendLeases():
                self.queues.setdefault(command.runner, deque()).extend(command.leases)
            case PublishSink():
                self.answers.append(SinkPublished(RUN, command.sink, "1", 0, 0, 0))
            case SweepRun():
                self.answers.append(RunSwept(RUN, 0))
            case _:
                pass

    def turn(self) -> list[Fact]:
        """Return what the runners say next: the start and the end of some attempts."""
        facts, self.answers = self.answers, []
        share = max(1, BATCH // 2 // max(1, len(self.queues)))
        for runner, queue in self.queues.items():
            for _ in range(min(share, len(queue))):
                lease = queue.popleft()
                about = (lease.run, lease.task, lease.attempt, lease.epoch, runner)
                facts.append(AttemptStarted(*about))
                facts.append(AttemptFinished(*about, _output(lease)))
        facts.append(Ticked())
        return facts


def _output(lease: Lease) -> AttemptOutput:
    # As large as a real one: the payload names a file with its checksum.
    payload = f'{{"files":[["data/{RUN}/0-{lease.task:07d}-0-1-0.parquet",10,4096,"9f86d081"]]}}'
    result = SinkResult(0, rows=10, size_bytes=4096, schema_fp="one", payload=payload)
    return AttemptOutput(10, 800, (result,), StepSeconds(compute_s=0.0001))


def main() -> None:
    """Run it and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--runners", type=int, default=16)
    options = parser.parse_args()
    bench = Bench()
    begun_s = time.perf_counter()
    bench.feed([Led(Epoch(1))])
    bench.feed([RunSubmitted(RUN, "bench", "v1", (StageShape("lines", sinks=(0,)),), ("out",))])
    bench.feed([PlanReady(RUN, (options.tasks,))])
    joined = [RunnerJoined(RunnerId(f"r{i}"), "local", 4, 8 << 30) for i in range(options.runners)]
    bench.feed([*joined, Ticked()])
    run = bench.machine.runs[RUN]
    while not run.swept:
        bench.feed(bench.turn())
    assert run.state is RunState.SUCCEEDED
    assert run.committed == options.tasks
    numbers = {
        "benchmark": "core_events",
        "tasks": options.tasks,
        "events": bench.events,
        "events_per_s": round(bench.events / bench.handling_s),
        "handling_s": round(bench.handling_s, 2),
        "wall_s": round(time.perf_counter() - begun_s, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
