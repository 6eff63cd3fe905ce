"""States of the author's own aggregates: made, merged and finished by calls, group by group.

They travel pickled, in columns of the table of states. A row may hold them, or the engine's states,
or both: what is absent is null, and adds nothing. So the engine groups the table as if they were
not there, and calls do not stand in its way.
"""

import functools
import io
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import cloudpickle
import pyarrow as pa
import pyarrow.types as pt

from rayorch.errors import SpecError
from rayorch.operators.columns import carried_type, restored
from rayorch.operators.grouping import cut_at_marks, grouped
from rayorch.operators.kernel import bounded
from rayorch.relational import AggregateCode, Measure, UserAggregate

_BYTES_AT_ONCE: Final = 4 << 20  # of pickled states: unpickled they are several times as large


@dataclass(frozen=True, slots=True)
class _Own:
    """One aggregate at work: its column in the table of states, and what it takes of rows."""

    aggregate: UserAggregate
    at: int
    takes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStates:
    """All of an operator's own aggregates."""

    own: tuple[_Own, ...]
    by: tuple[str, ...]
    states: pa.Schema

    @property
    def held_schema(self) -> pa.Schema:
        """The columns of the table of states that merging needs: keys, then pickled states."""
        at = [*range(len(self.by)), *(each.at for each in self.own)]
        fields = [self.states.field(i) for i in at]
        return pa.schema([field.with_type(_takeable_type(field.type)) for field in fields])

    @property
    def valued(self) -> pa.Schema:
        """The table of states with values instead of pickled states."""
        schema = self.states
        for each in self.own:
            schema = schema.set(each.at, schema.field(each.at).with_type(each.aggregate.returns))
        return schema

    def of_rows(self, rows: pa.Table) -> pa.Table:
        """Return one row of states per group of rows."""
        found = grouped(_keys(rows.select(list(self.by))), rows.num_rows)
        made = []
        for each in self.own:
            own, taken = each.aggregate, _takeable(rows.select(list(each.takes)))
            taken = taken.take(found.order).combine_chunks()
            cut = (taken.slice(a, b - a) for a, b in pairwise(found.starts.tolist()))
            made.append(_pickled(own.update(own.create(), part) for part in cut))
        return self._filled(found.keys, made, self.states)

    def merged(self, table: pa.Table) -> pa.Table:
        """Return one row of states per group of rows of states."""
        held = self.held(table)
        found = grouped(_keys(held.select(range(len(self.by)))), held.num_rows)
        made = []
        for each in self.own:
            blobs = held.column(each.at).take(found.order).to_pylist()
            cut = (blobs[a:b] for a, b in pairwise(found.starts.tolist()))
            made.append(_pickled(_merged(each.aggregate.merge, part) for part in cut))
        return self._filled(found.keys, made, self.states)

    def held(self, table: pa.Table) -> pa.Table:
        """Return the rows of a table of states that hold pickled states."""
        table = _takeable(table)
        return table.filter(table.column(self.own[0].at).is_valid())

    def without(self, table: pa.Table, *, final: bool) -> pa.Table:
        """Return the rows for the engine's measures, in the columns of `valued`, else of states."""
        schema = self.valued if final else self.states
        for each in self.own:
            field = schema.field(each.at)
            table = table.set_column(each.at, field, pa.nulls(table.num_rows, field.type))
        return table

    def folded(self, tables: Iterator[pa.Table], *, final: bool) -> Iterator[pa.Table]:
        """Yield one row per group, of values in the columns of `valued`, else of states.

        tables: rows of `held_schema` with their groups' marks, in order of the marks.
        """
        keys, states = list[pa.Table](), list[list[Any]]()
        last: bytes | None = None
        taken_bytes = 0
        for table in tables:
            rows, starts, marks = cut_at_marks(table)
            again = marks[0].as_py() == last
            keys.append(rows.select(range(len(self.by))).take(starts[again:]))
            blobs = [rows.column(len(self.by) + i).to_pylist() for i in range(len(self.own))]
            for group, (a, b) in enumerate(pairwise([*starts.tolist(), rows.num_rows])):
                held = states.pop() if again and not group else None
                states.append(self._with(held, [column[a:b] for column in blobs]))
            last = marks[-1].as_py()
            taken_bytes += rows.nbytes
            if taken_bytes > _BYTES_AT_ONCE and len(states) > 1:
                made, heads = states[:-1], pa.concat_tables(keys)
                yield from self._left(heads.slice(0, len(made)), made, final=final)
                keys, states, taken_bytes = [heads.slice(len(made))], states[-1:], 0
        if not states and not self.by:
            # Without keys there is one group, of no rows too.
            states = [[each.aggregate.create() for each in self.own]]
        if states:
            heads = pa.concat_tables(keys) if keys else pa.table({})
            yield from self._left(heads, states, final=final)

    def _with(self, states: list[Any] | None, blobs: list[list[bytes]]) -> list[Any]:
        """Return a group's states with some more, pickled, in them."""
        if states is None:
            pairs = zip(self.own, blobs, strict=True)
            return [_merged(each.aggregate.merge, column) for each, column in pairs]
        held = zip(self.own, states, blobs, strict=True)
        return [_merged(each.aggregate.merge, column, state) for each, state, column in held]

    def _left(self, keys: pa.Table, states: list[list[Any]], *, final: bool) -> Iterator[pa.Table]:
        made = []
        for each, column in zip(self.own, zip(*states, strict=True), strict=True):
            if final:
                made.append(_values(map(each.aggregate.finish, column), each.aggregate.returns))
            else:
                made.append(_pickled(column))
        yield from bounded(self._filled(keys, made, self.valued if final else self.states))

    def _filled(self, keys: pa.Table, made: list[pa.Array], schema: pa.Schema) -> pa.Table:
        """Return keys and own columns as rows of the schema: in lane 0, and nulls elsewhere."""
        rows = len(made[0])
        own = {each.at: column for each, column in zip(self.own, made, strict=True)}
        fields = [schema.field(i) for i in range(len(self.by))]
        columns = list(restored(keys.columns, pa.schema(fields)).columns)
        for i in range(len(columns), len(schema)):
            field = schema.field(i)
            if field.name == "lane":
                columns.append(pa.repeat(pa.scalar(0, field.type), rows))
            else:
                columns.append(own[i] if i in own else pa.nulls(rows, field.type))
        return pa.Table.from_arrays(columns, schema=schema)


def own_states(
    code: AggregateCode, rows: pa.Schema, states: pa.Schema, at: Sequence[int]
) -> OwnStates | None:
    """Return the operator's own aggregates; None when it has none.

    at: for each own aggregate, its column in the table of states.
    Raises: SpecError, when a key cannot be grouped by outside of the engine.
    """
    measures = [measure for measure in code.measures if measure.function == "user"]
    if not measures:
        return None
    for name in code.by:
        if pt.is_nested(rows.field(name).type):
            raise SpecError(
                "an aggregate of your own cannot be grouped by a nested column",
                field=name,
                value=str(rows.field(name).type),
            )
    own = tuple(_own(measure, rows, i) for measure, i in zip(measures, at, strict=True))
    return OwnStates(own=own, by=code.by, states=states)


def _own(measure: Measure, rows: pa.Schema, at: int) -> _Own:
    assert measure.aggregate is not None
    if measure.column == "*":
        return _Own(measure.aggregate, at, tuple(rows.names))
    return _Own(measure.aggregate, at, (measure.column, *map(str, measure.args)))


def _keys(table: pa.Table) -> pa.Table:
    columns = [column.cast(carried_type(column.type)) for column in table.columns]
    if not columns:
        return table
    return pa.table(columns, names=[f"c{i}" for i in range(len(columns))])


def _takeable(table: pa.Table) -> pa.Table:
    """Return the rows in types of which Arrow can take some: of views it cannot."""
    for i, field in enumerate(table.schema):
        type_ = _takeable_type(field.type)
        if type_ is not field.type:
            table = table.set_column(i, field.with_type(type_), table.column(i).cast(type_))
    return table


def _takeable_type(type_: pa.DataType) -> pa.DataType:
    view = pt.is_string_view(type_) or pt.is_binary_view(type_)
    return carried_type(type_) if view else type_


def _merged(merge: Callable[[Any, Any], Any], blobs: Sequence[bytes], *start: Any) -> Any:  # noqa: ANN401 - a state is whatever its author makes it.
    """Return one state of what `start` holds, if anything, and of pickled ones."""
    # They were written by the same program.
    return functools.reduce(merge, [*start, *map(pickle.loads, blobs)])


def _pickled(states: Iterable[Any]) -> pa.Array:
    """Return states as bytes: by cloudpickle, as their classes may be known to no other process."""
    buffer = io.BytesIO()
    pickler = cloudpickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL)
    found = []
    for state in states:
        # One pickler for all takes a third of the time of one for each.
        pickler.clear_memo()
        buffer.seek(0)
        buffer.truncate()
        try:
            pickler.dump(state)
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise SpecError(
                f"the state of an aggregate of your own cannot travel: {error}",
                value=type(state).__qualname__,
                fix="keep numbers, texts, lists or tables in it, no handles and no generators",
            ) from error
        found.append(buffer.getvalue())
    return pa.array(found, pa.binary())


def _values(values: Iterable[object], type_: pa.DataType) -> pa.Array:
    plain = list(values)
    try:
        return pa.array([v.cast(type_) if isinstance(v, pa.Scalar) else v for v in plain], type_)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SpecError(
            f"an aggregate of your own returned what is no {type_}: {error}",
            fix="let `finish` return values of the type in `returns`",
        ) from error
