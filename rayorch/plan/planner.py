"""Cut a program's sources into splits: one task each.

A stage that reads an exchange is not cut: how many tasks it takes is known when the stages before
it have been measured.

Reading footers and listing folders happens here and only here; what was found travels in the plan,
so that a task reads what was planned or says that it changed.
"""

from typing import Final

import msgspec

from connectors.schema import load_schema
from connectors.sink import open_sink
from connectors.source import discover, open_reader
from connectors.splits import Discovery, Split
from rayorch.home import RunPlan, StagePlan, encode_split
from rayorch.plan.wording import operator_text, sides_text
from rayorch.program import ExchangeProgram, Program, StageProgram

# What a stage finds when it is planned that reads what other stages have yet to make.
EXCHANGED: Final = Discovery(format="exchange", schema_ipc=b"")
MERGES: Final = "merge states of keys that are too large for one task, if there are any"
NO_ROWS: Final = Split(parts=(), rows=0, size_bytes=0)


class PlannedStage(msgspec.Struct, frozen=True):
    """One stage, as `rayorch plan` shows it."""

    name: str
    url: str  # "" of a stage that reads an exchange
    format: str
    files: int
    tasks: int | None  # None: known when the stages before it have been measured
    size_bytes: int
    rows: int | None
    task_bytes_max: int
    steps: tuple[str, ...]
    columns: tuple[str, ...] | None
    predicate: str
    sinks: tuple[str, ...]
    cores: float
    memory_bytes: int
    gpus: float
    operator: str = ""  # what it does with the rows of the exchange that it reads
    inputs: tuple[str, ...] = ()  # the stages that fill that exchange
    feeds: tuple[str, ...] = ()  # the stages whose exchanges it fills
    labels: dict[str, str] = {}


class Plan(msgspec.Struct, frozen=True):
    """What a run will do: for the home (`run_plan`) and for people (`stages`)."""

    run_plan: RunPlan
    stages: tuple[PlannedStage, ...]


def make_plan(program: Program, slots: int) -> Plan:
    """Look at every source now and cut it into splits for this many slots.

    Raises: what `open_sink`, `discover` and `open_reader` of `connectors` raise; KeyRefusedError
    KeysApartError and SpecError of operators.
    """
    for sink in program.sinks:
        # A place or option that cannot be is refused now; nothing is created by it.
        open_sink(sink)
    found = [
        _files_stage(program, stage, slots)
        if stage.exchange is None
        else _exchange_stage(program, stage, program.exchanges[stage.exchange])
        for stage in program.stages
    ]
    if program.exchanges:
        # Arrays and keys take a moment to import: only who exchanges pays.
        from rayorch.plan.checking import check_exchanges  # noqa: PLC0415

        check_exchanges(program, [plan for plan, _ in found])
    return Plan(
        run_plan=RunPlan(tuple(plan for plan, _ in found)),
        stages=tuple(shown for _, shown in found),
    )


def _files_stage(
    program: Program, stage: StageProgram, slots: int
) -> tuple[StagePlan, PlannedStage]:
    discovery, splits = discover(stage.files, slots, stage.predicate)
    # A column that is not there is refused now, once, and not by every task.
    columns = stage.columns_of(load_schema(discovery.schema_ipc))
    open_reader(stage.files, discovery, columns, stage.predicate)
    # A source without rows gets a task all the same: only by running them on an empty table is it
    # known what columns the transforms make, and an output without rows has its columns too.
    splits = splits or [NO_ROWS]
    shown = msgspec.structs.replace(
        _shown(program, stage, discovery),
        url=stage.files.urls[0],
        columns=None if columns is None else tuple(columns),
        tasks=len(splits),
        task_bytes_max=max((split.size_bytes for split in splits), default=0),
    )
    is_said = stage.files.split == "file" or stage.files.split_bytes is not None
    encoded = tuple(encode_split(split) for split in splits)
    return StagePlan(discovery, encoded, is_said=is_said), shown


def _exchange_stage(
    program: Program, stage: StageProgram, exchange: ExchangeProgram
) -> tuple[StagePlan, PlannedStage]:
    shown = msgspec.structs.replace(
        _shown(program, stage, EXCHANGED),
        operator=MERGES if stage.merges else operator_text(exchange.code),
        inputs=sides_text(
            [[program.stages[index].name for index in side] for side in exchange.producers]
        ),
    )
    return StagePlan(EXCHANGED, ()), shown


def _shown(program: Program, stage: StageProgram, discovery: Discovery) -> PlannedStage:
    """Return what is shown of any stage."""
    return PlannedStage(
        name=stage.name,
        url="",
        format=discovery.format,
        files=len(discovery.files),
        tasks=None,
        size_bytes=discovery.size_bytes,
        rows=discovery.rows,
        task_bytes_max=0,
        steps=tuple(f"{step.kind} {step.name}" for step in stage.steps),
        columns=stage.columns,
        predicate="" if stage.predicate is None else str(stage.predicate),
        sinks=tuple(program.sinks[edge.sink].url for edge in stage.sinks),
        cores=stage.resources.cores,
        memory_bytes=stage.resources.memory_bytes,
        gpus=stage.resources.gpus,
        feeds=tuple(
            dict.fromkeys(program.exchanges[edge.exchange].name for edge in stage.exchanges)
        ),
        labels=dict(stage.resources.labels),
    )
