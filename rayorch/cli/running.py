"""`run` and `resume`: hand a run over, follow it, report."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import click

from rayorch.cli.emulating import check_emulation, say_unlimited
from rayorch.cli.errors import OptionError
from rayorch.cli.finding import (
    commands_of,
    find_run,
    origin_of,
    pipeline_of,
    read_origin,
)
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document
from rayorch.cli.reading import read_deadline
from rayorch.client import (
    Connection,
    Control,
    connection,
    open_control,
    resume_run,
    submit_run,
    watch,
)
from rayorch.host.intake import checked_run_id
from rayorch.host.ray_cluster import set_environment
from rayorch.ids import RunId
from rayorch.observe.display import RunDisplay, auto_display
from rayorch.observe.figures import counted
from rayorch.observe.report import Commands, report_data
from rayorch.observe.view import RunView
from rayorch.reading import read_machine
from rayorch.runner.capture import install_tee, remove_tee

Begin = Callable[[Control], RunId]

ENDS: Final[Mapping[str, Exit]] = {
    "succeeded": Exit.OK,
    # Nothing is wrong, and nothing is finished.
    "stopped": Exit.INTERRUPTED,
    "blocked": Exit.BLOCKED,
}


def run(options: Options) -> int:
    """Run the pipeline of a file."""
    # What is wrong with it is said before anything starts.
    pipeline = pipeline_of(options)
    standing = pipeline.spec().changed(
        options.tenant, options.priority, options.cheap, options.price_max
    )
    asked = None
    if options.is_placing:
        # Placement takes numpy, a solver and a part of a second: only who asks for it pays.
        from rayorch.cli.wanting import asked_of  # noqa: PLC0415

        asked = asked_of(options, pipeline.spec().objective)
    chosen = None if options.id is None else checked_run_id(options.id)
    at = connection(options.home, options.executor)
    commands = commands_of(options)
    display = auto_display(sys.stderr, commands, reports=not options.as_json)

    def begin(control: Control) -> RunId:
        return submit_run(
            at, control, pipeline, asked=asked, standing=standing, run=chosen, **origin_of(options)
        )

    if options.no_wait:
        return _left_alone(at, options, begin)
    return _followed(at, options, display, commands, begin)


def resume(options: Options) -> int:
    """Go on with a run."""
    at = connection(options.home, options.executor)
    found = find_run(at, read_machine(at.home, at.clock), options.run)
    origin = read_origin(at, found)
    pipeline = pipeline_of(options, origin.given) if options.file else None
    asked = None
    if options.is_placing:
        from rayorch.cli.wanting import asked_anew  # noqa: PLC0415 - as in `run`.
        from rayorch.plan.asking import Asked  # noqa: PLC0415

        asked = asked_anew(options, Asked.model_validate(at.home.get_asked(found.id) or {}))
    commands = commands_of(options, "" if options.file else origin.file)
    display = auto_display(sys.stderr, commands, reports=not options.as_json)

    def begin(control: Control) -> RunId:
        resume_run(at, control, found.id, pipeline, asked=asked)
        return found.id

    return _followed(at, options, display, commands, begin)


def _left_alone(at: Connection, options: Options, begin: Begin) -> int:
    """Begin a run and leave it to a control actor that stays, and serves who asks for it."""
    control = open_control(at, slots=options.slots, takeover=options.takeover, serves=True)
    run = begin(control)
    control.close()
    if options.as_json:
        print_document({"run": run, "home": at.home.url})
    else:
        click.echo(run)
    return Exit.OK


def _followed(
    at: Connection, options: Options, display: RunDisplay, commands: Commands, begin: Begin
) -> int:
    """Open a control host, begin, and follow to the end; print the report and return the exit."""
    run: RunId | None = None
    try:
        display.starting(_starting(at))
        with _emulated(at, options, display), _opened(at, options) as control:
            run = begin(control)
            deadline_s = read_deadline(at, run)
            display.expect(deadline_s)
            view = watch(at, control, run, display)
    except KeyboardInterrupt:
        display.close()
        if run is None:
            click.echo("stopped before the run began: there is nothing to resume", err=True)
        else:
            click.echo(f"stopped at once; `{commands.resume(run)}` goes on", err=True)
        return Exit.INTERRUPTED
    finally:
        display.close()
    if options.as_json:
        print_document(report_data(view, commands, deadline_s))
    return exit_of_run(view)


@contextlib.contextmanager
def _emulated(at: Connection, options: Options, display: RunDisplay) -> Iterator[None]:
    """Stand in for a cluster with nodes on this machine, and end them whatever comes."""
    check_emulation(options)
    if options.emulate is None:
        yield
        return
    if at.settings.executor == "in-process":
        raise OptionError("nodes are emulated on Ray alone", "--emulate", options.emulate)
    # Its imports begin with Ray's.
    set_environment()
    from rayorch.cli.wanting import emulation_wanted  # noqa: PLC0415 - as in `run`.
    from rayorch.host.emulated import EmulatedCluster  # noqa: PLC0415

    emulation = emulation_wanted(options)
    display.starting(f"starting {counted(len(emulation.nodes), 'emulated node')} ...")
    cluster = EmulatedCluster(emulation, at.clock)
    try:
        say_unlimited(cluster.unlimited)
        yield
    finally:
        cluster.close()


@contextlib.contextmanager
def _opened(at: Connection, options: Options) -> Iterator[Control]:
    """Open a control host and close it, but after a Ctrl-C: that waits for nothing."""
    if at.settings.executor == "in-process":
        # What functions print goes to the run's log, as from runners that are processes.
        install_tee(echo=False)
    try:
        control = open_control(at, slots=options.slots, takeover=options.takeover)
        try:
            yield control
        except KeyboardInterrupt:
            raise
        # Whatever went wrong goes on its way, once the host has let go.
        except BaseException:
            control.close()
            raise
        control.close()
    finally:
        remove_tee()


def _starting(at: Connection) -> str:
    if at.settings.executor == "in-process":
        return "starting ..."
    address = at.settings.ray_address
    return f"connecting to the Ray at {address} ..." if address else "starting Ray ..."


def exit_of_run(view: RunView) -> Exit:
    """Return the exit code that says how a run ended."""
    if view.state in ENDS:
        return ENDS[view.state]
    refused = view.error is not None and view.error.kind == "refused"
    return Exit.REFUSED if refused else Exit.FAILED
