"""The structured log of each run: one JSON object a line, under the home.

    runs/<run>/log/<seq>-<nonce>.jsonl

Objects are written once. The nonce is of the process that wrote them, so that a control actor
never writes over its predecessor's; the order of the lines is that of their `at_s`.

The host's thread and the actor's only append to a buffer; a thread of our own encodes and puts.
The log never stops a run: while the store fails the buffer grows to its limit, then lines are
dropped and counted, and the next line says how many. A process that is killed takes up to
`FLUSH_S` of log with it; the journal is what must not lose anything.
"""

import logging
import secrets
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

import msgspec

from connectors.errors import ConnectorError
from rayorch.clock import Clock
from rayorch.core.facts import (
    AttemptFailed,
    AttemptFinished,
    AttemptLost,
    Event,
    Fact,
    Led,
    RunSwept,
)
from rayorch.core.machine import Machine
from rayorch.core.run import ACTIVE, Run, RunState
from rayorch.home import RUNS, Home
from rayorch.ids import EventId, RunId, TaskId
from rayorch.observe.log_lines import EVERYBODYS, SAYINGS, Line, Seen, line_of, state_line
from rayorch.observe.process_log import ROOT

FLUSH_S: Final = 1.0
FLUSH_BYTES: Final = 256 * 1024
BUFFER_BYTES_MAX: Final = 16 * 1024 * 1024
RETRY_S: Final = 5.0
"""Between tries while the store fails."""
QUIET_TASKS: Final = 10_000
"""A run with more tasks logs its failures and its sums, not every attempt that went well."""

_LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_ENCODER: Final = msgspec.json.Encoder()

logger = logging.getLogger(__name__)
# A library says nothing on its own: without this, warnings go to stderr as bare text.
logging.getLogger(ROOT).addHandler(logging.NullHandler())


class Printed(Protocol):
    """A line that the code of one attempt printed, as runners send it."""

    @property
    def run(self) -> RunId: ...  # noqa: D102
    @property
    def stage(self) -> int: ...  # noqa: D102
    @property
    def task(self) -> TaskId: ...  # noqa: D102
    @property
    def attempt(self) -> int: ...  # noqa: D102
    @property
    def stream(self) -> str: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def at_s(self) -> float: ...  # noqa: D102


class _Unsent(msgspec.Struct, frozen=True):
    """An object that is to be put: always the same bytes under the same key."""

    key: str
    data: bytes


class RunLogs:
    """An observer of a control host that keeps a log per run."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._home = home
        self._clock = clock
        self._nonce = secrets.token_hex(4)
        self._machine: Machine | None = None
        self._states: dict[RunId, RunState] = {}
        self._wake = threading.Condition()
        # Under _wake.
        self._pending: list[Line | Seen] = []
        self._pending_bytes = 0
        self._unsent_bytes = 0
        self._dropped: Counter[RunId] = Counter()
        self._urgent = False
        self._closing = False
        # Under _writing.
        self._writing = threading.Lock()
        self._unsent: deque[_Unsent] = deque()
        self._seq = 0
        self._failing = False
        self._thread = threading.Thread(target=self._loop, name="rayorch-logs", daemon=True)
        self._thread.start()

    # --- taking in: the host's thread, and the actor's for what is printed --------------------

    def saw(self, events: Sequence[Event], machine: Machine) -> None:
        """Log events that the machine has applied, and where runs went by them."""
        self._machine = machine
        lines: list[Line | Seen] = []
        touched: dict[RunId, Event] = {}
        for event in events:
            kind = type(event.fact)
            if kind is Led:
                # What a replay found is where the next change starts from.
                self._states = {run.id: run.state for run in machine.runs.values()}
            if kind in EVERYBODYS:
                active = [run.id for run in machine.runs.values() if run.state in ACTIVE]
                lines.extend(line_of(event, run_id) for run_id in active)
            elif kind in SAYINGS:
                about: RunId = event.fact.run  # type: ignore[union-attr]
                touched[about] = event
                found = machine.runs.get(about)
                if found is None:
                    continue
                stage = _stage_of(event.fact, found)
                if kind is not AttemptFinished:
                    lines.append(line_of(event, about, stage))
                elif len(found.tasks) <= QUIET_TASKS:
                    # The only frequent one: our own thread makes it a line.
                    lines.append(Seen(event, about, stage))
        settled = False
        for run_id, event in touched.items():
            moved = self._moved(machine, run_id, event)
            if moved is not None:
                lines.append(moved)
                settled = settled or machine.runs[run_id].state not in ACTIVE
        self._push(lines, urgent=settled)

    def add(self, printed: Iterable[Printed]) -> None:
        """Log what users' functions printed."""
        self._push([self._printed_line(one) for one in printed])

    def _moved(self, machine: Machine, run_id: RunId, event: Event) -> Line | None:
        """Return a line when a run's state is not what it was at the last look."""
        run = machine.runs.get(run_id)
        if run is None:
            return None
        before = self._states.get(run_id)
        self._states[run_id] = run.state
        if isinstance(event.fact, RunSwept):
            del self._states[run_id]  # Nothing more happens to it.
        if before is None or before is run.state:
            return None
        return state_line(run, before, event.id, event.at_s)

    def _printed_line(self, printed: Printed) -> Line:
        run = self._machine.runs.get(printed.run) if self._machine is not None else None
        known = run is not None and 0 <= printed.stage < len(run.stages)
        return Line(
            at_s=printed.at_s,
            level="info",
            run=printed.run,
            event="printed",
            message=printed.text,
            stage=run.stages[printed.stage].name if run and known else str(printed.stage),
            task=printed.task,
            attempt=printed.attempt,
            kind=printed.stream,
        )

    def _push(self, lines: Sequence[Line | Seen], *, urgent: bool = False) -> None:
        if not lines:
            return
        with self._wake:
            wakes = urgent or not self._pending
            for line in lines:
                size_bytes = line.about_bytes
                if self._pending_bytes + self._unsent_bytes + size_bytes > BUFFER_BYTES_MAX:
                    self._dropped[line.run] += 1
                    continue
                self._pending.append(line)
                self._pending_bytes += size_bytes
            self._urgent = self._urgent or urgent
            if wakes or self._pending_bytes >= FLUSH_BYTES:
                self._wake.notify_all()

    # --- writing: our thread -------------------------------------------------------------------

    def flush(self) -> bool:
        """Put all that was taken in so far; return whether the store took it."""
        with self._writing:
            return self._send() and self._take() and self._send()

    def close(self) -> None:
        """Write what there is, once, and end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join()
        self.flush()

    def _loop(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closing or self._has_work())
                if self._failing:
                    self._wake.wait_for(lambda: self._closing, RETRY_S)
                else:
                    self._wake.wait_for(self._is_due, FLUSH_S)
                if self._closing:
                    return
            self.flush()

    def _has_work(self) -> bool:
        return bool(self._pending or self._unsent_bytes)

    def _is_due(self) -> bool:
        return self._closing or self._urgent or self._pending_bytes >= FLUSH_BYTES

    def _take(self) -> bool:
        """Turn the lines that wait into objects, one for each run."""
        with self._wake:
            lines, self._pending = self._pending, []
            # Still in memory while they are encoded; counted anew when they are objects.
            self._unsent_bytes += self._pending_bytes
            self._pending_bytes, self._urgent = 0, False
            dropped = {line.run: 0 for line in lines}
            for run in self._dropped.keys() & (self._dropped if self._closing else dropped).keys():
                dropped[run] = self._dropped.pop(run)
        texts: dict[RunId, list[bytes]] = {
            run: [_ENCODER.encode(self._gap(run, count))] if count else []
            for run, count in dropped.items()
        }
        for one in lines:
            line = line_of(one.event, one.run, one.stage) if isinstance(one, Seen) else one
            texts[line.run].append(_ENCODER.encode(line))
            _tell(line)
        for run, some in texts.items():
            data = b"\n".join(some) + b"\n"
            self._unsent.append(
                _Unsent(f"{log_prefix(run)}{self._seq:08d}-{self._nonce}.jsonl", data)
            )
            self._seq += 1
        self._count_unsent()
        return True

    def _send(self) -> bool:
        """Put the objects in order; stop at the first that the store does not take."""
        while self._unsent:
            unsent = self._unsent[0]
            try:
                self._home.store.put(unsent.key, unsent.data)
            except ConnectorError as error:
                # Whatever the remedy: a log is not worth a run. The same bytes go again later.
                if not self._failing:
                    logger.warning("the log cannot be written, and is kept for now: %s", error)
                self._failing = True
                return False
            self._failing = False
            self._unsent.popleft()
            self._count_unsent()
        return True

    def _count_unsent(self) -> None:
        with self._wake:
            self._unsent_bytes = sum(len(unsent.data) for unsent in self._unsent)
            self._wake.notify_all()

    def _gap(self, run: RunId, count: int) -> Line:
        return Line(
            at_s=self._clock.now_s(),
            level="warning",
            run=run,
            event="dropped",
            message=f"{count} lines are missing: the home could not be written to for too long",
            cause=EventId(0),
            dropped=count,
        )


def log_prefix(run: RunId) -> str:
    """Return what the keys of a run's log begin with."""
    return f"{RUNS}{run}/log/"


def read_log(home: Home, run: RunId) -> Iterator[dict[str, Any]]:
    """Yield the lines of a run's log in the order of their time; none, if there is no log.

    Raises: StoreError.
    """
    lines: list[tuple[float, bytes]] = []
    at_s = msgspec.json.Decoder(_At)
    for found in home.store.list(log_prefix(run)):
        data = home.store.get(found.key)
        lines.extend((at_s.decode(line).at_s, line) for line in data.splitlines())
    # Stable: lines of one time stay in the order in which they were written.
    lines.sort(key=lambda pair: pair[0])
    for _, line in lines:
        yield msgspec.json.decode(line)


class _At(msgspec.Struct):
    at_s: float


def _stage_of(fact: Fact, run: Run) -> str:
    if not isinstance(fact, AttemptFinished | AttemptFailed | AttemptLost):
        return ""
    if not 0 <= fact.task < len(run.tasks):
        return ""  # Reported after the run was swept.
    return run.stages[run.tasks[fact.task].stage].name


def _tell(line: Line) -> None:
    """Repeat on the process's own log what somebody who watches it should see."""
    if line.level == "info" and line.event != "state":
        return
    logger.log(
        _LEVELS[line.level],
        "%s",
        line.message,
        extra={
            "run": line.run,
            "stage": line.stage,
            "task": line.task,
            "attempt": line.attempt,
            "cause": line.cause,
        },
    )
