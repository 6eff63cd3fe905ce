"""The run, the pipeline and the parameters that a command line means."""

import msgspec

from connectors.errors import ObjectMissingError
from rayorch.api import Pipeline
from rayorch.cli.errors import AmbiguousRunError, NoRunsError, SetError
from rayorch.cli.options import Options
from rayorch.client import Connection
from rayorch.core.machine import Machine
from rayorch.core.run import Run
from rayorch.errors import UnknownRunError
from rayorch.loading import load_pipeline
from rayorch.observe.report import Commands

LAST = "last"


def find_run(at: Connection, machine: Machine, typed: str) -> Run:
    """Return the run that an id, the beginning of one, or `last` means.

    Raises: UnknownRunError, with a near miss; AmbiguousRunError; NoRunsError.
    """
    runs = list(machine.runs.values())
    if not runs:
        raise NoRunsError(at.home.url)
    if typed == LAST:
        return max(runs, key=lambda run: run.submitted_s)
    found = [run for run in runs if run.id == typed] or [
        run for run in runs if run.id.startswith(typed)
    ]
    if not found:
        raise UnknownRunError(typed, tuple(run.id for run in runs))
    if len(found) > 1:
        raise AmbiguousRunError(typed, tuple(run.id for run in found))
    return found[0]


def params_of(options: Options) -> dict[str, str]:
    """Return the parameters that `--set` gives. Raises: SetError."""
    params = {}
    for text in options.sets:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise SetError(text)
        params[name.strip()] = value
    return params


def pipeline_of(options: Options, params: dict[str, str] | None = None) -> Pipeline:
    """Return the pipeline of the file, checked as a whole. Raises: SpecError, SetError."""
    pipeline = load_pipeline(options.file, params={**(params or {}), **params_of(options)})
    pipeline.spec()
    return pipeline


class Origin(msgspec.Struct, frozen=True):
    """Where a run's pipeline came from, as its home keeps it."""

    file: str = ""
    params: str = "{}"  # JSON

    @property
    def given(self) -> dict[str, str]:
        """The parameters that the run was started with."""
        return msgspec.json.decode(self.params, type=dict[str, str])


def origin_of(options: Options) -> dict[str, str]:
    """Return what is kept of where a pipeline came from."""
    params = msgspec.json.encode(params_of(options)).decode()
    return msgspec.structs.asdict(Origin(options.file_full, params))


def read_origin(at: Connection, run: Run) -> Origin:
    """Return where a run's pipeline came from; nothing, when no file was named."""
    try:
        return msgspec.convert(at.home.get_json(run.id, "origin"), Origin)
    except ObjectMissingError:
        # `rayorch.run(pipeline)` was called by a program.
        return Origin()


def commands_of(options: Options, file: str = "") -> Commands:
    """Return the commands for a report, as the user would type them here."""
    return Commands(
        file=file or options.file_typed, home=options.home_typed, executor=options.executor_typed
    )
