"""Arrow IPC: files, read batch by batch in any order, and streams, read from their beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from connectors.data_errors import CorruptFileError
from connectors.formats.file_format import FileFacts, conformed, read_failure, rows_of_nulls
from connectors.formats.text import check_options, for_each_file, translated
from connectors.splitting import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from connectors.formats.file_format import Output, PartRead
    from connectors.listing import FoundFile, Listing
    from connectors.splits import OptionValue

ARROW: Final = "Arrow IPC"
MAGIC: Final = b"ARROW1"
OPTIONS: Final = ("compression", "file_bytes")


class ArrowFormat:
    """Arrow IPC files and streams, told apart by their first bytes."""

    name = "arrow"
    suffixes: tuple[str, ...] = (".arrow", ".arrows", ".ipc", ".feather")

    def facts(self, listing: Listing, options: Mapping[str, OptionValue]) -> list[FileFacts]:
        """Read the schemas, and how many batches each file has."""
        check_options(ARROW, options, OPTIONS)
        return for_each_file(listing, lambda file: _facts(listing, file))

    def tables(self, read: PartRead) -> Iterator[pa.Table]:
        """Yield the batches, large ones in slices."""
        return translated(_tables(read), read.url, ARROW)

    def open_file(
        self, output: Output, schema: pa.Schema, options: Mapping[str, OptionValue]
    ) -> ArrowFileWriter:
        """Start a file."""
        return ArrowFileWriter(output, schema, options)


def _facts(listing: Listing, file: FoundFile) -> FileFacts:
    url = listing.url(file)
    if file.size_bytes == 0:
        raise CorruptFileError(url, ARROW, "it is empty")
    with listing.stores[file.root].open_input(file.key) as source:
        try:
            if source.read(len(MAGIC)) != MAGIC:
                source.seek(0)
                schema = pa.ipc.open_stream(source).schema
                return FileFacts(schema=schema, rows=None, units=(Unit(file.size_bytes),))
            reader = pa.ipc.open_file(source)
        except (pa.ArrowInvalid, OSError) as error:
            raise read_failure(url, ARROW, error) from error
        count = reader.num_record_batches
        units = tuple(Unit(file.size_bytes // count, part=index) for index in range(count))
        return FileFacts(schema=reader.schema, rows=None if count else 0, units=units)


def _tables(read: PartRead) -> Iterator[pa.Table]:
    with read.store.open_input(read.part.key) as source:
        is_file = source.read(len(MAGIC)) == MAGIC
        source.seek(0)
        for batch in _file_batches(read, source) if is_file else _stream_batches(read, source):
            rows = max(1, batch.num_rows * read.batch_bytes // max(batch.nbytes, 1))
            for start in range(0, batch.num_rows, rows):
                piece = pa.Table.from_batches([batch.slice(start, rows)])
                if piece.num_columns:
                    yield conformed(piece, read.schema, read.url)
                else:
                    yield rows_of_nulls(piece.num_rows, read.schema)


def _file_batches(read: PartRead, source: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    schema = pa.ipc.open_file(source).schema
    reader = pa.ipc.open_file(source, options=_options(schema, read.schema))
    groups = read.part.row_groups
    for index in range(reader.num_record_batches) if groups is None else groups:
        yield reader.get_batch(index)


def _stream_batches(read: PartRead, source: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    schema = pa.ipc.open_stream(source).schema
    source.seek(0)
    yield from pa.ipc.open_stream(source, options=_options(schema, read.schema))


def _options(schema: pa.Schema, wanted: pa.Schema) -> pa.ipc.IpcReadOptions:
    """Read the wanted columns only; one at least, or the number of rows would be lost."""
    names = set(wanted.names)
    fields = [index for index, name in enumerate(schema.names) if name in names]
    return pa.ipc.IpcReadOptions(included_fields=fields or [0], use_threads=False)


class ArrowFileWriter:
    """An open Arrow IPC output file."""

    def __init__(
        self, output: Output, schema: pa.Schema, options: Mapping[str, OptionValue]
    ) -> None:
        check_options(ARROW, options, OPTIONS)
        compression = str(options.get("compression", "lz4"))
        # A file holds one dictionary a column; those of several batches would not fit into it.
        self._schema = pa.schema([field.with_type(_decoded(field.type)) for field in schema])
        codec = None if compression == "none" else compression
        write_options = pa.ipc.IpcWriteOptions(compression=codec, use_threads=False)
        self._writer = pa.ipc.new_file(output, self._schema, options=write_options)

    def write(self, table: pa.Table) -> None:
        """Append the table as one batch."""
        table = conformed(table, self._schema, ARROW).combine_chunks()
        self._writer.write_table(table)

    def close(self) -> str | None:
        """Write the footer."""
        self._writer.close()
        return None


def _decoded(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_
