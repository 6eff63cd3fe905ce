"""The way into `rayorch`: arguments in, an exit code out, and never a traceback by accident."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import click

from connectors.errors import ConnectorError
from rayorch.cli.commands import RAYORCH
from rayorch.cli.failing import crash_text, document_of, error_text, exit_of
from rayorch.cli.options import Exit
from rayorch.errors import RayorchError

TRACEBACK: Final = "RAYORCH_TRACEBACK"


def main() -> NoReturn:
    """Do what the command line says and end the process."""
    code = command_exit(sys.argv[1:], os.environ)
    if code == Exit.INTERRUPTED:
        # Threads that are inside a user's function, and Ray's own goodbyes, would hold us here.
        # Nothing is lost: what counts is in the journal.
        _flush()
        os._exit(code)
    sys.exit(code)


def command_exit(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what some arguments say; print what went wrong; return the exit code."""
    as_json = "--json" in arguments
    try:
        return int(RAYORCH.main(list(arguments), "rayorch", standalone_mode=False) or Exit.OK)
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except (RayorchError, ConnectorError) as error:
        if environ.get(TRACEBACK):
            raise
        click.echo(error_text(error), err=True)
        if as_json:
            click.echo(document_of(error))
        return exit_of(error)
    except BrokenPipeError:
        # Whoever read our output has seen enough (`rayorch runs | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OK
    # Whatever it is, it is a bug of ours: a user can only report it.
    except Exception as error:
        if environ.get(TRACEBACK):
            raise
        click.echo(crash_text(error), err=True)
        return Exit.FAILED


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # A closed pipe: nobody is there to read it.
            continue


if __name__ == "__main__":
    main()
