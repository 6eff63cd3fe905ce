"""Mend a home: under its lead, so that nobody else changes it meanwhile.

What is done, and why nothing that a reader could see is lost by it:

* A flipped bit is flipped back where two checksums prove which one it was. What was there is kept.
* Where the state is known although the log is damaged, a new snapshot takes the log's place. The
  damaged segments stay where they are: their numbers must never be used again, and collection
  takes them when it may.
* Orphans go, of runs that have ended and been swept: no attempt of theirs can commit any more.
* Uploads and hidden files that writers left half-written go an hour after they were begun: under
  the home, and where runs wrote to that are over. No list shows them.
* With `salvage`, runs whose records are lost are given up: they are closed as they are, and not
  even their staged files are deleted, for they may have been published in a record that is lost.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from rayorch.clock import Clock
from rayorch.core.run import Run, RunState, Snapshot
from rayorch.core.task import TaskState
from rayorch.core.values import ErrorInfo
from rayorch.fsck.examine import Look, examine, put_back
from rayorch.fsck.findings import Examined
from rayorch.fsck.journal import is_uncertain
from rayorch.fsck.kept import LEFT_S
from rayorch.fsck.outputs import sweep_unfinished
from rayorch.home import Home
from rayorch.host.leader import check_free, sign, this_process, unsign
from rayorch.ids import EventId
from rayorch.journal.inspect import ASIDE, Inspected
from rayorch.journal.log import Journal

NAME: Final = "rayorch fsck --repair"
GIVEN_UP: Final = (
    "given up by `rayorch fsck --salvage`: the records of how it went on are lost. "
    "What it published, if it did, is visible; nothing of it was deleted"
)


def repair(
    home: Home,
    clock: Clock,
    new_nonce: Callable[[], str],
    *,
    deep: bool = True,
    salvage: bool = False,
) -> Examined:
    """Mend what can be mended, and return what was found, with what is mended marked.

    A journal that has lost records is left as it is, and everything else too, without `salvage`.
    Raises: HomeBusyError, naming who leads; FencedError, when somebody took the lead; StoreError.
    """
    us = this_process(NAME)
    check_free(home, us, clock.now_s())
    look = examine(home, clock, deep=deep)
    if look.journal.lost and not salvage:
        return look.examined
    if not _anything(look, salvage=salvage):
        _sweep_unfinished(home, look, clock)
        return look.examined
    journal = Journal(home.store, clock, new_nonce)
    journal.stand_behind(look.journal.last, look.journal.tail)
    # Behind our fence nobody appends any more; what somebody did just before it is folded.
    journal.lead(look.journal.machine.fold)
    sign(home, msgspec.structs.replace(us, at_s=clock.now_s()))
    try:
        _mend_journal(home, journal, look, salvage=salvage)
        for number, mend in look.mendings.items():
            mend()
            _mark(look, number)
        _sweep_unfinished(home, look, clock)
        journal.check_lead()
    finally:
        unsign(home)
    return look.examined


def _anything(look: Look, *, salvage: bool) -> bool:
    return any(f.repair for f in look.examined.findings) or (salvage and bool(look.journal.lost))


def _sweep_unfinished(home: Home, look: Look, clock: Clock) -> None:
    """Remove what is too old to be written any more: nobody leads, or we do."""
    before_s = clock.now_s() - LEFT_S
    swept = home.store.sweep_unfinished("", before_s)
    look.examined.unfinished = swept + sweep_unfinished(look.places, before_s)


def _mark(look: Look, number: int) -> None:
    findings = look.examined.findings
    findings[number] = msgspec.structs.replace(findings[number], is_repaired=True)


def _mend_journal(home: Home, journal: Journal, look: Look, *, salvage: bool) -> None:
    found = look.journal
    for damage in found.damages:
        if damage.mended is not None:
            aside = ASIDE + damage.key.replace("/", "-")
            put_back(home.store, damage.key, damage.mended, aside)
    if found.damages:
        state = found.machine.snapshot()
        journal.write_snapshot(_salvaged(found, state) if found.lost else state)
    journal.mark()
    for number, finding in enumerate(look.examined.findings):
        if finding.area == "journal" and (finding.repair or (salvage and finding.advice)):
            _mark(look, number)


def _salvaged(found: Inspected, state: Snapshot) -> Snapshot:
    """Close the runs that may have gone on in records that are lost."""
    for run in state.runs:
        if is_uncertain(run):
            _give_up(run)
    # The ids of lost events must not be given again.
    return Snapshot(EventId(max(found.seen_ids, state.through)), state.runs)


def _give_up(run: Run) -> None:
    run.state, run.target, run.error = RunState.CANCELLED, None, ErrorInfo(message=GIVEN_UP)
    # Swept, so that no leader ever sweeps it: some of its files may be visible.
    run.swept = True
    run.outputs, run.parts, run.charged = {}, {}, {}
    run.tasks = [
        task
        if task.state is TaskState.COMMITTED
        else msgspec.structs.replace(task, state=TaskState.CANCELLED, runner=None)
        for task in run.tasks
    ]
