"""A run while it goes: a live picture on a terminal, plain lines elsewhere.

Both say the same and take their time from the views that they are given, so that a test can play
any run to them without waiting.
"""

from collections import deque
from typing import Final, Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rayorch.observe.figures import bytes_text, count_text, counted, seconds_text
from rayorch.observe.report import LABEL_CHARS, Commands, Mood, Report, report_of
from rayorch.observe.view import RunView, StageView

PLAIN_EVERY_S: Final = 5.0
DRAW_EVERY_S: Final = 0.12
RATE_OVER_S: Final = 10.0
"""Rates are those of the last seconds: a run that slows down shows it."""
STAGES_SHOWN_MAX: Final = 12
BAR_CHARS: Final = 28

STATES: Final = {
    "queued": "queued: planned when other runs of the home have ended",
    "planning": "planning: listing inputs, reading footers, cutting splits",
    "running": "running",
    "draining": "stopping: running tasks end",
    "publishing": "publishing: making the outputs visible",
}
STYLES: Final[dict[Mood, str]] = {
    "good": "bold green",
    "bad": "bold red",
    "paused": "bold yellow",
    "busy": "bold cyan",
}
STOPPING: Final = "stopping: running tasks end; Ctrl-C again stops at once, which is safe too"


class RunDisplay(Protocol):
    """Shows a run while it goes; the last call is `close`, whatever happened."""

    def starting(self, what: str) -> None:
        """Say what is being waited for before there is a run."""
        ...

    def update(self, view: RunView) -> None:
        """Show where the run stands."""
        ...

    def expect(self, deadline_s: float | None) -> None:
        """Judge the run by a deadline, in seconds after its submission, in the report."""
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


def auto_display(
    stream: TextIO, commands: Commands | None = None, *, reports: bool = True
) -> RunDisplay:
    """Return the display that fits a stream: live on a terminal that can, else plain lines.

    `commands` are those that the report names; without `reports` there is none.
    """
    console = Console(file=stream, highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveDisplay(console, commands, reports=reports)
    return PlainDisplay(stream, commands, reports=reports)


# --- pace -------------------------------------------------------------------------------------


class Pace:
    """Rates over the last seconds, and how long the rest may take."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int, int, int]] = deque()

    def note(self, view: RunView) -> None:
        """Remember how far the run is."""
        totals = view.totals
        self._points.append((view.at_s, view.committed, totals.rows_in, totals.bytes_in))
        while view.at_s - self._points[0][0] > RATE_OVER_S:
            self._points.popleft()

    @property
    def rates(self) -> tuple[float, float, float]:
        """Tasks, rows and bytes a second; zeros while nothing is known."""
        if not self._points:
            return 0.0, 0.0, 0.0
        first, last = self._points[0], self._points[-1]
        over_s = last[0] - first[0]
        if over_s <= 0.0:
            return 0.0, 0.0, 0.0
        tasks, rows, size_bytes = (last[i] - first[i] for i in (1, 2, 3))
        return tasks / over_s, rows / over_s, size_bytes / over_s

    def left_s(self, view: RunView) -> float | None:
        """Return the seconds that the rest may take, or None while nothing tells."""
        open_tasks = view.tasks - view.committed - view.failed
        if view.state != "running" or open_tasks <= 0:
            return None
        known_s = [stage.expected_s for stage in view.stages if stage.expected_s > 0.0]
        if known_s and view.runners:
            # A stage that has not begun is thought to be like the others.
            usual_s = sum(known_s) / len(known_s)
            work_s = sum(_open(stage) * (stage.expected_s or usual_s) for stage in view.stages)
            return work_s / min(view.runners, open_tasks)
        tasks_a_second = self.rates[0]
        return open_tasks / tasks_a_second if tasks_a_second > 0.0 else None


def _open(stage: StageView) -> float:
    """Tasks that are not done; one that runs is half done, as far as anybody knows."""
    return stage.tasks - stage.committed - stage.failed - 0.5 * stage.running


def pace_text(view: RunView, pace: Pace) -> str:
    """Return how fast a run goes and what troubles it, in one line."""
    totals = view.totals
    parts = []
    if totals.rows_in or totals.bytes_in:
        parts += [f"{count_text(totals.rows_in)} rows", bytes_text(totals.bytes_in)]
    _, rows_a_second, bytes_a_second = pace.rates
    if rows_a_second > 0.0:
        rate = f"{count_text(rows_a_second)} rows/s, {bytes_text(bytes_a_second)}/s"
        parts.append(rate)
    left_s = pace.left_s(view)
    if left_s is not None:
        parts.append(f"about {seconds_text(max(1.0, left_s), whole=True)} left")
    if view.is_active and view.runners:
        running = sum(stage.running for stage in view.stages)
        parts.append(f"{running} running on {counted(view.runners, 'runner')}")
    elif view.state == "running":
        parts.append("no runner yet: one is starting, or waits for free cores")
    if view.retries:
        parts.append(counted(view.retries, "failed attempt"))
    return ", ".join(parts)


def blocked_text(view: RunView) -> str:
    """Return what a run waits for that is not its own work."""
    return f"blocked ({view.wait.cause}): {view.wait.text}" if view.wait is not None else ""


# --- plain ------------------------------------------------------------------------------------


class PlainDisplay:
    """Lines for a log: one for each change of state, and one every few seconds between."""

    def __init__(
        self, stream: TextIO, commands: Commands | None = None, *, reports: bool = True
    ) -> None:
        self._stream = stream
        self._commands = commands
        self._reports = reports
        self._deadline_s: float | None = None
        self._pace = Pace()
        self._state = ""
        self._said_s = 0.0

    def starting(self, what: str) -> None:
        """Say what is being waited for."""
        self._say(what)

    def expect(self, deadline_s: float | None) -> None:
        """Judge the run by a deadline in the report."""
        self._deadline_s = deadline_s

    def update(self, view: RunView) -> None:
        """Say where the run stands, if it is news."""
        self._pace.note(view)
        news = view.state != self._state
        if not view.is_active or not (news or view.at_s - self._said_s >= PLAIN_EVERY_S):
            return
        self._said_s = view.at_s
        line = f"{view.run} {seconds_text(view.elapsed_s)}: {STATES[view.state]}"
        if news and not view.tasks:
            self._say(line)
        else:
            done = f"{count_text(view.committed)}/{counted(view.tasks, 'task')}"
            pace = pace_text(view, self._pace)
            wait = blocked_text(view)
            self._say(", ".join(part for part in (line, done, pace, wait) if part))
        self._state = view.state

    def stopping(self, view: RunView) -> None:
        """Say that it is being stopped."""
        self._say(f"{view.run} {STOPPING}")

    def finish(self, view: RunView) -> None:
        """Print the report."""
        if self._reports:
            self._say(report_of(view, self._commands, self._deadline_s).text())

    def close(self) -> None:
        """Nothing was taken."""

    def _say(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()


# --- live -------------------------------------------------------------------------------------


class LiveDisplay:
    """A picture that is drawn over and over, and in the end replaced by the report."""

    def __init__(
        self, console: Console, commands: Commands | None = None, *, reports: bool = True
    ) -> None:
        self._console = console
        self._commands = commands
        self._reports = reports
        self._deadline_s: float | None = None
        self._pace = Pace()
        self._drawn_s = 0.0
        self._stopping = False
        # No thread of its own: the views come often enough, and a second Ctrl-C finds it idle.
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def starting(self, what: str) -> None:
        """Show what is being waited for."""
        self._draw(Text(what, style="dim"))

    def expect(self, deadline_s: float | None) -> None:
        """Judge the run by a deadline in the report."""
        self._deadline_s = deadline_s

    def update(self, view: RunView) -> None:
        """Draw where the run stands."""
        self._pace.note(view)
        if view.at_s - self._drawn_s >= DRAW_EVERY_S:
            self._drawn_s = view.at_s
            self._draw(picture(view, self._pace, stopping=self._stopping))

    def stopping(self, view: RunView) -> None:
        """Draw that it is being stopped."""
        self._stopping = True
        self._draw(picture(view, self._pace, stopping=True))

    def finish(self, view: RunView) -> None:
        """Put the report in the picture's place."""
        self.close()
        if self._reports:
            print_report(self._console, report_of(view, self._commands, self._deadline_s))

    def close(self) -> None:
        """Give the terminal back."""
        self._live.stop()

    def _draw(self, what: RenderableType) -> None:
        if not self._live.is_started:
            self._live.start()
        self._live.update(what, refresh=True)


def picture(view: RunView, pace: Pace, *, stopping: bool = False) -> RenderableType:
    """Return a run as it is drawn on a terminal."""
    head = Text.assemble(
        (view.run, "bold"),
        (f"  {seconds_text(view.elapsed_s)}  ", "dim"),
        (STATES.get(view.state, view.state), "cyan"),
    )
    parts: list[RenderableType] = [head]
    if view.tasks:
        parts += [_stages(view), Text(f"  {pace_text(view, pace)}")]
    if blocked := blocked_text(view):
        parts.append(Text(f"  {blocked}", style="yellow"))
    if view.failures:
        last = view.failures[-1]
        said = last.error.message.partition("\n")[0]
        line = f"  last failure: task {last.task}, {last.kind}: {said}"
        parts.append(Text(line, style="yellow", no_wrap=True, overflow="ellipsis"))
    if stopping:
        parts.append(Text(f"  {STOPPING}", style="bold yellow"))
    return Group(*parts)


def _stages(view: RunView) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=32)
    table.add_column(width=BAR_CHARS)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for stage in view.stages[:STAGES_SHOWN_MAX]:
        bar = ProgressBar(
            total=max(stage.tasks, 1), completed=stage.committed, width=BAR_CHARS, pulse=False
        )
        done = f"{count_text(stage.committed)}/{counted(stage.tasks, 'task')}"
        table.add_row(f"  {stage.name}", bar, done, _troubles(stage))
    more = len(view.stages) - STAGES_SHOWN_MAX
    if more > 0:
        table.add_row(Text(f"  and {counted(more, 'stage')} more", style="dim"))
    return table


def _troubles(stage: StageView) -> Text:
    parts = Text()
    for count, word, style in (
        (stage.running, "running", ""),
        (stage.waiting, "waiting to be retried", "yellow"),
        (stage.blocked, "blocked", "yellow"),
        (stage.failed, "failed", "red"),
    ):
        if count:
            parts.append(f"{', ' if parts else ''}{count} {word}", style=style)
    return parts


def print_report(console: Console, report: Report) -> None:
    """Print a report with a little colour. Lines are not broken: they are made to be copied."""
    console.print(Text(report.title, style=STYLES[report.mood]), soft_wrap=True)
    for label, line in report.lines:
        text = Text.assemble((f"  {label:<{LABEL_CHARS}}", "dim"), line)
        console.print(text, soft_wrap=True)
