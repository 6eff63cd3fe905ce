"""The control host: stamp, journal, apply, execute, in that order, in one thread.

    offer(facts) -> inbox -> stamp -> journal.append -> machine.handle -> executor / effects
                      ^                                                          |
                      +---------------- facts about what became of it -----------+

Nothing rests on an event that a restart would forget: durable facts are in the journal before
their commands are carried out and before whoever offered them is answered. Group commit comes by
itself, because all that arrives while a segment is being written goes into the next one.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, runtime_checkable

import msgspec

from connectors.errors import ConnectorError
from rayorch.clock import Clock, SteadyClock
from rayorch.core.commands import (
    CollectExchange,
    Command,
    CompareSchemas,
    MakePlan,
    PlanStage,
    PublishSink,
    Record,
    SendLeases,
    SolvePlacement,
    SweepRun,
)
from rayorch.core.facts import (
    AttemptFinished,
    Event,
    Fact,
    LeaseReturned,
    Led,
    RunFailed,
    Ticked,
    is_durable,
)
from rayorch.core.holding import CHEAP
from rayorch.core.machine import Machine
from rayorch.core.run import ACTIVE, Run
from rayorch.core.values import ErrorInfo
from rayorch.errors import (
    FencedError,
    InvalidTransitionError,
    JournalDamagedError,
    UnknownRunError,
)
from rayorch.failpoints import failpoint
from rayorch.home import Home, KnownSplits
from rayorch.host.dividing import split_of
from rayorch.host.effects import Effects
from rayorch.host.executor import Executor, RunnerCommand
from rayorch.host.failing import error_info
from rayorch.host.inbox import Inbox, Ticket
from rayorch.host.leader import Leader, Signer, check_free, check_not_taken
from rayorch.host.requests import RequestBox
from rayorch.ids import EventId, RunId, TaskId
from rayorch.journal.log import Journal
from rayorch.observe.view import RunView, view_of

IDLE_S_MAX: Final = 600.0
"""How long runners are kept warm for a next run."""
TICK_S: Final = 0.2
"""The longest that the host sleeps: time-outs and retries are this late at most."""
SNAPSHOT_SEGMENTS: Final = 2_000
"""Segments after which the next quiet moment writes a snapshot."""
SNAPSHOT_SEGMENTS_ACTIVE: Final = 20_000
"""Segments after which one is written although runs are active: it holds them up for a moment."""
FLUSH_WEIGHT: Final = 0.2
"""Of the latest flush in what one is said to take: a single slow one is no reason."""
CHORE_RETRY_S: Final = 5.0
"""Between tries of what can wait (hints, requests, snapshots) while the store does not answer."""

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Somebody who looks on: metrics, logs. Must be quick and must not raise."""

    def saw(self, events: Sequence[Event], machine: Machine) -> None:
        """Look at events that have just been applied."""
        ...


@runtime_checkable
class JournalObserver(Protocol):
    """An observer that wants to know how long the journal takes, too."""

    def flushed(self, duration_s: float, events: int) -> None:
        """Look at one append to the journal."""
        ...


class ControlHost:
    """Leads one home."""

    def __init__(
        self,
        home: Home,
        executor: Executor,
        journal: Journal,
        clock: Clock,
        observers: Sequence[Observer] = (),
        *,
        leader: Leader,
    ) -> None:
        self._home = home
        self._executor = executor
        self._journal = journal
        self._clock = SteadyClock(clock)
        self._observers = observers
        self._journal_observers = [o for o in observers if isinstance(o, JournalObserver)]
        self._machine = Machine()
        self._inbox = Inbox()
        self._effects = Effects(home, executor, self.offer, self._clock)
        self._requests = RequestBox(home, self._clock)
        self._lock = threading.Lock()
        self._signer = Signer(home, clock, journal, leader)
        self._idle_since_s = 0.0
        self._chores_due_s = 0.0
        self._splits: dict[RunId, KnownSplits] = {}
        self._next_id = 1
        self._flush_s = 0.0  # what one takes: a moving average
        self._decided: list[Fact] = []  # by the machine at a tick, and not stored yet
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.stopped_by: BaseException | None = None
        # Hears of what has ended the lead, unless it was to end, before anybody else does.
        self.halted: Callable[[BaseException], None] | None = None

    # --- the face: any thread ----------------------------------------------------------------

    def offer(
        self,
        facts: Sequence[Fact],
        on_settled: Callable[[BaseException | None], None] | None = None,
    ) -> Ticket:
        """Queue facts; the ticket tells when they are durable and applied."""
        ticket = Ticket(on_settled)
        self._inbox.put(facts, ticket)
        return ticket

    def view(self, run: RunId) -> RunView:
        """Return where a run stands. Raises: UnknownRunError."""
        with self._lock:
            found = self._machine.runs.get(run)
            if found is None:
                raise UnknownRunError(run, tuple(self._machine.runs))
            return view_of(found, self._machine, self._clock.now_s())

    def runs(self) -> list[RunView]:
        """Return where all runs of the home stand, oldest first."""
        with self._lock:
            now_s = self._clock.now_s()
            return [view_of(run, self._machine, now_s) for run in self._machine.runs.values()]

    def release_idle(self) -> None:
        """Let the runners go if no run is active."""
        self._idle_since_s = -IDLE_S_MAX
        self.offer([])

    def serve(self) -> None:
        """Serve clients that come by way of the home, also while no run is active."""
        self._signer.leader = msgspec.structs.replace(self._signer.leader, serves=True)
        self.offer([])

    @property
    def epoch(self) -> int:
        """The epoch under which this host leads."""
        return self._journal.epoch

    # --- life --------------------------------------------------------------------------------

    def start(self, *, interrupts: bool = True, takeover: bool = False) -> None:
        """Replay, take the lead, ask for what is outstanding, and run in a thread.

        `interrupts` is false when the cluster of the leader before is still there: its runners
        come back with what they hold, and the runs go on. `takeover` fences a leader that is at
        work.
        Raises: HomeBusyError, JournalDamagedError, JournalStuckError.
        """
        if not interrupts:
            check_not_taken(self._home, self._signer.leader, self._clock)
        elif not takeover:
            check_free(self._home, self._signer.leader, self._clock.now_s())
        self._journal.replay(self._machine.fold, self._machine.restore)
        epoch = self._journal.lead(self._machine.fold)
        self._clock.go_on_from(self._machine.at_s)
        self._next_id = self._machine.through + 1
        self._apply([Led(epoch=epoch, interrupts=interrupts)])
        with self._lock:
            outstanding = self._machine.outstanding(self._machine.through, self._clock.now_s())
        self._executor.attach(self)
        self._execute(outstanding)
        # Before anybody can resume a run: a request to stop it was about what ran then.
        self._apply(self._requested())
        self._thread = threading.Thread(target=self._loop, name="rayorch-control", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; runs stay as they are in the journal."""
        self._stopping.set()
        self.offer([])
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._inbox.close(RuntimeError("the control host has stopped"))
        self._effects.close()
        self._executor.close()
        if self.stopped_by is None and self._thread is not None:
            self._try_chore(self._signer.take_away)

    def split_of(self, run: RunId, task: TaskId) -> bytes:
        """Return the encoded split of a task. Raises: StoreError, when the plan cannot be read."""
        if run not in self._splits:
            self._splits[run] = self._home.get_plan(run).known_splits()
        return split_of(self._machine.runs[run], task, self._splits[run])

    def _loop(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
            if self._decided:
                self._turn()  # What was decided last is kept, too.
        # Whatever it is, everybody who asks is told of it.
        except BaseException as error:
            self._halt(error)

    def _halt(self, error: BaseException) -> None:
        """Stop leading: nobody may be told anything more by us."""
        if isinstance(error, FencedError):
            logger.warning("%s", error)
        else:
            logger.error("the control host has stopped: %s", error, exc_info=error)
        if self.halted is not None and not self._stopping.is_set():
            self.halted(error)
        self.stopped_by = error
        self._stopping.set()
        self._inbox.close(error)
        self._executor.close()

    # --- one turn ----------------------------------------------------------------------------

    def _turn(self) -> None:
        decided, self._decided = self._decided, []
        batches = self._inbox.take(0.0 if decided else TICK_S)
        facts = [*decided, *(fact for some, _ in batches for fact in some)]
        try:
            facts.extend(self._requested())
            self._apply(facts)
        except BaseException as error:  # Who waits must hear of it before this thread ends.
            for _, ticket in batches:
                ticket.settle(error)
            raise
        for _, ticket in batches:
            ticket.settle()
        self._executor.check(self._clock.monotonic_s())
        if self._clock.monotonic_s() >= self._chores_due_s:
            self._try_chore(self._sign)
            self._try_chore(self._tidy)

    def _requested(self) -> Sequence[Fact]:
        return self._requests.take(active=self._is_active(), serves=self._signer.leader.serves)

    def _try_chore(self, chore: Callable[[], None]) -> None:
        """Do what no run depends on; a store that refuses it now, or lies, is asked again later."""
        try:
            chore()
        except (ConnectorError, JournalDamagedError) as error:
            self._chores_due_s = self._clock.monotonic_s() + CHORE_RETRY_S
            logger.warning("put off. reason=%s", error)

    def _tidy(self) -> None:
        """Let go of what ended runs needed, and bound the next replay."""
        now_s = self._clock.monotonic_s()
        if self._is_at_work() or not self._machine.runners:
            self._idle_since_s = now_s
        elif now_s - self._idle_since_s > IDLE_S_MAX:
            self._executor.release()
        for run in [run for run in self._splits if self._machine.runs[run].state not in ACTIVE]:
            del self._splits[run]
        limit = SNAPSHOT_SEGMENTS_ACTIVE if self._is_active() else SNAPSHOT_SEGMENTS
        if self._journal.segments_since_snapshot >= limit:
            with self._lock:
                self._journal.write_snapshot(self._machine.snapshot())
            self._journal.collect()

    def _sign(self) -> None:
        active = next((run.id for run in self._machine.runs.values() if run.state in ACTIVE), "")
        self._signer.renew(active)

    def _is_at_work(self) -> bool:
        """Say whether a run is active that does not wait for hours or a price: for half a day."""
        return any(
            run.state in ACTIVE and not (run.held_by is not None and run.held_by.cause == CHEAP)
            for run in self._machine.runs.values()
        )

    def _is_active(self) -> bool:
        return any(run.state in ACTIVE for run in self._machine.runs.values())

    def _apply(self, facts: Iterable[Fact]) -> None:
        """Stamp, journal, apply, execute; and again for what the machine decides to record."""
        news = [self._machine.admitted(fact) for fact in facts]
        while news:
            events = self._stamped(news)
            durable = [event for event in events if is_durable(event.fact)]
            if durable:
                self._append(durable)
            news = self._handled(events)
        # In a segment of its own it would keep others waiting: it goes into the next turn's.
        self._decided += self._handled(self._stamped([Ticked(self._flush_s)]))

    def _append(self, durable: Sequence[Event]) -> None:
        commits = any(isinstance(event.fact, AttemptFinished) for event in durable)
        if commits:
            failpoint("host.before_commit")
        begun_s = self._clock.monotonic_s()
        self._journal.append(durable)
        took_s = self._clock.monotonic_s() - begun_s
        self._flush_s += FLUSH_WEIGHT * (took_s - self._flush_s)
        for observer in self._journal_observers:
            observer.flushed(took_s, len(durable))
        if commits:
            failpoint("host.after_commit")

    def _stamped(self, facts: Sequence[Fact]) -> list[Event]:
        """Give facts their ids and their time, once: a replay reads them back."""
        now_s = self._clock.now_s()
        first, self._next_id = self._next_id, self._next_id + len(facts)
        return [Event(EventId(first + i), now_s, fact) for i, fact in enumerate(facts)]

    def _handled(self, events: Sequence[Event]) -> list[Fact]:
        """Apply events and carry out what they ask for; return what is to be recorded."""
        commands: list[Command] = []
        with self._lock:
            for event in events:
                commands.extend(self._handle(event))
        for observer in self._observers:
            observer.saw(events, self._machine)
        return self._execute(commands)

    def _handle(self, event: Event) -> Sequence[Command]:
        try:
            return self._machine.handle(event)
        except UnknownRunError:
            # A runner of a run that this home has never heard of, or a typing error of a client.
            return ()
        except InvalidTransitionError as error:
            # A replay will meet this event again: fail its run, never the host.
            run = getattr(event.fact, "run", None)
            assert run is not None, event
            failure = ErrorInfo(message=str(error), error_type=type(error).__name__)
            return [Record(event.id, RunFailed(run=run, error=failure))]

    def _execute(self, commands: Iterable[Command]) -> list[Fact]:
        recorded: list[Fact] = []
        for command in commands:
            match command:
                case Record():
                    recorded.append(command.fact)
                case (
                    MakePlan()
                    | PlanStage()
                    | CollectExchange()
                    | SolvePlacement()
                    | CompareSchemas()
                    | PublishSink()
                    | SweepRun()
                ):
                    self._effects.start(command, self._run(command.run))
                case SendLeases():
                    recorded.extend(self._send(command))
                case _:
                    assert isinstance(command, RunnerCommand), command
                    self._executor.start(command)
        return recorded

    def _send(self, command: SendLeases) -> list[Fact]:
        """Send leases; when a run's plan cannot be read, fail that run and take them back."""
        try:
            for lease in command.leases:
                self.split_of(lease.run, lease.task)
        except ConnectorError as error:
            runs = dict.fromkeys(lease.run for lease in command.leases)
            facts: list[Fact] = [RunFailed(run, error_info(error)) for run in runs]
            facts += [
                LeaseReturned(each.run, each.task, each.attempt, each.epoch, command.runner)
                for each in command.leases
            ]
            return facts
        self._executor.start(command)
        return []

    def _run(self, run: RunId) -> Run:
        return self._machine.runs[run]
