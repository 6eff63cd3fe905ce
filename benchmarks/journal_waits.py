"""What a journal costs the tasks of a run: flushes that reports wait for, and idle runners.

    python -m benchmarks.journal_waits [--tasks 1000] [--runners 8] [--task-ms 50]
                                       [--latency-ms 15] [--home URL]

Runs tasks of equal length on a real control host, its runners threads of this process, once for
each kind of journal: in memory, on files (or under `--home`), and in memory where each create takes
as long as `--latency-ms` says: 15 ms is what S3 takes, 100 ms a slow day. Nothing else is slowed.

`waited` counts, for each commit, the flushes of others that ended between the runner's report and
the commit's own flush: 1 when the report came while a segment was being stored. `overhead` is how
much longer the runners took, from the first start to the last report, than with the journal in
memory, whose own creates take no time: tasks that wait for the journal would show there. The
median of the rounds, in turn. Prints one JSON line for each kind of journal.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

import rayorch as ro
from connectors.store import Store, open_store
from rayorch.clock import SystemClock
from rayorch.compiling import compile_program, pipeline_version
from rayorch.core.facts import AttemptFinished, AttemptStarted, Event, Fact
from rayorch.core.machine import Machine
from rayorch.home import Home
from rayorch.host.host import ControlHost
from rayorch.host.inbox import Ticket
from rayorch.host.inprocess import POOL, InProcessExecutor
from rayorch.host.leader import this_process
from rayorch.host.local import News
from rayorch.ids import RunId, TaskId, new_nonce
from rayorch.journal.log import LOG, Journal
from rayorch.program import dump_program
from rayorch.sim.store import Mishap, UnsureStore
from rayorch.submission import submission

RUN: Final = RunId("waits")
NEWS_S: Final = 1.0
OVER: Final = frozenset({"succeeded", "failed"})


class Found(msgspec.Struct):
    """What one run told."""

    span_s: float
    flushes: int
    waited: Counter[int]


class Watch:
    """Notes when runners report, and how many flushes end before that is stored."""

    def __init__(self) -> None:
        self.flushes = 0
        self.waited: Counter[int] = Counter()
        self.began_s = self.ended_s = 0.0
        self._offered: dict[TaskId, int] = {}

    def offered(self, facts: Sequence[Fact]) -> None:
        """Note what somebody is about to queue."""
        now_s = time.perf_counter()
        for fact in facts:
            if isinstance(fact, AttemptStarted):
                self.began_s = self.began_s or now_s
            elif isinstance(fact, AttemptFinished):
                self.ended_s = now_s
                self._offered[fact.task] = self.flushes

    def flushed(self, _duration_s: float, _events: int) -> None:
        """Count a segment that is stored."""
        self.flushes += 1

    def saw(self, events: Sequence[Event], _machine: Machine) -> None:
        """Look at what was stored by the latest flush."""
        for event in events:
            if isinstance(event.fact, AttemptFinished):
                others = self.flushes - self._offered[event.fact.task] - 1
                self.waited[others] += 1


class WatchedHost(ControlHost):
    """A control host that says what is offered."""

    watch: Watch

    def offer(
        self,
        facts: Sequence[Fact],
        on_settled: Callable[[BaseException | None], None] | None = None,
    ) -> Ticket:
        """Queue facts."""
        self.watch.offered(facts)
        return super().offer(facts, on_settled)


def slowed(store: Store, latency_s: float) -> Store:
    """Return a store that takes so long for each segment of a journal."""

    def wait(key: str) -> Mishap | None:
        if key.startswith(LOG):
            time.sleep(latency_s)
        return None

    return UnsureStore(store, wait)


def run_on(store: Store, tasks: int, runners: int, task_s: float) -> Found:
    """Run the tasks with their journal on a store."""
    home, clock, watch, news = Home(store), SystemClock(), Watch(), News()
    pipeline = _pipeline(tasks, task_s)
    spec, program = pipeline.spec(), compile_program(pipeline)
    version = pipeline_version(spec, program)
    home.put_program(RUN, version, dump_program(program))
    host = WatchedHost(
        home,
        InProcessExecutor(home, clock, {POOL: runners}),
        Journal(store, clock, new_nonce),
        clock,
        (watch, news),
        leader=this_process("in-process"),
    )
    host.watch = watch
    host.start()
    try:
        host.offer([submission(RUN, spec, program, version)]).wait()
        while (state := host.view(RUN).state) not in OVER:
            news.wait(NEWS_S)
    finally:
        host.stop()
    assert state == "succeeded", host.view(RUN)
    assert watch.waited.total() == tasks, watch.waited
    return Found(watch.ended_s - watch.began_s, watch.flushes, watch.waited)


def _pipeline(tasks: int, task_s: float) -> ro.Pipeline:
    pipeline = ro.Pipeline("waits", owner="benchmarks")
    numbers = pipeline.read("numbers", f"range://{tasks}?splits={tasks}")

    @pipeline.map(numbers, output="slept", memory="16 MiB")
    def slept(batch: pa.Table) -> pa.Table:
        time.sleep(task_s)
        return batch

    slept.write(f"memory://waits-{new_nonce()}/out", format="parquet")
    return pipeline


def main() -> None:
    """Run it and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tasks", type=int, default=1_000)
    parser.add_argument("--runners", type=int, default=8)
    parser.add_argument("--task-ms", type=float, default=50.0)
    parser.add_argument("--latency-ms", type=float, nargs="*", default=[15.0, 100.0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--home", default="", help="folder or bucket for the journal; else files")
    options = parser.parse_args()
    found: dict[str, list[Found]] = {}
    with tempfile.TemporaryDirectory(prefix="rayorch-waits-") as folder:
        root = options.home or Path(folder).as_uri()
        for _ in range(options.rounds):
            name = new_nonce()
            stores = {
                "memory": open_store(f"memory://{name}/home"),
                options.home or "files": open_store(f"{root}/{name}"),
            }
            for latency_ms in options.latency_ms:
                slow = open_store(f"memory://{name}-{latency_ms:g}/home")
                stores[f"{latency_ms:g} ms"] = slowed(slow, latency_ms / 1000.0)
            for kind, store in stores.items():
                one = run_on(store, options.tasks, options.runners, options.task_ms / 1000.0)
                found.setdefault(kind, []).append(one)
    usual_s = statistics.median(each.span_s for each in found["memory"])
    for kind, runs in found.items():
        span_s = statistics.median(each.span_s for each in runs)
        waited = sum((each.waited for each in runs), Counter[int]())
        numbers = {
            "benchmark": "journal_waits",
            "journal": kind,
            "tasks": options.tasks,
            "runners": options.runners,
            "task_ms": options.task_ms,
            "rounds": options.rounds,
            "flushes": round(statistics.median(each.flushes for each in runs)),
            "waited_max": max(waited),
            "waited": {str(count): waited[count] for count in sorted(waited)},
            "span_s": round(span_s, 3),
            "overhead": round(span_s / usual_s - 1.0, 4),
        }
        print(json.dumps(numbers))


if __name__ == "__main__":
    main()
