"""`logs`: what happened in a run and what its functions printed, whoever writes it meanwhile."""

from datetime import UTC, datetime
from typing import Final

import click
import msgspec

from rayorch.cli.finding import find_run
from rayorch.cli.looking import is_led
from rayorch.cli.options import Exit, Options
from rayorch.client import Connection, connection
from rayorch.core.run import ACTIVE
from rayorch.ids import RunId
from rayorch.looking import HomeReader, Line, LogTail

LOOK_S: Final = 1.0
"""Writers put what they have about once a second."""


def logs(options: Options) -> int:
    """Print the log of a run."""
    at = connection(options.home)
    reader = HomeReader(at)
    run = find_run(at, reader.look(), options.run)
    tail = LogTail(at, run.id)
    shown = 0
    while True:
        # Asked before the log is read: what is written before the end is then read after it.
        over = not options.follow or not _goes_on(at, reader, run.id)
        for line in tail.news():
            if options.task is None or line.get("task") == options.task:
                click.echo(msgspec.json.encode(line) if options.as_json else line_text(line))
                shown += 1
        if over:
            break
        at.clock.sleep(LOOK_S)
    if not shown and not options.as_json:
        of = "" if options.task is None else f" of task {options.task}"
        click.echo(f"the log of {run.id} has no lines{of}", err=True)
    return Exit.OK


def _goes_on(at: Connection, reader: HomeReader, run: RunId) -> bool:
    """Say whether there may be more: the run is active, and somebody is at work on it."""
    return reader.look().runs[run].state in ACTIVE and is_led(at)


def line_text(line: Line) -> str:
    """Return a line of the log as people read it: time, level, place, what was said."""
    when = datetime.fromtimestamp(line["at_s"], UTC).astimezone()
    place = _place(line)
    said = str(line.get("message", ""))
    level = str(line.get("level", "info"))
    mark = "" if level == "info" else f"{level}: "
    printed = "| " if line.get("event") == "printed" else ""
    text = f"{when:%H:%M:%S}.{when.microsecond // 1000:03d}  {place}{printed}{mark}{said}"
    error = line.get("error") or {}
    return text + _indented(str(error.get("traceback", "")))


def _place(line: Line) -> str:
    stage, task, attempt = line.get("stage"), line.get("task"), line.get("attempt")
    if task is None:
        return ""
    named = f"{stage} " if stage else ""
    again = f" attempt {attempt}" if attempt else ""
    return f"[{named}{task}{again}] "


def _indented(text: str) -> str:
    return "".join(f"\n    {line}" for line in text.splitlines())
