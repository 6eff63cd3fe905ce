"""From what a user passes to a relational operator, to its spec's fields and to what executes it.

Whatever a spec can check by itself, it checks: here is only what a spec has no words for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never

from rayorch.aggregate import Aggregate, user_aggregate
from rayorch.errors import SpecError, near_miss
from rayorch.relational import (
    AggregateCode,
    AsofCode,
    DedupeCode,
    JoinCode,
    Measure,
    OperatorCode,
    RepartitionCode,
    SortCode,
    SortKey,
    UserAggregate,
    WindowCode,
    WindowColumn,
)
from rayorch.spec import (
    AggregateSpec,
    AsofSpec,
    DedupeSpec,
    JoinSpec,
    RepartitionSpec,
    SortSpec,
    WindowSpec,
)
from rayorch.spec.fields import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from rayorch.spec.columns import MeasureSpec, SortKeySpec

    PlainSpec = (
        AggregateSpec | JoinSpec | AsofSpec | SortSpec | DedupeSpec | RepartitionSpec | WindowSpec
    )

_PAIR: Final = 2


def names_of(given: object) -> object:
    """Return columns as a list, also of one alone; the spec says whether they are names."""
    return (given,) if isinstance(given, str) else given


def ordering(
    columns: object,
    descending: bool | Sequence[bool],
    nulls_first: bool | Sequence[bool],
    field: str = "order",
) -> object:
    """Return the keys of an order, from columns and directions for all or for each of them.

    Raises: SpecError.
    """
    items = [columns] if isinstance(columns, str | SortKey) else columns
    if not isinstance(items, list | tuple):
        return items
    down = _flags("descending", descending, len(items), field)
    first = _flags("nulls_first", nulls_first, len(items), field)
    keys: list[object] = []
    for item, is_down, is_first in zip(items, down, first, strict=True):
        if isinstance(item, SortKey) and (is_down or is_first):
            fix = f"SortKey(column={item.column!r}, descending=..., nulls_first=...) says both"
            raise SpecError(
                "a SortKey says its direction itself",
                field="descending" if is_down else "nulls_first",
                value="True",
                fix=fix,
            )
        plain = SortKey(column=item, descending=is_down, nulls_first=is_first)
        keys.append(plain if isinstance(item, str) else item)
    return tuple(keys)


def _flags(name: str, given: bool | Sequence[bool], count: int, field: str) -> Sequence[bool]:
    if isinstance(given, bool):
        return [given] * count
    if not isinstance(given, list | tuple) or not all(isinstance(each, bool) for each in given):
        raise SpecError(
            "a direction is true or false, or a list of such", field=name, value=shown(given)
        )
    if len(given) != count:
        raise SpecError(
            f"{name} is not as long as {field}",
            field=name,
            value=shown(list(given)),
            fix=f"give one for all, or one for each of {count} columns",
        )
    return given


def measures_of(
    given: Mapping[str, object] | None, more: Mapping[str, object], options: Collection[str]
) -> tuple[dict[str, object], dict[str, UserAggregate]]:
    """Return measures as a spec takes them, and the user's aggregates among them by measure.

    Raises: SpecError.
    """
    measures: dict[str, object] = {}
    aggregates: dict[str, UserAggregate] = {}
    for name, measure in _merged(given, more, "measures").items():
        field = f"measures.{name}"
        if isinstance(measure, list | tuple) and len(measure) >= _PAIR:
            function = measure[1]
            if isinstance(function, Aggregate):
                measures[name], aggregates[name] = _own_measure(measure, function, field)
                continue
            _check_function(function, field)
        elif not isinstance(measure, dict):
            problem = "a measure is (column, function), like ('l_quantity', 'sum')"
            hint = near_miss(name, options)
            raise SpecError(problem, field=field, value=shown(measure), fix=hint)
        measures[name] = measure
    return measures, aggregates


def _check_function(function: object, field: str) -> None:
    if not isinstance(function, str):
        fix = "for a function of your own, subclass rayorch.Aggregate and pass an instance"
        raise SpecError(
            "a function must be named by text", field=field, value=shown(function), fix=fix
        )


def window_columns(
    given: Mapping[str, object] | None, more: Mapping[str, object]
) -> dict[str, object]:
    """Return a window's columns as its spec takes them. Raises: SpecError."""
    return _merged(given, more, "columns")


def _merged(
    given: Mapping[str, object] | None, more: Mapping[str, object], field: str
) -> dict[str, object]:
    first: dict[str, object] = dict(given or {})
    for name in more:
        if name in first:
            raise SpecError("a column is given twice", field=f"{field}.{name}", value=shown(name))
    return {**first, **more}


def _own_measure(
    measure: Sequence[Any], aggregate: Aggregate, field: str
) -> tuple[dict[str, object], UserAggregate]:
    columns = measure[0] if isinstance(measure[0], list | tuple) else [measure[0]]
    if not columns or len(measure) > _PAIR:
        raise SpecError(
            "an aggregate of your own takes columns and nothing else",
            field=field,
            value=shown(measure),
            fix="for example (['price', 'weight'], WeightedMean()); settings are its own",
        )
    return {
        "column": columns[0],
        "function": "user",
        "args": tuple(columns[1:]),
        "aggregate": type(aggregate).__qualname__,
    }, user_aggregate(aggregate, field)


def keys_of_sides(
    names: tuple[str, str, str], same: object, left: object, right: object
) -> tuple[object, object]:
    """Return what each side has, from what both have under one name or from what each has.

    `names` are the three options' names, for refusals. Nothing given is None for both.

    Raises: SpecError, when they are given both ways, or of one side alone.
    """
    both, ours, theirs = names
    if same is not None and (left is not None or right is not None):
        other = ours if left is not None else theirs
        raise SpecError(
            f"{both} and {other} are two answers to one question",
            field=other,
            value=shown(left if left is not None else right),
            fix=f"{both}=... for keys of the same name, else {ours}=... and {theirs}=...",
        )
    if same is not None:
        return same, same
    if (left is None) != (right is None):
        absent, given = (ours, theirs) if left is None else (theirs, ours)
        raise SpecError(f"{given} needs {absent} beside it", field=absent)
    return left, right


def check_options(operator: str, given: Iterable[str], options: Collection[str]) -> None:
    """Refuse an option that an operator does not have.

    Raises: SpecError, with a near miss.
    """
    for name in given:
        if name not in options:
            raise SpecError(
                f"{operator} takes no such option", field=name, fix=near_miss(name, options)
            )


def operator_code(spec: PlainSpec, aggregates: Mapping[str, UserAggregate]) -> OperatorCode:
    """Return what executes an operator that calls no function of the user's but aggregates."""
    code: OperatorCode
    match spec:
        case AggregateSpec():
            measures = [
                _measure(name, measure, aggregates.get(name))
                for name, measure in spec.measures.items()
            ]
            code = AggregateCode(
                by=spec.by, measures=tuple(measures), deterministic=spec.deterministic
            )
        case JoinSpec():
            code = JoinCode(
                how=spec.how, left_on=spec.left_on, right_on=spec.right_on, suffix=spec.suffix
            )
        case AsofSpec():
            code = AsofCode(
                left_on=spec.left_on,
                right_on=spec.right_on,
                left_by=spec.left_by,
                right_by=spec.right_by,
                direction=spec.direction,
                tolerance=spec.tolerance,
                suffix=spec.suffix,
            )
        case SortSpec():
            code = SortCode(keys=sort_keys(spec.by), deterministic=spec.deterministic)
        case DedupeSpec():
            code = DedupeCode(
                by=spec.by, order=sort_keys(spec.order), deterministic=spec.deterministic
            )
        case RepartitionSpec():
            code = RepartitionCode(
                by=spec.by, ranges=spec.ranges, size_bytes=spec.size_bytes, parts=spec.parts
            )
        case WindowSpec():
            columns = [
                WindowColumn(name=name, function=each.function, column=each.column, args=each.args)
                for name, each in spec.columns.items()
            ]
            code = WindowCode(by=spec.by, order=sort_keys(spec.order), columns=tuple(columns))
        case _:
            assert_never(spec)
    return code


def sort_keys(order: Iterable[SortKeySpec]) -> tuple[SortKey, ...]:
    """Return the keys of an order as they are executed."""
    return tuple(
        SortKey(column=key.column, descending=key.descending, nulls_first=key.nulls_first)
        for key in order
    )


def _measure(name: str, measure: MeasureSpec, aggregate: UserAggregate | None) -> Measure:
    is_rows = measure.function == "count" and measure.column == "*"
    return Measure(
        name=name,
        column=measure.column,
        function="count_all" if is_rows else measure.function,
        args=measure.args,
        order=sort_keys(measure.order),
        aggregate=aggregate,
    )
