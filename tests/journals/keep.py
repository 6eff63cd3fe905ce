"""Keep a journal of the version that is checked out, for all later ones to replay.

    python -m tests.journals.keep

Run it once, when a version is released, and commit what it writes to `tests/journals/VERSION`: the
journal of a small home, and `expected.json`, the state that this version folds it to. Nothing that
is kept is ever changed: a later version that reads it differently has broken somebody's home.

The home has had a run that was placed on pools with prices, one that failed there once, one through
an exchange, one that failed for good, one that was cancelled, one that was resumed, two leaders, a
snapshot in the middle, and records behind it.
"""

import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

import rayorch as ro
from connectors.store import Store
from rayorch.clock import SystemClock
from rayorch.core.facts import Event, RunCancelRequested
from rayorch.core.invariants import durable_view
from rayorch.core.machine import Machine
from rayorch.errors import RunFailedError
from rayorch.ids import EventId, RunId, new_nonce
from rayorch.journal.log import Journal
from rayorch.version import our_version
from tests.rayorch.cli import placed_run

KEPT: Final = Path(__file__).parent
EXPECTED: Final = "expected.json"
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


def keep() -> int:
    """Write what is to be kept of this version, unless something is."""
    place = KEPT / our_version()
    if place.exists():
        sys.stderr.write(f"{place} is kept already, and must not change\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        store = write(Path(folder))
        state = state_of(folded(store, from_snapshot=True))
        assert state == state_of(folded(store, from_snapshot=False))
        for info in store.list("journal/"):
            path = place / info.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(store.get(info.key))
    (place / EXPECTED).write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(keep())
