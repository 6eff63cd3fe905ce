"""From a pipeline as its author wrote it to the program that runners execute.

Stages are found by walking from each read, and from each relational operator, along everything that
takes their rows, through unions, down to the writes and into the next operators' exchanges.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import pyarrow.compute as pc

from connectors.outputs import SinkSpec
from connectors.splits import SourceSpec
from rayorch.code_hash import code_hash
from rayorch.errors import SpecError, near_miss
from rayorch.program import (
    ExchangeEdge,
    ExchangeProgram,
    ExchangeSource,
    FilterCode,
    KeepCode,
    Program,
    SelectCode,
    SinkEdge,
    StageProgram,
    StageResources,
    Step,
    StepCode,
    StepId,
    codes_of,
)
from rayorch.pushdown import (
    COLUMNS_SHOWN_MAX,
    Columns,
    Graph,
    Root,
    Taker,
    first_unknown,
    graph_of,
    made_columns,
    named_columns,
    root_of_read,
)
from rayorch.relational import OperatorCode, merges_first, sides_of
from rayorch.spec import (
    AnyTransform,
    MapSpec,
    OperatorSpec,
    PipelineSpec,
    ReadSpec,
    Resources,
    UnionSpec,
)

MEMORY_BYTES_USUAL: Final = 1 << 30  # of an attempt whose author said nothing
CORES_USUAL: Final = 1.0
# Steps after a union occur once per branch: unions of unions of one read could double for ever.
STEPS_MAX: Final = 10_000


class Compilable(Protocol):
    """A pipeline: its values, and what its transforms execute."""

    def spec(self) -> PipelineSpec:
        """Return the pipeline as values, checked as a whole."""
        ...

    @property
    def codes(self) -> Mapping[str, StepCode | OperatorCode]:
        """What each transform executes, by the dataset it makes."""
        ...


@dataclass(slots=True, kw_only=True)
class _Branch:
    """Where the walk through a stage is: a dataset, and the step that makes it."""

    dataset: str
    step: StepId | None


@dataclass(slots=True, kw_only=True)
class _Stage:
    """A stage while it is walked through."""

    name: str
    root: Root
    steps: list[Step] = field(default_factory=list)
    sinks: list[SinkEdge] = field(default_factory=list)
    exchanges: list[ExchangeEdge] = field(default_factory=list)
    needs: list[tuple[str, Resources]] = field(default_factory=list)

    def add(self, name: str, after: StepId | None, code: StepCode, where: str) -> StepId:
        """Add a step and return its id."""
        step = Step(id=StepId(len(self.steps)), name=name, input=after, code=code, where=where)
        self.steps.append(step)
        return step.id

    def columns(self, step: StepId | None) -> Columns | None:
        """Return the columns of a step's rows (None: the source's), where they are known."""
        while step is not None and isinstance(self.steps[step].code, FilterCode):
            step = self.steps[step].input
        return self.root.columns if step is None else made_columns(self.steps[step].code)


def compile_program(pipeline: Compilable) -> Program:
    """Return the stages, exchanges and sinks of a pipeline.

    Raises: SpecError, when the pipeline as a whole cannot run.
    """
    spec = pipeline.spec()
    graph = graph_of(spec, pipeline.codes)
    operators = _operators(spec)
    numbers = {operator.name: index for index, operator in enumerate(operators)}
    walked = [_walked(graph, numbers, _read_stage(graph, read)) for read in spec.reads]
    sources: list[SourceSpec | ExchangeSource] = [_source(read) for read in spec.reads]
    for index, operator in enumerate(operators):
        if _merges_first(graph, operator):
            walked.append(_merger(index, operator))
            sources.append(ExchangeSource(exchange=index, merges=True))
        walked.append(_walked(graph, numbers, _operator_stage(graph, operator)))
        sources.append(ExchangeSource(exchange=index))
    return Program(
        pipeline=spec.name,
        stages=tuple(
            _stage(spec.name, index, source, stage)
            for index, (source, stage) in enumerate(zip(sources, walked, strict=True))
        ),
        sinks=tuple(
            SinkSpec(
                name=write.name,
                url=write.url,
                format=write.format,
                mode=write.mode,
                partition_by=write.partition_by,
                options=dict(write.options),
                index=index,
            )
            for index, write in enumerate(spec.writes)
        ),
        exchanges=tuple(
            _exchange(graph, index, sources.index(ExchangeSource(exchange=index)), operator, walked)
            for index, operator in enumerate(operators)
        ),
        transient_errors=spec.retry.transient_errors,
    )


def _operators(spec: PipelineSpec) -> list[OperatorSpec]:
    """Return the relational transforms, inputs first."""
    by_name = {each.name: each for each in spec.transforms if isinstance(each, OperatorSpec)}
    return [by_name[name] for name in spec.order() if name in by_name]


def _read_stage(graph: Graph, read: ReadSpec) -> _Stage:
    return _Stage(name=read.name, root=root_of_read(graph, read))


def _operator_stage(graph: Graph, operator: OperatorSpec) -> _Stage:
    columns = made_columns(graph.codes[operator.name])
    root = Root(dataset=operator.name, columns=columns)
    return _Stage(name=operator.name, root=root, needs=[(operator.name, operator.resources)])


def _merges_first(graph: Graph, operator: OperatorSpec) -> bool:
    code = graph.codes[operator.name]
    assert isinstance(code, OperatorCode)
    return merges_first(code)


def _merger(index: int, operator: OperatorSpec) -> _Stage:
    """Return the stage that merges an aggregate's states of hot keys, and sends them back."""
    name = f"{operator.name}, hot keys"
    root = Root(dataset=operator.name, columns=None)
    back = ExchangeEdge(exchange=index, side=0, step=None, is_merged=True)
    return _Stage(
        name=name, root=root, exchanges=[back], needs=[(operator.name, operator.resources)]
    )


def _source(read: ReadSpec) -> SourceSpec:
    return SourceSpec(
        name=read.name,
        urls=read.urls,
        format=read.format,
        options=dict(read.options),
        split=read.split,
        split_bytes=read.split_bytes,
    )


def _stage(
    pipeline: str, index: int, source: SourceSpec | ExchangeSource, stage: _Stage
) -> StageProgram:
    return StageProgram(
        index=index,
        name=stage.name,
        source=source,
        columns=stage.root.columns if isinstance(source, SourceSpec) else None,
        predicate=stage.root.predicate,
        optional=stage.root.optional,
        steps=tuple(stage.steps),
        sinks=tuple(stage.sinks),
        exchanges=tuple(stage.exchanges),
        resources=_most(pipeline, stage.name, stage.needs),
    )


def _exchange(
    graph: Graph, index: int, consumer: int, operator: OperatorSpec, walked: Sequence[_Stage]
) -> ExchangeProgram:
    code = graph.codes[operator.name]
    assert isinstance(code, OperatorCode)
    fed = {
        (stage, edge.side)
        for stage, each in enumerate(walked)
        for edge in each.exchanges
        if edge.exchange == index and not edge.is_merged
    }
    return ExchangeProgram(
        index=index,
        name=operator.name,
        code=code,
        consumer=consumer,
        producers=tuple(
            tuple(sorted(stage for stage, side in fed if side == wanted))
            for wanted in range(sides_of(code))
        ),
        where=operator.where,
        merger=consumer - 1 if merges_first(code) else None,
    )


def _walked(graph: Graph, numbers: Mapping[str, int], stage: _Stage) -> _Stage:
    """Fill in the tree below a read or an operator, depth first in the order of definition."""
    stack = [_Branch(dataset=stage.root.dataset, step=None)]
    while stack:
        branch = stack.pop()
        stage.sinks += [
            SinkEdge(sink=sink, step=branch.step) for sink in graph.sinks[branch.dataset]
        ]
        nexts = []
        for taker in graph.takers[branch.dataset]:
            if isinstance(taker.transform, OperatorSpec):
                step = _entering(graph, stage, taker, branch.step)
                exchange = numbers[taker.name]
                stage.exchanges.append(ExchangeEdge(exchange=exchange, side=taker.side, step=step))
            else:
                step = _added(graph, stage, taker.transform, branch.step)
                nexts.append(_Branch(dataset=taker.name, step=step))
        stack += reversed(nexts)
        if len(stage.steps) > STEPS_MAX:
            raise SpecError(
                f"unions repeat the steps after them more than {STEPS_MAX} times",
                graph.pipeline,
                branch.dataset,
                fix="write the union of the first few, and read it in a second pipeline",
            )
    return stage


def _added(
    graph: Graph, stage: _Stage, transform: AnyTransform, after: StepId | None
) -> StepId | None:
    """Add the steps of one transform and return the last."""
    if isinstance(transform, UnionSpec):
        return after
    name = transform.name
    stage.needs.append((name, transform.resources))
    if isinstance(transform, MapSpec) and transform.columns is not None and name != stage.root.fed:
        after = stage.add(name, after, _plain_select(transform.columns), transform.where)
    code = graph.codes[name]
    assert not isinstance(code, OperatorCode)
    return stage.add(name, after, code, transform.where)


def _entering(graph: Graph, stage: _Stage, taker: Taker, after: StepId | None) -> StepId | None:
    """Leave out what the operator does not need, and return the step whose rows enter it."""
    operator = graph.operator(taker.name)
    assert operator is not None
    known = stage.columns(after)
    column = first_unknown(named_columns(operator, taker.side), known)
    if column is not None and known is not None:
        raise SpecError(
            "a column that its input does not have",
            graph.pipeline,
            taker.name,
            "columns",
            repr(column),
            taker.transform.where,
            near_miss(column, known) or f"it has {', '.join(known[:COLUMNS_SHOWN_MAX])}",
        )
    wanted = graph.wanted(taker)
    if wanted is None or taker.name == stage.root.fed:
        return after
    if known is not None and set(known) <= set(wanted.columns):
        return after
    code: StepCode = _plain_select(wanted.columns)
    if wanted.optional:
        optional = tuple(name for name in wanted.columns if name in wanted.optional)
        code = KeepCode(columns=wanted.columns, optional=optional)
    return stage.add(taker.name, after, code, taker.transform.where)


def _plain_select(columns: tuple[str, ...]) -> SelectCode:
    pairs = tuple((column, pc.field(column)) for column in columns)
    return SelectCode(columns=pairs, plain=columns)


def _most(pipeline: str, read: str, needs: Sequence[tuple[str, Resources]]) -> StageResources:
    """Return the most that any step asks for: fused steps share one attempt."""
    memory = [need.memory_bytes for _, need in needs if need.memory_bytes is not None]
    cores = [need.cores for _, need in needs if need.cores is not None]
    gpus = [need.gpus for _, need in needs if need.gpus is not None]
    labels: dict[str, tuple[str, str]] = {}
    for transform, need in needs:
        for key, value in need.labels.items():
            other, first = labels.setdefault(key, (value, transform))
            if other != value:
                raise SpecError(
                    "transforms that run together want different machines",
                    pipeline,
                    transform,
                    f"labels.{key}",
                    repr(value),
                    "",
                    f"{first!r} wants {other!r}; both take the rows of {read!r}",
                )
    return StageResources(
        memory_bytes=max(memory, default=MEMORY_BYTES_USUAL),
        cores=max(cores, default=CORES_USUAL),
        gpus=max(gpus, default=0.0),
        labels={key: value for key, (value, _) in labels.items()},
        uses={
            name: max(need.uses.get(name, 0) for _, need in needs)
            for name in sorted({name for _, need in needs for name in need.uses})
        },
    )


def pipeline_version(spec: PipelineSpec, program: Program) -> str:
    """Return the content hash of a pipeline: its spec and the code that it executes.

    Parameters do not count by themselves, only by what they change; nor do files and lines, nor
    whose work it is, how urgent, and what it waits for.
    """
    no_place = {"__all__": {"where"}}
    left_out: dict[str, Any] = {
        "params": True,
        "tenant": True,
        "priority": True,
        "cheap": True,
        "price_max": True,
        "reads": no_place,
        "transforms": no_place,
        "writes": no_place,
    }
    values = spec.model_dump(mode="json", exclude=left_out)
    for transform in values["transforms"]:
        # Pipelines without are as old as the others.
        if transform.get("resources", {}).get("gpus", 0.0) is None:
            del transform["resources"]["gpus"]
    codes = {name: code_hash(code) for name, code in codes_of(program).items()}
    predicates = [code_hash(stage.predicate) for stage in program.stages]
    content = json.dumps([values, codes, predicates], sort_keys=True)
    return hashlib.blake2b(content.encode(), digest_size=8, usedforsecurity=False).hexdigest()
