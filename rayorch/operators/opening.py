"""The kernel of an operator, and its partial aggregation before the exchange."""

from dataclasses import replace
from typing import assert_never

import pyarrow as pa

from rayorch.operators.aggregate import plan_of, settling_of, value_columns
from rayorch.operators.checks import check_compared
from rayorch.operators.groups import group_kernel
from rayorch.operators.kernel import Kernel, PassKernel, Room, SqlKernel
from rayorch.operators.own_kernel import OwnKernel
from rayorch.operators.partial import Partial, of_aggregate, of_dedupe
from rayorch.operators.rows import (
    asof_kernel,
    dedupe_kernel,
    join_kernel,
    sort_kernel,
    window_kernel,
)
from rayorch.relational import (
    AggregateCode,
    AsofCode,
    DedupeCode,
    GroupMapCode,
    JoinCode,
    OperatorCode,
    RepartitionCode,
    SortCode,
    WindowCode,
)


def open_kernel(  # noqa: PLR0911, PLR0913 - one return per operator; what an operator is, what it gets, and what it may use.
    code: OperatorCode,
    schemas: tuple[pa.Schema, ...],
    *,
    memory_bytes: int,
    spill_dir: str,
    threads: int = 1,
    rows: pa.Schema | None = None,
    final: bool = True,
    settles: bool = False,
) -> Kernel:
    """Return the kernel of an operator over sides of these schemas.

    rows: the schema of the rows, when the side of an aggregate brings partial states of them.
    final: False makes an aggregate of states yield states again.
    settles: of all states of some values, so that those values are counted for good.
    Raises: SpecError, when the operator cannot take such columns.
    """
    check_compared(code, schemas if rows is None else (rows,))
    room = Room(memory_bytes=memory_bytes, spill_dir=spill_dir, threads=threads)
    match code:
        case AggregateCode():
            return _aggregate_kernel(code, schemas[0], room, rows, final=final, settles=settles)
        case JoinCode():
            return join_kernel(code, schemas, room)
        case AsofCode():
            return asof_kernel(code, schemas, room)
        case SortCode():
            return sort_kernel(code, schemas[0], room)
        case DedupeCode():
            return dedupe_kernel(code, schemas[0], room)
        case WindowCode():
            return window_kernel(code, schemas[0], room)
        case RepartitionCode():
            return PassKernel(schema=schemas[0])
        case GroupMapCode():
            return group_kernel(code, schemas[0], room)
    assert_never(code)


def columns_apart(code: OperatorCode, schema: pa.Schema) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return, of the states of such rows, the columns that tell values apart, and the large ones.

    Of the first, none where no values are counted; of the second, none but an author's own states.
    """
    if not isinstance(code, AggregateCode):
        return (), ()
    plan = plan_of(code, schema)
    large = () if plan.own is None else plan.own.held_schema.names[len(code.by) :]
    return value_columns(code, schema), tuple(large)


def open_partial(code: OperatorCode, schema: pa.Schema, memory_bytes: int) -> Partial | None:
    """Return what an operator can do to such rows before their exchange; None when nothing.

    What leaves it has the columns `schema`: of an aggregate, states; of the others, rows.
    """
    match code:
        case AggregateCode():
            plan = of_aggregate(plan_of(code, schema))
        case DedupeCode():
            plan = of_dedupe(dedupe_kernel(code, schema, Room(memory_bytes=0, spill_dir="")))
        case _:
            return None
    check_compared(code, (schema,))
    return Partial(rows=schema, plan=plan, memory_bytes=memory_bytes)


def _aggregate_kernel(
    code: AggregateCode,
    side: pa.Schema,
    room: Room,
    rows: pa.Schema | None,
    *,
    final: bool,
    settles: bool,
) -> Kernel:
    plan = plan_of(code, side if rows is None else rows)
    if rows is not None and not side.equals(plan.states):
        # Some of them are of tasks that have counted values for good.
        plan = plan_of(code, rows, settled=True)
        assert side.equals(plan.states)
    settling = settling_of(code, rows) if settles and rows is not None else None
    if plan.own is not None:
        states = plan.states if settling is None else settling.schema
        schema = plan.schema if final else states
        made_of = side if rows is None else None
        return OwnKernel(
            schema=schema,
            plan=plan,
            own=plan.own,
            final=final,
            room=room,
            rows=made_of,
            settling=settling,
        )
    if settling is not None:
        return SqlKernel(sides=(side,), schema=settling.schema, sql=settling.sql, room=room)
    if rows is None:
        kernel = SqlKernel(sides=(side,), schema=plan.schema, sql=plan.rows_to_values, room=room)
        grouped = plan.rows_grouped
    else:
        kernel = SqlKernel(sides=(side,), schema=plan.schema, sql=plan.states_to_values, room=room)
        grouped = plan.states_grouped
    return kernel if final else replace(kernel, schema=plan.states, sql=grouped)
