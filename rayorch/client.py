"""What a client does: find or start a control host, hand it a run, follow it, stop it.

The same few calls whatever executes: `open_control` gives a `Control`, which is a Ray control actor
or a host in this process.
"""

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from rayorch.clock import Clock, SystemClock
from rayorch.compiling import Compilable, compile_program, pipeline_version
from rayorch.core.facts import Fact, RunResumed, RunStopRequested
from rayorch.errors import ResumeError, RunFailedError, UnknownRunError
from rayorch.home import Home, open_home
from rayorch.host.local import News, local_host
from rayorch.host.ray_cluster import set_environment
from rayorch.ids import RunId, new_nonce
from rayorch.observe.report import LABEL_CHARS, Commands, error_lines
from rayorch.observe.reproduce import reproduce_record
from rayorch.observe.view import RunView
from rayorch.program import Program, dump_program, load_program
from rayorch.resuming import check_same_plan
from rayorch.settings import Settings, load_settings
from rayorch.spec import PipelineSpec, Standing
from rayorch.submission import submission
from rayorch.submit_errors import SubmitError
from rayorch.wanted import asked_of

if TYPE_CHECKING:
    from rayorch.plan.asking import Asked
    from rayorch.plan.pools import PoolsSpec

POLL_S: Final = 0.1
SWEEP_S_MAX: Final = 3.0
"""How long a run that is over is followed for its sweep; the next leader finishes it otherwise."""
POLL_S_FIRST: Final = 0.01
"""The first looks come quickly, for runs that are over in a moment."""


class Control(Protocol):
    """A control host, near or far."""

    @property
    def where(self) -> str:
        """Where it runs, in a few words."""
        ...

    def submit(self, facts: Sequence[Fact]) -> None:
        """Hand over facts; returns once they are durable. Raises: FencedError."""
        ...

    def view(self, run: RunId) -> RunView:
        """Return where a run stands. Raises: UnknownRunError, FencedError."""
        ...

    def wait_news(self, wait_s_max: float) -> None:
        """Wait until there may be something new to see, or as long as this."""
        ...

    def close(self) -> None:
        """Let go; what belongs to this process alone ends."""
        ...


class LocalControl:
    """A control host on a thread of this process; its runners may be told apart by `pools`."""

    def __init__(
        self,
        home: Home,
        clock: Clock,
        slots: int,
        *,
        pools: Mapping[str, int] | None = None,
        takeover: bool = False,
    ) -> None:
        self._news = News()
        self._host, self._keepers = local_host(home, clock, pools or slots, self._news)
        try:
            self._host.start(takeover=takeover)
        except BaseException:  # Whatever it was, what has been started must end.
            self.close()
            raise
        self.where = "in this process"

    def submit(self, facts: Sequence[Fact]) -> None:
        """Hand over facts."""
        self._host.offer(facts).wait()

    def view(self, run: RunId) -> RunView:
        """Return where a run stands."""
        if self._host.stopped_by is not None:
            raise self._host.stopped_by
        return self._host.view(run)

    def wait_news(self, wait_s_max: float) -> None:
        """Wait until something happened since this was last called."""
        self._news.wait(wait_s_max)

    def close(self) -> None:
        """Stop the host."""
        self._host.stop()
        for keeper in self._keepers:
            keeper.close()


class Connection(msgspec.Struct, frozen=True):
    """What a client works with."""

    home: Home
    clock: Clock
    settings: Settings


def connection(home: str | None = None, executor: str | None = None) -> Connection:
    """Return the home and settings that options and environment name.

    Raises: SettingsError, BadUrlError, MissingExtraError.
    """
    settings = load_settings(os.environ, home=home, executor=executor)
    return Connection(open_home(settings.home), SystemClock(), settings)


def open_control(
    at: Connection, *, slots: int | None = None, takeover: bool = False, serves: bool = False
) -> Control:
    """Find or start a control host; one that `serves` outlives this process.

    Raises: ClusterError, HomeBusyError, JournalDamagedError, StoreError, SubmitError.
    """
    if at.settings.executor == "in-process":
        if serves:
            why = "a run in this process ends with it: it cannot be left alone"
            raise SubmitError(why, "", "leave --executor and RAYORCH_EXECUTOR out: run it on Ray")
        return LocalControl(at.home, at.clock, slots or usable_cores(), takeover=takeover)
    # Ray reads its settings when it is imported, and it takes a second: only who uses it pays.
    set_environment(at.settings.ray_address)
    from rayorch.host.ray_control import RayControl  # noqa: PLC0415

    return RayControl(at.home.url, at.settings.ray_address, slots, takeover=takeover, serves=serves)


def usable_cores() -> int:
    """Return the cores that this process may use."""
    return max(1, len(os.sched_getaffinity(0)))


# --- runs ------------------------------------------------------------------------------------


def submit_run(
    at: Connection,
    control: Control,
    pipeline: Compilable,
    *,
    asked: "Asked | None" = None,
    standing: Standing | None = None,
    run: RunId | None = None,
    **origin: str,
) -> RunId:
    """Begin a run and return its id. `origin` (file, name) is kept for `resume`.

    `run` is the id that it is to have: asked for twice, the second is refused.
    `asked` says which pools it may use and what it is to keep to, `standing` whose it is and how
    urgent; else the pipeline does.
    Raises: SpecError, SubmitError, StoreError.
    """
    spec = pipeline.spec()
    program = compile_program(pipeline)
    version = pipeline_version(spec, program)
    if run is None:
        run = run_id(spec.name, at.clock, new_nonce)
    else:
        _check_new(at, control, run)
    _keep(at.home, run, spec, program, version, origin)
    if asked is None and spec.objective is not None:
        asked = asked_of(spec.objective)
    if asked is not None:
        at.home.put_asked(run, asked.document())
    objective = asked.objective if asked is not None else None
    control.submit([submission(run, spec, program, version, standing, objective)])
    return run


def _check_new(at: Connection, control: Control, run: RunId) -> None:
    """Refuse an id that a run of the home has, before anything of that run is written over."""
    try:
        view = control.view(run)
    except UnknownRunError:
        return
    raise SubmitError(
        "this home has a run of this id already",
        f"run={run}, state={view.state}, home={at.home.url}",
        f"`rayorch show {run}` says more; for another run, leave --id out or choose another",
    )


def run_id(pipeline: str, clock: Clock, nonce: Callable[[], str]) -> RunId:
    """Return a new id: readable, sortable by time, unique."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", pipeline).strip("-").lower()[:40] or "run"
    at = datetime.fromtimestamp(clock.now_s(), UTC)
    return RunId(f"{slug}-{at:%Y%m%d-%H%M%S}-{nonce()[:4]}")


def resume_run(
    at: Connection,
    control: Control,
    run: RunId,
    pipeline: Compilable | None = None,
    *,
    asked: "Asked | None" = None,
) -> None:
    """Go on with a stopped, failed or interrupted run, with mended functions if given.

    `asked` takes the place of what it was asked to keep to, for a run that has no plan yet.
    Raises: UnknownRunError; ResumeError, when it cannot be resumed, or not with this pipeline.
    """
    view = control.view(run)
    if not view.is_resumable:
        raise ResumeError(run, f"it is {view.state}", "`rayorch show` says more")
    if asked is not None and view.is_planned:
        why = "its tasks are placed, and stay with the pools and the objective that it began with"
        raise ResumeError(run, why, "resume it without these, or `rayorch run` the pipeline anew")
    version = view.version
    if pipeline is not None:
        spec = pipeline.spec()
        program = compile_program(pipeline)
        version = pipeline_version(spec, program)
        if version != view.version:
            before = load_program(at.home.get_program(run, view.version))
            check_same_plan(run, before, program)
            _keep(at.home, run, spec, program, version, {})
    if asked is not None:
        at.home.put_asked(run, asked.document())
    control.submit([RunResumed(run=run, version=version)])


def follow(at: Connection, control: Control, run: RunId) -> Iterator[RunView]:
    """Yield where a run stands, some times a second, until nothing more happens by itself."""
    pause_s = POLL_S_FIRST
    swept_by_s = 0.0
    while True:
        view = control.view(run)
        yield view
        if view.is_settled:
            now_s = at.clock.monotonic_s()
            swept_by_s = swept_by_s or now_s + SWEEP_S_MAX
            if not view.awaits_sweep or now_s > swept_by_s:
                return
        control.wait_news(pause_s)
        pause_s = min(pause_s * 1.5, POLL_S)


class Display(Protocol):
    """Shows a run while it goes."""

    def update(self, view: RunView) -> None:
        """Show where the run stands."""
        ...

    def stopping(self, view: RunView) -> None:
        """Show that it is being stopped, and that a second Ctrl-C stops at once."""
        ...

    def finish(self, view: RunView) -> None:
        """Show the report."""
        ...

    def close(self) -> None:
        """Give the terminal back. May be called twice."""
        ...


def watch(at: Connection, control: Control, run: RunId, display: Display | None) -> RunView:
    """Follow a run to its end; Ctrl-C stops it so that it can be resumed, a second one at once.

    Raises: KeyboardInterrupt, at the second.
    """
    try:
        view = _watched(at, control, run, display)
        if display is not None:
            display.finish(view)
    finally:
        if display is not None:
            display.close()
    return view


def _watched(at: Connection, control: Control, run: RunId, display: Display | None) -> RunView:
    asked = False
    view = control.view(run)
    while not view.is_settled:
        try:
            for view in follow(at, control, run):
                if display is not None:
                    display.update(view)
        except KeyboardInterrupt:
            if asked:
                raise
            asked = True
            control.submit([RunStopRequested(run=run, reason="interrupted from the keyboard")])
            if display is not None:
                display.stopping(control.view(run))
    return view


class RunReport(msgspec.Struct, frozen=True):
    """How a run ended."""

    run: RunId
    state: str
    view: RunView

    @property
    def rows_out(self) -> int:
        """Rows written, over all sinks."""
        return self.view.totals.rows_out

    @property
    def outputs(self) -> dict[str, str]:
        """For each URL that was written, one line of Python that reads it."""
        return {self.view.sinks[done.sink]: done.how_to_read for done in self.view.published}


def run(  # noqa: PLR0913 - each is what a user may say.
    pipeline: Compilable,
    *,
    home: str | None = None,
    executor: str | None = None,
    pools: "str | PoolsSpec | None" = None,
    autoscale: bool = False,
    display: Display | Literal["auto"] | None = "auto",
    standing: Standing | None = None,
) -> RunReport:
    """Run a pipeline to its end and return the report; show progress on standard error.

    Raises: SpecError; PoolsError; RunFailedError, when it did not succeed.
    """
    # What is wrong with it is said before anything starts.
    asked = asked_of(pipeline.spec().objective, pools, autoscale=autoscale)
    if display == "auto":
        # Rich takes 0.1 s to import: only who looks on pays.
        from rayorch.observe.display import auto_display  # noqa: PLC0415

        display = auto_display(sys.stderr, commands_for(home, executor))
        # Before the host: what functions print is caught before it goes through the display.
        display.starting("starting ...")
    try:
        at = connection(home, executor)
        with closing(open_control(at)) as control:
            run = submit_run(at, control, pipeline, asked=asked, standing=standing)
            view = watch(at, control, run, display)
    finally:
        if display is not None:
            display.close()
    if view.state != "succeeded":
        raise RunFailedError(view.run, view.state, failure_text(view))
    return RunReport(view.run, view.state, view)


def commands_for(home: str | None, executor: str | None) -> Commands:
    """Return the commands that a report names, with the options that lead to the same home."""
    typed = {"--home": home, "--executor": executor}
    options = {name: f" {name} {shlex.quote(said)}" if said else "" for name, said in typed.items()}
    return Commands(home=options["--home"], executor=options["--executor"])


def failure_text(view: RunView) -> str:
    """Return why a run did not succeed, with what to do, in a few lines."""
    error = view.error
    if error is None:
        return f"`rayorch resume {view.run}` goes on with it"
    (_, message), *rest = error_lines(error)
    return "\n".join([message, *(f"  {label:<{LABEL_CHARS}}{line}" for label, line in rest)])


# --- what is kept of a run ---------------------------------------------------------------------


def _keep(
    home: Home,
    run: RunId,
    spec: PipelineSpec,
    program: Program,
    version: str,
    origin: dict[str, str],
) -> None:
    home.put_program(run, version, dump_program(program))
    home.put_json(run, "spec", spec.model_dump(mode="json"))
    if origin:
        home.put_json(run, "origin", origin)
    home.put_json(run, "reproduce", reproduce_record(spec, program, version))
