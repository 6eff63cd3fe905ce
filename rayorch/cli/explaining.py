"""`explain`: why a run went as it did. The journal, the plan and the placements say it."""

from collections.abc import Iterator
from typing import Any, Final

import click

from connectors.errors import ObjectMissingError
from rayorch.cli.estimates import calibration_documents, calibration_lines
from rayorch.cli.exchanges import cut_lines
from rayorch.cli.explaining_task import explain_task
from rayorch.cli.finding import commands_of, find_run, read_origin
from rayorch.cli.followed import followed_document, followed_of, print_followed
from rayorch.cli.looking import print_bill
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document, print_section
from rayorch.cli.reading import read_deadline
from rayorch.cli.story_lines import story_lines
from rayorch.client import Connection, connection
from rayorch.core.run import Run
from rayorch.core.story import story
from rayorch.home import RunPlan, StagePlan, decode_split
from rayorch.looking import HomeReader
from rayorch.observe.figures import bytes_text, count_text, counted, needs_text
from rayorch.observe.outcome import outcome_of
from rayorch.observe.report import report_data, report_of
from rayorch.observe.view import RunView, view_of

FAILURES_SHOWN_MAX: Final = 20

Lines = Iterator[tuple[str, str]]


def explain(options: Options) -> int:
    """Explain a run, or one of its tasks."""
    at = connection(options.home)
    reader = HomeReader(at, keep=True)
    machine = reader.look()
    run = find_run(at, machine, options.run)
    plan = _plan(at, run)
    if options.task is not None:
        explain_task(options, at, reader, run, plan)
    else:
        _explain_run(options, at, reader, run, plan)
    if reader.is_folded and not options.as_json:
        click.echo("what is older than the journal's last snapshot is not told here", err=True)
    return Exit.OK


def _explain_run(
    options: Options, at: Connection, reader: HomeReader, run: Run, plan: RunPlan | None
) -> None:
    view = view_of(run, reader.machine, at.clock.now_s())
    commands = commands_of(options, read_origin(at, run).file)
    told = story(reader.events, run.id)
    followed = followed_of(at, run, outcome_of(reader.events, run.id))
    deadline_s = read_deadline(at, run.id)
    if options.as_json:
        document = {
            **report_data(view, commands, deadline_s),
            "plan": _stage_documents(run, plan),
            "estimates": calibration_documents(at.home, run.id),
            "placement": followed_document(followed, run, view.cost),
            "story": told,
        }
        print_document(document)
        return
    click.echo(report_of(view, commands, deadline_s).text())
    print_section("tasks, and why so many", _stage_lines(run, plan))
    print_section("what each has to itself", _needs_lines(run))
    print_followed(followed, run, view)
    if view.cost is not None:
        print_bill(view.cost, has_deadline=deadline_s is not None)
    print_section("predicted and actual seconds", calibration_lines(at.home, run.id))
    print_section("failed attempts", _failure_lines(view))
    print_section("what happened", story_lines(told, run.submitted_s))


def _plan(at: Connection, run: Run) -> RunPlan | None:
    try:
        return at.home.get_plan(run.id)
    except ObjectMissingError:
        # It has not been planned, or its planning failed.
        return None


# --- a run --------------------------------------------------------------------------------------


def _stage_lines(run: Run, plan: RunPlan | None) -> Lines:
    for index, stage in enumerate(plan.stages if plan else ()):
        if run.stages[index].after or stage.waits:
            yield from cut_lines(run, index)
        else:
            yield run.stages[index].name, _why(stage)


def _needs_lines(run: Run) -> Lines:
    for stage in run.stages:
        yield stage.name, needs_text(stage.cores, stage.memory_bytes, stage.gpus)


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
            "tasks": run.task_counts[index] if run.task_counts else len(stage.works),
            "why": "\n".join(run.notes.get(index, ()))
            if shape.after or stage.waits
            else _why(stage),
            "cores": shape.cores,
            "memory_bytes": shape.memory_bytes,
            "gpus": shape.gpus,
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
