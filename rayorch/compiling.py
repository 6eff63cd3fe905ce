"""From a pipeline as its author wrote it to the program that runners execute.

Stages are found by walking from each read along everything that takes its rows, through unions,
down to the writes. Filters and column choices directly after a read become the reader's own.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import pyarrow.compute as pc

from connectors.outputs import SinkSpec
from connectors.splits import SourceSpec
from rayorch.code_hash import code_hash
from rayorch.core.facts import RunSubmitted
from rayorch.core.values import RetryLimits, StageShape
from rayorch.errors import SpecError, near_miss
from rayorch.ids import RunId
from rayorch.program import (
    FilterCode,
    Program,
    SelectCode,
    SinkEdge,
    StageProgram,
    StageResources,
    Step,
    StepCode,
    StepId,
)
from rayorch.spec import AnyTransform, MapSpec, PipelineSpec, ReadSpec, Resources, UnionSpec

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
    def codes(self) -> Mapping[str, StepCode]:
        """What each transform executes, by the dataset it makes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graph:
    """Who takes what, by dataset."""

    pipeline: str
    codes: Mapping[str, StepCode]
    takers: Mapping[str, Sequence[AnyTransform]]
    sinks: Mapping[str, Sequence[int]]

    def only_taker(self, dataset: str) -> AnyTransform | None:
        takers = self.takers[dataset]
        return takers[0] if len(takers) == 1 and not self.sinks[dataset] else None


@dataclass(slots=True, kw_only=True)
class _Pushed:
    """What the reader does itself, and the dataset that its rows then are."""

    dataset: str
    columns: tuple[str, ...] | None
    predicate: pc.Expression | None = None
    # The map whose `columns` the reader yields already.
    fed: str = ""


@dataclass(slots=True, kw_only=True)
class _Branch:
    """Where the walk through a stage is: a dataset, and the step that makes it."""

    dataset: str
    step: StepId | None


@dataclass(slots=True, kw_only=True)
class _Stage:
    steps: list[Step] = field(default_factory=list)
    sinks: list[SinkEdge] = field(default_factory=list)
    needs: list[tuple[str, Resources]] = field(default_factory=list)

    def add(self, name: str, after: StepId | None, code: StepCode, where: str) -> StepId:
        step = Step(id=StepId(len(self.steps)), name=name, input=after, code=code, where=where)
        self.steps.append(step)
        return step.id


def compile_program(pipeline: Compilable) -> Program:
    """Return the stages and sinks of a pipeline.

    Raises: SpecError, when the pipeline as a whole cannot run.
    """
    spec = pipeline.spec()
    takers: dict[str, list[AnyTransform]] = defaultdict(list)
    for transform in spec.transforms:
        for name in transform.inputs:
            takers[name].append(transform)
    sinks: dict[str, list[int]] = defaultdict(list)
    for index, write in enumerate(spec.writes):
        sinks[write.input].append(index)
    graph = _Graph(pipeline=spec.name, codes=pipeline.codes, takers=takers, sinks=sinks)
    return Program(
        pipeline=spec.name,
        stages=tuple(_stage(graph, index, read) for index, read in enumerate(spec.reads)),
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
        transient_errors=spec.retry.transient_errors,
    )


def _stage(graph: _Graph, index: int, read: ReadSpec) -> StageProgram:
    pushed = _pushed_down(graph, read)
    stage = _walked(graph, pushed)
    return StageProgram(
        index=index,
        name=read.name,
        source=SourceSpec(
            name=read.name,
            urls=read.urls,
            format=read.format,
            options=dict(read.options),
            split=read.split,
            split_bytes=read.split_bytes,
        ),
        columns=pushed.columns,
        predicate=pushed.predicate,
        steps=tuple(stage.steps),
        sinks=tuple(stage.sinks),
        resources=_most(graph.pipeline, read.name, stage.needs),
    )


def _walked(graph: _Graph, pushed: _Pushed) -> _Stage:
    """Return the tree below a read, depth first in the order of definition."""
    stage = _Stage()
    stack = [_Branch(dataset=pushed.dataset, step=None)]
    while stack:
        branch = stack.pop()
        stage.sinks += [
            SinkEdge(sink=sink, step=branch.step) for sink in graph.sinks[branch.dataset]
        ]
        nexts = [
            _Branch(dataset=taker.name, step=_added(graph, stage, taker, branch.step, pushed))
            for taker in graph.takers[branch.dataset]
        ]
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
    graph: _Graph, stage: _Stage, taker: AnyTransform, after: StepId | None, pushed: _Pushed
) -> StepId | None:
    """Add the steps of one transform and return the last."""
    if isinstance(taker, UnionSpec):
        return after
    stage.needs.append((taker.name, taker.resources))
    if isinstance(taker, MapSpec) and taker.columns is not None and taker.name != pushed.fed:
        after = stage.add(taker.name, after, _plain_select(taker.columns), taker.where)
    return stage.add(taker.name, after, graph.codes[taker.name], taker.where)


def _pushed_down(graph: _Graph, read: ReadSpec) -> _Pushed:
    """Move what directly follows a read into its reader.

    Filters first, then at most one choice of columns: a filter after a choice of columns must not
    see the columns that were left out.
    """
    pushed = _Pushed(dataset=read.name, columns=read.columns)
    while True:
        taker = graph.only_taker(pushed.dataset)
        code = graph.codes.get(taker.name) if taker is not None else None
        if taker is None or not isinstance(code, FilterCode):
            break
        both = pushed.predicate
        pushed.predicate = code.predicate if both is None else both & code.predicate
        pushed.dataset = taker.name
    if taker is None:
        _push_columns_of_all(graph, read, pushed)
    elif isinstance(code, SelectCode) and code.plain is not None:
        pushed.columns = _narrowed(graph, read, taker.name, code.plain)
        # Columns that keep their names need no step of their own.
        if tuple(name for name, _ in code.columns) == pushed.columns:
            pushed.dataset = taker.name
    elif isinstance(taker, MapSpec) and taker.columns is not None:
        pushed.columns = _narrowed(graph, read, taker.name, taker.columns)
        pushed.fed = taker.name
    return pushed


def _push_columns_of_all(graph: _Graph, read: ReadSpec, pushed: _Pushed) -> None:
    """Let the reader yield what its several takers need, when each of them says so."""
    takers = graph.takers[pushed.dataset]
    if not takers or graph.sinks[pushed.dataset]:
        return
    wanted: list[str] = []
    for taker in takers:
        code = graph.codes.get(taker.name)
        columns = taker.columns if isinstance(taker, MapSpec) else None
        if isinstance(code, SelectCode):
            columns = code.plain
        if columns is None:
            return
        wanted += _narrowed(graph, read, taker.name, columns)
    pushed.columns = _distinct(wanted)


def _narrowed(
    graph: _Graph, read: ReadSpec, transform: str, columns: tuple[str, ...]
) -> tuple[str, ...]:
    for column in columns:
        if read.columns is not None and column not in read.columns:
            known = ", ".join(repr(name) for name in read.columns[:10])
            raise SpecError(
                "a column that the read leaves out",
                graph.pipeline,
                transform,
                "columns",
                repr(column),
                read.where,
                near_miss(column, read.columns) or f"{read.name!r} reads {known}",
            )
    return _distinct(columns)


def _distinct(columns: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(columns))


def _plain_select(columns: tuple[str, ...]) -> SelectCode:
    pairs = tuple((column, pc.field(column)) for column in columns)
    return SelectCode(columns=pairs, plain=columns)


def _most(pipeline: str, read: str, needs: Sequence[tuple[str, Resources]]) -> StageResources:
    """Return the most that any step asks for: fused steps share one attempt."""
    memory = [need.memory_bytes for _, need in needs if need.memory_bytes is not None]
    cores = [need.cores for _, need in needs if need.cores is not None]
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
        labels={key: value for key, (value, _) in labels.items()},
    )


def pipeline_version(spec: PipelineSpec, program: Program) -> str:
    """Return the content hash of a pipeline: its spec and the code that it executes.

    Parameters do not count by themselves, only by what they change; nor do files and lines.
    """
    no_place = {"__all__": {"where"}}
    left_out: dict[str, Any] = {
        "params": True,
        "reads": no_place,
        "transforms": no_place,
        "writes": no_place,
    }
    values = spec.model_dump(mode="json", exclude=left_out)
    codes = {step.name: code_hash(step.code) for stage in program.stages for step in stage.steps}
    predicates = [code_hash(stage.predicate) for stage in program.stages]
    content = json.dumps([values, codes, predicates], sort_keys=True)
    return hashlib.blake2b(content.encode(), digest_size=8, usedforsecurity=False).hexdigest()


def submission(run: RunId, spec: PipelineSpec, program: Program, version: str) -> RunSubmitted:
    """Return what the control host is told of a run."""
    retry = spec.retry
    return RunSubmitted(
        run=run,
        pipeline=spec.name,
        version=version,
        stages=tuple(
            StageShape(
                name=stage.name,
                cores=stage.resources.cores,
                memory_bytes=stage.resources.memory_bytes,
                timeout_s=retry.timeout_s or 0.0,
                sinks=tuple(edge.sink for edge in stage.sinks),
            )
            for stage in program.stages
        ),
        sinks=tuple(sink.url for sink in program.sinks),
        owner=spec.owner,
        retry=RetryLimits(
            attempts_max=retry.attempts_max,
            backoff_s=retry.backoff_s,
            backoff_s_max=retry.backoff_s_max,
        ),
    )
