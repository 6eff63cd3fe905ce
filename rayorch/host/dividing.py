"""Divide stages when what comes before them has been measured.

Arrays and keys take a moment to import: only a run that exchanges pays for it, in the functions.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from connectors.splits import Split
from rayorch.core.commands import PlanStage
from rayorch.core.facts import PlanReady, StagePlanned
from rayorch.core.run import Run
from rayorch.core.values import ExchangeResult, WrittenBy
from rayorch.failpoints import failpoint
from rayorch.home import Home, KnownSplits, RunPlan, decode_split, encode_split
from rayorch.ids import RunId, TaskId
from rayorch.plan.locating import keys_of
from rayorch.program import Program

Written = Sequence[tuple[WrittenBy, ExchangeResult]]


def plan_with_waits(program: Program, plan: RunPlan, slots: int) -> RunPlan:
    """Let stages wait that may be read where their rows are joined."""
    if not program.exchanges:
        return plan
    from rayorch.exchange import PlanLimits  # noqa: PLC0415
    from rayorch.plan.waiting import with_waits  # noqa: PLC0415

    memory_bytes = min(each.resources.memory_bytes for each in program.stages)
    return with_waits(program, plan, PlanLimits(slots=slots, memory_bytes=memory_bytes))


def plan_ready(run: RunId, plan: RunPlan) -> PlanReady:
    """Return how a run is divided, as far as that is known before any of it is measured."""
    keys = {number: keys_of(stage) for number, stage in enumerate(plan.stages) if stage.splits}
    return PlanReady(
        run=run,
        task_counts=plan.task_counts,
        size_bytes=plan.size_bytes,
        files=plan.files,
        waits=plan.waits,
        keys={number: packed for number, packed in keys.items() if packed},
    )


def planned_stage(  # noqa: PLR0913 - what is divided, and by what.
    home: Home,
    program: Program,
    command: PlanStage,
    written: Written,
    waits: frozenset[int],
    slots: int,
    *,
    request_usd: float = 0.0,
) -> StagePlanned:
    """Divide a stage, keep how, and return how many tasks it has.

    waits: the run's stages that wait, or waited. request_usd: of one read from the store.
    Raises: what `cut_stage` raises.
    """
    from rayorch.exchange import PlanLimits, pieces_of_task  # noqa: PLC0415
    from rayorch.exchange.kept import load_waited  # noqa: PLC0415
    from rayorch.plan.exchanging import cut_stage  # noqa: PLC0415

    run, stage, revision = command.run, command.stage, command.revision
    found = program.stages[stage]
    if found.exchange is None:
        return _planned_waiting(home, program, command, written, slots)
    mine = [each for each in written if each[1].exchange == found.exchange]
    limits = PlanLimits(
        slots=slots,
        memory_bytes=found.resources.memory_bytes,
        request_usd=request_usd,
    )
    exchange = program.exchanges[found.exchange]
    large = [each for side in exchange.producers for each in side if each in waits]
    waited = load_waited(home, run, large[0]) if large else None
    merges = found.merges
    plan = cut_stage(home, run, exchange, revision, mine, limits, waited=waited, merges=merges)
    failpoint("host.after_plan_stage")
    size_bytes = sum(plan.task_bytes)
    tasks = range(len(plan.splits)) if plan.direct is None else ()
    return StagePlanned(
        run,
        stage,
        revision,
        len(plan.splits),
        size_bytes,
        plan.notes,
        plan.together,
        any(len(pieces_of_task(exchange.code, plan.split(number))) > 1 for number in tasks),
    )


def _planned_waiting(
    home: Home, program: Program, command: PlanStage, written: Written, slots: int
) -> StagePlanned:
    from rayorch.exchange import PlanLimits  # noqa: PLC0415
    from rayorch.exchange.kept import keep_waited  # noqa: PLC0415
    from rayorch.plan.waiting import decided  # noqa: PLC0415

    run, stage = command.run, command.stage
    plan = home.get_plan(run)
    consumer = program.exchanges[program.stages[stage].exchanges[0].exchange].consumer
    memory_bytes = program.stages[consumer].resources.memory_bytes
    limits = PlanLimits(slots=slots, memory_bytes=memory_bytes)
    results = [result for _, result in written]
    made = keep_waited(home, run, stage, decided(program, plan, stage, results, limits))
    tasks = 0 if made.direct is not None else len(plan.stages[stage].later)
    size_bytes = made.raw_bytes if tasks else 0
    failpoint("host.after_plan_stage")
    keys = keys_of(plan.stages[stage]) if tasks else b""
    return StagePlanned(run, stage, command.revision, tasks, size_bytes, made.notes, keys=keys)


def split_of(run: Run, task: TaskId, known: KnownSplits) -> bytes:
    """Return the encoded split of a task, of what is known since the run was planned."""
    own = run.splits.get(task)
    if own is not None:
        stage = run.tasks[task].stage
        if not run.stages[stage].after:
            return own
        # A piece of what is exchanged is the same wherever the bytes are now.
        return encode_split(replace(decode_split(own), lo=run.revision_of(stage)))
    splits, later = known
    if task < len(splits):
        return splits[task]
    # A task of a stage that was divided when others had been measured.
    stage = run.tasks[task].stage
    number = task - run.first_tasks[stage]
    if stage in later:
        return later[stage][number]
    return encode_split(Split(lo=run.revision_of(stage), hi=number))
