"""A home's journal, read by somebody who does not lead it."""

from rayorch.client import Connection
from rayorch.core.facts import Event
from rayorch.core.machine import Machine
from rayorch.core.run import Snapshot
from rayorch.ids import new_nonce
from rayorch.journal.log import Journal


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
