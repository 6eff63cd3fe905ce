"""The port that each file format implements, and what reads and writes through it share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import pyarrow as pa

from connectors.data_errors import CorruptFileError, SchemaConflictError
from connectors.errors import ConnectorError, StoreUnavailableError
from connectors.hive import value_array
from connectors.url import split_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow.compute as pc

    from connectors.listing import Listing
    from connectors.splits import FilePart, OptionValue
    from connectors.splitting import Unit
    from connectors.store import Store


_CLIENTS: Final = ("AWS Error", "google::cloud", "Azure Error", "curlCode")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What discovery learns from one file. No schema: the file holds nothing, not even names."""

    schema: pa.Schema | None
    rows: int | None
    units: tuple[Unit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRead:
    """One part of one file to be read.

    `schema` is what to yield, without the partition columns of the path: columns that the file
    lacks come out as nulls, others cast without loss. `predicate` is a hint, over the columns of
    `predicate_schema`: rows that fail it may be left out, and the caller filters the rest.
    """

    store: Store
    part: FilePart
    url: str
    schema: pa.Schema
    predicate: pc.Expression | None
    predicate_schema: pa.Schema
    batch_bytes: int
    options: Mapping[str, OptionValue]


class TableFile(Protocol):
    """An open output file."""

    def write(self, table: pa.Table) -> None:
        """Append the table, as one row group where the format has them."""
        ...

    def close(self) -> str | None:
        """Write what ends the file; return its Delta statistics, where the format has them."""
        ...


class Output(Protocol):
    """Where a format writes its bytes."""

    def write(self, data: bytes, /) -> int:
        """Add bytes."""
        ...


class FileFormat(Protocol):
    """Bytes of one kind of file to Arrow, and back."""

    name: str
    suffixes: tuple[str, ...]

    def facts(self, listing: Listing, options: Mapping[str, OptionValue]) -> list[FileFacts]:
        """Look into every file just enough to know its schema, rows and units.

        Raises: CorruptFileError, OptionError, SchemaConflictError.
        """
        ...

    def tables(self, read: PartRead) -> Iterator[pa.Table]:
        """Yield the part's rows in tables of `read.schema`, each about `batch_bytes` at most."""
        ...

    def open_file(
        self, output: Output, schema: pa.Schema, options: Mapping[str, OptionValue]
    ) -> TableFile:
        """Start a file. Raises: UnsupportedTypeError, OptionError."""
        ...


def read_failure(url: str, format_name: str, error: Exception) -> ConnectorError:
    """Return what a failed read was: the store's fault, or the file's.

    Arrow says both as OSError. Only a store's has an error number, or its client's name.
    """
    text = str(error).strip()
    if isinstance(error, OSError) and (error.errno or any(name in text for name in _CLIENTS)):
        folder, key = split_url(url)
        return StoreUnavailableError(folder, key, text)
    reason = text.partition("\n")[0]
    if "onversion error" in reason:
        reason += " (types were guessed from the beginning; option types says them)"
    return CorruptFileError(url, format_name, reason)


def rows_of_nulls(rows: int, schema: pa.Schema) -> pa.Table:
    """Return rows of a file that has none of the schema's columns."""
    if not len(schema):
        return rows_without_columns(rows)
    return pa.Table.from_arrays([pa.nulls(rows, field.type) for field in schema], schema=schema)


def rows_without_columns(rows: int) -> pa.Table:
    """Return a table of no columns and this many rows."""
    # Only a selection keeps the number of rows; built from nothing, a table has none.
    return pa.Table.from_arrays([pa.nulls(rows)], ["none"]).select([])


def conformed(table: pa.Table, schema: pa.Schema, url: str) -> pa.Table:
    """Return the table with exactly the columns of the schema, cast or filled with nulls.

    Raises: SchemaConflictError, where a value does not fit the unified type.
    """
    if table.schema.equals(schema):
        return table.replace_schema_metadata(None) if table.schema.metadata else table
    positions = {name: index for index, name in enumerate(table.schema.names)}
    columns = []
    for field in schema:
        position = positions.get(field.name)
        if position is None:
            columns.append(pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
            continue
        column = table.column(position)
        columns.append(column if column.type == field.type else cast(column, field, url))
    if not columns:
        return table.select([])
    return pa.Table.from_arrays(columns, schema=schema)


def cast(column: pa.ChunkedArray, field: pa.Field, url: str) -> pa.ChunkedArray:
    """Cast a column to the unified type. Raises: SchemaConflictError."""
    try:
        if pa.types.is_dictionary(column.type) and not pa.types.is_dictionary(field.type):
            return column.cast(column.type.value_type).cast(field.type)
        if pa.types.is_null(field.type) and column.null_count == len(column):
            return pa.chunked_array([pa.nulls(len(column))])
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaConflictError(
            field.name, url, str(column.type), "other files", str(field.type), str(error)
        ) from error


def with_values(table: pa.Table, values: Mapping[str, str | None], schema: pa.Schema) -> pa.Table:
    """Return the table with its path's partition values as columns, in the schema's order."""
    if not values or table.schema.equals(schema):
        return table
    rows = table.num_rows
    columns = [
        pa.chunked_array([value_array(values[field.name], field.type, rows)])
        if field.name in values
        else table.column(field.name)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema) if columns else table
