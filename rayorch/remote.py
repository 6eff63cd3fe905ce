"""A run from outside: handed to the control actor of a home by way of the home, and followed there.

Nothing of ours listens anywhere. A client puts the program of a run and a request under the home;
the control actor that serves the home looks there, journals what it accepts, and the journal is
where everybody reads how the run stands. Who may do that is for the store to say.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rayorch.bootstrap import start_control
from rayorch.client import (
    Connection,
    LocalControl,
    RunReport,
    connection,
    failure_text,
    resume_run,
    submit_run,
)
from rayorch.compiling import Compilable
from rayorch.core.facts import Fact, RunCancelRequested, RunStopRequested
from rayorch.core.limit_facts import PolicyApplied
from rayorch.core.run import ENDED, RESUMABLE, Run, RunState
from rayorch.errors import HomeBusyError, RunFailedError, UnknownRunError
from rayorch.host.code import library_code, python_version
from rayorch.host.intake import ClientFact, checked_run_id
from rayorch.host.leader import FRESH_S, Leader, read_leader
from rayorch.host.requests import check_not_refused, leave_request, take_back
from rayorch.ids import RunId, new_nonce
from rayorch.looking import HomeReader, Line, LogTail, find_leader
from rayorch.observe.view import RunView, view_of
from rayorch.submit_errors import (
    CancelError,
    NoAnswerError,
    SubmitError,
    TakenBackError,
    UnansweredError,
    VersionsDifferError,
)
from rayorch.wanted import asked_of

if TYPE_CHECKING:
    from rayorch.plan.pools import PoolsSpec

ANSWER_S_MAX: Final = 30.0
"""A control actor that serves clients looks every other second."""
UNLED_S_MAX: Final = 120.0
"""How long a run is followed while nobody leads its home. Ray restarts a control actor by then."""
LOOK_S: Final = 0.5
"""Between looks at a journal that others write."""
SERVE_FIX: Final = (
    "`rayorch up --address http://HEAD:8265 --home HOME` starts a control actor on a cluster;\n"
    "`rayorch submit FILE --address http://HEAD:8265` starts one with its first run"
)


class HomeControl:
    """The control actor that serves a home, reached by way of the home."""

    where = "where the control actor of the home is"

    def __init__(self, at: Connection) -> None:
        self._at = at
        self.leader = serving_leader(at)
        self._reader = HomeReader(at)

    def submit(self, facts: Sequence[Fact]) -> None:
        """Leave requests, and wait until they are journaled.

        Raises: RefusedRequestError; TakenBackError, when nobody took one up.
        """
        for fact in facts:
            assert isinstance(fact, ClientFact)
            ask(self._at, fact, self.leader.name)

    def view(self, run: RunId) -> RunView:
        """Return where a run stands by the journal. Raises: UnknownRunError."""
        return read_view(self._at, self._reader, run)

    def wait_news(self, wait_s_max: float) -> None:
        """Wait before the next look."""
        self._at.clock.sleep(max(wait_s_max, LOOK_S))

    def close(self) -> None:
        """Nothing is held."""


def serving_leader(at: Connection) -> Leader:
    """Return the control actor that serves a home and runs the same code as this process.

    Raises: SubmitError, when there is none; VersionsDifferError.
    """
    leader = found_leader(at)
    if leader is None:
        raise not_served(at)
    check_same_versions(leader)
    return leader


def not_served(at: Connection) -> SubmitError:
    """Return the error for a home that no control actor serves."""
    return SubmitError("no control actor serves this home", f"home={at.home.url}", SERVE_FIX)


def found_leader(at: Connection) -> Leader | None:
    """Return who serves the home by its own account; None: nobody does."""
    leader = read_leader(at.home)
    if leader is None or not leader.serves or at.clock.now_s() - leader.at_s > FRESH_S:
        return None
    return leader


def check_same_versions(leader: Leader) -> None:
    """Refuse a control actor to which what we pickle would mean something else.

    Raises: VersionsDifferError.
    """
    who = f"the control actor {leader.name} on {leader.machine}"
    if leader.python != python_version():
        fix = (
            f"work with Python {leader.python} here, or let the cluster load the file: "
            "`rayorch submit FILE --address http://HEAD:8265`"
        )
        theirs, ours = f"Python {leader.python}", f"Python {python_version()}"
        raise VersionsDifferError(who, theirs, ours, fix)
    if leader.code != library_code():
        fix = (
            "install the cluster's rayorch here, or this one there; then `rayorch up --address "
            "http://HEAD:8265 --home HOME` puts a control actor of it in the place of that one"
        )
        theirs, ours = f"rayorch {leader.code}", f"rayorch {library_code()}"
        raise VersionsDifferError(who, theirs, ours, fix)


def ask(at: Connection, fact: ClientFact, leader: str) -> None:
    """Leave one request and wait until it is journaled, as `HomeControl.submit`."""
    key = leave_request(at.home, fact, at.clock.now_s(), new_nonce())
    begun_s = at.clock.monotonic_s()
    while at.home.store.head(key) is not None:
        if at.clock.monotonic_s() - begun_s > ANSWER_S_MAX:
            # Or it would begin a run that nobody waits for, whenever somebody leads again.
            take_back(at.home, key)
            raise TakenBackError(about(fact), leader, ANSWER_S_MAX)
        at.clock.sleep(LOOK_S)
    check_not_refused(at.home, key)


def about(fact: ClientFact) -> str:
    """Return what a request is about: a run, or the policy of the home."""
    return "(the policy)" if isinstance(fact, PolicyApplied) else fact.run


def read_view(at: Connection, reader: HomeReader, run: RunId) -> RunView:
    """Return where a run stands by the journal. Raises: UnknownRunError."""
    machine = reader.look()
    found = machine.runs.get(run)
    if found is None:
        raise UnknownRunError(run, tuple(machine.runs))
    return view_of(found, machine, at.clock.now_s())


# --- cancelling ----------------------------------------------------------------------------------

CANCELLED: Final = "cancelled by a client"
CANCEL_S_MAX: Final = 10.0


def cancel_run(at: Connection, reader: HomeReader, run: Run, reason: str = CANCELLED) -> None:
    """End a run for good, by its leader or, where nobody leads, by ourselves.

    Where nobody is at work there is nobody to ask: we take the lead in this process, record the
    cancellation and let go. The journal's fence makes that safe, should somebody come back.
    Raises: CancelError, when it is too late; UnansweredError.
    """
    _refuse_ended(run)
    try:
        control = LocalControl(at.home, at.clock, slots=1)
    except HomeBusyError as busy:
        ask_leader(at, reader, run.id, busy.leader, reason)
        return
    try:
        control.submit([RunCancelRequested(run=run.id, reason=reason)])
    finally:
        control.close()
    _refuse_ended(reader.look().runs[run.id])


def ask_leader(
    at: Connection, reader: HomeReader, run: RunId, leader: str, reason: str = CANCELLED
) -> None:
    """Leave a request and wait until the journal shows what became of it.

    Raises: CancelError, when it is too late; UnansweredError.
    """
    request = RunCancelRequested(run=run, reason=reason)
    leave_request(at.home, request, at.clock.now_s(), new_nonce())
    begun_s = at.clock.monotonic_s()
    while at.clock.monotonic_s() - begun_s < CANCEL_S_MAX:
        found = reader.look().runs[run]
        _refuse_ended(found)
        if found.state is RunState.CANCELLED:
            return
        at.clock.sleep(LOOK_S)
    raise UnansweredError(run, leader, CANCEL_S_MAX)


def _refuse_ended(run: Run) -> None:
    if run.state in ENDED and run.state is not RunState.CANCELLED:
        fix = "its outputs are published: write over them with another run"
        raise CancelError(run.id, f"it has {run.state.value}", fix)
    if run.generation and run.state in RESUMABLE:
        fix = f"some of its outputs may be visible already: `rayorch resume {run.id}` finishes it"
        raise CancelError(run.id, "its publication has begun", fix)
    if run.state is RunState.PUBLISHING:
        fix = "what is committed is made visible as a whole; `rayorch show` says when it is over"
        raise CancelError(run.id, "it is publishing its outputs already", fix)


# --- the client from Python ----------------------------------------------------------------------


class RunHandle:
    """A run that goes on somewhere else; all that is known of it is read from its home."""

    def __init__(self, at: Connection, run: RunId) -> None:
        self._at = at
        self._reader = HomeReader(at)
        self.run = run

    def __repr__(self) -> str:
        return f"RunHandle({self.run!r}, home={self._at.home.url!r})"

    def status(self) -> RunView:
        """Return where it stands: `.state`, `.committed` of `.tasks`, `.error`, and more."""
        return read_view(self._at, self._reader, self.run)

    def views(self) -> Iterator[RunView]:
        """Yield where it stands, twice a second, until nothing more happens by itself.

        Raises: NoAnswerError, when nobody has been at work on it for long.
        """
        led_s = self._at.clock.monotonic_s()
        while True:
            view = self.status()
            yield view
            if view.is_settled:
                return
            now_s = self._at.clock.monotonic_s()
            if find_leader(self._at) is not None:
                led_s = now_s
            elif now_s - led_s > UNLED_S_MAX:
                who = f"the control actor of {self._at.home.url}"
                raise NoAnswerError(who, f"how {self.run} stands", UNLED_S_MAX)
            self._at.clock.sleep(LOOK_S)

    def wait(self, timeout_s: float | None = None) -> RunReport:
        """Wait for its end and return the report.

        Raises: RunFailedError, when it did not succeed; TimeoutError, and the run goes on;
        NoAnswerError, when nobody has been at work on it for long.
        """
        begun_s = self._at.clock.monotonic_s()
        for view in self.views():
            waited_s = self._at.clock.monotonic_s() - begun_s
            if timeout_s is not None and waited_s >= timeout_s and not view.is_settled:
                text = f"run {self.run} is {view.state} after {timeout_s:g} s, and goes on"
                raise TimeoutError(text)
        if view.state != "succeeded":
            raise RunFailedError(view.run, view.state, failure_text(view))
        return RunReport(view.run, view.state, view)

    def logs(self, *, follow: bool = False) -> Iterator[Line]:
        """Yield the lines of its log: what happened, and what its functions printed.

        With `follow`, as they come, until the run is over.
        """
        tail = LogTail(self._at, self.run)
        while True:
            # Asked before the log is read: what is written before the end is then read after it.
            over = not follow or self.status().is_settled
            yield from tail.news()
            if over:
                return
            self._at.clock.sleep(LOOK_S)

    def cancel(self) -> None:
        """End it for good; nothing of it becomes visible. Raises: CancelError, UnansweredError."""
        run = self._reader.look().runs[self.run]
        if run.state is not RunState.CANCELLED:
            cancel_run(self._at, self._reader, run)

    def stop(self) -> None:
        """Stop it so that it can be resumed. Raises: SubmitError, when nobody serves the home."""
        leader = found_leader(self._at)
        if leader is None:
            raise not_served(self._at)
        ask(self._at, RunStopRequested(self.run, "stopped by a client"), leader.name)

    def resume(self, pipeline: Compilable | None = None) -> None:
        """Go on with it, with mended functions if a pipeline is given.

        Raises: ResumeError; SubmitError, when nobody serves the home.
        """
        resume_run(self._at, HomeControl(self._at), self.run, pipeline)


def submit(
    pipeline: Compilable,
    *,
    home: str | None = None,
    address: str | None = None,
    pools: "str | PoolsSpec | None" = None,
    autoscale: bool = False,
    id: str | None = None,  # noqa: A002 - as the command line has it.
) -> RunHandle:
    """Hand a pipeline to the control actor that serves a home, and return once it is accepted.

    From anywhere that reaches the home: no Ray is needed here. With `address`, a cluster's
    dashboard (http://HOST:8265), a control actor is started there if none serves the home. The
    functions travel with the pipeline; Python and rayorch must be the same on both sides.
    `autoscale` is as in `run`. An `id` that the home knows already is refused, so that a retry
    begins no second run.

    Raises: SpecError, PoolsError, SubmitError, ClusterError, VersionsDifferError.
    """
    # What is wrong with it is said before anything starts.
    asked = asked_of(pipeline.spec().objective, pools, autoscale=autoscale)
    chosen = None if id is None else checked_run_id(id)
    at = connection(home)
    if address is not None and found_leader(at) is None:
        start_control(at, address)
    return RunHandle(at, submit_run(at, HomeControl(at), pipeline, asked=asked, run=chosen))


def attach(run: str, *, home: str | None = None) -> RunHandle:
    """Return the handle of a run that goes on, or that went, somewhere else.

    Raises: UnknownRunError, with a near miss.
    """
    handle = RunHandle(connection(home), RunId(run))
    handle.status()
    return handle
