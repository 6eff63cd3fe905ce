"""A home, looked at by somebody who does not lead it: its journal, its leader, logs of its runs."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

from connectors.errors import ObjectMissingError
from rayorch.client import Connection
from rayorch.core.facts import Event
from rayorch.core.machine import Machine
from rayorch.core.run import Snapshot
from rayorch.errors import HomeBusyError
from rayorch.host.leader import KEY, Leader, check_free, this_process
from rayorch.ids import RunId, new_nonce
from rayorch.journal.log import Journal
from rayorch.observe.logs import log_prefix

Line = dict[str, Any]
"""One line of a run's log."""


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


class LogTail:
    """Reads each object of a run's log once."""

    def __init__(self, at: Connection, run: RunId) -> None:
        self._store = at.home.store
        self._prefix = log_prefix(run)
        self._seen: set[str] = set()

    def news(self) -> Iterator[Line]:
        """Yield the lines that are new, in the order of their time."""
        lines: list[Line] = []
        for info in self._store.list(self._prefix):
            if info.key not in self._seen:
                self._seen.add(info.key)
                lines += map(msgspec.json.decode, self._store.get(info.key).splitlines())
        # Stable: lines of one time stay in the order in which they were written.
        yield from sorted(lines, key=lambda line: line["at_s"])
