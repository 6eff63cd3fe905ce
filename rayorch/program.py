"""A compiled pipeline: what runners execute. It crosses processes as bytes.

A *stage* is one source and the tree of steps that its rows flow through, down to sinks. A union
needs no step: its inputs' stages, or branches of one stage, lead to the same sinks. Steps after a
union occur once per branch, so that a stage is always a tree.

                      ┌─ step 1 ──────────── sink 0
    source ── step 0 ─┤
                      └─ step 2 ── step 3 ── sink 1

`load_program` runs code that the pipeline's author wrote: load only what the home holds.
"""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NewType

import pyarrow as pa
import pyarrow.compute as pc

from connectors.outputs import SinkSpec
from connectors.splits import SourceSpec
from rayorch.relational import Convention
from rayorch.shipping import dumped

StepId = NewType("StepId", int)
"""The index of a step within its stage."""

StepKind = Literal["map", "filter", "select", "sql"]


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
class SqlCode:
    """Run a DuckDB query on each batch; the rows are the relation `input`."""

    query: str

    kind: Literal["sql"] = "sql"


StepCode = MapCode | FilterCode | SelectCode | SqlCode


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
        """Which of the four it is."""
        return self.code.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkEdge:
    """The rows of a step (None: of the source) go to a sink of the program."""

    sink: int
    step: StepId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResources:
    """What one attempt of a stage needs: the most that any of its steps asks for."""

    memory_bytes: int
    cores: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgram:
    """One source and the tree of steps below it."""

    index: int
    name: str  # the dataset that is read
    source: SourceSpec
    columns: tuple[str, ...] | None  # what the reader yields, in this order; None: all
    predicate: pc.Expression | None  # applied by the reader; may use columns that are not yielded
    steps: tuple[Step, ...]  # each after its input; steps[i].id == i
    sinks: tuple[SinkEdge, ...]
    resources: StageResources

    def __post_init__(self) -> None:
        assert all(step.id == index for index, step in enumerate(self.steps))
        assert all(step.input is None or step.input < step.id for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """All stages of a pipeline, and the sinks they share."""

    pipeline: str
    stages: tuple[StageProgram, ...]
    sinks: tuple[SinkSpec, ...]
    # Exceptions of user code that mean "try again": class names, bare or with their module.
    transient_errors: tuple[str, ...] = ()


def dump_program(program: Program) -> bytes:
    """Return the program as bytes, the author's own functions by value.

    Raises: SpecError, naming the transform and variable that cannot be shipped or is too large.
    """
    parts = {step.name: step.code for stage in program.stages for step in stage.steps}
    return dumped(program, program.pipeline, parts)


def load_program(data: bytes) -> Program:
    """Return the program that `dump_program` dumped."""
    program = pickle.loads(data)  # noqa: S301 - the home is as trusted as the pipeline's author.
    assert isinstance(program, Program)
    return program
