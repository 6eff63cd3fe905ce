"""`cancel`: end a run for good, by its leader or, where nobody leads, by ourselves."""

from typing import Final

import click

from rayorch.cli.finding import find_run
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document
from rayorch.client import connection
from rayorch.core.run import RunState
from rayorch.looking import HomeReader
from rayorch.remote import cancel_run

REASON: Final = "cancelled from the command line"


def cancel(options: Options) -> int:
    """Cancel a run."""
    at = connection(options.home)
    reader = HomeReader(at)
    run = find_run(at, reader.look(), options.run)
    was = run.state
    if was is not RunState.CANCELLED:
        cancel_run(at, reader, run, REASON)
    if options.as_json:
        print_document({"run": run.id, "state": "cancelled", "was": was.value})
    elif was is RunState.CANCELLED:
        click.echo(f"{run.id} was cancelled before")
    else:
        click.echo(f"{run.id} is cancelled; what it staged is removed")
    return Exit.OK
