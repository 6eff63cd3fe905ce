"""How long a leader needs to know where it stands: a journal of a million tasks, and a snapshot.

    python -m benchmarks.recovery [--tasks 1000000] [--batch 100] [--home URL]

Writes the journal of one run on local files (or under `--home`, in a new folder, which it empties
at the end), as a host would: each task's commit with the file that
it wrote, so many commits a segment. Then replays it, writes a snapshot, and replays that; each as
`ControlHost.start` does, up to the point where it could lead. Prints one JSON line. CPU seconds are
given beside the wall's, for a machine that is shared.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from connectors.store import Store, open_store
from rayorch.clock import SystemClock
from rayorch.core.facts import (
    AttemptFinished,
    Event,
    Fact,
    Led,
    PlanReady,
    RunSubmitted,
)
from rayorch.core.machine import Machine
from rayorch.core.values import AttemptOutput, SinkResult, StageShape, StepSeconds
from rayorch.ids import Epoch, EventId, RunId, RunnerId, TaskId, new_nonce
from rayorch.journal.log import LOG, Journal

RUN = RunId("million")
PAYLOAD = (
    '{"sink":0,"rows":10,"size_bytes":4096,"files":[{"key":"_data/million/0-%07d-0-1-00000.parquet"'
    ',"rows":10,"size_bytes":4096,"checksum":"9f86d081884c7d65"}],"schema_fp":"55b3d7a1c0ffee00"}'
)


def write_journal(store: Store, tasks: int, batch: int) -> None:
    """Write what one run of so many tasks leaves in the journal before it publishes."""
    journal = Journal(store, SystemClock(), new_nonce)
    journal.replay(lambda _event: None)
    journal.lead(lambda _event: None)
    head: list[Fact] = [
        Led(Epoch(1)),
        RunSubmitted(RUN, "bench", "v1", (StageShape("lines", sinks=(0,)),), ("out",)),
        PlanReady(RUN, (tasks + 1,)),  # one more than commit: the run goes on
    ]
    journal.append([Event(EventId(i + 1), 1.0, fact) for i, fact in enumerate(head)])
    for first in range(0, tasks, batch):
        facts = [_finished(task) for task in range(first, min(first + batch, tasks))]
        begun = len(head) + first + 1
        journal.append([Event(EventId(begun + i), 1.0, fact) for i, fact in enumerate(facts)])
    journal.mark()


def _finished(task: int) -> AttemptFinished:
    result = SinkResult(0, 10, 4096, "55b3d7a1c0ffee00", PAYLOAD % task)
    seconds = StepSeconds(read_s=0.01, compute_s=0.2, write_s=0.03, wait_s=0.01, cpu_s=0.2)
    output = AttemptOutput(10, 800, (result,), seconds, 1 << 20, 800, 1, 1)
    runner = RunnerId(f"runner-{task % 64}")
    return AttemptFinished(RUN, TaskId(task), 0, Epoch(1), runner, output, "local")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the wall and the CPU seconds of some work."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall_s, time.process_time() - cpu_s


def recovered(store: Store) -> tuple[Machine, Journal]:
    """Return the state that a leader starts from, when it knows what it asks for first."""
    machine, journal = Machine(), Journal(store, SystemClock(), new_nonce)
    journal.replay(machine.fold, machine.restore)
    epoch = journal.lead(machine.fold)
    machine.handle(Event(EventId(machine.through + 1), 2.0, Led(epoch)))
    machine.outstanding(machine.through, 2.0)
    return machine, journal


def main() -> None:
    """Run it and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=100, help="commits a segment")
    parser.add_argument("--home", default="", help="folder or bucket for the journal; else files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rayorch-recovery-") as folder:
        store = open_store(f"{options.home or Path(folder).as_uri()}/recovery-{new_nonce()}")
        append_s = timed(lambda: write_journal(store, options.tasks, options.batch))
        log_bytes = sum(info.size_bytes for info in store.list(LOG))
        found: list[tuple[Machine, Journal]] = []
        journal_s = timed(lambda: found.append(recovered(store)))
        machine, journal = found[0]
        assert machine.runs[RUN].committed == options.tasks
        keys: list[str] = []
        write_s = timed(lambda: keys.append(journal.write_snapshot(machine.snapshot())))
        snapshot_bytes = len(store.get(keys[0]))
        snapshot_s = timed(lambda: found.append(recovered(store)))
        assert found[1][0].runs[RUN].committed == options.tasks
        store.delete([info.key for info in store.list()])
    numbers = {
        "benchmark": "recovery",
        "tasks": options.tasks,
        "journal_mb": round(log_bytes / 1e6),
        "journal_bytes": log_bytes,
        "append_s": round(append_s[0], 2),
        "snapshot_mb": round(snapshot_bytes / 1e6),
        "journal_s": round(journal_s[0], 2),
        "journal_cpu_s": round(journal_s[1], 2),
        "write_snapshot_s": round(write_s[0], 2),
        "write_snapshot_cpu_s": round(write_s[1], 2),
        "snapshot_s": round(snapshot_s[0], 2),
        "snapshot_cpu_s": round(snapshot_s[1], 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
