"""Whether a run may go on with another version of its pipeline."""

from dataclasses import replace

from rayorch.errors import ResumeError
from rayorch.ids import RunId
from rayorch.program import ExchangeProgram, Program
from rayorch.relational import AggregateCode, JoinCode, keying_of


def check_same_plan(run: RunId, before: Program, after: Program) -> None:
    """Refuse what does not fit to what is committed; what functions do may change.

    The splits were cut for the sources and sinks, and exchanges are filled by their keys.

    Raises: ResumeError.
    """
    if _stages(before) != _stages(after):
        raise ResumeError(
            run,
            "its sources, or which of them lead to which outputs, have changed",
            "start a new run: what is committed was cut from the old sources",
        )
    for old, new in zip(before.exchanges, after.exchanges, strict=True):
        if _filling(old) != _filling(new):
            raise ResumeError(
                run,
                f"the keys, measures or kind of {old.name!r} have changed",
                "start a new run: its exchange was filled, and divided, by the old ones",
            )
    if before.sinks != after.sinks:
        raise ResumeError(run, "its outputs have changed", "start a new run")


def _stages(program: Program) -> list[object]:
    """Return what leads where."""
    return [
        (
            stage.name,
            stage.source,
            [edge.sink for edge in stage.sinks],
            [(edge.exchange, edge.side) for edge in stage.exchanges],
        )
        for stage in program.stages
    ]


def _filling(exchange: ExchangeProgram) -> list[object]:
    """Return what the files of an exchange depend on: what was filled so far is read as it is."""
    code = exchange.code
    keyings = [keying_of(code, side) for side in range(exchange.sides)]
    measures = code.measures if isinstance(code, AggregateCode) else ()
    plain = [replace(measure, aggregate=None) for measure in measures]
    # Exact states are other states; and what of a join is divided depends on which rows must match.
    kinds = [
        code.deterministic if isinstance(code, AggregateCode) else None,
        code.how if isinstance(code, JoinCode) else None,
    ]
    return [exchange.name, code.kind, keyings, plain, kinds]
