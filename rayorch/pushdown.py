"""Which columns are needed where: what a reader and an exchange may leave out.

A dataset that is written, or that a function takes whole, needs all its columns. One that only
selections, maps with `columns` and operators take needs what those name, and what is needed of
their results. Filters and column choices directly after a read become the reader's own.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

import pyarrow.compute as pc

from rayorch.errors import SpecError, near_miss
from rayorch.program import FilterCode, SelectCode, StepCode
from rayorch.relational import (
    AggregateCode,
    AsofCode,
    DedupeCode,
    GroupMapCode,
    JoinCode,
    OperatorCode,
    RepartitionCode,
    SortCode,
    SortKey,
    WindowCode,
)
from rayorch.spec import AnyTransform, GroupMapSpec, MapSpec, PipelineSpec, ReadSpec, UnionSpec

COLUMNS_SHOWN_MAX: Final = 10

Columns = tuple[str, ...]
"""Columns by name, each once. Where None may stand for them, it means all."""


@dataclass(frozen=True, slots=True)
class Taker:
    """A transform that takes a dataset, as which of its inputs."""

    transform: AnyTransform
    side: int

    @property
    def name(self) -> str:
        """The dataset that the transform makes."""
        return self.transform.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Who takes what, by dataset, and what is needed of it."""

    pipeline: str
    codes: Mapping[str, StepCode | OperatorCode]
    takers: Mapping[str, Sequence[Taker]]
    sinks: Mapping[str, Sequence[int]]
    needs: dict[str, Columns | None] = field(default_factory=dict)

    def only_taker(self, dataset: str) -> Taker | None:
        """Return the taker of a dataset that has one and is not written."""
        takers = self.takers[dataset]
        return takers[0] if len(takers) == 1 and not self.sinks[dataset] else None

    def operator(self, dataset: str) -> OperatorCode | None:
        """Return the operator that makes a dataset, or None when a step, union or read does."""
        code = self.codes.get(dataset)
        return code if isinstance(code, OperatorCode) else None

    def wanted(self, taker: Taker) -> Columns | None:
        """Return the columns of its input that a taker needs; None: all of them."""
        transform = taker.transform
        code = self.codes.get(transform.name)
        if isinstance(transform, UnionSpec):
            return self.needs[transform.name]
        if isinstance(transform, MapSpec):
            return transform.columns
        if isinstance(code, SelectCode):
            return code.plain and distinct(code.plain)
        if isinstance(code, GroupMapCode):
            given = transform.columns if isinstance(transform, GroupMapSpec) else None
            return None if given is None else distinct((*named_columns(code), *given))
        if isinstance(code, OperatorCode):
            # An empty choice is none: a table without columns does not say how many rows it has.
            return _entering(code, taker.side, self.needs[transform.name]) or None
        return None


def graph_of(spec: PipelineSpec, codes: Mapping[str, StepCode | OperatorCode]) -> Graph:
    """Return who takes what in a pipeline, and what is needed of each dataset."""
    takers: dict[str, list[Taker]] = defaultdict(list)
    for transform in spec.transforms:
        for side, name in enumerate(transform.inputs):
            takers[name].append(Taker(transform, side))
    sinks: dict[str, list[int]] = defaultdict(list)
    for index, write in enumerate(spec.writes):
        sinks[write.input].append(index)
    graph = Graph(pipeline=spec.name, codes=codes, takers=takers, sinks=sinks)
    for dataset in reversed(spec.order()):
        graph.needs[dataset] = _needed(graph, dataset)
    return graph


def distinct(columns: Iterable[str]) -> Columns:
    """Return each name once, in the order of first appearance."""
    return tuple(dict.fromkeys(columns))


def _needed(graph: Graph, dataset: str) -> Columns | None:
    if graph.sinks[dataset] or not graph.takers[dataset]:
        return None
    wanted: list[str] = []
    for taker in graph.takers[dataset]:
        columns = graph.wanted(taker)
        if columns is None:
            return None
        wanted += columns
    return distinct(wanted)


# --- what operators need ------------------------------------------------------------------------


def named_columns(code: OperatorCode, side: int = 0) -> Columns:
    """Return the columns of a side that the operator itself names."""
    match code:
        case AggregateCode():
            columns = (*code.by, *_measured(code))
        case GroupMapCode() | DedupeCode():
            columns = (*code.by, *_ordering(code.order))
        case JoinCode():
            columns = code.right_on if side else code.left_on
        case AsofCode():
            ours, theirs = (*code.left_by, code.left_on), (*code.right_by, code.right_on)
            columns = theirs if side else ours
        case SortCode():
            columns = _ordering(code.keys)
        case RepartitionCode():
            columns = code.by
        case WindowCode():
            taken = [column.column for column in code.columns if column.column]
            columns = (*code.by, *_ordering(code.order), *taken)
        case _:
            assert_never(code)
    return distinct(columns)


def made_columns(code: StepCode | OperatorCode | None) -> Columns | None:
    """Return the columns of what the code makes, where that is known without its input's."""
    if isinstance(code, AggregateCode):
        return (*code.by, *(measure.name for measure in code.measures))
    if isinstance(code, SelectCode):
        return tuple(name for name, _ in code.columns)
    return None


def _entering(code: OperatorCode, side: int, after: Columns | None) -> Columns | None:
    """Return what has to enter a side, when `after` is what is needed of the result."""
    beside: Columns | None = None
    match code:
        case AggregateCode():
            takes_all = any(m.function == "user" and m.column == "*" for m in code.measures)
            beside = None if takes_all else ()
        case JoinCode() if code.how in {"semi", "anti"}:
            beside = () if side else after
        case DedupeCode():
            # Without keys, rows are the same when all their columns are.
            beside = after if code.by else None
        case WindowCode():
            made = {column.name for column in code.columns}
            beside = after and tuple(name for name in after if name not in made)
        case SortCode() | RepartitionCode():
            beside = after
        # What a function takes is not known, nor of a join which side has which column.
        case GroupMapCode() | JoinCode() | AsofCode():
            pass
    return None if beside is None else distinct((*named_columns(code, side), *beside))


def _ordering(order: Sequence[SortKey]) -> Columns:
    return tuple(key.column for key in order)


def _measured(code: AggregateCode) -> Iterable[str]:
    for measure in code.measures:
        if measure.column != "*":
            yield measure.column
        yield from _ordering(measure.order)
        if measure.function == "user":
            yield from (str(column) for column in measure.args)


# --- what a reader does itself ------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Root:
    """Where the rows of a stage begin: which dataset they are, and what a reader did to them."""

    dataset: str
    columns: Columns | None = None
    predicate: pc.Expression | None = None
    # The map or operator that needs no selection before it: these columns are what it takes.
    fed: str = ""


def root_of_read(graph: Graph, read: ReadSpec) -> Root:
    """Move what directly follows a read into its reader.

    Filters first, then at most one choice of columns: a filter after a choice of columns must not
    see the columns that were left out.

    Raises: SpecError, for a column that the read leaves out.
    """
    root = Root(dataset=read.name, columns=read.columns)
    while True:
        taker = graph.only_taker(root.dataset)
        code = graph.codes.get(taker.name) if taker is not None else None
        if taker is None or not isinstance(code, FilterCode):
            break
        both = root.predicate
        root.predicate = code.predicate if both is None else both & code.predicate
        root.dataset = taker.name
    needed = graph.needs[root.dataset]
    if not needed:
        return root
    for each in graph.takers[root.dataset]:
        _check_read(graph, read, each)
    root.columns = needed
    if taker is not None and isinstance(code, SelectCode):
        # Columns that keep their names need no step of their own.
        if made_columns(code) == needed:
            root.dataset = taker.name
    elif taker is not None and not isinstance(taker.transform, UnionSpec):
        root.fed = taker.name
    return root


def _check_read(graph: Graph, read: ReadSpec, taker: Taker) -> None:
    column = first_unknown(graph.wanted(taker), read.columns)
    if column is None or read.columns is None:
        return
    known = ", ".join(repr(name) for name in read.columns[:COLUMNS_SHOWN_MAX])
    raise SpecError(
        "a column that the read leaves out",
        graph.pipeline,
        taker.name,
        "columns",
        repr(column),
        read.where,
        near_miss(column, read.columns) or f"{read.name!r} reads {known}",
    )


def first_unknown(columns: Columns | None, known: Columns | None) -> str | None:
    """Return the first of the columns that is known not to be there."""
    if columns is None or known is None:
        return None
    return next((column for column in columns if column not in known), None)
