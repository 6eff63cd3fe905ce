"""`cancel`: end a run for good, by its leader or, where nobody leads, by ourselves.

A leader looks at the requests under its home once a second while a run is active. Where nobody is
at work there is nobody to ask: we take the lead in this process, record the cancellation and let
go. The journal's fence makes that safe, should somebody come back meanwhile.
"""

from typing import Final

import click

from rayorch.cli.errors import CancelError, UnansweredError
from rayorch.cli.finding import find_run
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document
from rayorch.cli.reading import HomeReader
from rayorch.client import Connection, LocalControl, connection
from rayorch.core.facts import RunCancelRequested
from rayorch.core.run import ENDED, RESUMABLE, Run, RunState
from rayorch.errors import HomeBusyError
from rayorch.host.requests import leave_request
from rayorch.ids import RunId, new_nonce

ANSWER_S_MAX: Final = 10.0
LOOK_S: Final = 0.2
REASON: Final = "cancelled from the command line"


def cancel(options: Options) -> int:
    """Cancel a run."""
    at = connection(options.home)
    reader = HomeReader(at)
    run = find_run(at, reader.look(), options.run)
    was = run.state
    if was is not RunState.CANCELLED:
        _cancel(at, reader, run)
    if options.as_json:
        print_document({"run": run.id, "state": "cancelled", "was": was.value})
    elif was is RunState.CANCELLED:
        click.echo(f"{run.id} was cancelled before")
    else:
        click.echo(f"{run.id} is cancelled; what it staged is removed")
    return Exit.OK


def _cancel(at: Connection, reader: HomeReader, run: Run) -> None:
    _refuse_ended(run)
    try:
        control = LocalControl(at.home, at.clock, slots=1)
    except HomeBusyError as busy:
        ask_leader(at, reader, run.id, busy.leader)
        return
    try:
        control.submit([RunCancelRequested(run=run.id, reason=REASON)])
    finally:
        control.close()
    _refuse_ended(reader.look().runs[run.id])


def ask_leader(at: Connection, reader: HomeReader, run: RunId, leader: str) -> None:
    """Leave a request and wait until the journal shows what became of it.

    Raises: CancelError, when it is too late; UnansweredError.
    """
    request = RunCancelRequested(run=run, reason=REASON)
    leave_request(at.home, request, at.clock.now_s(), new_nonce())
    begun_s = at.clock.monotonic_s()
    while at.clock.monotonic_s() - begun_s < ANSWER_S_MAX:
        found = reader.look().runs[run]
        _refuse_ended(found)
        if found.state is RunState.CANCELLED:
            return
        at.clock.sleep(LOOK_S)
    raise UnansweredError(run, leader, ANSWER_S_MAX)


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
