"""A home in memory with a journal of two runs, one ended and one that goes on."""

from collections.abc import Callable
from itertools import count

from connectors.stores.memory import MemoryStore
from rayorch.clock import ManualClock
from rayorch.core.facts import Fact, RunCancelRequested, RunStopRequested, RunSwept
from rayorch.core.machine import Machine
from rayorch.fsck.examine import Look, examine
from rayorch.fsck.findings import Examined, Finding
from rayorch.fsck.repair import repair
from rayorch.home import Home, RunPlan
from rayorch.ids import RunId
from rayorch.journal.log import LOG, SNAP, Journal, segment_key
from tests.rayorch import make
from tests.rayorch.driver import Driver

OTHER = RunId("hourly-1")
_PLACES = count()


class Desk:
    """A home, its journal's leader, and what the journal says."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(f"fsck-{next(_PLACES)}", now_s=self.clock.now_s)
        self.home = Home(self.store)
        self.driver = Driver()
        self._nonces = count()
        self.journal = self.reader()
        self.journal.replay(lambda _event: None)
        self.journal.lead(lambda _event: None)

    def nonce(self) -> str:
        return f"nonce-{next(self._nonces)}"

    def reader(self) -> Journal:
        return Journal(self.store, self.clock, self.nonce)

    def tell(self, *facts: Fact) -> None:
        """Journal facts, as a host does, and handle them: a segment for each."""
        for fact in facts:
            begun = len(self.driver.events)
            self.driver.feed(fact)
            self.journal.append(self.driver.events[begun:])

    def fill(self, *, snapshot: bool = True) -> "Desk":
        """Write about ten segments: with a snapshot, it covers the first half."""
        for run in (make.RUN, OTHER):
            self.home.put_json(run, "spec", {"writes": []})
            self.home.put_program(run, "v1", b"pickled")
            self.home.put_program(run, "v2", b"pickled")
            self.home.put_plan(run, RunPlan(()))
        self.tell(make.submitted(run=make.RUN), make.planned(3, run=make.RUN))
        self.tell(RunCancelRequested(make.RUN), RunSwept(make.RUN, 0))
        if snapshot:
            self.journal.write_snapshot(self.driver.machine.snapshot())
        self.tell(make.submitted(run=OTHER), make.planned(2, run=OTHER))
        self.tell(RunStopRequested(OTHER), make.resumed(run=OTHER))
        self.journal.mark()
        return self

    def spoil(self, key: str, change: Callable[[bytes], bytes]) -> None:
        self.store.put(key, change(self.store.get(key)))

    def flip(self, key: str, bit: int) -> None:
        data = bytearray(self.store.get(key))
        data[bit // 8] ^= 1 << bit % 8
        self.store.put(key, bytes(data))

    def keys(self, prefix: str) -> list[str]:
        return [info.key for info in self.store.list(prefix)]

    def content(self) -> dict[str, bytes]:
        return {info.key: self.store.get(info.key) for info in self.store.list()}

    def examine(self) -> Look:
        return examine(self.home, self.clock)

    def findings(self, area: str = "journal") -> list[Finding]:
        return [f for f in self.examine().examined.findings if f.area == area]

    def repair(self, *, salvage: bool = False) -> Examined:
        return repair(self.home, self.clock, self.nonce, salvage=salvage)

    def folded(self) -> Machine:
        """What an ordinary reader finds."""
        machine = Machine()
        self.reader().replay(machine.fold, machine.restore)
        return machine


__all__ = ["LOG", "OTHER", "SNAP", "Desk", "segment_key"]
