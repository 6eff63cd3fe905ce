"""Operators whose author's functions say what becomes of the attempt when they raise."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rayorch.core.values import ErrorInfo
from rayorch.program import ExchangeProgram, MapCode, Step, StepId
from rayorch.relational import AggregateCode, GroupMapCode, Measure, OperatorCode
from rayorch.runner.apply import CodeLimits, StepRun
from rayorch.runner.errors import AttemptError
from rayorch.runner.failures import failure_of
from rayorch.runner.tracebacks import message_of, traceback_of, where_of


def guarded(exchange: ExchangeProgram, limits: CodeLimits) -> OperatorCode:
    """Return the operator with its author's functions wrapped: they raise `AttemptError`s."""

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: object) -> object:
            try:
                return function(*given)
            # BaseException: sys.exit() and the panics of Rust extensions are not Exceptions.
            except BaseException as error:
                raise _user_failure(error, exchange, limits) from error

        return call

    code = exchange.code
    if isinstance(code, GroupMapCode):
        # Called as a map's function is: in its author's kind of frame, its results checked.
        call = MapCode(function=code.function, takes=code.takes, schema=code.schema)
        step = Step(id=StepId(0), name=exchange.name, input=None, code=call, where=exchange.where)
        return replace(code, function=StepRun(step, limits).apply, takes="arrow")
    if isinstance(code, AggregateCode):
        return replace(code, measures=tuple(_wrapped(each, wrapped) for each in code.measures))
    return code


def _wrapped(
    measure: Measure, wrapped: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Measure:
    own = measure.aggregate
    if own is None:
        return measure
    guarded_own = replace(
        own,
        create=wrapped(own.create),
        update=wrapped(own.update),
        merge=wrapped(own.merge),
        finish=wrapped(own.finish),
    )
    return replace(measure, aggregate=guarded_own)


def _user_failure(
    error: BaseException, exchange: ExchangeProgram, limits: CodeLimits
) -> AttemptError:
    row = failure_of(error, "code", limits.transient_errors)
    return AttemptError(
        row.kind,
        ErrorInfo(
            message=message_of(error),
            error_type=type(error).__qualname__,
            transform=exchange.name,
            where=where_of(error) or exchange.where,
            remedy=row.advice,
            traceback=traceback_of(error),
        ),
    )
