"""Which columns an expression needs, which rows and which partitions pass it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from connectors.data_errors import MissingColumnError, OptionError
from connectors.hive import value_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow.compute as pc

# How Arrow's binder names the field that it did not find.
_NO_MATCH: Final = re.compile(r"No match for FieldRef\.(?:Name\((.*?)\)|Nested)")


def filtered(table: pa.Table, predicate: pc.Expression) -> pa.Table:
    """Return the rows for which the predicate is true, in order."""
    # Acero is slow to import, and only predicates need it.
    from pyarrow.acero import (  # noqa: PLC0415
        Declaration,
        FilterNodeOptions,
        TableSourceNodeOptions,
    )

    source = Declaration("table_source", TableSourceNodeOptions(table))
    keep = Declaration("filter", FilterNodeOptions(predicate), inputs=[source])
    # One thread: more would reorder the rows, and the caller decides on parallelism.
    return keep.to_table(use_threads=False)


def predicate_columns(predicate: pc.Expression, schema: pa.Schema, owner: str) -> list[str]:
    """Return the columns that the predicate names, in the schema's order.

    Raises: MissingColumnError; OptionError, when the predicate does not fit the types.
    """
    problem = _binding_problem(predicate, schema)
    if problem is not None:
        match = _NO_MATCH.search(problem)
        if match:
            raise MissingColumnError(owner, match[1] or str(predicate), tuple(schema.names))
        raise OptionError(owner, "filter", str(predicate), problem)
    needed = _needed(predicate, schema, list(schema.names))
    return [name for name in schema.names if name in needed]


def _needed(predicate: pc.Expression, schema: pa.Schema, candidates: list[str]) -> set[str]:
    """Return the candidates without which the predicate cannot be bound.

    Arrow does not tell which fields an expression names, so it is asked by group testing: a
    set holds a named column exactly when binding fails without the set.
    """
    out = set(candidates)
    rest = pa.schema([field for field in schema if field.name not in out])
    if _binding_problem(predicate, rest) is None:
        return set()
    if len(candidates) == 1:
        return out
    half = len(candidates) // 2
    return _needed(predicate, schema, candidates[:half]) | _needed(
        predicate, schema, candidates[half:]
    )


def _binding_problem(predicate: pc.Expression, schema: pa.Schema) -> str | None:
    try:
        filtered(schema.empty_table(), predicate)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        return str(error)
    return None


def partitions_that_may_match(
    predicate: pc.Expression,
    values: Sequence[Mapping[str, str | None]],
    schema: pa.Schema,
) -> list[bool]:
    """Say, for each combination of partition values, whether any of its rows can pass.

    All of them may, when the predicate names a column that the schema lacks.
    """
    if _binding_problem(predicate, schema) is not None:
        return [True] * len(values)
    import pyarrow.dataset as ds  # noqa: PLC0415 - slow to import; only predicates need it

    file_format = ds.ParquetFileFormat()
    kept = []
    for row in values:
        known = partition_expression(row, schema)
        fragment = file_format.make_fragment(pa.py_buffer(b""), partition_expression=known)
        data = ds.FileSystemDataset([fragment], schema, file_format)
        kept.append(any(True for _ in data.get_fragments(filter=predicate)))
    return kept


def partition_expression(values: Mapping[str, str | None], schema: pa.Schema) -> pc.Expression:
    """Return what every row of a partition has in common."""
    import pyarrow.compute as pc  # noqa: PLC0415 - only predicates need it

    known = pc.scalar(True)
    for name, value in values.items():
        scalar = value_array(value, schema.field(name).type, 1)[0]
        known = known & (pc.field(name).is_null() if value is None else pc.field(name) == scalar)
    return known
