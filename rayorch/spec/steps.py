"""Reads, transforms and writes, each as its author wrote it.

Values only: functions and expressions travel beside the spec (rayorch/program.py). Every rule that
refuses one of them by itself is in this file; rules between them are in rayorch/spec/graph.py.
"""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from rayorch.relational import Convention
from rayorch.spec.fields import Bytes, Name, SpecModel
from rayorch.spec.limits import Resources

OptionValue = bool | int | str

COLUMNS_MAX: Final = 100_000


def _checked_url(value: str) -> str:
    if not value.strip():
        raise ValueError("a URL must not be empty")
    if "\x00" in value:
        raise ValueError("a URL must not hold a NUL character")
    return value


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names, or say which of them is there twice."""
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{twice[0]!r} is named twice")
    return values


Url = Annotated[str, AfterValidator(_checked_url)]
Columns = Annotated[tuple[str, ...], Field(min_length=1, max_length=COLUMNS_MAX)]
DistinctColumns = Annotated[Columns, AfterValidator(distinct)]


class ReadSpec(SpecModel):
    """Where a dataset comes from."""

    kind: Literal["read"] = "read"
    name: Name
    urls: tuple[Url, ...] = Field(min_length=1)
    format: str | None = Field(default=None, description="Found from the URLs when not given.")
    columns: DistinctColumns | None = None
    split: Literal["auto", "file"] = "auto"
    split_bytes: Bytes | None = None
    options: dict[str, OptionValue] = Field(default_factory=dict)
    where: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """A read has no input within the pipeline."""
        return ()


class OneInput(SpecModel):
    """What transforms of one dataset have in common."""

    name: Name
    input: Name
    resources: Resources = Resources()
    where: str = Field(default="", description="The user's file and line, for people.")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the datasets it reads."""
        return (self.input,)


class MapSpec(OneInput):
    """A function from a table to a table."""

    kind: Literal["map"] = "map"
    function: str = Field(description="The function's qualified name, for people.")
    takes: Convention = "arrow"
    columns: DistinctColumns | None = Field(default=None, description="What the function is given.")
    schema_text: str | None = Field(default=None, description="Declared schema of its result.")


class FilterSpec(OneInput):
    """The rows for which a predicate is true."""

    kind: Literal["filter"] = "filter"
    predicate: str


class SelectSpec(OneInput):
    """Some columns, renamed or computed, in this order: (new name, what it is)."""

    kind: Literal["select"] = "select"
    columns: tuple[tuple[str, str], ...] = Field(min_length=1, max_length=COLUMNS_MAX)


class SqlSpec(OneInput):
    """A DuckDB query over each batch; the rows are the relation `input`."""

    kind: Literal["sql"] = "sql"
    query: str = Field(min_length=1)


class UnionSpec(SpecModel):
    """The rows of all inputs, in no order."""

    kind: Literal["union"] = "union"
    name: Name
    inputs: Annotated[tuple[Name, ...], AfterValidator(distinct)] = Field(min_length=2)
    where: str = ""


class WriteSpec(SpecModel):
    """Where a dataset goes."""

    name: Name
    input: Name
    url: Url
    format: str = "delta"
    mode: Literal["overwrite", "append"] = "overwrite"
    partition_by: Annotated[tuple[str, ...], AfterValidator(distinct)] = ()
    options: dict[str, OptionValue] = Field(default_factory=dict)
    where: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The one dataset that is written."""
        return (self.input,)
