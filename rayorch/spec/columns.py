"""Parts of relational transforms: the columns that they order by, measure and make.

Each is understood as a user writes it, a name or a tuple, and as the mapping that JSON has of it.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from rayorch.relational import SortKey, WindowFunction
from rayorch.spec.fields import ParamValue, SpecModel
from rayorch.spec.steps import COLUMNS_MAX, distinct

PAIR: Final = 2  # (column, function), before what else the function takes

MeasureName = Literal[
    "sum",
    "count",
    "mean",
    "min",
    "max",
    "var",
    "std",
    "first",
    "last",
    "count_distinct",
    "approx_count_distinct",
    "approx_quantile",
    "user",
]
BY_ORDER: Final = frozenset({"first", "last"})
RANKS: Final = frozenset({"row_number", "rank", "dense_rank"})
SHIFTS: Final = frozenset({"lag", "lead"})

ColumnName = Annotated[str, Field(min_length=1)]
Keys = Annotated[tuple[ColumnName, ...], AfterValidator(distinct), Field(max_length=COLUMNS_MAX)]
SomeKeys = Annotated[Keys, Field(min_length=1)]


class SortKeySpec(SpecModel):
    """One column of an order. The name alone means ascending, nulls last."""

    column: ColumnName
    descending: bool = False
    nulls_first: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        if isinstance(value, SortKey):
            return asdict(value)
        if isinstance(value, str):
            return {"column": value}
        if not isinstance(value, Mapping):
            # Pydantic takes a ValueError for a refusal and lets a TypeError through as a bug.
            raise ValueError("an order is a list of column names or of SortKey")  # noqa: TRY004
        return value


Order = Annotated[tuple[SortKeySpec, ...], Field(max_length=COLUMNS_MAX)]


class MeasureSpec(SpecModel):
    """One column of an aggregate: (column, function, and what else the function takes)."""

    column: ColumnName
    function: MeasureName
    args: tuple[ParamValue, ...] = ()
    order: Order = ()
    aggregate: str = Field(default="", description="The class of a user's aggregate, for people.")

    @model_validator(mode="before")
    @classmethod
    def _from_tuple(cls, value: Any) -> object:  # noqa: ANN401 - whatever a user passed.
        if isinstance(value, Mapping):
            return value
        if not isinstance(value, list | tuple) or len(value) < PAIR:
            raise ValueError("a measure is (column, function), like ('l_quantity', 'sum')")
        column, function, *rest = value
        more = "order" if function in BY_ORDER else "args"
        return {"column": column, "function": function, more: tuple(rest)}


class WindowColumnSpec(SpecModel):
    """One column of a window: a rank's name, or (column, function, and what else it takes)."""

    function: WindowFunction
    column: str = ""
    args: tuple[ParamValue, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_tuple(cls, value: Any) -> object:  # noqa: ANN401 - whatever a user passed.
        if isinstance(value, str):
            return {"function": value}
        if isinstance(value, Mapping):
            return value
        if not isinstance(value, list | tuple) or len(value) < PAIR:
            raise ValueError(
                "a window's column is 'row_number', 'rank', 'dense_rank' or (column, function), "
                "like ('qty', 'sum')"
            )
        column, function, *rest = value
        return {"column": column, "function": function, "args": tuple(rest)}


def is_number(value: object) -> bool:
    """Say whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_share(value: object) -> bool:
    """Say whether a value is a number from 0 to 1."""
    return isinstance(value, int | float) and is_number(value) and 0.0 <= value <= 1.0
