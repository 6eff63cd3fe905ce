"""Join without an exchange of the large side, where the small side is known to be small first.

    read small ── exchange ── measured ──┬── small enough: the tasks of the join read the large
                                         │   side's files by themselves, and all of the small one
    read large ── waits ─────────────────┴── it is not: the large side fills the exchange, too

Whether a stage waits is guessed from what files say of themselves, since it costs little when the
guess is wrong. What becomes of it is decided by what the small side was measured to be, once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import msgspec
import pyarrow as pa

from connectors.schema import load_schema
from rayorch.core.values import ExchangeResult
from rayorch.exchange import ExchangePart, PlanLimits, Reason, ReduceSplit, dump_split, load_part
from rayorch.exchange.kept import Direct, ReducePlan, WaitedPlan
from rayorch.exchange.parts import carried_schema
from rayorch.exchange.sizing import MEMORY_TIMES, MIB, TASKS_PER_SLOT, target_bytes
from rayorch.exchange.splits import RowRange
from rayorch.home import RunPlan, StagePlan
from rayorch.plan.checking import made_columns
from rayorch.program import ExchangeProgram, Program, StageProgram, StepId
from rayorch.relational import AsofCode, JoinCode, OperatorCode

LARGE_BYTES_MIN: Final = 16 << 20
"""Below it, an exchange costs less than to wait for the other side."""
COPIES_MAX: Final = 0.2
"""Bytes of the small side that tasks read again, as a part of the large side's.

To build on a row costs about what its way through an exchange costs. With more copies nothing is
won: tables that do not fit in the caches are slower to look things up in.
"""
STORED_TIMES: Final = 2
"""Bytes in memory for a byte in a file, where nothing better is known."""
_TEXT_BYTES: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A join whose large side may stay out of the exchange."""

    exchange: ExchangeProgram
    side: int
    large: int
    small: tuple[int, ...]
    schema: pa.Schema  # of the large side's rows


def with_waits(program: Program, plan: RunPlan, limits: PlanLimits) -> RunPlan:
    """Let the stages wait whose rows may be joined where their files are read."""
    stages = list(plan.stages)
    for exchange in program.exchanges:
        for side in sides_that_may_stay(exchange.code):
            pair = _pair(program, stages, exchange, side)
            if pair is not None and _is_promising(program, stages, pair, limits):
                large = stages[pair.large]
                stages[pair.large] = msgspec.structs.replace(
                    large, splits=(), waits=pair.small, later=large.splits
                )
                break
    return RunPlan(tuple(stages))


def sides_that_may_stay(code: OperatorCode) -> tuple[int, ...]:
    """Return the sides whose rows can be joined anywhere, as long as all of the other is there."""
    if isinstance(code, AsofCode):
        return (0,)
    if not isinstance(code, JoinCode):
        return ()
    return {"inner": (0, 1), "right": (1,), "full": ()}.get(code.how, (0,))


def decided(
    program: Program,
    plan: RunPlan,
    stage: int,
    written: Sequence[ExchangeResult],
    limits: PlanLimits,
) -> WaitedPlan:
    """Say what becomes of a stage that waited, by what the other side was measured to be."""
    exchange = program.exchanges[program.stages[stage].exchanges[0].exchange]
    side = program.stages[stage].exchanges[0].side
    pair = _pair(program, plan.stages, exchange, side)
    assert pair is not None
    found = plan.stages[stage]
    rows = found.discovery.rows or 0
    large_bytes = _memory_bytes(pair.schema, found)
    mine = [each for each in written if each.exchange == exchange.index and each.side != side]
    parts = [load_part(each.payload) for each in mine]
    small_bytes = sum(part.raw_bytes for part in parts)
    groups = _groups(found.later, _task_count(small_bytes, large_bytes, limits))
    why = _too_large(small_bytes, large_bytes, len(groups), limits)
    numbers = {
        "small_mib": round(small_bytes / MIB, 3),
        "large_mib": round(large_bytes / MIB, 3),
        "copies": len(groups),
    }
    names = ("left", "right")
    if why:
        reason = Reason(f"{names[side]} goes through the exchange", why, numbers)
    else:
        decision = f"{names[side]} is read where it is joined"
        reason = Reason(decision, f"{names[1 - side]} was measured first, and is small", numbers)
    return WaitedPlan(
        direct=None if why else Direct(side, stage, groups),
        schema=carried_schema(pair.schema).serialize().to_pybytes(),
        rows=rows,
        raw_bytes=large_bytes,
        notes=(str(reason),),
    )


def direct_plan(waited: WaitedPlan, small: Sequence[ExchangePart], schema: pa.Schema) -> ReducePlan:
    """Return tasks that read files of one side, and all of what was measured of the other."""
    direct = waited.direct
    assert direct is not None
    rows, raw_bytes = sum(part.rows for part in small), sum(part.raw_bytes for part in small)
    tasks = len(direct.splits)
    runs = sum(len(part.segments) for part in small)

    def ordered(of_small: object, of_large: object) -> tuple:  # type: ignore[type-arg]
        return (of_large, of_small) if direct.side == 0 else (of_small, of_large)

    splits = [
        ReduceSplit(
            index=number,
            sides=ordered((RowRange(0, rows),), ()),
            rows=ordered(rows, waited.rows // tasks),
            raw_bytes=ordered(raw_bytes, waited.raw_bytes // tasks),
            requests=runs,
        )
        for number in range(tasks)
    ]
    return ReducePlan(
        splits=tuple(dump_split(split) for split in splits),
        schemas=ordered(schema.serialize().to_pybytes(), waited.schema),
        rows=ordered(tuple(part.rows for part in small), ()),
        layouts=ordered((), ()),
        notes=waited.notes,
        task_bytes=tuple(sum(split.raw_bytes) for split in splits),
        direct=direct,
    )


def _pair(
    program: Program, stages: Sequence[StagePlan], exchange: ExchangeProgram, side: int
) -> _Pair | None:
    """Return the pair of a join, if its large side only reads files into it, in known columns."""
    small, larges = exchange.producers[1 - side], exchange.producers[side]
    if len(larges) != 1 or larges[0] in small:
        return None
    stage = program.stages[larges[0]]
    if stage.exchange is not None or stage.sinks or len(stage.exchanges) != 1:
        return None
    for index in small:
        if program.stages[index].exchange is not None or stages[index].waits:
            return None
    edge = stage.exchanges[0]
    if len(chain_of(stage, edge.step)) != len(stage.steps):
        return None  # Some of its steps are for nobody's rows but their own effects.
    files = load_schema(stages[larges[0]].discovery.schema_ipc)
    schema = made_columns(stage, edge.step, files)
    if schema is None or not len(schema):
        return None
    return _Pair(exchange=exchange, side=side, large=larges[0], small=small, schema=schema)


def chain_of(stage: StageProgram, step: StepId | None) -> tuple[StepId, ...]:
    """Return the steps from the source to one of them."""
    chain: list[StepId] = []
    while step is not None:
        chain.append(step)
        step = stage.steps[step].input
    return tuple(reversed(chain))


def _is_promising(
    program: Program, stages: Sequence[StagePlan], pair: _Pair, limits: PlanLimits
) -> bool:
    large = stages[pair.large]
    if len(large.splits) < limits.slots:
        return False
    large_bytes = _memory_bytes(pair.schema, large)
    small_bytes = 0
    for index in pair.small:
        stage, found = program.stages[index], stages[index]
        edges = [each for each in stage.exchanges if each.exchange == pair.exchange.index]
        files = load_schema(found.discovery.schema_ipc)
        schema = made_columns(stage, edges[0].step, files)
        small_bytes += _memory_bytes(schema, found)
    if large_bytes < LARGE_BYTES_MIN:
        return False
    tasks = _task_count(small_bytes, large_bytes, limits)
    return not _too_large(small_bytes, large_bytes, tasks, limits)


def _too_large(small_bytes: int, large_bytes: int, tasks: int, limits: PlanLimits) -> str:
    """Say why the small side is too large to be read by each task; nothing, if it is not."""
    if small_bytes * MEMORY_TIMES > limits.memory_bytes:
        return "the other side does not fit in a task's memory"
    if small_bytes * (tasks - 1) > COPIES_MAX * large_bytes:
        return "copies of the other side cost more than the exchange"
    return ""


def _task_count(small_bytes: int, large_bytes: int, limits: PlanLimits) -> int:
    """Return how many tasks there should be: each builds on all of the small side."""
    by_size = -(-large_bytes // target_bytes(limits))
    count = max(by_size, limits.slots)
    more = limits.slots * TASKS_PER_SLOT
    if small_bytes * more <= COPIES_MAX * large_bytes / 4:
        count = max(count, more)
    return int(-(-count // limits.slots) * limits.slots)


def _groups(splits: Sequence[bytes], tasks: int) -> tuple[tuple[bytes, ...], ...]:
    """Return neighbouring splits together, in so many groups or fewer."""
    count = min(tasks, len(splits))
    bounds = [number * len(splits) // count for number in range(count + 1)]
    return tuple(tuple(splits[low:high]) for low, high in pairwise(bounds))


def _memory_bytes(schema: pa.Schema | None, found: StagePlan) -> int:
    """Return about what a stage's rows take in memory, before any filter."""
    rows, stored = found.discovery.rows, found.discovery.size_bytes * STORED_TIMES
    if schema is None:
        return stored
    if rows is None:
        files = load_schema(found.discovery.schema_ipc)
        return int(stored * min(1.0, len(schema) / max(len(files), 1)))
    return rows * sum(_width(field.type) for field in schema)


def _width(type_: pa.DataType) -> int:
    try:
        bits: int = type_.bit_width
    except ValueError:
        return _TEXT_BYTES
    return max(1, bits // 8)
