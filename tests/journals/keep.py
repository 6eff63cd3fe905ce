"""Keep a journal of the version that is checked out, for all later ones to replay.

    python -m tests.journals.keep

Run it once, when a version is released, and commit what it writes to `tests/journals/VERSION`: the
journal of a small home, and `expected.json`, the state that this version folds it to. Nothing that
is kept is ever changed: a later version that reads it differently has broken somebody's home.

The home has had a run that was placed on pools with prices, one that failed there once, one through
an exchange, one that failed for good, one that was cancelled, one that was resumed, two leaders, a
snapshot in the middle, and records behind it. A second journal, `VERSION-facts`, is of a simulated
home that has had every durable fact.
"""

import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

import rayorch as ro
from connectors.store import Store
from connectors.stores.memory import MemoryStore
from rayorch.clock import ManualClock, SystemClock
from rayorch.core.facts import Event, Fact, RunCancelRequested
from rayorch.core.invariants import durable_view
from rayorch.core.machine import Machine
from rayorch.core.node_facts import PoolIdled
from rayorch.errors import RunFailedError
from rayorch.ids import EventId, RunId, new_nonce
from rayorch.journal.log import Journal
from rayorch.sim.config import SimConfig, SimFaults
from rayorch.sim.simulate import simulate
from rayorch.version import our_version
from tests.rayorch.cli import placed_run

KEPT: Final = Path(__file__).parent
EXPECTED: Final = "expected.json"
FACTS_SEED: Final = 11
FACTS_WORLD: Final = SimConfig(
    runs=3,
    tasks_max=8,
    quotas=1.0,
    merged=0.5,
    small=0.0,
    elastic=0.5,
    snapshot_segments=1_000_000,
    faults=SimFaults(
        until_s=60.0,
        plan_fails=0.4,
        schema_differs=0.05,
        solver_fails=0.3,
        publish_fails=0.3,
        runner_refused=0.1,
        node_taken=6,
        long_sleep=0.0,
        control_usurped=1,
        attempt_hangs=0.03,
    ),
)
"""A world, and a seed of it, in which all durable facts are; with later code, it may be another."""
SOURCE: Final = """
import pyarrow as pa
import rayorch as ro

pipeline = ro.Pipeline(NAME, owner="data-platform")
numbers = pipeline.read("numbers", "range://90")

@pipeline.map(numbers)
def keyed(batch):
    if FAILS:
        raise ValueError("no such price")
    keys = pa.array([each.as_py() % 7 for each in batch.column(0)])
    return batch.append_column("key", keys)

keyed.write(FOLDER + "/keyed", format="parquet")
counts = keyed.aggregate("counts", by=["key"], rows=("*", "count"))
counts.write(FOLDER + "/counts", format="parquet")
"""


def folded(store: Store, *, from_snapshot: bool) -> Machine:
    """Return the state that a journal folds to, with or without its snapshots."""
    machine = Machine()
    restore = machine.restore if from_snapshot else None
    Journal(store, SystemClock(), new_nonce).replay(machine.fold, restore)
    return machine


def state_of(machine: Machine) -> dict[str, Any]:
    """Return the durable state, as JSON has it."""
    data = msgspec.json.encode(durable_view(machine))
    state: dict[str, Any] = msgspec.json.decode(data)
    return state


def _pipeline(name: str, folder: Path, *, fails: bool = False) -> ro.Pipeline:
    names: dict[str, Any] = {"NAME": name, "FOLDER": str(folder / name), "FAILS": fails}
    # Compiled under a name of its own: the journal keeps the file of a function that failed.
    exec(compile(SOURCE, "nightly.py", "exec"), names)  # noqa: S102 - our own text, above
    pipeline: ro.Pipeline = names["pipeline"]
    return pipeline


def write(folder: Path) -> Store:
    """Write the home under a folder; return its store."""
    home = placed_run.write(str(folder / "home"))
    _run(_pipeline("exchanged", folder), home.url)
    _run(_pipeline("failed", folder, fails=True), home.url)
    journal = Journal(home.store, SystemClock(), new_nonce)
    machine = Machine()
    journal.replay(machine.fold, machine.restore)
    journal.lead(machine.fold)
    journal.write_snapshot(machine.snapshot())
    _run(_pipeline("doomed", folder, fails=True), home.url)
    _run(_pipeline("later", folder), home.url)
    _cancel(home.store, "doomed")
    return home.store


def _run(pipeline: ro.Pipeline, home: str) -> None:
    with suppress(RunFailedError):
        ro.run(pipeline, home=home, executor="in-process")


def _cancel(store: Store, name: str) -> None:
    """Cancel a run, and lead no more before anything is swept."""
    journal = Journal(store, SystemClock(), new_nonce)
    machine = Machine()
    journal.replay(machine.fold, machine.restore)
    journal.lead(machine.fold)
    run = next(RunId(each) for each in machine.runs if each.startswith(name))
    event = Event(EventId(machine.through + 1), SystemClock().now_s(), RunCancelRequested(run))
    journal.append([event])
    journal.mark()


def write_facts() -> Store:
    """Write a journal with every durable fact in it, of a simulated home; return its store."""
    store = MemoryStore("facts")
    outcome = simulate(FACTS_SEED, FACTS_WORLD, store=lambda _agenda: store)
    assert outcome.finished
    assert not outcome.violations
    clock = ManualClock()
    journal = Journal(store, clock, new_nonce)
    machine = Machine()
    journal.replay(machine.fold, machine.restore)
    journal.lead(machine.fold)
    journal.write_snapshot(machine.snapshot())
    # No version makes it any more; journals of before have it.
    idled = PoolIdled(next(iter(machine.runs)), "local", 1.5)
    journal.append([Event(EventId(machine.through + 1), machine.at_s, idled)])
    journal.mark()
    return store


def kinds_of(store: Store) -> set[type[Fact]]:
    """Return the kinds of fact that the log of a journal has."""
    kinds: set[type[Fact]] = set()
    Journal(store, SystemClock(), new_nonce).replay(lambda event: kinds.add(type(event.fact)))
    return kinds


def keep() -> int:
    """Write what is to be kept of this version, and is not."""
    with tempfile.TemporaryDirectory() as folder:
        makers = {
            KEPT / our_version(): lambda: write(Path(folder)),
            KEPT / f"{our_version()}-facts": write_facts,
        }
        missing = {place: make for place, make in makers.items() if not place.exists()}
        for place, make in missing.items():
            _keep(place, make())
    if not missing:
        sys.stderr.write(f"{our_version()} is kept already, and must not change\n")
    return 0 if missing else 1


def _keep(place: Path, store: Store) -> None:
    state = state_of(folded(store, from_snapshot=True))
    assert state == state_of(folded(store, from_snapshot=False))
    for info in store.list("journal/"):
        path = place / info.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.get(info.key))
    (place / EXPECTED).write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=1))


if __name__ == "__main__":
    sys.exit(keep())
