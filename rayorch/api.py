"""What a user imports: Pipeline and the handles of its datasets.

Building a pipeline reads nothing and starts nothing. What is wrong by itself is refused where it
is written; what is wrong between parts (cycles, unknown inputs, unused datasets) is refused when
the pipeline is used, by `Pipeline.spec`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from rayorch.authoring import (
    absolute_url,
    caller_place,
    checked_format,
    checked_query,
    checked_schema,
    expression_of,
    located,
    selection,
)
from rayorch.closures import source_place
from rayorch.conventions import convention_of
from rayorch.draft import Draft
from rayorch.errors import SpecError, near_miss
from rayorch.handles import Needs, input_name, resources_of
from rayorch.ids import DEFAULT_TENANT
from rayorch.program import FilterCode, MapCode, SelectCode, SqlCode, StepCode
from rayorch.relating import GroupMapOptions, Related
from rayorch.spec import (
    FilterSpec,
    MapSpec,
    Objective,
    PipelineSpec,
    ReadSpec,
    RetryPolicy,
    SelectSpec,
    SqlSpec,
    UnionSpec,
)
from rayorch.spec.pipeline import PipelineHead
from rayorch.spec.standing import ALWAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa
    import pyarrow.compute as pc

    from rayorch.relational import OperatorCode

    Option = str | int | bool


class Pipeline:
    """A DAG of transforms with an owner and an objective, built step by step.

    Of those who share a cluster, `tenant` says whose it is; `priority` (-100 to 100) is how urgent
    it is among that tenant's. Work that can wait says for what: `cheap` for hours of the day
    ("22:00-06:00", UTC, or with "+02:00" behind), `price_max` for the USD that an hour of a core
    costs at most; neither holds it past its deadline.
    """

    def __init__(  # noqa: PLR0913 - the public face, all by keyword but the name.
        self,
        name: str,
        *,
        owner: str = "",
        tenant: str = DEFAULT_TENANT,
        priority: int = 0,
        cheap: str = ALWAYS,
        price_max: float | None = None,
        objective: Objective | None = None,
        tags: Mapping[str, str] | None = None,
        retry: RetryPolicy | None = None,
        params: Mapping[str, str | int | float | bool] | None = None,
    ) -> None:
        head = {
            "name": name,
            "owner": owner,
            "tenant": tenant,
            "priority": priority,
            "cheap": cheap,
            "price_max": price_max,
            "objective": objective,
            "tags": tags or {},
            "retry": retry or RetryPolicy(),
            "params": params or {},
        }
        with located(str(name), "", caller_place()):
            self._draft = Draft(PipelineHead.of(str(name), "", head))

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self._draft.name

    @property
    def codes(self) -> Mapping[str, StepCode | OperatorCode]:
        """What each transform executes, by the dataset it makes. A union executes nothing."""
        return self._draft.codes

    def __repr__(self) -> str:
        draft = self._draft
        counts = f"{len(draft.reads)} reads, {len(draft.transforms)} transforms"
        return f"<Pipeline {self.name!r}: {counts}, {len(draft.writes)} writes>"

    def spec(self) -> PipelineSpec:
        """Return the pipeline as values, checked as a whole.

        Raises: SpecError.
        """
        return self._draft.spec()

    def read(  # noqa: PLR0913 - the public face, all by keyword but what every read has.
        self,
        name: str,
        url: str | Sequence[str],
        *,
        format: str | None = None,  # noqa: A002 - the word that users know.
        columns: Sequence[str] | None = None,
        split: Literal["auto", "file"] = "auto",
        split_bytes: int | str | None = None,
        options: Mapping[str, Option] | None = None,
    ) -> Dataset:
        """Return the dataset that files, a folder, a pattern or a table hold.

        Raises: SpecError.
        """
        urls = url if isinstance(url, list | tuple) else [url]
        with located(self.name, str(name), caller_place()):
            fields = {
                "urls": tuple(absolute_url(each) for each in urls),
                "format": checked_format(format),
                "columns": columns,
                "split": split,
                "split_bytes": split_bytes,
                "options": options or {},
            }
        self._draft.reads.append(self._draft.part(ReadSpec, name, **fields))
        return Dataset(self._draft, name)

    def map(  # noqa: PLR0913 - the public face, all by keyword but the input.
        self,
        input: Dataset | str,  # noqa: A002 - the word of the spec and of SQL steps.
        *,
        output: str | None = None,
        memory: int | str | None = None,
        cores: float | None = None,
        gpus: float | None = None,
        labels: Mapping[str, str] | None = None,
        uses: Mapping[str, int] | None = None,
        columns: Sequence[str] | None = None,
        schema: pa.Schema | None = None,
    ) -> Callable[[Callable[..., object]], Dataset]:
        """Decorate a function from a table to a table; in its place is left the dataset.

        `columns` are what the function is given, `schema` is what its result is cast to, `uses`
        what each task holds of outside resources, whose limits the home's policy knows. Without
        `output` the dataset has the function's name. An input may be named before it exists.

        Each task has so many `cores`, so much `memory` and so many `gpus` of a machine to itself:
        a part of one GPU, or a whole number of them, which CUDA_VISIBLE_DEVICES names.

        Raises: SpecError, when applied.
        """
        return _mapper(
            self._draft,
            input,
            output=output,
            memory=memory,
            cores=cores,
            gpus=gpus,
            labels=labels,
            uses=uses,
            columns=columns,
            schema=schema,
        )

    def map_groups(
        self,
        input: Dataset | str,  # noqa: A002 - as of `map`.
        *,
        by: str | Sequence[str],
        **options: Unpack[GroupMapOptions],
    ) -> Callable[[Callable[..., object]], Dataset]:
        """Decorate a function from the rows of a group to a table, as `Dataset.map_groups` says.

        Raises: SpecError, when applied.
        """
        handle = self.dataset(input_name(self._draft, input))
        return lambda function: handle.map_groups(function, by=by, **options)

    def union(self, output: str, *inputs: Dataset | str) -> Dataset:
        """Return the rows of all inputs, in no order.

        Raises: SpecError.
        """
        return _union(self._draft, output, inputs)

    def dataset(self, name: str) -> Dataset:
        """Return the handle of a dataset by name, even before it is made."""
        return Dataset(self._draft, name)

    def discard(self, dataset: Dataset | str) -> None:
        """Run a dataset's transforms for their side effects, and write nothing of it."""
        self._draft.discards.append(input_name(self._draft, dataset))


class Dataset(Related):
    """A named table of a pipeline, by which its next transforms are added."""

    __slots__ = ()

    def map(self, function: Callable[..., object], **options: Unpack[MapOptions]) -> Dataset:
        """Return what a function makes of this dataset; options as of `Pipeline.map`.

        Raises: SpecError.
        """
        return _mapper(self.draft, self, **options)(function)

    def filter(self, predicate: pc.Expression | str, output: str | None = None) -> Dataset:
        """Return the rows for which the predicate is true.

        The predicate is an Arrow expression, or text like `"qty > 10 and day is not null"`.

        Raises: SpecError.
        """
        draft = self.draft
        name = output or draft.free_name(f"{self.name}.filter")
        with located(draft.name, name, caller_place()):
            expression = expression_of(predicate, "predicate")
        spec = draft.part(FilterSpec, name, input=self.name, predicate=str(expression))
        return Dataset(draft, draft.add_transform(spec, FilterCode(predicate=expression)))

    def select(
        self,
        columns: Sequence[str] | Mapping[str, pc.Expression | str],
        output: str | None = None,
    ) -> Dataset:
        """Return these columns alone: a list of names, or new name -> expression (or its text).

        Raises: SpecError.
        """
        draft = self.draft
        name = output or draft.free_name(f"{self.name}.select")
        with located(draft.name, name, caller_place()):
            pairs, plain = selection(columns)
        texts = tuple((column, str(expression)) for column, expression in pairs)
        spec = draft.part(SelectSpec, name, input=self.name, columns=texts)
        return Dataset(draft, draft.add_transform(spec, SelectCode(columns=pairs, plain=plain)))

    def sql(
        self,
        output: str,
        query: str,
        *,
        memory: int | str | None = None,
        cores: float | None = None,
        labels: Mapping[str, str] | None = None,
        uses: Mapping[str, int] | None = None,
    ) -> Dataset:
        """Return what a DuckDB query makes of each batch; the batch is the relation `input`.

        Raises: SpecError.
        """
        draft = self.draft
        with located(draft.name, output, caller_place()):
            text = checked_query(query)
            resources = resources_of(Needs(memory=memory, cores=cores, labels=labels, uses=uses))
        spec = draft.part(SqlSpec, output, input=self.name, query=text, resources=resources)
        return Dataset(draft, draft.add_transform(spec, SqlCode(query=text)))

    def union(self, output: str, *others: Dataset | str) -> Dataset:
        """Return the rows of this and the other datasets, in no order.

        Raises: SpecError.
        """
        return _union(self.draft, output, (self, *others))

    def write(
        self,
        url: str,
        *,
        format: str = "delta",  # noqa: A002
        mode: Literal["overwrite", "append"] = "overwrite",
        partition_by: str | Sequence[str] = (),
        options: Mapping[str, Option] | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Publish this dataset at a URL, once all of it is there.

        Raises: SpecError.
        """
        fields: dict[str, object] = {
            "format": format,
            "mode": mode,
            "partition_by": (partition_by,) if isinstance(partition_by, str) else partition_by,
            "options": options or {},
        }
        self.draft.add_write(self.name, name, url, fields)
        return self

    def discard(self) -> Dataset:
        """Run this dataset's transforms for their side effects, and write nothing of it."""
        self.draft.discards.append(self.name)
        return self


class MapOptions(TypedDict, total=False):
    """What may be said of a map beside its input and function."""

    output: str | None
    memory: int | str | None
    cores: float | None
    gpus: float | None
    labels: Mapping[str, str] | None
    uses: Mapping[str, int] | None
    columns: Sequence[str] | None
    schema: pa.Schema | None


def _mapper(
    draft: Draft, input_given: Dataset | str, **options: Unpack[MapOptions]
) -> Callable[[Callable[..., object]], Dataset]:
    unknown = next(iter(options.keys() - MapOptions.__annotations__.keys()), None)
    if unknown is not None:
        hint = near_miss(unknown, MapOptions.__annotations__)
        raise SpecError(
            "map takes no such option", draft.name, "", unknown, "", caller_place(), hint
        )

    def decorated(function: Callable[..., object]) -> Dataset:
        output = options.get("output")
        name = output if output is not None else getattr(function, "__name__", "")
        where = source_place(function) or caller_place()
        with located(draft.name, name, where):
            takes = convention_of(function)
            if name in {"", "<lambda>"}:
                fix = 'for example .map(lambda table: table, output="same")'
                raise SpecError("a function without a name needs output=", fix=fix)
            schema = checked_schema(options.get("schema"))
            needs = Needs(
                memory=options.get("memory"),
                cores=options.get("cores"),
                labels=options.get("labels"),
                uses=options.get("uses"),
            )
            resources = resources_of(needs, options.get("gpus"))
        spec = draft.part(
            MapSpec,
            name,
            input=input_name(draft, input_given),
            function=getattr(function, "__qualname__", type(function).__qualname__),
            takes=takes,
            columns=options.get("columns"),
            schema_text=None if schema is None else schema.to_string(),
            resources=resources,
            where=where,
        )
        code = MapCode(function=function, takes=takes, schema=schema)
        return Dataset(draft, draft.add_transform(spec, code))

    return decorated


def _union(draft: Draft, output: str, inputs: tuple[Dataset | str, ...]) -> Dataset:
    names = tuple(input_name(draft, each) for each in inputs)
    return Dataset(draft, draft.add_transform(draft.part(UnionSpec, output, inputs=names), None))
