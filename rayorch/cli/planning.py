"""`plan`: what a run would read, do and write. No Ray, and nothing is written."""

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from rayorch.cli.finding import pipeline_of
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document
from rayorch.client import usable_cores
from rayorch.compiling import compile_program, pipeline_version
from rayorch.observe.figures import bytes_text, count_text, counted, needs_text
from rayorch.plan.planner import MERGES, Plan, PlannedStage, make_plan

COLUMNS_SHOWN_MAX = 12


def plan(options: Options) -> int:
    """Print the plan of a file's pipeline."""
    pipeline = pipeline_of(options)
    program = compile_program(pipeline)
    version = pipeline_version(pipeline.spec(), program)
    slots = options.slots or usable_cores()
    objective = pipeline.spec().objective
    wanted = None
    if objective is not None or options.is_placing:
        # Placement takes numpy, a solver and a second: only who asks for it pays.
        from rayorch.cli.wanting import wanted_of  # noqa: PLC0415

        wanted = wanted_of(options, objective, slots)
    made = make_plan(program, slots)
    document = _document(pipeline.name, version, slots, made)
    if not options.as_json:
        for line in _lines(pipeline.name, version, slots, made):
            click.echo(line)
    code = Exit.OK
    if wanted is not None:
        from rayorch.cli.placing import place  # noqa: PLC0415

        code, document["placement"] = place(options, program, made, wanted)
    if options.as_json:
        print_document(document)
    return code


def _document(name: str, version: str, slots: int, made: Plan) -> dict[str, Any]:
    return {
        "pipeline": name,
        "version": version,
        "slots": slots,
        "files": made.run_plan.files,
        "size_bytes": made.run_plan.size_bytes,
        "tasks": sum(made.run_plan.task_counts),
        "stages": [msgspec.to_builtins(stage) for stage in made.stages],
    }


def _lines(name: str, version: str, slots: int, made: Plan) -> Iterator[str]:
    tasks = sum(made.run_plan.task_counts)
    yield (
        f"pipeline {name}, version {version}: {counted(len(made.stages), 'stage')}, "
        f"{counted(made.run_plan.files, 'file')}, {bytes_text(made.run_plan.size_bytes)}, "
        f"{counted(tasks, 'task')}{_more(made)} for {counted(slots, 'slot')}"
    )
    for stage in made.stages:
        yield ""
        yield f"stage {stage.name}"
        for label, text in _stage_lines(stage):
            yield f"  {label:<9} {text}"


def _more(made: Plan) -> str:
    later = sum(stage.tasks is None and stage.operator != MERGES for stage in made.stages)
    return f" (and those of {counted(later, 'exchange')}, once measured)" if later else ""


def _source_lines(stage: PlannedStage) -> Iterator[tuple[str, str]]:
    if stage.operator:
        label = "takes"
        for name in stage.inputs:
            yield label, name
            label = ""
        yield "does", stage.operator
        return
    rows = "" if stage.rows is None else f", {counted(stage.rows, 'row')}"
    yield "reads", f"{stage.url} ({stage.format})"
    yield "", f"{counted(stage.files, 'file')}, {bytes_text(stage.size_bytes)}{rows}"
    yield "columns", _columns_text(stage.columns)
    if stage.predicate:
        yield "only", f"{stage.predicate}  (pushed down to the reader)"


def _stage_lines(stage: PlannedStage) -> Iterator[tuple[str, str]]:
    yield from _source_lines(stage)
    largest = f", the largest {bytes_text(stage.task_bytes_max)}" if stage.task_bytes_max else ""
    count = "as many as what it takes turns out to need"
    yield "tasks", count if stage.tasks is None else f"{count_text(stage.tasks)}{largest}"
    yield "each", needs_text(stage.cores, stage.memory_bytes, stage.gpus)
    label = "steps"
    for step in stage.steps:
        yield label, step
        label = ""
    label = "feeds"
    for name in stage.feeds:
        yield label, name
        label = ""
    label = "writes"
    for sink in stage.sinks:
        yield label, sink
        label = ""


def _columns_text(columns: tuple[str, ...] | None) -> str:
    if columns is None:
        return "all"
    shown = ", ".join(columns[:COLUMNS_SHOWN_MAX])
    more = len(columns) - COLUMNS_SHOWN_MAX
    return f"{shown} and {more} more" if more > 0 else shown or "none"
