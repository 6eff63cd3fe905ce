"""Reading a home without leading it: what its journal says of its runs."""

from rayorch.clock import Clock
from rayorch.core.machine import Machine
from rayorch.errors import UnknownRunError
from rayorch.home import Home
from rayorch.ids import RunId, new_nonce
from rayorch.journal.log import Journal
from rayorch.observe.view import RunView, view_of


def read_runs(home: Home, clock: Clock) -> list[RunView]:
    """Return where all runs of a home stand by its journal, oldest first.

    Raises: JournalDamagedError, StoreError.
    """
    machine = read_machine(home, clock)
    return [view_of(run, machine, clock.now_s()) for run in machine.runs.values()]


def read_run(home: Home, clock: Clock, run: str) -> RunView:
    """Return where one run stands by the journal. Raises: UnknownRunError, with a near miss."""
    machine = read_machine(home, clock)
    found = machine.runs.get(RunId(run))
    if found is None:
        raise UnknownRunError(run, tuple(machine.runs))
    return view_of(found, machine, clock.now_s())


def read_machine(home: Home, clock: Clock) -> Machine:
    """Return the state that the journal of a home folds to."""
    machine = Machine()
    Journal(home.store, clock, new_nonce).replay(machine.fold, machine.restore)
    return machine
