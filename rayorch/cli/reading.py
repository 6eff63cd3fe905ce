"""A home, read by somebody who does not lead it: its journal, its leader, what runs are to keep."""

from contextlib import suppress
from typing import Any, Final

import msgspec
from pydantic import TypeAdapter

from connectors.errors import ObjectMissingError
from rayorch.client import Connection
from rayorch.core.facts import Event
from rayorch.core.machine import Machine
from rayorch.core.run import Snapshot
from rayorch.errors import HomeBusyError
from rayorch.host.leader import KEY, Leader, check_free
from rayorch.host.local import this_process
from rayorch.ids import RunId, new_nonce
from rayorch.journal.log import Journal
from rayorch.spec.objective import Deadline, Objective

OBJECTIVE_IN: Final = ("pools", "spec")
"""The documents of a run that name its objective: what was asked of the run comes first."""
_OBJECTIVES: Final = TypeAdapter[Objective](Objective)


class HomeReader:
    """Folds a home's journal, and goes on from there at each look.

    With `keep` the events themselves are kept, too.
    """

    def __init__(self, at: Connection, *, keep: bool = False) -> None:
        self.machine = Machine()
        self.events: list[Event] = []
        self.is_folded = False  # the first events are in a snapshot, and not among `events`
        self._keep = keep
        self._journal = Journal(at.home.store, at.clock, new_nonce)

    def look(self) -> Machine:
        """Return the machine as it is by now. Raises: JournalDamagedError, StoreError."""
        self._journal.replay(self._fold, self._restore)
        return self.machine

    def _restore(self, snapshot: Snapshot) -> None:
        self.is_folded = True
        self.machine.restore(snapshot)

    def _fold(self, event: Event) -> None:
        self.machine.fold(event)
        if self._keep:
            self.events.append(event)


def find_leader(at: Connection) -> Leader | None:
    """Return the process that is at work on a home, by its own account; None: nobody is."""
    try:
        check_free(at.home, this_process("look"), at.clock.now_s())
    except HomeBusyError:
        # It may let go while we look.
        with suppress(ObjectMissingError):
            return msgspec.json.decode(at.home.store.get(KEY), type=Leader)
    return None


def metrics_text(leader: Leader | None) -> str:
    """Return where a leader serves its metrics; nothing, when it serves none."""
    if leader is None or not leader.metrics_url:
        return ""
    return f"{leader.metrics_url} (Prometheus, on {leader.machine})"


def find_document(at: Connection, run: RunId, name: str) -> dict[str, Any] | None:
    """Return a document that a run may have. Raises: StoreError."""
    try:
        return at.home.get_json(run, name)
    except ObjectMissingError:
        return None


def read_deadline(at: Connection, run: RunId) -> float | None:
    """Return the deadline of a run, in seconds after its submission; None: it has none."""
    for name in OBJECTIVE_IN:
        document = find_document(at, run, name)
        if document is not None and document.get("objective") is not None:
            objective = _OBJECTIVES.validate_python(document["objective"])
            return objective.within.total_seconds() if isinstance(objective, Deadline) else None
    return None
