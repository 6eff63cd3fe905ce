"""A compiled pipeline: what runners execute. It crosses processes as bytes.

A *stage* is one source and the tree of steps that its rows flow through, down to sinks and into
exchanges. A union needs no step: its inputs' stages, or branches of one stage, lead to the same
sinks and exchanges. Steps after a union occur once per branch, so that a stage is always a tree.

                      ┌─ step 1 ──────────── sink 0
    source ── step 0 ─┤
                      └─ step 2 ── step 3 ── sink 1
                                     └────── exchange 0, side 0

An *exchange* brings together the rows that a relational operator needs together. The stage whose
source it is executes the operator, and then its own steps. A join has two sides, each with the
stages that feed it:

    stage 0 ── exchange 0, side 0 ─┐
    stage 1 ── exchange 0, side 1 ─┴─ operator ── stage 2's steps ── sinks, or further exchanges

An aggregate whose states may be large has one more stage, its *merger*: it reads the states of hot
keys, merges them, and writes them back into the exchange. Without hot keys it has no tasks.

    stage 0 ── exchange 0 ─┬─ hot keys ── stage 1 ── exchange 0 ─┐
                           └─ all others ────────────────────────┴─ operator ── stage 2

`load_program` runs code that the pipeline's author wrote: load only what the home holds.
"""

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Literal, NewType

import pyarrow as pa
import pyarrow.compute as pc

from connectors.outputs import SinkSpec
from connectors.splits import SourceSpec
from rayorch.errors import SpecError
from rayorch.relational import AggregateCode, Convention, OperatorCode, sides_of
from rayorch.shipping import dumped

StepId = NewType("StepId", int)
"""The index of a step within its stage."""

StepKind = Literal["map", "filter", "select", "keep", "sql"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapCode:
    """Call a function with one table (or frame, by convention) and take what it returns."""

    function: Callable[..., object]
    takes: Convention = "arrow"
    schema: pa.Schema | None = None  # declared by the author; what the result must be cast to

    kind: Literal["map"] = "map"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterCode:
    """Keep the rows for which the predicate is true; null is not true."""

    predicate: pc.Expression

    kind: Literal["filter"] = "filter"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectCode:
    """Make these columns, in this order: (new name, expression)."""

    columns: tuple[tuple[str, pc.Expression], ...]
    # The columns it takes when each is taken as it is, under whatever name; None when computed.
    plain: tuple[str, ...] | None = None

    kind: Literal["select"] = "select"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepCode:
    """Keep these columns, in this order; of the optional ones, those that are there.

    Stands before a join, where it is not known which side a column of the result comes from.
    """

    columns: tuple[str, ...]
    optional: tuple[str, ...]  # some of the columns

    kind: Literal["keep"] = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlCode:
    """Run a DuckDB query on each batch; the rows are the relation `input`."""

    query: str

    kind: Literal["sql"] = "sql"


StepCode = MapCode | FilterCode | SelectCode | KeepCode | SqlCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One transform in one stage."""

    id: StepId
    name: str  # of the dataset it makes
    input: StepId | None  # None: the rows as the source gives them
    code: StepCode
    where: str = ""  # the user's file:line

    @property
    def kind(self) -> StepKind:
        """Which of the five it is."""
        return self.code.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkEdge:
    """The rows of a step (None: of the source) go to a sink of the program."""

    sink: int
    step: StepId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeEdge:
    """The rows of a step (None: of the source) go into a side of an exchange of the program."""

    exchange: int
    side: int  # 0, the left; 1, the right of an operator that takes two datasets
    step: StepId | None
    is_merged: bool = False  # what comes are states that were merged, no rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSource:
    """A stage's rows are what an operator makes of the rows of an exchange."""

    exchange: int
    merges: bool = False  # it is the merger: its rows are the merged states of hot keys


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeProgram:
    """One relational operator: who feeds it, and which stage executes it."""

    index: int
    name: str  # the dataset that the operator makes; also its stage's name
    code: OperatorCode
    consumer: int  # the stage that executes the operator
    producers: tuple[tuple[int, ...], ...]  # by side: the stages that feed it, ascending
    where: str = ""  # the user's file:line
    merger: int | None = None  # the stage that merges states of hot keys before the consumer

    def __post_init__(self) -> None:
        assert len(self.producers) == self.sides
        before = self.consumer if self.merger is None else self.merger
        assert before <= self.consumer
        assert all(stages and max(stages) < before for stages in self.producers)

    @property
    def sides(self) -> int:
        """How many datasets the operator takes: 1 or 2."""
        return sides_of(self.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResources:
    """What one attempt of a stage needs: the most that its operator or any step asks for."""

    memory_bytes: int
    cores: float
    labels: Mapping[str, str] = field(default_factory=dict)
    uses: Mapping[str, int] = field(default_factory=dict)  # of outside resources
    gpus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgram:
    """One source and the tree of steps below it."""

    index: int
    name: str  # the dataset that is read, or that the operator makes
    source: SourceSpec | ExchangeSource
    # These two are a reader's; an operator yields what it yields.
    columns: tuple[str, ...] | None  # what the reader yields, in this order; None: all
    predicate: pc.Expression | None  # applied by the reader; may use columns that are not yielded
    steps: tuple[Step, ...]  # each after its input; steps[i].id == i
    sinks: tuple[SinkEdge, ...]
    resources: StageResources
    exchanges: tuple[ExchangeEdge, ...] = ()
    optional: tuple[str, ...] = ()  # of `columns`: those that the files need not have

    def __post_init__(self) -> None:
        assert all(step.id == index for index, step in enumerate(self.steps))
        assert all(step.input is None or step.input < step.id for step in self.steps)
        is_plain = self.columns is None and self.predicate is None
        assert is_plain or isinstance(self.source, SourceSpec)

    @property
    def files(self) -> SourceSpec:
        """The files that it reads. Only of a stage whose source is no exchange."""
        assert isinstance(self.source, SourceSpec)
        return self.source

    def columns_of(self, schema: pa.Schema) -> list[str] | None:
        """Return what the reader yields of files of this schema; None: all columns."""
        if self.columns is None:
            return None
        return kept_columns(self.columns, self.optional, schema.names)

    @property
    def exchange(self) -> int | None:
        """The exchange that it reads, or None when it reads files."""
        return self.source.exchange if isinstance(self.source, ExchangeSource) else None

    @property
    def merges(self) -> bool:
        """Whether it merges states of hot keys for the stage that executes the operator."""
        return isinstance(self.source, ExchangeSource) and self.source.merges


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """All stages of a pipeline, inputs first, and the exchanges and sinks between them."""

    pipeline: str
    stages: tuple[StageProgram, ...]
    sinks: tuple[SinkSpec, ...]
    exchanges: tuple[ExchangeProgram, ...] = ()
    # Exceptions of user code that mean "try again": class names, bare or with their module.
    transient_errors: tuple[str, ...] = ()

    def after(self, stage: int) -> tuple[int, ...]:
        """Return the stages whose rows a stage reads, ascending; none, when it reads files."""
        exchange = self.stages[stage].exchange
        if exchange is None:
            return ()
        found = self.exchanges[exchange]
        stages = {index for side in found.producers for index in side}
        if found.merger is not None and found.merger != stage:
            stages.add(found.merger)
        return tuple(sorted(stages))


def kept_columns(
    columns: Sequence[str], optional: Sequence[str], there: Sequence[str]
) -> list[str]:
    """Return the columns without the optional ones that are not there."""
    return [name for name in columns if name in there or name not in optional]


def dump_program(program: Program) -> bytes:
    """Return the program as bytes, the author's own functions by value.

    Raises: SpecError, naming the transform and variable that cannot be shipped or is too large.
    """
    parts = {name: _carrier(code) for name, code in codes_of(program).items()}
    try:
        return dumped(program, program.pipeline, parts)
    except SpecError as error:
        places = {exchange.name: exchange.where for exchange in program.exchanges}
        raise error.located(where=places.get(error.transform, "")) from error.__cause__


def _carrier(code: StepCode | OperatorCode) -> object:
    """Return what carries the author's own objects, under names that the author knows."""
    if not isinstance(code, AggregateCode):
        return code
    own = {each.name: each.aggregate for each in code.measures if each.aggregate is not None}
    # The four methods of an aggregate are of one object.
    return SimpleNamespace(
        **{name: getattr(each.create, "__self__", each) for name, each in own.items()}
    )


def codes_of(program: Program) -> dict[str, StepCode | OperatorCode]:
    """Return what each transform executes, by the dataset it makes."""
    operators = {exchange.name: exchange.code for exchange in program.exchanges}
    steps = {step.name: step.code for stage in program.stages for step in stage.steps}
    # A selection before an operator has the operator's name: who asks means the operator.
    return {**steps, **operators}


def load_program(data: bytes) -> Program:
    """Return the program that `dump_program` dumped."""
    program = pickle.loads(data)  # noqa: S301 - the home is as trusted as the pipeline's author.
    assert isinstance(program, Program)
    return program
