"""The trace of a run that nobody saw from its beginning to its end, by its journal."""

from rayorch.clock import Clock
from rayorch.core.facts import Event
from rayorch.core.machine import Machine
from rayorch.core.run import Snapshot
from rayorch.home import Home
from rayorch.host.profiling import Trace, Traces
from rayorch.ids import RunId, new_nonce
from rayorch.journal.log import Journal


def retraced(home: Home, clock: Clock, run: RunId) -> Trace | None:
    """Return the trace of a run at rest by its journal; None, if that has no attempt of it.

    What the journal does not have (how long a runner was busy between two attempts) is not in it;
    a runner counts from its first attempt to its last, since nobody wrote down when it was lost.
    Raises: JournalDamagedError, StoreError.
    """
    machine, traces = Machine(), Traces()

    def seen(event: Event) -> None:
        machine.fold(event)
        if getattr(event.fact, "run", run) == run:
            traces.saw(event, machine)

    def restored(snapshot: Snapshot) -> None:
        machine.restore(snapshot)
        if run in machine.runs:
            traces.found(machine.runs[run])

    Journal(home.store, clock, new_nonce).replay(seen, restored)
    trace = traces.taken(machine.runs[run], machine)
    return trace if trace is not None and trace.ended else None
