"""What is said of a run once it is over, or where it stands: for people, and as one document.

`report_of` gives the lines; what they look like on a terminal is the display's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from rayorch.core.facts import SinkPublished
from rayorch.core.run import Totals
from rayorch.core.values import ErrorInfo
from rayorch.ids import DEFAULT_TENANT, RunId
from rayorch.observe.bill import cost_data, cost_text, deadline_data, deadline_text
from rayorch.observe.figures import bytes_text, count_text, counted, seconds_text
from rayorch.observe.view import RunView

Mood = Literal["good", "bad", "paused", "busy"]
LABEL_CHARS: Final = 10
UNPLACED: Final = frozenset({"PoolsError", "InfeasibleError"})
"""Errors of a run whose tasks fit on no pool: it goes on with others."""

MOODS: Final[Mapping[str, Mood]] = {
    "succeeded": "good",
    "failed": "bad",
    "cancelled": "paused",
    "stopped": "paused",
    "blocked": "paused",
    "interrupted": "paused",
}
KINDS: Final[Mapping[str, str]] = {
    "user": "user (the code raised; such errors are not retried)",
    "transient": "transient (retried with pauses, in vain)",
    "lost": "lost (its runner died)",
    "preempted": "preempted (its machine was taken back)",
    "oom": "oom (out of memory, also with smaller batches)",
    "timeout": "timeout",
    "refused": "refused (to try again cannot help)",
    "poison": "poison (kills its runner each time)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A title and labelled lines; a label is empty where it is the one above."""

    mood: Mood
    title: str
    lines: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """Return the report as plain text."""
        shown = [f"  {label:<{LABEL_CHARS}}{line}".rstrip() for label, line in self.lines]
        return "\n".join([self.title, *shown])


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """The commands that a report names, so that they work as they are printed."""

    file: str = "FILE"  # of the pipeline
    home: str = ""  # the options that lead to the same home, as typed
    executor: str = ""  # and to the same executor

    def resume(self, run: RunId) -> str:
        """Return the command that goes on with a run."""
        return f"rayorch resume {run}{self.home}{self.executor}"

    def resume_mended(self, run: RunId) -> str:
        """Return the command that goes on with a run after its code was mended."""
        return f"rayorch resume {run} {self.file}{self.home}{self.executor}"

    def logs(self, run: RunId) -> str:
        """Return the command that shows a run's log."""
        return f"rayorch logs {run}{self.home}"


def report_of(
    view: RunView, commands: Commands | None = None, deadline_s: float | None = None
) -> Report:
    """Return what there is to say of a run; the deadline is in seconds after its submission."""
    said = commands or Commands()
    lines: list[tuple[str, str]] = []
    lines += error_lines(view.error) if view.error is not None else []
    lines += _standing_lines(view)
    lines += _wait_lines(view)
    lines += _work_lines(view)
    lines += _objective_lines(view, deadline_s)
    for done in view.published:
        lines += _output_lines(view, done)
    lines += _next_lines(view, said)
    return Report(mood=MOODS.get(view.state, "busy"), title=_title(view), lines=tuple(lines))


def _title(view: RunView) -> str:
    took = seconds_text(view.elapsed_s)
    if view.state == "succeeded":
        return f"{view.run} succeeded in {took}"
    done = f"{count_text(view.committed)} of {counted(view.tasks, 'task')} committed"
    if not view.tasks:
        done = "nothing was committed"
    elif view.is_resumable and view.committed:
        done = f"{done}; they stay"
    if view.state == "cancelled":
        done = "what it staged is removed"
    joint = "for" if view.is_active else "after"
    return f"{view.run} {view.state} {joint} {took}: {done}"


def error_lines(error: ErrorInfo) -> list[tuple[str, str]]:
    """Return what a person should read of an error, as labelled lines."""
    message = error.message
    if error.kind == "user" and error.error_type and not message.startswith(error.error_type):
        message = f"{error.error_type}: {message}"
    first, *rest = message.splitlines() or [""]
    lines = [("error", first), *(("", line) for line in rest)]
    named = (
        ("transform", error.transform),
        ("where", error.where),
        ("input", error.source),
        ("kind", KINDS.get(error.kind or "", "")),
        ("to do", error.remedy),
    )
    for label, text in named:
        if text:
            first, *rest = text.splitlines()
            lines += [(label, first), *(("", line) for line in rest)]
    return lines


def _standing_lines(view: RunView) -> list[tuple[str, str]]:
    """Return whose run it is and how urgent, where somebody said so."""
    if view.tenant == DEFAULT_TENANT and not view.priority:
        return []
    return [("tenant", f"{view.tenant}, priority {view.priority}")]


def _wait_lines(view: RunView) -> list[tuple[str, str]]:
    """Return what its tasks wait for that is not its own work."""
    if view.wait is None or view.error is not None:
        return []
    whose = counted(view.wait.tasks, "task") if view.wait.tasks else "the run"
    return [("blocked", f"{whose} ({view.wait.cause}): {view.wait.text}")]


def _work_lines(view: RunView) -> list[tuple[str, str]]:
    totals = view.totals
    if not view.tasks:
        return []
    lines = [
        ("rows", f"{count_text(totals.rows_in)} in, {count_text(totals.rows_out)} out"),
        ("bytes", f"{bytes_text(totals.bytes_in)} in, {bytes_text(totals.bytes_out)} out"),
        ("tasks", _tasks_text(view)),
    ]
    if view.committed:
        lines.append(("seconds", _seconds_text(totals)))
        lines.append(("memory", f"{bytes_text(totals.memory_bytes_max)} at most in one attempt"))
    return lines


def _objective_lines(view: RunView, deadline_s: float | None) -> list[tuple[str, str]]:
    """Return what it cost, and whether it was in time."""
    lines = []
    if view.cost is not None and view.cost.lines:
        lines.append(("cost", cost_text(view.cost)))
    if deadline_s is not None:
        lines.append(("deadline", deadline_text(view, deadline_s)))
    return lines


def _tasks_text(view: RunView) -> str:
    parts = [f"{count_text(view.committed)} of {count_text(view.tasks)} committed"]
    if view.failed:
        parts.append(f"{count_text(view.failed)} given up")
    if view.retries:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(view.totals.failures.items()))
        parts.append(f"{counted(view.retries, 'failed attempt')} ({kinds})")
    if view.totals.cuts:
        parts.append(f"{count_text(view.totals.cuts)} cut short, the rest made tasks")
    if view.totals.second_tries:
        parts.append(f"{count_text(view.totals.second_tries)} tried a second time")
    if view.resumed:
        parts.append(f"resumed {counted(view.resumed, 'time')}")
    return ", ".join(parts)


def _seconds_text(totals: Totals) -> str:
    steps = (
        ("read", totals.read_s),
        ("compute", totals.compute_s),
        ("write", totals.write_s),
        ("wait", totals.wait_s),
    )
    shown = ", ".join(f"{name} {seconds_text(spent_s)}" for name, spent_s in steps)
    return f"{shown}; CPU {seconds_text(totals.cpu_s)}, over all runners"


def _output_lines(view: RunView, done: SinkPublished) -> list[tuple[str, str]]:
    size = f"{counted(done.rows, 'row')} in {counted(done.files, 'file')}"
    lines = [
        ("wrote", view.sinks[done.sink]),
        ("", f"{size}, {bytes_text(done.size_bytes)}, version {done.version}"),
    ]
    return [*lines, ("", done.how_to_read)] if done.how_to_read else lines


def _next_lines(view: RunView, commands: Commands) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    if view.state == "failed":
        mended = view.error is not None and view.error.kind in {"user", "poison"}
        then = commands.resume_mended(view.run) if mended else commands.resume(view.run)
        if view.error is not None and view.error.error_type in UNPLACED:
            then += " --pools FILE"  # Pools are kept as they were when the run began.
        lines.append(("go on", f"mend it, then:  {then}"))
    elif view.is_resumable:
        lines.append(("go on", commands.resume(view.run)))
    if view.tasks:
        lines.append(("logs", commands.logs(view.run)))
    return lines


def report_data(
    view: RunView, commands: Commands | None = None, deadline_s: float | None = None
) -> dict[str, Any]:
    """Return the report as a document for programs. Units: bytes, seconds, epoch seconds."""
    said = commands or Commands()
    totals = view.totals
    return {
        "run": view.run,
        "pipeline": view.pipeline,
        "version": view.version,
        "owner": view.owner,
        "tenant": view.tenant,
        "priority": view.priority,
        "state": view.state,
        "blocked": None if view.wait is None else msgspec.to_builtins(view.wait),
        "submitted_s": view.submitted_s,
        "finished_s": view.finished_s or None,
        "elapsed_s": round(view.elapsed_s, 3),
        "tasks": {"total": view.tasks, "committed": view.committed, "failed": view.failed},
        "rows": {"in": totals.rows_in, "out": totals.rows_out},
        "bytes": {"in": totals.bytes_in, "out": totals.bytes_out, "planned": view.size_bytes},
        "seconds": {
            "read": round(totals.read_s, 3),
            "compute": round(totals.compute_s, 3),
            "write": round(totals.write_s, 3),
            "wait": round(totals.wait_s, 3),
            "cpu": round(totals.cpu_s, 3),
        },
        "memory_bytes_max": totals.memory_bytes_max,
        "failed_attempts": dict(totals.failures),
        "cut_short": totals.cuts,
        "second_tries": totals.second_tries,
        "resumed": view.resumed,
        "stages": [_stage_data(view, index) for index in range(len(view.stages))],
        "cost": None if view.cost is None else cost_data(view.cost),
        "deadline": deadline_data(view, deadline_s),
        "outputs": [_output_data(view, done) for done in view.published],
        "error": None if view.error is None else _error_data(view.error),
        "resume": said.resume(view.run) if view.is_resumable else None,
    }


def _stage_data(view: RunView, index: int) -> dict[str, Any]:
    stage = view.stages[index]
    names = ("name", "tasks", "committed", "running", "leased", "waiting", "failed", "blocked")
    return {name: getattr(stage, name) for name in names}


def _output_data(view: RunView, done: SinkPublished) -> dict[str, Any]:
    return {
        "url": view.sinks[done.sink],
        "version": done.version,
        "rows": done.rows,
        "files": done.files,
        "bytes": done.size_bytes,
        "how_to_read": done.how_to_read,
    }


def _error_data(error: ErrorInfo) -> dict[str, Any]:
    names = ("kind", "error_type", "message", "transform", "where", "source", "remedy")
    return {name: getattr(error, name) or None for name in names}
