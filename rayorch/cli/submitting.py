"""`submit`: hand a run to a cluster, follow it from here, and end as it ends."""

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from connectors.url import parse_url
from rayorch.bootstrap import (
    START_S_MAX,
    check_shared,
    command_line,
    ended_text,
    hints_of,
    open_jobs,
    run_job,
)
from rayorch.cli.errors import OptionError
from rayorch.cli.finding import commands_of, origin_of, params_of, pipeline_of
from rayorch.cli.logs import line_text
from rayorch.cli.options import Exit, Options
from rayorch.cli.parameters import ASKED_OF_NOBODY
from rayorch.cli.printing import print_document
from rayorch.cli.reading import read_deadline
from rayorch.cli.running import exit_of_run
from rayorch.client import Connection, connection, run_id, submit_run
from rayorch.errors import UnknownRunError
from rayorch.host.intake import checked_run_id
from rayorch.ids import RunId, new_nonce
from rayorch.loading import parted
from rayorch.looking import LogTail
from rayorch.observe.display import auto_display
from rayorch.observe.report import Commands, report_data
from rayorch.remote import HomeControl, RunHandle
from rayorch.submit_errors import SubmitError

AGAIN_S: Final = 5.0
"""How long a second Ctrl-C is waited for, which stops the run."""
_LABEL: Final = re.compile(r"[A-Za-z0-9._/-]+=[A-Za-z0-9._!(), -]*")
_HOUSE: Final = frozenset(int(code) for code in Exit)


def submit(options: Options) -> int:
    """Hand the pipeline of a file to a cluster, and follow the run."""
    at = connection(options.home)
    run = None if options.id is None else checked_run_id(options.id)
    if options.address is None:
        run = _by_home(at, options, run)
    else:
        found = _by_job(at, options, run)
        if isinstance(found, int):
            return found
        run = found
    if options.no_wait:
        if options.as_json:
            print_document({"run": run, "home": at.home.url})
        else:
            click.echo(run)
        return Exit.OK
    return _Follower(at, options, run).followed()


# --- by way of the home --------------------------------------------------------------------------


def _by_home(at: Connection, options: Options, run: RunId | None) -> RunId:
    """Load the file here, and hand the run to the control actor that serves the home."""
    for name, given in _for_jobs(options):
        if given:
            problem = "this is for a job on a cluster, which --address names"
            raise OptionError(problem, name, str(given))
    pipeline = pipeline_of(options)
    standing = pipeline.spec().changed(
        options.tenant, options.priority, options.cheap, options.price_max
    )
    asked = None
    if options.is_placing:
        # Placement takes numpy, a solver and a part of a second: only who asks for it pays.
        from rayorch.cli.wanting import asked_of  # noqa: PLC0415

        asked = asked_of(options, pipeline.spec().objective)
    control = HomeControl(at)
    origin = origin_of(options)
    found = submit_run(at, control, pipeline, asked=asked, standing=standing, run=run, **origin)
    leader = control.leader
    click.echo(f"{found} is with {leader.name} on {leader.machine}", err=True)
    return found


def _for_jobs(options: Options) -> Iterator[tuple[str, object]]:
    yield "--working-dir", options.working_dir
    yield "--exclude", " ".join(options.exclude)
    yield "--pip", " ".join(options.pip)
    yield "--requirements", options.requirements
    yield "--entry-label", " ".join(options.entry_label)
    yield "--entry-cpus", options.entry_cpus
    yield "--entry-memory", options.entry_memory
    yield "--start-within", options.start_within


# --- by way of a job -----------------------------------------------------------------------------


def _by_job(at: Connection, options: Options, run: RunId | None) -> RunId | int:
    """Have the cluster load the file and hand the run over; return the exit code if it cannot."""
    assert options.address is not None
    file, name = parted(options.file)
    folder = Path(options.working_dir or Path(file).expanduser().parent).expanduser().resolve()
    # Ray takes a second to import: what is wrong with what was typed is said before.
    words, pip = _run_words(options, file, name, folder), _packages(options)
    labels, memory_bytes = _labels(options), _memory_bytes(options)
    start_s_max = _start_s(options)
    if options.autoscale and options.pools is None:
        raise OptionError(ASKED_OF_NOBODY, "--autoscale", "")
    check_shared(at, options.address)
    run = run or run_id(name or Path(file).stem, at.clock, new_nonce)
    jobs = open_jobs(options.address)
    from rayorch.host.ray_jobs import JobAsk  # noqa: PLC0415 - after `open_jobs`.
    from rayorch.host.working_dir import pack  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="rayorch-submit-") as scratch:
        package = Path(scratch) / "working_dir.zip"
        pack(folder, package, options.exclude, _home_dir(at))
        ask = JobAsk(
            id=run,
            command=command_line(*words, "--id", run, "--home", at.home.url),
            package=package,
            pip=pip,
            cpus=options.entry_cpus or 0.0,
            memory_bytes=memory_bytes,
            labels=labels,
        )
        click.echo(f"{run} goes to {jobs.address} as a job ...", err=True)
        state, log = run_job(jobs, ask, at.clock, _say, start_s_max)
    if state.exit_code == 0:
        _check_arrived(at, run, options.address)
        return run
    for hint in hints_of(log):
        click.echo(f"  {hint}", err=True)
    if state.exit_code in _HOUSE:
        return int(state.exit_code or 0)
    problem = "the job ended before the run was handed over"
    raise SubmitError(problem, f"job={run}, {ended_text(state)}", f"`ray job logs {run}`")


def _home_dir(at: Connection) -> Path | None:
    home = parse_url(at.home.url)
    return Path(home.path).resolve() if home.scheme == "file" else None


def _check_arrived(at: Connection, run: RunId, address: str) -> None:
    """Look for the run where we are going to follow it. Raises: SubmitError."""
    try:
        RunHandle(at, run).status()
    except UnknownRunError:
        raise SubmitError(
            "the cluster has taken the run, but not under this home",
            f"run={run}, home={at.home.url}, address={address}",
            "a home on the disk of one machine is another on the next: --home s3://BUCKET/_rayorch",
        ) from None


def _run_words(options: Options, file: str, name: str | None, folder: Path) -> list[str]:
    """Return the command that the job runs, its files named as they are in the working directory.

    Raises: SubmitError, for a file outside of it.
    """
    from rayorch.host.working_dir import relative_to_dir  # noqa: PLC0415 - only jobs need it.

    inside = relative_to_dir(file, folder, "FILE")
    words = ["run", f"{inside}:{name}" if name else inside, "--no-wait", "--executor", "ray"]
    for option, path in (("--pools", options.pools), ("--prices", options.prices)):
        if path is not None:
            words += [option, relative_to_dir(path, folder, option)]
    for param, value in params_of(options).items():
        words += ["--set", f"{param}={value}"]
    given = {
        "--deadline": options.deadline,
        "--budget": options.budget,
        "--tenant": options.tenant,
        "--priority": options.priority,
        "--cheap": options.cheap,
        "--price-max": options.price_max,
    }
    for option, wanted in given.items():
        if wanted is not None:
            words += [option, str(wanted)]
    flags = {"--autoscale": options.autoscale, "--takeover": options.takeover}
    return [*words, *(flag for flag, is_set in flags.items() if is_set)]


def _packages(options: Options) -> tuple[str, ...]:
    """Return what is to be installed for the run. Raises: OptionError."""
    if options.requirements is None:
        return options.pip
    try:
        lines = Path(options.requirements).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            f"it cannot be read: {error}", "--requirements", options.requirements
        ) from None
    wanted = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return (*wanted, *options.pip)


def _labels(options: Options) -> dict[str, str]:
    for text in options.entry_label:
        if not _LABEL.fullmatch(text):
            raise OptionError("a label is given as NAME=VALUE", "--entry-label", text)
    return dict(text.split("=", 1) for text in options.entry_label)


def _memory_bytes(options: Options) -> int:
    from rayorch.spec.fields import parsed_bytes  # noqa: PLC0415 - pydantic comes with it.

    if options.entry_memory is None:
        return 0
    try:
        return int(str(parsed_bytes(options.entry_memory)))
    except ValueError as error:
        raise OptionError(str(error), "--entry-memory", options.entry_memory) from None


def _start_s(options: Options) -> float:
    from rayorch.cli.wanting import parsed_s  # noqa: PLC0415 - numpy comes with it.

    return START_S_MAX if options.start_within is None else parsed_s(options.start_within)


def _say(line: str) -> None:
    click.echo(f"  {line}", err=True)


# --- following -----------------------------------------------------------------------------------


class _Follower:
    """Shows a run that goes on elsewhere, until it is over or this terminal lets go of it."""

    def __init__(self, at: Connection, options: Options, run: RunId) -> None:
        self._at = at
        self._options = options
        self._run = run
        self._handle = RunHandle(at, run)
        self._commands: Commands = commands_of(options)
        self._tail = LogTail(at, run) if options.follow else None

    def followed(self) -> int:
        """Follow to the end; print the report and return the exit code of the run."""
        deadline_s = read_deadline(self._at, self._run)
        display = auto_display(sys.stderr, self._commands, reports=not self._options.as_json)
        display.expect(deadline_s)
        asked = False
        view = self._handle.status()
        try:
            while not view.is_settled:
                try:
                    for view in self._handle.views():
                        if self._tail is None:
                            display.update(view)
                        else:
                            self._print(self._tail)
                except KeyboardInterrupt:
                    display.close()
                    if asked or not self._wants_stop():
                        return self._let_go()
                    asked = True
                    self._handle.stop()
            display.finish(view)
        finally:
            display.close()
        if self._options.as_json:
            print_document(report_data(view, self._commands, deadline_s))
        return exit_of_run(view)

    def _print(self, tail: LogTail) -> None:
        for line in tail.news():
            click.echo(line_text(line), err=True)

    def _wants_stop(self) -> bool:
        """Ask. The run is the cluster's: Ctrl-C ends the look at it, and only a second one it."""
        if not sys.stderr.isatty():
            return False
        again = f"Ctrl-C again within {AGAIN_S:g} s stops it"
        click.echo(f"\n{self._run} goes on without this terminal; {again}", err=True)
        try:
            self._at.clock.sleep(AGAIN_S)
        except KeyboardInterrupt:
            click.echo("stopping it, so that it can be resumed ...", err=True)
            return True
        return False

    def _let_go(self) -> int:
        home = self._options.home_typed
        lines: Sequence[str] = (
            f"{self._run} goes on:",
            f"  rayorch show {self._run}{home}           how it stands",
            f"  rayorch logs {self._run}{home} --follow  what it does",
            f"  rayorch cancel {self._run}{home}         ends it for good",
        )
        click.echo("\n".join(lines), err=True)
        return Exit.INTERRUPTED
