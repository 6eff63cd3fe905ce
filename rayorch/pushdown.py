"""Which columns are needed where: what a reader and an exchange may leave out.

A dataset that is written, or that a function takes whole, needs all its columns. One that only
selections, maps with `columns` and operators take needs what those name, and what is needed of
their results. Filters and column choices directly after a read become the reader's own.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final, assert_never

import pyarrow.compute as pc

from rayorch.errors import SpecError, near_miss
from rayorch.program import FilterCode, SelectCode, StepCode, kept_columns
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
class Wanted:
    """The columns that are needed of a dataset. Where None may stand for it, it means all.

    What is needed of a join's result may come from either side: of each, it is optional.
    """

    columns: Columns
    optional: frozenset[str] = frozenset()

    @property
    def required(self) -> Columns:
        """The columns that must be there."""
        return tuple(name for name in self.columns if name not in self.optional)


def merged(parts: Sequence[Wanted]) -> Wanted:
    """Return what is needed by all; required is what any of them requires."""
    columns = distinct(name for part in parts for name in part.columns)
    required = {name for part in parts for name in part.required}
    return Wanted(columns, frozenset(columns) - required)


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
    needs: dict[str, Wanted | None] = field(default_factory=dict)

    def only_taker(self, dataset: str) -> Taker | None:
        """Return the taker of a dataset that has one and is not written."""
        takers = self.takers[dataset]
        return takers[0] if len(takers) == 1 and not self.sinks[dataset] else None

    def operator(self, dataset: str) -> OperatorCode | None:
        """Return the operator that makes a dataset, or None when a step, union or read does."""
        code = self.codes.get(dataset)
        return code if isinstance(code, OperatorCode) else None

    def wanted(self, taker: Taker) -> Wanted | None:
        """Return the columns of its input that a taker needs; None: all of them."""
        transform = taker.transform
        code = self.codes.get(transform.name)
        if isinstance(transform, UnionSpec):
            return self.needs[transform.name]
        if isinstance(code, OperatorCode):
            given = transform.columns if isinstance(transform, GroupMapSpec) else None
            after = Wanted(given) if given is not None else self.needs[transform.name]
            wanted = _entering(code, taker.side, after, is_given=given is not None)
            # An empty choice is none: a table without columns does not say how many rows it has.
            return wanted if wanted is not None and wanted.columns else None
        columns = transform.columns if isinstance(transform, MapSpec) else None
        if isinstance(code, SelectCode):
            columns = code.plain
        return None if columns is None else Wanted(distinct(columns))


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


def _needed(graph: Graph, dataset: str) -> Wanted | None:
    if graph.sinks[dataset] or not graph.takers[dataset]:
        return None
    found = [graph.wanted(taker) for taker in graph.takers[dataset]]
    known = [wanted for wanted in found if wanted is not None]
    return merged(known) if len(known) == len(found) else None


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


def _entering(
    code: OperatorCode, side: int, after: Wanted | None, *, is_given: bool
) -> Wanted | None:
    """Return what has to enter a side, when `after` is what is needed of the result.

    With `is_given`, `after` is what the author said that the operator's function takes.
    """
    beside: Wanted | None = None
    match code:
        case AggregateCode():
            takes_all = any(m.function == "user" and m.column == "*" for m in code.measures)
            beside = None if takes_all else Wanted(())
        case GroupMapCode():
            beside = after if is_given else None
        case JoinCode() if code.how in {"semi", "anti"}:
            beside = Wanted(()) if side else after
        case JoinCode() | AsofCode():
            beside = _of_either_side(after, code.suffix)
        case DedupeCode():
            # Without keys, rows are the same when all their columns are.
            beside = after if code.by else None
        case WindowCode():
            beside = _without(after, {column.name for column in code.columns})
        case SortCode() | RepartitionCode():
            beside = after
    return None if beside is None else merged([Wanted(named_columns(code, side)), beside])


def _of_either_side(after: Wanted | None, suffix: str) -> Wanted | None:
    """Return what may have to enter a side of a join for these columns of its result.

    A right column gets its suffix only while the left has one of its name: both stay.
    """
    if after is None:
        return None
    bare = (name.removesuffix(suffix) for name in after.columns)
    columns = distinct((*after.columns, *bare))
    return Wanted(columns, frozenset(columns))


def _without(after: Wanted | None, made: Set[str]) -> Wanted | None:
    if after is None:
        return None
    columns = tuple(name for name in after.columns if name not in made)
    return Wanted(columns, after.optional & frozenset(columns))


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
    optional: Columns = ()
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
    if needed is None or not needed.columns:
        return root
    for each in graph.takers[root.dataset]:
        _check_read(graph, read, each)
    _narrow(root, needed)
    if taker is not None and isinstance(code, SelectCode):
        # Columns that keep their names need no step of their own.
        if made_columns(code) == root.columns:
            root.dataset = taker.name
    elif taker is not None and not isinstance(taker.transform, UnionSpec):
        root.fed = taker.name
    return root


def _narrow(root: Root, needed: Wanted) -> None:
    """Read what is needed; what need not be there and is known not to be is left out."""
    there = needed.columns if root.columns is None else root.columns
    root.optional = needed.columns if root.columns is None else ()
    root.optional = tuple(name for name in root.optional if name in needed.optional)
    root.columns = tuple(kept_columns(needed.columns, tuple(needed.optional), there))


def _check_read(graph: Graph, read: ReadSpec, taker: Taker) -> None:
    wanted = graph.wanted(taker)
    column = None if wanted is None else first_unknown(wanted.required, read.columns)
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
