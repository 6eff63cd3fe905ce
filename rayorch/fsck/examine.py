"""One look at everything that a home keeps and that its runs have published. Changes nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from connectors.audit import Fault
from connectors.formats.files import store_options
from connectors.outputs import SinkSpec
from connectors.store import Store, open_store
from rayorch.clock import Clock
from rayorch.fsck.findings import Examined, Finding, Looked
from rayorch.fsck.journal import journal_findings
from rayorch.fsck.kept import (
    document_findings,
    exchange_findings,
    identity_of,
    leftover_findings,
)
from rayorch.fsck.outputs import (
    Commits,
    Place,
    look_at_place,
    places_of,
    read_sinks,
    unpublished_findings,
)
from rayorch.home import IDENTITY, Home
from rayorch.host.leader import KEY as LEADER
from rayorch.journal.inspect import Inspected, inspect

ASIDE: Final = "aside/"
"""Where a place keeps what a repair replaced."""


@dataclass(slots=True)
class Look:
    """What was found, and what can be done about some of it: by the number of the finding."""

    journal: Inspected
    examined: Examined
    mendings: dict[int, Callable[[], object]] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)

    def add(self, finding: Finding, mend: Callable[[], object] | None = None) -> None:
        """Take note of a finding."""
        if mend is not None:
            self.mendings[len(self.examined.findings)] = mend
        self.examined.findings.append(finding)


def examine(home: Home, clock: Clock, *, deep: bool = True) -> Look:
    """Look at the journal, the outputs, the exchange files, the documents and what is left over.

    Raises: JournalNewerError, StoreError.
    """
    commits = Commits()
    found = inspect(home.store, commits.watch)
    runs = found.machine.runs
    looked = Looked(
        segments=found.segments,
        events=found.events,
        snapshots=found.snapshots,
        runs=len(runs),
        # Its hint goes when a leader stops in order, with a last note of how far the log goes.
        is_end_noted=home.store.head(LEADER) is None,
    )
    look = Look(found, Examined(home=home.url, looked=looked, findings=[]))
    for finding in journal_findings(found):
        look.add(finding)
    identity = identity_of(home)
    if not identity and any(run.published for run in runs.values()):
        what = "it is missing or cannot be read: a publication that is made again would be doubled"
        advice = "bring it back from a copy before anything is resumed"
        look.add(Finding(area="home", severity="damage", object=IDENTITY, what=what, advice=advice))
    sinks, unread = read_sinks(home, runs)
    for finding in [*unread, *unpublished_findings(runs, sinks, deep=deep)]:
        look.add(finding)
    look.places = places_of(runs, sinks, commits.sums, identity)
    for place in look.places:
        seen, faults = look_at_place(place, deep=deep)
        looked.outputs += 1
        looked.files += seen.files
        looked.size_bytes += seen.size_bytes
        looked.unsummed += seen.unsummed
        for finding, fault in faults:
            look.add(finding, _mending(place.spec, fault))
    for finding in document_findings(home, runs):
        look.add(finding)
    for finding in exchange_findings(home, runs, deep=deep):
        look.add(finding)
    for finding, keys in leftover_findings(home, runs, clock.now_s()):
        look.add(finding, partial(home.store.delete, keys) if keys else None)
    return look


def _mending(spec: SinkSpec, fault: Fault) -> Callable[[], object] | None:
    if fault.kind != "orphan" and fault.mended is None:
        return None
    store = open_store(spec.url, store_options(spec.options))
    if fault.mended is None:
        return partial(store.delete, [fault.key])
    return partial(put_back, store, fault.key, fault.mended, f"{ASIDE}{fault.key}")


def put_back(store: Store, key: str, was: bytes, aside: str) -> None:
    """Replace an object by what it was, and keep what it had become."""
    store.put_if_absent(aside, store.get(key))
    store.put(key, was)
