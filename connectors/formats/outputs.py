"""Output files: hashed as they are written, put whole where small, rolled over where large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import pyarrow as pa
import xxhash

from connectors.data_errors import MissingColumnError, OutputSchemaConflictError
from connectors.formats.file_format import FileFormat, TableFile, cast
from connectors.hive import path_of
from connectors.outputs import OutputFile, SinkOutput
from connectors.schema import dump_schema, nulls_typed, plain_schema, with_nulls_typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from connectors.formats.file_format import Output
    from connectors.splits import OptionValue
    from connectors.store import OutputStream, Store

# An object up to this size is one request; a stream costs three, and a buffer beside ours.
BUFFERED_BYTES_MAX: Final = 8 << 20
# A last table up to this size makes a file that fits beside it, and needs no stream.
MEMORY_BYTES_MAX: Final = 32 << 20
FILE_BYTES: Final = 128 << 20
ROW_GROUP_ROWS: Final = 1 << 20
ROW_GROUP_BYTES: Final = 64 << 20
# All open partitions together hold no more than this before the largest is written out.
PENDING_BYTES_MAX: Final = 128 << 20
PARTITIONS_MAX: Final = 10_000


# Stands in for the columns where every one is left out, or readers would see no rows. No schema
# names it.
ROWS_FIELD: Final = pa.field("__rows__", pa.bool_())


class OutputObject(Protocol):
    """An object being written, hashed on its way."""

    @property
    def size_bytes(self) -> int:
        """How many bytes were written."""
        ...

    @property
    def file(self) -> Output:
        """What a format writes to."""
        ...

    def finish(self) -> str:
        """Make the object appear; return its checksum. Raises: StoreError."""
        ...

    def abort(self) -> None:
        """Forget what was written."""
        ...


class MemoryOutput:
    """An object that is known to be small: written in memory, then put in one request."""

    def __init__(self, store: Store, key: str) -> None:
        self.size_bytes = 0
        # Arrow's own: its writers take it without a call into Python for each piece.
        self.file = pa.BufferOutputStream()
        self._store = store
        self._key = key

    def finish(self) -> str:
        """Make the object appear; return its checksum."""
        data = self.file.getvalue().to_pybytes()
        self.size_bytes = len(data)
        self._store.put(self._key, data)
        return xxhash.xxh3_64_hexdigest(data)

    def abort(self) -> None:
        """Forget what was written."""
        self.file = pa.BufferOutputStream()


class StreamOutput:
    """An object of any size: kept in memory until it is too large for one request."""

    closed = False

    def __init__(self, store: Store, key: str) -> None:
        self.size_bytes = 0
        self.file = self
        self._store = store
        self._key = key
        self._hash = xxhash.xxh3_64()
        self._pieces: list[bytes] = []
        self._stream: OutputStream | None = None

    def write(self, data: bytes | memoryview | pa.Buffer) -> int:
        """Add bytes; return how many."""
        piece = bytes(data)
        self._hash.update(piece)
        self.size_bytes += len(piece)
        if self._stream is not None:
            self._stream.write(piece)
            return len(piece)
        self._pieces.append(piece)
        if self.size_bytes > BUFFERED_BYTES_MAX:
            self._stream = self._store.open_output(self._key)
            for kept in self._pieces:
                self._stream.write(kept)
            self._pieces.clear()
        return len(piece)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.size_bytes

    def flush(self) -> None:
        """Do nothing: the object appears whole, at the end."""

    def close(self) -> None:
        """Do nothing: pyarrow's writers close what they write to, and only `finish` publishes."""

    def finish(self) -> str:
        """Make the object appear; return its checksum."""
        if self._stream is not None:
            self._stream.close()
        else:
            self._store.put(self._key, b"".join(self._pieces))
            self._pieces.clear()
        return self._hash.hexdigest()

    def abort(self) -> None:
        """Forget what was written."""
        self._pieces.clear()
        if self._stream is not None:
            self._stream.abort()


class _OpenPartition:
    """The rows of one partition: those not yet written, and the file that takes them."""

    def __init__(self, values: dict[str, str | None] | None) -> None:
        self.values = values
        self.pending: list[pa.Table] = []
        self.pending_rows = 0
        self.pending_bytes = 0
        self.output: OutputObject | None = None
        self.file: TableFile | None = None
        self.schema: pa.Schema | None = None
        self.key = ""
        self.rows = 0


class FilesWriter:
    """Writes one attempt's output of one sink as files of a sensible size.

    Columns of nulls are left out of the files: another attempt may know their type.
    """

    def __init__(  # noqa: PLR0913 - one writer, fixed at its opening
        self,
        store: Store,
        file_format: FileFormat,
        *,
        sink: int,
        name_of: Callable[[int, Mapping[str, str | None] | None], str],
        partition_by: tuple[str, ...],
        options: Mapping[str, OptionValue],
        owner: str,
        fit: Callable[[pa.Table], pa.Table] | None = None,
    ) -> None:
        self._fit = fit
        self._store = store
        self._format = file_format
        self._sink = sink
        self._name_of = name_of
        self._partition_by = partition_by
        self._options = options
        self._owner = owner
        self._file_bytes = int(options.get("file_bytes", FILE_BYTES))
        self._schema: pa.Schema | None = None
        self._partitions: dict[tuple[str | None, ...], _OpenPartition] = {}
        self._files: list[OutputFile] = []
        self._stored: tuple[pa.Schema, pa.Schema] | None = None
        self._opened = 0
        self._pending_bytes = 0

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        if self._fit is not None:
            table = self._fit(table)
        schema = plain_schema(table.schema)
        if self._schema is None:
            self._check_partition_columns(schema)
            self._schema = schema
        elif not schema.equals(self._schema):
            self._schema = with_nulls_typed(self._schema, schema)
            table = table.select(self._schema.names)
        if table.num_rows == 0:
            return
        for values, rows in self._parted(table):
            self._add(values, rows)
        while self._pending_bytes > PENDING_BYTES_MAX:
            self._flush(max(self._partitions.values(), key=lambda p: p.pending_bytes))

    def close(self) -> SinkOutput:
        """Finish the files and say what they are."""
        for partition in self._partitions.values():
            self._flush(partition, last=True)
            self._finish(partition)
        schema_ipc = None if self._schema is None else dump_schema(self._schema)
        return SinkOutput(
            sink=self._sink,
            rows=sum(file.rows for file in self._files),
            size_bytes=sum(file.size_bytes for file in self._files),
            files=tuple(self._files),
            schema_fp="" if schema_ipc is None else xxhash.xxh3_64_hexdigest(schema_ipc),
            schema_ipc=schema_ipc,
        )

    def abort(self) -> None:
        """Forget the open files; finished ones are swept, for no commit names them."""
        for partition in self._partitions.values():
            if partition.output is not None:
                partition.output.abort()
        self._partitions.clear()

    def _check_partition_columns(self, schema: pa.Schema) -> None:
        for name in self._partition_by:
            if name not in schema.names:
                raise MissingColumnError(self._owner, name, tuple(schema.names))

    def _parted(self, table: pa.Table) -> Iterator[tuple[tuple[str | None, ...], pa.Table]]:
        if not self._partition_by:
            yield (), table
            return
        yield from parted(table, self._partition_by)

    def _add(self, key: tuple[str | None, ...], table: pa.Table) -> None:
        partition = self._partitions.get(key)
        if partition is None:
            values = dict(zip(self._partition_by, key, strict=True)) or None
            partition = self._partitions[key] = _OpenPartition(values)
        # A wide batch becomes several row groups; a narrow one waits for more.
        for start in range(0, table.num_rows, ROW_GROUP_ROWS):
            # To its end and no further: Arrow takes a table without columns to be as long as asked.
            rows = table.slice(start, min(ROW_GROUP_ROWS, table.num_rows - start))
            size_bytes = rows.nbytes
            if partition.pending and (
                partition.pending_rows + rows.num_rows > ROW_GROUP_ROWS
                or partition.pending_bytes + size_bytes > ROW_GROUP_BYTES
            ):
                self._flush(partition)
            partition.pending.append(rows)
            partition.pending_rows += rows.num_rows
            partition.pending_bytes += size_bytes
            self._pending_bytes += size_bytes

    def _flush(self, partition: _OpenPartition, *, last: bool = False) -> None:
        """Write what is pending as a row group; start another file when this one is full."""
        if not partition.pending:
            return
        assert self._schema is not None
        table = _one_table(partition.pending, self._schema)
        size_bytes, rows = partition.pending_bytes, partition.pending_rows
        self._pending_bytes -= size_bytes
        partition.pending = []
        partition.pending_rows = partition.pending_bytes = 0
        schema = self._stored_schema(self._schema)
        if partition.schema is not None and not partition.schema.equals(schema):
            # A column of nulls has got a type: files hold one schema each.
            self._finish(partition)
        if partition.file is None:
            partition.key = self._name_of(self._opened, partition.values)
            self._opened += 1
            small = last and size_bytes <= MEMORY_BYTES_MAX
            output: OutputObject = (MemoryOutput if small else StreamOutput)(
                self._store, partition.key
            )
            partition.output = output
            partition.schema = schema
            partition.file = self._format.open_file(output.file, schema, self._options)
        partition.file.write(_stored(table, schema))
        partition.rows += rows
        assert partition.output is not None
        if partition.output.size_bytes >= self._file_bytes:
            self._finish(partition)

    def _stored_schema(self, schema: pa.Schema) -> pa.Schema:
        """Return what files hold: not the partition columns, and no column of nulls."""
        if self._stored is None or self._stored[0] is not schema:
            fields = [
                field
                for field in schema
                if not pa.types.is_null(field.type) and field.name not in self._partition_by
            ]
            self._stored = (schema, pa.schema(fields or [ROWS_FIELD]))
        return self._stored[1]

    def _finish(self, partition: _OpenPartition) -> None:
        if partition.file is None:
            return
        assert partition.output is not None
        stats = partition.file.close()
        checksum = partition.output.finish()
        self._files.append(
            OutputFile(
                key=partition.key,
                rows=partition.rows,
                size_bytes=partition.output.size_bytes,
                checksum=checksum,
                values=partition.values,
                stats=stats,
            )
        )
        partition.file = partition.output = partition.schema = None
        partition.rows = 0


def _stored(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if table.schema.equals(schema):
        return table
    if schema.names == [ROWS_FIELD.name]:
        return pa.Table.from_arrays([pa.repeat(True, table.num_rows)], schema=schema)
    return table.select(schema.names)


def _one_table(tables: list[pa.Table], schema: pa.Schema) -> pa.Table:
    """Join the tables, each brought to the schema: nulls typed since then become typed here."""
    if not schema.names and len(tables) > 1:
        # Arrow forgets how many rows there are when it joins tables without columns.
        rows = sum(table.num_rows for table in tables)
        return pa.Table.from_arrays([pa.nulls(rows)], [ROWS_FIELD.name]).select([])
    same = [t if t.schema.equals(schema) else _typed(t, schema) for t in tables]
    return same[0] if len(same) == 1 else pa.concat_tables(same)


def _typed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        column = table.column(field.name)
        if nulls_typed(field.type, column.type) != field.type:
            raise OutputSchemaConflictError(field.name, str(field.type), str(column.type))
        columns.append(column if column.type == field.type else cast(column, field, ""))
    return pa.Table.from_arrays(columns, schema=schema)


def parted(
    table: pa.Table, names: tuple[str, ...]
) -> Iterator[tuple[tuple[str | None, ...], pa.Table]]:
    """Yield the rows of each combination of the columns' values, with the values as text."""
    texts = [partition_text(table.column(name)) for name in names]
    keys = pa.Table.from_arrays(texts, list(names))
    row = "__row__"
    grouped = keys.append_column(row, pa.array(range(table.num_rows), pa.int64())).group_by(
        list(names), use_threads=False
    )
    groups = grouped.aggregate([(row, "list")])
    lists = groups.column(f"{row}_list")
    for index in range(groups.num_rows):
        values = tuple(groups.column(name)[index].as_py() for name in names)
        yield values, table.take(lists[index].values)


def partition_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values as paths, logs and manifests spell them."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string())


def manifest_name(
    folder: str, token: str, suffix: str
) -> Callable[[int, Mapping[str, str | None] | None], str]:
    """Return how the files of an attempt are named, partition directories and all."""

    def name(number: int, values: Mapping[str, str | None] | None) -> str:
        return f"{folder}{path_of(values or {})}{token}-{number:05d}{suffix}"

    return name
