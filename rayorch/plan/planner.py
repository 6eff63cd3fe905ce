"""Cut a program's sources into splits: one task each.

Reading footers and listing folders happens here and only here; what was found travels in the plan,
so that a task reads what was planned or says that it changed.
"""

from typing import Final

import msgspec

from connectors.sink import open_sink
from connectors.source import discover, open_reader
from connectors.splits import Split
from rayorch.home import RunPlan, StagePlan, encode_split
from rayorch.program import Program, StageProgram

NO_ROWS: Final = Split(parts=(), rows=0, size_bytes=0)


class PlannedStage(msgspec.Struct, frozen=True):
    """One stage, as `rayorch plan` shows it."""

    name: str
    url: str
    format: str
    files: int
    tasks: int
    size_bytes: int
    rows: int | None
    task_bytes_max: int
    steps: tuple[str, ...]
    columns: tuple[str, ...] | None
    predicate: str
    sinks: tuple[str, ...]
    cores: float
    memory_bytes: int
    labels: dict[str, str] = {}


class Plan(msgspec.Struct, frozen=True):
    """What a run will do: for the home (`run_plan`) and for people (`stages`)."""

    run_plan: RunPlan
    stages: tuple[PlannedStage, ...]


def make_plan(program: Program, slots: int) -> Plan:
    """Look at every source now and cut it into splits for this many slots.

    Raises: what `open_sink`, `discover` and `open_reader` of `connectors` raise.
    """
    for sink in program.sinks:
        # A place or option that cannot be is refused now; nothing is created by it.
        open_sink(sink)
    found = [_stage(program, stage, slots) for stage in program.stages]
    return Plan(
        run_plan=RunPlan(tuple(plan for plan, _ in found)),
        stages=tuple(shown for _, shown in found),
    )


def _stage(program: Program, stage: StageProgram, slots: int) -> tuple[StagePlan, PlannedStage]:
    discovery, splits = discover(stage.source, slots, stage.predicate)
    # A column that is not there is refused now, once, and not by every task.
    columns = None if stage.columns is None else list(stage.columns)
    open_reader(stage.source, discovery, columns, stage.predicate)
    # A source without rows gets a task all the same: only by running them on an empty table is it
    # known what columns the transforms make, and an output without rows has its columns too.
    splits = splits or [NO_ROWS]
    shown = PlannedStage(
        name=stage.name,
        url=stage.source.urls[0],
        format=discovery.format,
        files=len(discovery.files),
        tasks=len(splits),
        size_bytes=discovery.size_bytes,
        rows=discovery.rows,
        task_bytes_max=max((split.size_bytes for split in splits), default=0),
        steps=tuple(f"{step.kind} {step.name}" for step in stage.steps),
        columns=stage.columns,
        predicate="" if stage.predicate is None else str(stage.predicate),
        sinks=tuple(program.sinks[edge.sink].url for edge in stage.sinks),
        cores=stage.resources.cores,
        memory_bytes=stage.resources.memory_bytes,
        labels=dict(stage.resources.labels),
    )
    return StagePlan(discovery, _encoded(splits)), shown


def _encoded(splits: list[Split]) -> tuple[bytes, ...]:
    return tuple(encode_split(split) for split in splits)
