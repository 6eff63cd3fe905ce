"""`logs`: what happened in a run and what its functions printed, whoever writes it meanwhile."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec

from rayorch.cli.finding import find_run
from rayorch.cli.looking import is_led
from rayorch.cli.options import Exit, Options
from rayorch.cli.reading import HomeReader
from rayorch.client import Connection, connection
from rayorch.core.run import ACTIVE
from rayorch.ids import RunId
from rayorch.observe.logs import log_prefix

LOOK_S: Final = 1.0
"""Writers put what they have about once a second."""

Line = dict[str, Any]


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


class LogTail:
    """Reads each object of a run's log once."""

    def __init__(self, at: Connection, run: RunId) -> None:
        self._store = at.home.store
        self._prefix = log_prefix(run)
        self._seen: set[str] = set()

    def news(self) -> Iterator[Line]:
        """Yield the lines that are new, in the order of their time."""
        lines: list[Line] = []
        for info in self._store.list(self._prefix):
            if info.key not in self._seen:
                self._seen.add(info.key)
                lines += map(msgspec.json.decode, self._store.get(info.key).splitlines())
        # Stable: lines of one time stay in the order in which they were written.
        yield from sorted(lines, key=lambda line: line["at_s"])


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
