"""Learns from a run's attempts, for the plan of the next: an observer of the control host.

The host's thread only notes what attempts took. When a run comes to rest, a thread of our own adds
that to the estimates under the home; no run waits for it, and none fails by it.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from connectors.errors import ConnectorError
from rayorch.core.facts import AttemptFinished, Event
from rayorch.core.machine import Machine
from rayorch.core.run import ACTIVE
from rayorch.home import Home
from rayorch.host.profiling import Trace, Traces, keep_profile
from rayorch.ids import RunId, TaskId
from rayorch.plan.estimate import Calibration, Measured, calibrated, estimate_of, observe
from rayorch.plan.history import (
    Calibrations,
    get_calibrations,
    get_expected,
    load_history,
    put_calibrations,
    save_history,
    works_of,
)

NOTED_MAX: Final = 100_000
"""Attempts of one run that are learned from: more say nothing new, and each takes memory."""

logger = logging.getLogger(__name__)


class Noted(msgspec.Struct, frozen=True, gc=False):
    """What the host's thread notes of an attempt that was committed."""

    pool: str
    duration_s: float
    memory_bytes: int
    out_bytes: int


class EstimateKeeper:
    """Keeps the estimates of a home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._noted: dict[RunId, dict[TaskId, Noted]] = {}
        self._traces = Traces()
        # One thread: histories are read, added to and written back.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="rayorch-estimates")

    def saw(self, events: Sequence[Event], machine: Machine) -> None:
        """Note what committed attempts took; begin to write when their run has come to rest."""
        touched: dict[RunId, None] = {}
        for event in events:
            fact = event.fact
            self._traces.saw(event, machine)
            if isinstance(fact, AttemptFinished):
                slot = machine.runners.get(fact.runner)
                self._note(fact, slot.pool if slot is not None else "")
            run = getattr(fact, "run", None)
            if run in self._noted:
                touched[run] = None
        for run_id in touched:
            found = machine.runs.get(run_id)
            if found is None or found.state not in ACTIVE:
                trace = None if found is None else self._traces.taken(found, machine)
                self._writer.submit(self._keep, run_id, self._noted.pop(run_id), trace)

    def close(self) -> None:
        """Write what runs at rest have left to write, and end."""
        self._writer.shutdown()

    def _note(self, fact: AttemptFinished, pool: str) -> None:
        noted = self._noted.setdefault(fact.run, {})
        output = fact.output
        # The first report of a task is the one that counts, as it is in the journal.
        # One that was cut did not read what was planned for it.
        if output.cut or fact.task in noted or len(noted) >= NOTED_MAX:
            return
        noted[fact.task] = Noted(
            pool=pool,
            duration_s=output.seconds.total_s,
            memory_bytes=output.memory_bytes,
            out_bytes=sum(result.size_bytes for result in output.results),
        )

    # --- in a thread of its own --------------------------------------------------------------

    def _keep(self, run: RunId, noted: dict[TaskId, Noted], trace: Trace | None) -> None:
        try:
            learn(self._home, run, noted)
            if trace is not None:
                keep_profile(self._home, run, trace)
        except ConnectorError as error:
            logger.warning("nothing is learned of a run. run=%s, reason=%s", run, error)
        # Nobody waits for this thread: a bug of ours would never be heard of.
        except Exception:
            logger.exception("nothing is learned of a run. run=%s", run)


def learn(home: Home, run: RunId, noted: dict[TaskId, Noted]) -> None:
    """Add a run's attempts to the histories of its stages, and to the run's calibration.

    Raises: StoreError.
    """
    expected = get_expected(home, run).stages
    if not expected or not noted:
        return
    before = {each.version: each for each in get_calibrations(home, run).stages}
    first, kept = 0, []
    for stage, planned in zip(expected, home.get_plan(run).stages, strict=True):
        works = works_of(planned.splits)
        tasks = range(first, first + len(works))
        some = [
            Measured(works[task - first], n.pool, n.duration_s, n.memory_bytes, n.out_bytes)
            for task in tasks
            if (n := noted.get(TaskId(task))) is not None
        ]
        first += len(works)
        history = load_history(home, stage.version, stage.name)
        empty = Calibration(stage.name, stage.version, history.attempts)
        record = before.get(stage.version, empty)
        if some:
            record = calibrated(record, estimate_of(history), some)
            save_history(home, observe(history, some))
        kept.append(record)
    put_calibrations(home, run, Calibrations(tuple(kept)))
