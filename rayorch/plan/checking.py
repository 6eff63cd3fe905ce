"""What can be said against a pipeline's operators before anything runs: of columns of files."""

from collections.abc import Sequence

import pyarrow as pa

from connectors.schema import load_schema
from rayorch.exchange import check_side, check_sides
from rayorch.home import StagePlan
from rayorch.program import (
    ExchangeProgram,
    FilterCode,
    KeepCode,
    MapCode,
    Program,
    SelectCode,
    StageProgram,
    StepId,
    kept_columns,
)


def check_exchanges(program: Program, found: Sequence[StagePlan]) -> None:
    """Refuse operators whose sides lack a column, or have keys that are none or never compare.

    Raises: MissingColumnError, KeyRefusedError, KeysApartError.
    """
    for exchange in program.exchanges:
        sides = [_side_schema(program, found, exchange, side) for side in range(exchange.sides)]
        for side, schema in enumerate(sides):
            if schema is not None:
                check_side(exchange.name, exchange.code, side, schema)
        known = [schema for schema in sides if schema is not None]
        if len(known) == exchange.sides:
            check_sides(exchange.name, exchange.code, known)


def _side_schema(
    program: Program, found: Sequence[StagePlan], exchange: ExchangeProgram, side: int
) -> pa.Schema | None:
    """Return the columns of one of the inputs of a side; None when none is known yet."""
    for index in exchange.producers[side]:
        stage = program.stages[index]
        for edge in stage.exchanges:
            if (edge.exchange, edge.side) == (exchange.index, side) and stage.exchange is None:
                schema = made_columns(
                    stage, edge.step, load_schema(found[index].discovery.schema_ipc)
                )
                if schema is not None:
                    return schema
    return None


def made_columns(stage: StageProgram, step: StepId | None, files: pa.Schema) -> pa.Schema | None:
    """Return the columns that a step makes of files; None when only running it can tell."""
    if step is None:
        names = stage.columns_of(files)
        return files if names is None else _selected(files, names)
    code = stage.steps[step].code
    if isinstance(code, MapCode):
        return code.schema
    given = made_columns(stage, stage.steps[step].input, files)
    match code:
        case FilterCode():
            return given
        case KeepCode() if given is not None:
            return _selected(given, kept_columns(code.columns, code.optional, given.names))
        case SelectCode() if given is not None and code.plain is not None:
            taken = _selected(given, code.plain)
            pairs = zip(taken or (), (name for name, _ in code.columns), strict=False)
            return None if taken is None else pa.schema([f.with_name(name) for f, name in pairs])
        case _:
            return None


def _selected(schema: pa.Schema, names: Sequence[str]) -> pa.Schema | None:
    """Return some columns; None when one is not there, which its step will say."""
    if any(name not in schema.names for name in names):
        return None
    return pa.schema([schema.field(name) for name in names])
