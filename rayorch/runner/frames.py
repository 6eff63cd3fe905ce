"""Tables as the user's function wants them, and back: Arrow, pandas, Polars, DuckDB.

pandas and Polars know only the large variants of text, bytes and lists. What comes back from them
is narrowed to the usual ones, so that a transform written with either can be united with one
written with Arrow or SQL.
"""

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.types as pt

from rayorch.relational import Convention
from rayorch.runner.errors import ResultError
from rayorch.runner.sql import this_threads_duckdb

WANTED: Final = "a pyarrow.Table or RecordBatch, a pandas or Polars DataFrame, or a DuckDB relation"
# A chunk's text must stay under 2 GiB when its offsets become 32 bits wide.
_NARROW_BYTES_MAX: Final = 1 << 30


def given(table: pa.Table, takes: Convention) -> object:
    """Return the table in the form that the function takes."""
    match takes:
        case "arrow":
            return table
        case "batch":
            return record_batch(table)
        case "pandas":
            return table.to_pandas(use_threads=False)
        case "polars":
            # The heavy libraries are optional: only who asks for one pays for its import.
            import polars as pl  # noqa: PLC0415

            return pl.from_arrow(table, rechunk=False)
        case "duckdb":
            return this_threads_duckdb().from_arrow(table)


def record_batch(table: pa.Table) -> pa.RecordBatch:
    """Return all rows as one record batch; copies only when there are several chunks."""
    batches = table.to_batches()
    if len(batches) == 1:
        return batches[0]
    arrays = [_one_chunk(column) for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    # Arrow gives chunks back where 32-bit offsets cannot reach over all of the text.
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined


def computed(result: object) -> object:
    """Let a lazy result do its work: that is still the user's code, and may raise like it."""
    if isinstance(result, pa.Table):
        return result
    if isinstance(result, _loaded("polars", "LazyFrame")):
        return cast("Any", result).collect()
    if isinstance(result, _loaded("duckdb", "DuckDBPyRelation")):
        return cast("Any", result).to_arrow_table()
    return result


def taken(result: object) -> pa.Table:
    """Return as a table what a function returned.

    Raises: ResultError, saying what came back and what is wanted.
    """
    if isinstance(result, pa.Table):
        return result
    if isinstance(result, pa.RecordBatch):
        return pa.Table.from_batches([result])
    for module, cls, table_of in _FRAMES:
        if isinstance(result, _loaded(module, cls)):
            return table_of(cast("Any", result))
    if result is None:
        raise ResultError(f"returned None, want {WANTED}", "did you forget to return?")
    raise ResultError(f"returned {_described(result)}, want {WANTED}", _hint(result))


def _loaded(module: str, cls: str) -> type:
    """Return a class of a library if the library is loaded, else one that has no objects."""
    return cast("type", getattr(sys.modules.get(module), cls, _NoSuchClass))


class _NoSuchClass:
    """The class of nothing."""


def _described(result: object) -> str:
    cls = type(result)
    module = "" if cls.__module__ == "builtins" else f"{cls.__module__}."
    size = f" of {len(result)}" if isinstance(result, list | tuple | dict) else ""
    return f"{module}{cls.__qualname__}{size}"


def _hint(result: object) -> str:
    if isinstance(result, dict):
        return "wrap it: return pa.table(...)"
    if isinstance(result, list):
        return "of dictionaries: return pa.Table.from_pylist(...)"
    if type(result).__name__ == "Series":
        return "a column alone is not a table: return series.to_frame()"
    if hasattr(result, "__next__"):
        return "return one table, or call pa.concat_tables; do not yield"
    return "return a table"


def _of_pandas(frame: Any) -> pa.Table:  # noqa: ANN401 - pandas may not be installed.
    kept = [name for name in frame.index.names if name is not None]
    if kept:
        raise ResultError(
            f"returned a pandas DataFrame with the index {', '.join(map(repr, kept))}, "
            "which would be lost",
            "return frame.reset_index(), or reset_index(drop=True) to lose it on purpose",
        )
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False, nthreads=1)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ResultError(
            f"returned a pandas DataFrame that Arrow cannot hold: {' '.join(map(str, error.args))}",
            "give each column one type",
        ) from error
    return _narrowed(table)


def _of_polars(frame: Any) -> pa.Table:  # noqa: ANN401 - Polars may not be installed.
    return _narrowed(frame.to_arrow())


_FRAMES: Final[tuple[tuple[str, str, Callable[[Any], pa.Table]], ...]] = (
    ("pandas", "DataFrame", _of_pandas),
    ("polars", "DataFrame", _of_polars),
)


def _narrowed(table: pa.Table) -> pa.Table:
    schema = _narrow_schema(table.schema)
    if schema is None:
        return table.replace_schema_metadata(None)
    if table.nbytes <= _NARROW_BYTES_MAX:
        return table.cast(schema)
    step_rows = max(1, table.num_rows * _NARROW_BYTES_MAX // table.nbytes)
    parts = [
        table.slice(start, step_rows).combine_chunks().cast(schema)
        for start in range(0, table.num_rows, step_rows)
    ]
    return pa.concat_tables(parts)


@lru_cache(maxsize=64)
def _narrow_schema(schema: pa.Schema) -> pa.Schema | None:
    """Return the schema with the usual types for the large ones; None when it has none of them."""
    fields = [pa.field(f.name, _narrow_type(f.type), f.nullable) for f in schema]
    narrow = pa.schema(fields)
    return None if narrow.equals(pa.schema([f.remove_metadata() for f in schema])) else narrow


def _narrow_type(type_: pa.DataType) -> pa.DataType:
    if pt.is_large_string(type_) or pt.is_string_view(type_):
        return pa.string()
    if pt.is_large_binary(type_) or pt.is_binary_view(type_):
        return pa.binary()
    if pt.is_large_list(type_) or pt.is_list(type_):
        return pa.list_(type_.value_field.with_type(_narrow_type(type_.value_type)))
    if pt.is_struct(type_):
        return pa.struct([f.with_type(_narrow_type(f.type)) for f in type_])
    if pt.is_dictionary(type_):
        return pa.dictionary(type_.index_type, _narrow_type(type_.value_type), type_.ordered)
    return type_
