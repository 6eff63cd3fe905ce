"""Which rows belong together: of a table in memory, and of a stream that is put in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from numpy.typing import NDArray

from rayorch.operators.kernel import Room, SqlKernel
from rayorch.operators.rows import names, ordering, sort_key
from rayorch.relational import SortKey

MARK: Final = "group mark"
_ROW: Final = "row"


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows by group: group g has the rows order[starts[g]:starts[g + 1]], as they came."""

    keys: pa.Table  # one row per group
    order: NDArray[np.int64]
    starts: NDArray[np.int64]


def grouped(keys: pa.Table, rows: int) -> Groups:
    """Group rows by all columns: nulls are equal, NaNs are, and both zeros.

    keys: as the engine carries them, none of them nested.
    """
    numbers = pa.arange(0, rows)
    if not keys.num_columns:
        starts = np.array([0, rows] if rows else [0])
        return Groups(keys, numbers.to_numpy(), starts)
    even = [_even(column) for column in keys.columns]
    table = pa.Table.from_arrays([*even, numbers], names=[*keys.column_names, _ROW])
    found = table.group_by(keys.column_names, use_threads=False).aggregate([(_ROW, "list")])
    lists = found.column(f"{_ROW}_list").combine_chunks()
    heads = found.select(keys.column_names).cast(keys.schema)
    return Groups(heads, lists.values.to_numpy(), lists.offsets.to_numpy().astype(np.int64))


def _even(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the key with one zero and one NaN: groups are told apart by bits."""
    if not pt.is_floating(column.type):
        return column
    zeroed = pc.add(column, pa.scalar(0, column.type))
    return pc.if_else(pc.is_nan(zeroed), pa.scalar(float("nan"), column.type), zeroed)


def cut_at_marks(table: pa.Table) -> tuple[pa.Table, NDArray[np.int64], pa.Array]:
    """Return rows without their marks, where runs of one mark start, and each run's mark."""
    marks = table.column(MARK).combine_chunks()
    changes = pc.not_equal(marks[1:], marks[:-1]).to_numpy(zero_copy_only=False)
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    return table.drop([MARK]), starts, marks.take(pa.array(starts))


def marked_kernel(
    by: Sequence[str], schema: pa.Schema, room: Room, order: Sequence[SortKey] = ()
) -> SqlKernel:
    """Return the kernel that yields all rows group by group, each with its group's mark."""
    columns = names(schema)
    keys = [f"{_even_sql(columns[n], schema.field(n).type)} ASC NULLS LAST" for n in by]
    mark = sort_key(keys)
    terms = ", ".join(["m", *ordering(order, columns)])
    return SqlKernel(
        sides=(schema,),
        schema=schema.append(pa.field(MARK, pa.binary())),
        sql=f"SELECT {', '.join(columns.values())}, {mark} AS m FROM l ORDER BY {terms}",
        room=room,
    )


def _even_sql(column: str, type_: pa.DataType) -> str:
    """Return the key with -0.0 as 0.0: their sort keys differ."""
    if not pt.is_floating(type_):
        return column
    return f"CASE WHEN {column} = 0 THEN 0 ELSE {column} END"
