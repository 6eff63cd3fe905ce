"""Cut a stage that reads an exchange: from what its map tasks measured to reduce tasks.

A stage is divided once. When an exchange file is lost and written anew, only where its bytes are
changes: the division stays, because some of its tasks may be committed by then.
"""

from collections.abc import Iterator, Sequence

import msgspec
import pyarrow as pa
import xxhash

from rayorch.core.values import ExchangeResult, WrittenBy
from rayorch.exchange import (
    ExchangeIndex,
    ExchangePart,
    PlanLimits,
    Reason,
    ReduceSplit,
    check_sides,
    dump_split,
    load_part,
    load_split,
    plan_exchange,
    plan_merges,
)
from rayorch.exchange.kept import (
    ReduceInput,
    ReducePlan,
    WaitedPlan,
    keep_input,
    keep_plan,
    load_plan,
)
from rayorch.exchange.splits import HotKey, RowRange
from rayorch.home import Home
from rayorch.ids import RunId
from rayorch.plan.errors import ExchangeChangedError, ExchangeTypesError, NoColumnsError
from rayorch.plan.waiting import direct_plan
from rayorch.program import ExchangeProgram
from rayorch.relational import AggregateCode

Written = tuple[WrittenBy, ExchangeResult]


def cut_stage(  # noqa: PLR0913 - what is divided, by what, and how.
    home: Home,
    run: RunId,
    exchange: ExchangeProgram,
    revision: int,
    written: Sequence[Written],
    limits: PlanLimits,
    *,
    waited: WaitedPlan | None = None,
    merges: bool = False,
) -> ReducePlan:
    """Divide a stage by what was measured, or find the bytes of a divided one anew; keep both.

    waited: what became of the side that waited for the other to be measured, if one did.
    merges: the stage is the one that merges hot keys; it has no tasks when none is too large.

    Raises: StoreError; NoColumnsError, ExchangeTypesError, KeysApartError, ExchangeChangedError.
    """
    sides: list[list[ExchangePart]] = [[] for _ in range(exchange.sides)]
    writers: list[list[WrittenBy]] = [[] for _ in range(exchange.sides)]
    for writer, result in written:
        sides[result.side].append(load_part(result.payload))
        writers[result.side].append(writer)
    if merges:
        assert exchange.merger is not None
        stage, made = exchange.merger, _merges_divided(exchange, sides[0], limits)
        notes: tuple[str, ...] = ()
    else:
        stage = exchange.consumer
        first = None if exchange.merger is None else load_plan(home, run, exchange.merger)
        merged = () if first is None else first.merged
        made = _divided(exchange, sides, limits, waited, merged)
        notes = (*_merged_before(written), *_merged_first(first, written))
    made = msgspec.structs.replace(
        made,
        rows_schema=_rows_schema(exchange, written),
        notes=(*notes, *made.notes),
    )
    plan = keep_plan(home, run, stage, made)
    if (plan.rows, plan.layouts) != (made.rows, made.layouts):
        raise ExchangeChangedError(exchange.name, _changed(plan, made, writers))
    names = tuple(tuple((w.task, w.attempt, w.epoch) for w in each) for each in writers)
    found = ReduceInput(ExchangeIndex(sides).dump(), names)
    keep_input(home, run, stage, revision, found)
    return plan


def _merged_before(written: Sequence[Written]) -> Iterator[str]:
    """Say what merging rows before the exchange came to, where the operator can do so."""
    results = [result for _, result in written if result.rows_in]
    if not results:
        return
    rows_in = sum(result.rows_in for result in results)
    sent = sum(result.rows for result in results)
    gave_up = sum(not result.paid for result in results)
    numbers = {"rows": rows_in, "sent": sent, "share": round(sent / rows_in, 3)}
    decision = "rows of one key merged before the exchange"
    if gave_up == len(results):
        decision = "rows sent as they are"
    why = "a task merges them while that leaves three rows of four, or fewer"
    if gave_up:
        numbers |= {"tasks": len(results), "gave_up": gave_up}
    yield str(Reason(decision, why, numbers))
    heavy_in, heavy_out = (sum(each) for each in zip(*(r.heavy for r in results), strict=True))
    if heavy_in:
        why = "all of a key goes to one task, so that its rows are merged where they are many"
        merged = {"rows": heavy_in, "sent": heavy_out}
        yield str(Reason("rows of heavy keys merged all the same", why, merged))


def _merged_first(first: ReducePlan | None, written: Sequence[Written]) -> Iterator[str]:
    """Say what merging the states of hot keys first came to."""
    if first is None or not first.merged:
        return
    back = [result for _, result in written if not result.rows_schema]
    numbers: dict[str, float] = {
        "keys": len(first.merged),
        "tasks": len(back),
        "states": sum(load_split(split).rows[0] for split in first.splits),
        "left": sum(result.rows for result in back),
    }
    why = "their states were too much for one task each"
    yield str(Reason("states of hot keys merged first", why, numbers))


def _merges_divided(
    exchange: ExchangeProgram, parts: Sequence[ExchangePart], limits: PlanLimits
) -> ReducePlan:
    assert isinstance(exchange.code, AggregateCode)
    plan = plan_merges(exchange.code, parts, limits)
    return ReducePlan(
        splits=tuple(dump_split(split) for split in plan.splits),
        schemas=(_schema(exchange, parts, 0).serialize().to_pybytes(),),
        rows=(tuple(part.rows for part in parts),),
        layouts=(tuple(_layout(part) for part in parts),),
        notes=tuple(str(reason) for reason in plan.reasons),
        task_bytes=tuple(sum(split.raw_bytes) for split in plan.splits),
        merged=plan.merged,
        settles=plan.by_value,
    )


def _divided(
    exchange: ExchangeProgram,
    sides: Sequence[Sequence[ExchangePart]],
    limits: PlanLimits,
    waited: WaitedPlan | None,
    merged: Sequence[HotKey],
) -> ReducePlan:
    if waited is not None and waited.direct is not None:
        small = 1 - waited.direct.side
        schema = _schema(exchange, sides[small], small)
        large = pa.ipc.read_schema(pa.py_buffer(waited.schema))
        check_sides(exchange.name, exchange.code, [large, schema] if small else [schema, large])
        layouts = [tuple(_layout(part) for part in parts) for parts in sides]
        made = direct_plan(waited, sides[small], schema)
        return msgspec.structs.replace(made, layouts=tuple(layouts))
    schemas = [_schema(exchange, parts, side) for side, parts in enumerate(sides)]
    check_sides(exchange.name, exchange.code, schemas)
    plan = plan_exchange(exchange.code, sides, limits, merged)
    # Of nothing, one task: only by running it is it known what columns the operator makes.
    splits = plan.splits or (_nothing(len(sides)),)
    return ReducePlan(
        splits=tuple(dump_split(split) for split in splits),
        schemas=tuple(schema.serialize().to_pybytes() for schema in schemas),
        rows=tuple(tuple(part.rows for part in parts) for parts in sides),
        layouts=tuple(tuple(_layout(part) for part in parts) for parts in sides),
        notes=tuple(str(reason) for reason in plan.reasons),
        task_bytes=tuple(sum(split.raw_bytes) for split in splits),
        together=plan.together,
    )


def _layout(part: ExchangePart) -> str:
    """Return a digest of where a part's keys lie: how many rows each bucket has, and samples.

    Not of the bytes: what stands in the place of a null may differ each time.
    """
    lies = [(each.rows, each.bucket_rows, each.heavy, each.samples) for each in part.segments]
    return xxhash.xxh3_64_hexdigest(msgspec.msgpack.encode(lies))


def _nothing(sides: int) -> ReduceSplit:
    return ReduceSplit(
        index=0,
        sides=((RowRange(0, 0),),) * sides,
        rows=(0,) * sides,
        raw_bytes=(0,) * sides,
        requests=0,
    )


def _schema(exchange: ExchangeProgram, parts: Sequence[ExchangePart], side: int) -> pa.Schema:
    """Return the columns that all parts of a side can be read as."""
    # A part without rows says little: an empty frame has the types it likes.
    some = [part for part in parts if part.rows] or list(parts)[:1]
    if not some:
        raise NoColumnsError(exchange.name, side)
    try:
        return pa.unify_schemas([part.schema for part in some], promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise ExchangeTypesError(exchange.name, str(error)) from error


def _rows_schema(exchange: ExchangeProgram, written: Sequence[Written]) -> bytes:
    """Return the columns of the rows that were aggregated before they were written, if any."""
    # States that were merged first say nothing of rows.
    results = [each for _, each in written if each.rows_schema] or [each for _, each in written]
    some = [each for each in results if each.rows] or results[:1]
    found = {each.rows_schema for each in some}
    if len(found) > 1:
        schemas = [pa.ipc.read_schema(pa.py_buffer(data)) for data in sorted(found)[:2]]
        apart = [
            f"{a.name} is {a.type} and {b.type}" for a, b in zip(*schemas, strict=False) if a != b
        ]
        raise ExchangeTypesError(exchange.name, ", ".join(apart) or "columns differ")
    return next(iter(found), b"")


def _changed(plan: ReducePlan, made: ReducePlan, writers: Sequence[Sequence[WrittenBy]]) -> str:
    for side, parts in enumerate(writers):
        before = zip(plan.rows[side], plan.layouts[side], strict=True)
        after = zip(made.rows[side], made.layouts[side], strict=True)
        for writer, old, new in zip(parts, before, after, strict=False):
            if old[0] != new[0]:
                return f"task {writer.task} made {old[0]} rows, and then {new[0]}"
            if old != new:
                return f"task {writer.task} made {new[0]} rows again, but with other keys"
    return "other tasks made rows"
