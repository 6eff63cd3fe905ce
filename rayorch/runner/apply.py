"""The border to the user's code: call it, check what it returns, say what it raised.

Only here, user code is called, and all that it raises is caught: it must never end the thread
that called it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from connectors.data_errors import MissingColumnError
from rayorch.core.values import ErrorInfo
from rayorch.program import (
    FilterCode,
    KeepCode,
    MapCode,
    SelectCode,
    SqlCode,
    Step,
    kept_columns,
)
from rayorch.runner.conform import checked_names, conformed, learnt
from rayorch.runner.errors import AttemptError, ResultError
from rayorch.runner.failures import failure_of
from rayorch.runner.frames import computed, given, taken
from rayorch.runner.sql import limit_duckdb, query_result
from rayorch.runner.tracebacks import message_of, traceback_of, where_of

MASK_NAME: Final = "keep"
DUCKDB_SHARE: Final = 2  # the other half is for the batches themselves and the writers
DECLARED: Final = "its declared schema"
FIRST_BATCH: Final = "the schema of its first batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeLimits:
    """What holds for every step of a program."""

    transient_errors: frozenset[str] = frozenset()
    memory_bytes: int = 1 << 30


class StepRun:
    """One step within one attempt. Remembers the schema of its first batch."""

    __slots__ = ("_code", "_limits", "_schema", "_whose", "step")

    def __init__(self, step: Step, limits: CodeLimits) -> None:
        self.step = step
        self._limits = limits
        self._code = _CALLS[step.kind]
        declared = step.code.schema if isinstance(step.code, MapCode) else None
        self._schema: pa.Schema | None = declared
        self._whose = FIRST_BATCH if declared is None else DECLARED

    def apply(self, table: pa.Table) -> pa.Table:
        """Return what the step makes of one batch.

        Raises: AttemptError, naming the transform, the user's line and what to do.
        """
        try:
            result = self._code(self, table)
            if self._schema is None:
                checked_names(result.schema)
                self._schema = result.schema
                return result
            if self._whose is FIRST_BATCH and not result.schema.equals(self._schema):
                self._schema = learnt(self._schema, result.schema)
            return conformed(result, self._schema, self._whose)
        except ResultError as error:
            kind = failure_of(error, "engine").kind
            raise AttemptError(kind, self._refusal(error)) from error

    def call_map(self, table: pa.Table) -> pa.Table:
        """Call the function."""
        code = self.step.code
        assert isinstance(code, MapCode)
        if code.takes == "duckdb":
            limit_duckdb(self._limits.memory_bytes // DUCKDB_SHARE)
        rows = given(table, code.takes)
        try:
            result = computed(code.function(rows))
        # BaseException: sys.exit() and the panics of Rust extensions are not Exceptions.
        except BaseException as error:
            raise self._failure(error) from error
        return taken(result)

    def call_filter(self, table: pa.Table) -> pa.Table:
        """Keep the rows for which the predicate is true."""
        code = self.step.code
        assert isinstance(code, FilterCode)
        try:
            # A mask and one filter: on one core a third of the time of Acero's filter node.
            mask = _projected(table, [code.predicate], [MASK_NAME]).column(0)
            return table.filter(mask)
        except BaseException as error:
            raise self._failure(error) from error

    def call_select(self, table: pa.Table) -> pa.Table:
        """Make the columns."""
        code = self.step.code
        assert isinstance(code, SelectCode)
        names = [name for name, _ in code.columns]
        try:
            if code.plain is not None:
                _refuse_missing(table, code.plain, self.step.name)
                return table.select(list(code.plain)).rename_columns(names)
            return _projected(table, [expression for _, expression in code.columns], names)
        except BaseException as error:
            raise self._failure(error) from error

    def call_keep(self, table: pa.Table) -> pa.Table:
        """Keep those of the columns that are there."""
        code = self.step.code
        assert isinstance(code, KeepCode)
        try:
            return table.select(kept_columns(code.columns, code.optional, table.column_names))
        except BaseException as error:
            raise self._failure(error) from error

    def call_sql(self, table: pa.Table) -> pa.Table:
        """Run the query."""
        code = self.step.code
        assert isinstance(code, SqlCode)
        try:
            return query_result(table, code.query, self._limits.memory_bytes // DUCKDB_SHARE)
        except ResultError:
            raise
        except BaseException as error:
            raise self._failure(error) from error

    def _failure(self, error: BaseException) -> AttemptError:
        row = failure_of(error, "code", self._limits.transient_errors)
        is_function = isinstance(self.step.code, MapCode)
        info = ErrorInfo(
            message=message_of(error),
            error_type=type(error).__qualname__,
            transform=self.step.name,
            where=where_of(error) or defined_at(self.step),
            remedy=row.advice,
            # Of a query or an expression there is nothing of the user's on the stack.
            traceback=traceback_of(error) if is_function else "",
        )
        return AttemptError(row.kind, info)

    def _refusal(self, error: ResultError) -> ErrorInfo:
        return ErrorInfo(
            message=f"transform {self.step.name!r} {_told(error.problem)}",
            error_type=type(error).__qualname__,
            transform=self.step.name,
            where=defined_at(self.step),
            remedy=error.fix,
        )


def _told(problem: str) -> str:
    verb = problem.partition(" ")[0]
    return problem if verb in {"returned", "is"} else f"returned a wrong table: {problem}"


def defined_at(step: Step) -> str:
    """Return `file:line` of the user's definition of the step."""
    if isinstance(step.code, MapCode):
        code = getattr(step.code.function, "__code__", None)
        if code is not None:
            return f"{code.co_filename}:{code.co_firstlineno}"
    return step.where


def _refuse_missing(table: pa.Table, columns: Sequence[str], name: str) -> None:
    """Name a column that is not there, and what it may have been meant for.

    Raises: MissingColumnError.
    """
    known = tuple(table.column_names)
    for column in columns:
        if column not in known:
            raise MissingColumnError(f"what {name!r} is made of", column, known)


def _projected(table: pa.Table, expressions: list[object], names: list[str]) -> pa.Table:
    # It imports pandas where there is one: a third of a second, before a runner's first batch.
    import pyarrow.acero as ac  # noqa: PLC0415

    plan = ac.Declaration.from_sequence(
        [
            ac.Declaration("table_source", ac.TableSourceNodeOptions(table)),
            ac.Declaration("project", ac.ProjectNodeOptions(expressions, names)),
        ]
    )
    # One thread: a runner has its cores, and the rows stay in their order.
    return plan.to_table(use_threads=False)


_CALLS: Final[dict[str, Callable[[StepRun, pa.Table], pa.Table]]] = {
    "map": StepRun.call_map,
    "filter": StepRun.call_filter,
    "select": StepRun.call_select,
    "keep": StepRun.call_keep,
    "sql": StepRun.call_sql,
}
