"""Relational transforms, each as its author wrote it: what needs all rows of its datasets.

Values only; what executes is in rayorch/relational.py. Every rule that refuses a transform by
itself is here, so that a spec from JSON meets the same rules as one from Python.
"""

import math
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from rayorch.errors import SpecError
from rayorch.relational import AsofDirection, Convention, JoinHow
from rayorch.spec.columns import (
    BY_ORDER,
    PAIR,
    RANKS,
    SHIFTS,
    ColumnName,
    Keys,
    MeasureSpec,
    Order,
    SomeKeys,
    SortKeySpec,
    WindowColumnSpec,
    is_number,
    is_share,
)
from rayorch.spec.fields import Bytes, Name, shown
from rayorch.spec.steps import OneInput

PARTS_MAX: Final = 100_000  # a part is a task: more are only overhead


class _Operator(OneInput):
    """What the relational transforms have in common."""

    def refused(self, problem: str, field: str, value: object, fix: str = "") -> SpecError:
        """Return the refusal of a field. A SpecError passes through pydantic with its own text."""
        text = "" if value is None else shown(value)
        return SpecError(problem, "", self.name, field, text, self.where, fix)

    def check_order(self, field: str, order: Iterable[SortKeySpec]) -> None:
        """Refuse a column that an order names twice: the second would decide nothing."""
        seen: set[str] = set()
        for key in order:
            if key.column in seen:
                raise self.refused("a column is named twice in an order", field, key.column)
            seen.add(key.column)

    def check_new(self, field: str, names: Iterable[str], taken: Iterable[str], what: str) -> None:
        """Refuse new columns without a name, or under a name that the result has already."""
        known = set(taken)
        for name in names:
            if not name:
                raise self.refused("a column needs a name", field, name)
            if name in known:
                fix = f"give it another name: {name}_2=..."
                raise self.refused(f"a new column has the name of {what}", field, name, fix)


class _TwoInputs(_Operator):
    other: Name = Field(description="The right side; `input` is the left.")
    suffix: Annotated[str, Field(min_length=1)] = "_right"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The datasets it reads: left, right."""
        return (self.input, self.other)

    def check_pairs(self, left: str, right: str) -> None:
        """Refuse lists of keys of which one is longer."""
        ours, theirs = getattr(self, left), getattr(self, right)
        if len(ours) != len(theirs):
            raise self.refused(
                "the sides have different numbers of keys",
                right,
                list(theirs),
                f"{left} has {len(ours)}: {', '.join(ours) or 'none'}",
            )


class AggregateSpec(_Operator):
    """One row per group: the keys, then the measures by name."""

    kind: Literal["aggregate"] = "aggregate"
    by: Keys = ()
    measures: dict[str, MeasureSpec]
    deterministic: bool = False

    @model_validator(mode="after")
    def _measures_fit(self) -> Self:
        if not self.measures:
            raise self.refused(
                "an aggregate needs at least one measure",
                "measures",
                None,
                'for example lines=("*", "count"); for the distinct keys alone, use .dedupe',
            )
        self.check_new("measures", self.measures, self.by, "a key")
        for name, measure in self.measures.items():
            self._check_column(f"measures.{name}", measure)
            self._check_order(f"measures.{name}", measure)
            self._check_args(f"measures.{name}", measure)
        return self

    def _check_column(self, field: str, measure: MeasureSpec) -> None:
        if measure.column == "*" and measure.function not in {"count", "user"}:
            fix = "name a column; '*' is for count, and for an aggregate of your own"
            raise self.refused(f"{measure.function} takes one column", field, "*", fix)
        if (measure.function == "user") != bool(measure.aggregate):
            raise self.refused(
                "an aggregate of your own is an object, and no name",
                field,
                measure.function,
                "subclass rayorch.Aggregate and pass an instance",
            )

    def _check_order(self, field: str, measure: MeasureSpec) -> None:
        self.check_order(field, measure.order)
        needs = measure.function in BY_ORDER
        if needs and not measure.order:
            fix = f"for example ({measure.column!r}, {measure.function!r}, 'updated_at')"
            raise self.refused(f"{measure.function} needs an order", field, None, fix)
        if measure.order and not needs:
            raise self.refused(f"{measure.function} takes no order", field, measure.order[0].column)

    def _check_args(self, field: str, measure: MeasureSpec) -> None:
        args = measure.args
        if measure.function == "approx_quantile":
            if len(args) != 1 or not is_share(args[0]):
                fix = f"the median is ({measure.column!r}, 'approx_quantile', 0.5)"
                raise self.refused("approx_quantile takes a number from 0 to 1", field, args, fix)
        elif measure.function == "user":
            if not all(isinstance(each, str) and each for each in args):
                raise self.refused("a column must be named by text", field, args)
        elif args:
            raise self.refused(f"{measure.function} takes nothing but a column", field, args)


class GroupMapSpec(_Operator):
    """A function from all rows of one group to a table."""

    kind: Literal["map_groups"] = "map_groups"
    by: SomeKeys
    function: str = Field(description="The function's qualified name, for people.")
    takes: Convention = "arrow"
    columns: Keys | None = Field(
        default=None, description="What the function is given, beside keys and order."
    )
    schema_text: str | None = Field(default=None, description="Declared schema of its result.")
    order: Order = ()

    @model_validator(mode="after")
    def _order_fits(self) -> Self:
        self.check_order("order", self.order)
        return self


class JoinSpec(_TwoInputs):
    """Rows of two datasets whose keys are equal."""

    kind: Literal["join"] = "join"
    how: JoinHow = "inner"
    left_on: SomeKeys
    right_on: SomeKeys

    @model_validator(mode="after")
    def _keys_pair(self) -> Self:
        self.check_pairs("left_on", "right_on")
        return self


def _checked_tolerance(value: object) -> object:
    if value is None or isinstance(value, timedelta):
        number = value.total_seconds() if value else 0.0
    elif isinstance(value, str):
        try:
            value = TypeAdapter(timedelta).validate_python(value)
        except ValidationError:
            raise ValueError(
                "a tolerance is a timedelta, or a number in the unit of the columns"
            ) from None
        number = value.total_seconds()
    elif is_number(value):
        number = float(value)  # type: ignore[arg-type]  # it is one
    else:
        raise ValueError("a tolerance is a timedelta, or a number in the unit of the columns")
    if not math.isfinite(number) or number < 0:
        raise ValueError("a tolerance must be finite and not negative")
    return value


class AsofSpec(_TwoInputs):
    """Each row of the left with the row of the right that is nearest in time."""

    kind: Literal["asof"] = "asof"
    left_on: ColumnName
    right_on: ColumnName
    left_by: Keys = ()
    right_by: Keys = ()
    direction: AsofDirection = "backward"
    tolerance: Annotated[timedelta | int | float | None, BeforeValidator(_checked_tolerance)] = None

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        self.check_pairs("left_by", "right_by")
        for side, on, by in (
            ("left", self.left_on, self.left_by),
            ("right", self.right_on, self.right_by),
        ):
            if on in by:
                fix = "`by` is what must be equal, `on` what may be apart"
                raise self.refused("the time column is also a key", f"{side}_by", on, fix)
        return self


class SortSpec(_Operator):
    """All rows in one order."""

    kind: Literal["sort"] = "sort"
    by: Annotated[Order, Field(min_length=1)]
    deterministic: bool = False

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        self.check_order("by", self.by)
        return self


class DedupeSpec(_Operator):
    """One row per key; without keys, one of equal rows."""

    kind: Literal["dedupe"] = "dedupe"
    by: Keys = ()
    order: Order = ()
    deterministic: bool = False

    @model_validator(mode="after")
    def _order_fits(self) -> Self:
        self.check_order("order", self.order)
        if self.order and not self.by:
            fix = "say by which columns rows are the same: by=['id']"
            raise self.refused("rows that are equal have no order", "by", None, fix)
        return self


class RepartitionSpec(_Operator):
    """The same rows, divided anew."""

    kind: Literal["repartition"] = "repartition"
    by: Keys = ()
    ranges: bool = False
    size_bytes: Bytes | None = None
    parts: int | None = Field(default=None, ge=1, le=PARTS_MAX)

    @model_validator(mode="after")
    def _says_how(self) -> Self:
        if self.ranges and not self.by:
            raise self.refused("ranges need keys", "by", None, "for example by=['day']")
        if self.size_bytes is not None and self.parts is not None:
            raise self.refused(
                "a size and a number of parts are two answers to one question",
                "parts",
                self.parts,
                "leave one of them out",
            )
        if not self.by and self.size_bytes is None and self.parts is None:
            fix = "say by=['key'], size='256 MiB' or parts=8"
            raise self.refused("nothing says how rows are to be divided", "by", None, fix)
        return self


class WindowSpec(_Operator):
    """Every row, with further columns made of the rows before it in its group."""

    kind: Literal["window"] = "window"
    by: Keys = ()
    order: Annotated[Order, Field(min_length=1)]
    columns: dict[str, WindowColumnSpec]

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        if not self.columns:
            fix = "for example position='row_number', so_far=('qty', 'sum')"
            raise self.refused("a window needs at least one column", "columns", None, fix)
        self.check_order("order", self.order)
        taken = [column.column for column in self.columns.values()]
        taken += [*self.by, *(key.column for key in self.order)]
        self.check_new("columns", self.columns, taken, "a column that is there")
        for name, column in self.columns.items():
            self._check_column(f"columns.{name}", column)
            self._check_args(f"columns.{name}", column)
        return self

    def _check_column(self, field: str, column: WindowColumnSpec) -> None:
        if column.function in RANKS and column.column:
            fix = f"write {column.function!r} alone; what is ranked is the order"
            raise self.refused(f"{column.function} takes no column", field, column.column, fix)
        if column.function not in RANKS and column.column in {"", "*"}:
            fix = f"for example ('qty', {column.function!r}); rows are counted by 'row_number'"
            raise self.refused(f"{column.function} takes one column", field, column.column, fix)

    def _check_args(self, field: str, column: WindowColumnSpec) -> None:
        args = column.args
        if column.function not in SHIFTS:
            if args:
                raise self.refused(f"{column.function} takes nothing but a column", field, args)
            return
        offset = args[0] if args else 1
        if len(args) > PAIR or isinstance(offset, bool) or not isinstance(offset, int):
            fix = f"for example ({column.column!r}, {column.function!r}, 1)"
            raise self.refused(f"{column.function} takes (offset, default)", field, args, fix)
        if offset < 1:
            other = "lead" if column.function == "lag" else "lag"
            raise self.refused(
                "an offset is at least 1", field, offset, f"for the other way, use {other!r}"
            )
