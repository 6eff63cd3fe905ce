"""`explain`: why a run, or one of its tasks, went as it did. The journal and the plan say it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec

from connectors.errors import ObjectMissingError
from connectors.splits import Discovery, FilePart, Split
from rayorch.cli.errors import NoTaskError
from rayorch.cli.estimates import calibration_documents, calibration_lines
from rayorch.cli.exchanges import (
    cut_lines,
    find_plan,
    reduce_document,
    reduce_lines,
    sides_of_stage,
)
from rayorch.cli.finding import commands_of, find_run, read_origin
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document
from rayorch.cli.reading import HomeReader
from rayorch.client import Connection, connection
from rayorch.core.facts import AttemptFinished, Event
from rayorch.core.run import Run
from rayorch.core.story import Line, story
from rayorch.core.task import Task
from rayorch.core.values import SinkResult
from rayorch.home import RunPlan, StagePlan, decode_split
from rayorch.ids import RunId, TaskId
from rayorch.observe.figures import bytes_text, count_text, counted, seconds_text
from rayorch.observe.report import report_data, report_of
from rayorch.observe.view import RunView, view_of

FAILURES_SHOWN_MAX: Final = 20
PARTS_SHOWN_MAX: Final = 20
LABEL: Final = 10

Lines = Iterator[tuple[str, str]]


def explain(options: Options) -> int:
    """Explain a run, or one of its tasks."""
    at = connection(options.home)
    reader = HomeReader(at, keep=True)
    machine = reader.look()
    run = find_run(at, machine, options.run)
    plan = _plan(at, run)
    if options.task is not None:
        code = _explain_task(options, at, run, plan, reader.events)
        _note_folded(reader)
        return code
    view = view_of(run, machine, at.clock.now_s())
    commands = commands_of(options, read_origin(at, run).file)
    told = story(reader.events, run.id)
    if options.as_json:
        stages = _stage_documents(run, plan)
        estimates = calibration_documents(at.home, run.id)
        document = {**report_data(view, commands), "plan": stages, "estimates": estimates}
        print_document({**document, "story": told})
        return Exit.OK
    click.echo(report_of(view, commands).text())
    _print("tasks, and why so many", _stage_lines(run, plan))
    _print("predicted and actual seconds", calibration_lines(at.home, run.id))
    _print("failed attempts", _failure_lines(view))
    _print("what happened", _story_lines(told, run.submitted_s))
    _note_folded(reader)
    return Exit.OK


def _note_folded(reader: HomeReader) -> None:
    if reader.is_folded:
        click.echo("what is older than the journal's last snapshot is not told here", err=True)


def _print(title: str, lines: Lines) -> None:
    shown = [f"  {label:<{LABEL}}{text}".rstrip() for label, text in lines]
    if shown:
        click.echo("\n".join(["", title, *shown]))


def _plan(at: Connection, run: Run) -> RunPlan | None:
    try:
        return at.home.get_plan(run.id)
    except ObjectMissingError:
        # It has not been planned, or its planning failed.
        return None


# --- a run --------------------------------------------------------------------------------------


def _stage_lines(run: Run, plan: RunPlan | None) -> Lines:
    for index, stage in enumerate(plan.stages if plan else ()):
        if run.stages[index].after:
            yield from cut_lines(run, index)
        else:
            yield run.stages[index].name, _why(stage)


def _why(stage: StagePlan) -> str:
    """Return how many tasks a stage has, and what made it so many."""
    found, tasks = stage.discovery, len(stage.splits)
    if not tasks:
        return "no tasks: its source is empty"
    sizes = sorted(decode_split(split).size_bytes for split in stage.splits)
    files = len(found.files)
    if not files:
        return f"{counted(tasks, 'task')}, as the source asks"
    if tasks < files:
        how = f"small files share a task, about {files / tasks:.0f} in each"
    elif tasks == files:
        how = "one for each file"
    else:
        how = "large files are cut at their row groups or lines"
    size = f"{bytes_text(sizes[0])} to {bytes_text(sizes[-1])} each"
    whole = f"{counted(files, 'file')}, {bytes_text(found.size_bytes)}"
    return f"{counted(tasks, 'task')} of {whole}: {how}; {size}"


def _stage_documents(run: Run, plan: RunPlan | None) -> list[dict[str, Any]]:
    return [
        {
            "stage": shape.name,
            "format": stage.discovery.format,
            "roots": list(stage.discovery.roots),
            "files": len(stage.discovery.files),
            "size_bytes": stage.discovery.size_bytes,
            "tasks": run.task_counts[index] if run.task_counts else len(stage.splits),
            "why": "\n".join(run.notes.get(index, ())) if shape.after else _why(stage),
        }
        for index, (shape, stage) in enumerate(
            zip(run.stages, plan.stages if plan else (), strict=False)
        )
    ]


def _failure_lines(view: RunView) -> Lines:
    for failure in view.failures[:FAILURES_SHOWN_MAX]:
        said = failure.error.message.partition("\n")[0]
        where = f" ({failure.error.where})" if failure.error.where else ""
        yield f"task {failure.task}", f"attempt {failure.attempt}, {failure.kind}: {said}{where}"
    more = view.retries - min(len(view.failures), FAILURES_SHOWN_MAX)
    if more > 0:
        yield "", f"and {count_text(more)} more, earlier or of other tasks"


def _story_lines(told: Sequence[Line], begun_s: float) -> Lines:
    day = ""
    for line in told:
        when = datetime.fromtimestamp(line.at_s, UTC).astimezone()
        date = f"{when:%Y-%m-%d}"
        if date != day:
            day = date
            yield "", date
        after = seconds_text(max(0.0, line.at_s - begun_s))
        yield f"{when:%H:%M:%S}", f"+{after:<8} {_told(line)}"


def _told(line: Line) -> str:
    attempt = "" if line.attempt is None else f"attempt {line.attempt} on {line.runner} "
    kind = f" ({line.kind})" if line.kind else ""
    said = f": {line.message.partition(chr(10))[0]}" if line.message else ""
    task = "" if line.task is None else f"task {line.task} "
    return f"{task}{attempt}{line.what}{kind}{said}"


# --- a task -------------------------------------------------------------------------------------


def _explain_task(
    options: Options, at: Connection, run: Run, plan: RunPlan | None, events: Sequence[Event]
) -> int:
    number = options.task
    assert number is not None
    count = sum(run.task_counts)
    if number >= count or plan is None:
        raise NoTaskError(run.id, number, count)
    stage = _stage_index(run, number)
    lines, document = _task_input(at, run, plan, stage, number)
    told = [line for line in story(events, run.id, TaskId(number)) if line.task == number]
    task = run.tasks[number] if number < len(run.tasks) else None
    if options.as_json:
        head = {"run": run.id, "task": number, "stage": run.stages[stage].name}
        state = {
            "state": _task_state(run, task),
            "failures": task.failures if task else 0,
            "strikes": task.strikes if task else 0,
            "story": told,
        }
        print_document({**head, **document, **state})
        return Exit.OK
    click.echo(f"task {number} of {run.id}: {_task_state(run, task)}")
    click.echo(f"  {'stage':<{LABEL}}{run.stages[stage].name}")
    _print("input", lines)
    _print("what happened", _story_lines(told, run.submitted_s))
    _print("what it committed", _commit_lines(run, _commit(events, run.id, number)))
    return Exit.OK


def _task_input(
    at: Connection, run: Run, plan: RunPlan, stage: int, task: int
) -> tuple[Lines, dict[str, Any]]:
    """Return what a task reads, as lines and as a document."""
    number = task - run.first_tasks[stage]
    if not run.stages[stage].after:
        discovery, data = plan.stages[stage].discovery, plan.stages[stage].splits[number]
        split = decode_split(data)
        roots = list(discovery.roots)
        return _input_lines(discovery, split), {"split": msgspec.to_builtins(split), "roots": roots}
    divided = find_plan(at.home, run, stage)
    if divided is None:
        return iter(()), {}
    reads = divided.split(number)
    sides = sides_of_stage(run, stage, len(reads.sides))
    return reduce_lines(reads, sides), {"exchange": reduce_document(reads, sides)}


def _commit(events: Sequence[Event], run: RunId, task: int) -> AttemptFinished | None:
    """Return the report that counts: the first one."""
    for event in events:
        fact = event.fact
        if isinstance(fact, AttemptFinished) and (fact.run, fact.task) == (run, task):
            return fact
    return None


def _stage_index(run: Run, task: int) -> int:
    """Return the stage of a task: those of a stage are numbered in a row, as it was planned."""
    for stage, first in run.first_tasks.items():
        if first <= task < first + run.task_counts[stage]:
            return stage
    raise AssertionError(f"task {task} of {run.task_counts}")


def _task_state(run: Run, task: Task | None) -> str:
    if task is None:
        # A run that has ended and been swept lets go of its tasks.
        return "committed" if run.state.value == "succeeded" else run.state.value
    kind = f" ({task.failed_kind})" if task.failed_kind else ""
    return f"{task.state.value}{kind}"


def _input_lines(discovery: Discovery, split: Split) -> Lines:
    if not split.parts:
        yield "rows", f"{count_text(split.lo)} to {count_text(split.hi)}"
    for part in split.parts[:PARTS_SHOWN_MAX]:
        yield "file", f"{discovery.roots[part.root]}/{part.key}{_slice(part)}"
    more = len(split.parts) - PARTS_SHOWN_MAX
    if more > 0:
        yield "", f"and {counted(more, 'file')} more"
    if split.parts:
        rows = "" if split.rows is None else f", {counted(split.rows, 'row')}"
        yield "size", f"{bytes_text(split.size_bytes)}{rows}"


def _slice(part: FilePart) -> str:
    if part.row_groups is not None:
        return f", row groups {', '.join(map(str, part.row_groups))}"
    if part.start or part.end:
        return f", bytes {count_text(part.start)} to {count_text(part.end)}"
    return ""


def _commit_lines(run: Run, fact: AttemptFinished | None) -> Lines:
    if fact is None:
        return
    output = fact.output
    took = output.seconds
    yield "rows", f"{count_text(output.rows_in)} in"
    for result in output.results:
        yield "wrote", _result_text(run, result)
    for part in output.parts:
        yield "exchange", f"{counted(part.rows, 'row')}, {bytes_text(part.size_bytes)} written"
    spent = (("read", took.read_s), ("compute", took.compute_s), ("write", took.write_s))
    yield "seconds", ", ".join(f"{name} {seconds_text(spent_s)}" for name, spent_s in spent)
    yield "memory", f"{bytes_text(output.memory_bytes)} at most"


def _result_text(run: Run, result: SinkResult) -> str:
    rows = counted(result.rows, "row")
    return f"{rows}, {bytes_text(result.size_bytes)} for {run.sinks[result.sink]}"
