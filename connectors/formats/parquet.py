"""Parquet: footers at discovery, row groups as units, bounded memory at reading."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.data_errors import CorruptFileError, OptionError, UnsupportedTypeError
from connectors.formats.dictionary import dictionary_columns
from connectors.formats.file_format import FileFacts, conformed, read_failure, rows_of_nulls
from connectors.splitting import Unit
from connectors.url import join_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from connectors.formats.file_format import Output, PartRead
    from connectors.listing import FoundFile, Listing
    from connectors.splits import OptionValue
    from connectors.store import Store

MAGIC: Final = b"PAR1"
MAGIC_ENCRYPTED: Final = b"PARE"
TRAILER_BYTES: Final = 8
# One request brings the footer of nearly every file.
TAIL_BYTES: Final = 64 << 10
# Where a request takes milliseconds; two threads over local files are slower than one.
FOOTERS_AT_ONCE: Final = 32
# Below this, one read of the whole file beats three small ones (130 us against 240).
WHOLE_FILE_BYTES: Final = 1 << 20
# Column chunks above this are read a megabyte at a time instead of whole.
BUFFERED_CHUNK_BYTES: Final = 32 << 20
READ_BUFFER_BYTES: Final = 1 << 20
# A streamed batch aims at a part of the limit: estimates of row sizes are rough.
STREAM_FRACTION: Final = 8
COMPRESSIONS: Final = ("snappy", "zstd", "lz4", "gzip", "brotli", "none")
_WIDTHS: Final = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 8}


class ParquetFormat:
    """Parquet files."""

    name = "parquet"
    suffixes: tuple[str, ...] = (".parquet", ".parq", ".pq")

    def facts(self, listing: Listing, options: Mapping[str, OptionValue]) -> list[FileFacts]:
        """Read every footer."""
        files = listing.files
        if not files:
            return []
        local = all(store.local_path("x") is not None for store in listing.stores)
        if local or len(files) == 1:
            return [self._facts(listing, file) for file in files]
        with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
            return list(pool.map(lambda file: self._facts(listing, file), files))

    def _facts(self, listing: Listing, file: FoundFile) -> FileFacts:
        footer = read_footer(listing.stores[file.root], file)
        return FileFacts(
            schema=footer.schema.to_arrow_schema(),
            rows=footer.num_rows,
            units=row_group_units(footer, file.size_bytes),
        )

    def tables(self, read: PartRead) -> Iterator[pa.Table]:
        """Yield row groups whole where they fit, in batches of rows where they do not."""
        try:
            yield from _tables(read)
        except (pa.ArrowInvalid, OSError) as error:
            raise read_failure(read.url, "Parquet", error) from error

    def open_file(
        self, output: Output, schema: pa.Schema, options: Mapping[str, OptionValue]
    ) -> ParquetFileWriter:
        """Start a Parquet file."""
        return ParquetFileWriter(output, schema, options)


def read_footer(store: Store, file: FoundFile) -> pq.FileMetaData:
    """Return a file's footer, in one request where it is short.

    Raises: CorruptFileError, saying what is wrong.
    """
    if file.size_bytes < len(MAGIC) + TRAILER_BYTES:
        what = "it is empty" if file.size_bytes == 0 else f"it has {file.size_bytes} bytes only"
        raise _corrupt(store, file, what)
    tail_bytes = min(TAIL_BYTES, file.size_bytes)
    tail = store.get_range(file.key, file.size_bytes - tail_bytes, tail_bytes)
    if tail[-4:] != MAGIC:
        why = "it is encrypted" if tail[-4:] == MAGIC_ENCRYPTED else "it does not end in PAR1"
        raise _corrupt(store, file, f"{why}; cut short, or another format")
    footer_bytes = int.from_bytes(tail[-8:-4], "little") + TRAILER_BYTES
    if footer_bytes > file.size_bytes:
        raise _corrupt(store, file, "its footer is said to be longer than the file")
    if footer_bytes > tail_bytes:
        tail = store.get_range(file.key, file.size_bytes - footer_bytes, footer_bytes)
    try:
        return pq.read_metadata(pa.BufferReader(tail))
    except (pa.ArrowInvalid, OSError) as error:
        raise _corrupt(store, file, str(error).strip()) from error


def _corrupt(store: Store, file: FoundFile, reason: str) -> CorruptFileError:
    return CorruptFileError(join_url(store.url, file.key), "Parquet", reason)


def row_group_units(footer: pq.FileMetaData, size_bytes: int) -> tuple[Unit, ...]:
    """Return the row groups as units, the file's size on disk shared out among them."""
    groups = footer.num_row_groups
    if footer.num_rows == 0:
        return ()
    if groups == 1:
        return (Unit(size_bytes, footer.num_rows, 0),)
    metas = [footer.row_group(index) for index in range(groups)]
    weights = [max(meta.total_byte_size, 1) for meta in metas]
    total = sum(weights)
    return tuple(
        Unit(size_bytes * weight // total, meta.num_rows, index)
        for index, (meta, weight) in enumerate(zip(metas, weights, strict=True))
    )


def _tables(read: PartRead) -> Iterator[pa.Table]:
    part, schema = read.part, read.schema
    source: pa.NativeFile
    if part.size_bytes <= WHOLE_FILE_BYTES:
        source = pa.BufferReader(read.store.get(part.key))
    else:
        source = read.store.open_input(part.key)
    with source:
        file = pq.ParquetFile(source, buffer_size=0, pre_buffer=False)
        footer = file.metadata
        groups: Sequence[int]
        groups = range(footer.num_row_groups) if part.row_groups is None else part.row_groups
        columns = _present(file, footer, schema)
        if not columns:
            rows = sum(footer.row_group(group).num_rows for group in groups)
            yield rows_of_nulls(rows, schema)
            return
        groups = _groups_that_may_match(read, source, groups)
        for run, fits in _runs_that_fit(footer, groups, columns, read.batch_bytes):
            if fits:
                whole = len(run) == footer.num_row_groups
                table = (
                    file.read(columns=columns, use_threads=False)
                    if whole
                    else file.read_row_groups(run, columns=columns, use_threads=False)
                )
                yield conformed(table, schema, read.url)
            else:
                for group in run:
                    yield from _streamed(read, source, footer, group, columns)


def _present(file: pq.ParquetFile, footer: pq.FileMetaData, schema: pa.Schema) -> list[str]:
    there = set(file.schema_arrow.names)
    return [name for name in schema.names if name in there]


def _groups_that_may_match(
    read: PartRead, source: pa.NativeFile, groups: Sequence[int]
) -> Sequence[int]:
    """Leave out the row groups whose statistics say that no row passes the predicate."""
    if read.predicate is None or read.part.size_bytes <= WHOLE_FILE_BYTES:
        return groups
    # The dataset module is slow to import, and only predicates need it.
    import pyarrow.dataset as ds  # noqa: PLC0415

    fragment = ds.ParquetFileFormat().make_fragment(source, row_groups=list(groups))
    kept = fragment.subset(filter=read.predicate, schema=read.predicate_schema)
    return [group.id for group in kept.row_groups]


def _runs_that_fit(
    footer: pq.FileMetaData, groups: Sequence[int], columns: Sequence[str], limit_bytes: int
) -> Iterator[tuple[list[int], bool]]:
    """Yield neighbouring row groups to read at once; False says that one alone is too large."""
    run: list[int] = []
    used_bytes = 0
    for group in groups:
        size_bytes = decoded_bytes(footer.row_group(group), columns, limit_bytes)
        if run and used_bytes + size_bytes > limit_bytes:
            yield run, True
            run, used_bytes = [], 0
        if size_bytes > limit_bytes:
            yield [group], False
            continue
        run.append(group)
        used_bytes += size_bytes
    if run:
        yield run, True


def decoded_bytes(group: pq.RowGroupMetaData, columns: Sequence[str], enough_bytes: int) -> int:
    """Estimate, from above where it is cheap, a row group's bytes in memory.

    What is on disk says little: a column of one value is a few bytes for any number of rows.
    """
    # No value is longer than its row group; for small files this settles it in one step.
    bound_bytes = group.num_rows * max(group.total_byte_size, 16)
    if bound_bytes <= enough_bytes:
        return int(bound_bytes)
    wanted = set(columns)
    total = 0
    for index in range(group.num_columns):
        column = group.column(index)
        path = column.path_in_schema
        if path in wanted or path.split(".", 1)[0] in wanted:
            total += _column_bytes(column)
    return total


def _column_bytes(column: pq.ColumnChunkMetaData) -> int:
    width = _WIDTHS.get(column.physical_type)
    if width is not None:
        return int(column.num_values * width)
    stored_bytes = int(column.total_uncompressed_size)
    values = int(column.num_values)
    if not column.has_dictionary_page:
        return stored_bytes + values * 4
    return stored_bytes + values * (4 + _longest_bytes(column, stored_bytes))


def _longest_bytes(column: pq.ColumnChunkMetaData, stored_bytes: int) -> int:
    """Guess the longest value of a dictionary: no writer keeps statistics of very long ones."""
    statistics = column.statistics
    if statistics is None or not statistics.has_min_max:
        return stored_bytes
    ends = (statistics.min_raw, statistics.max_raw)
    return max(len(end) if isinstance(end, bytes | str) else 16 for end in ends)


def _streamed(
    read: PartRead,
    source: pa.NativeFile,
    footer: pq.FileMetaData,
    group: int,
    columns: list[str],
) -> Iterator[pa.Table]:
    """Yield a row group that is too large to be read at once."""
    meta = footer.row_group(group)
    row_bytes = max(1, decoded_bytes(meta, columns, 0) // max(meta.num_rows, 1))
    rows = max(1, read.batch_bytes // STREAM_FRACTION // row_bytes)
    chunk_bytes = max(meta.column(index).total_compressed_size for index in range(meta.num_columns))
    buffer_bytes = READ_BUFFER_BYTES if chunk_bytes > BUFFERED_CHUNK_BYTES else 0
    file = pq.ParquetFile(source, metadata=footer, buffer_size=buffer_bytes, pre_buffer=False)
    batches = file.iter_batches(
        batch_size=rows, row_groups=[group], columns=columns, use_threads=False
    )
    pending: list[pa.RecordBatch] = []
    used_bytes = 0
    for batch in batches:
        size_bytes = batch.get_total_buffer_size()
        if pending and used_bytes + size_bytes > read.batch_bytes:
            yield conformed(pa.Table.from_batches(pending), read.schema, read.url)
            pending, used_bytes = [], 0
        pending.append(batch)
        used_bytes += size_bytes
    if pending:
        yield conformed(pa.Table.from_batches(pending), read.schema, read.url)


class ParquetFileWriter:
    """An open Parquet output file."""

    def __init__(
        self, output: Output, schema: pa.Schema, options: Mapping[str, OptionValue]
    ) -> None:
        compression = str(options.get("compression", "snappy"))
        if compression not in COMPRESSIONS:
            known = ", ".join(COMPRESSIONS)
            raise OptionError("parquet", "compression", compression, f"known are {known}")
        self._footers: list[pq.FileMetaData] = []
        self._output = output
        self.schema = schema
        self._compression = compression
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Append the table as one row group. The first one decides how columns are encoded."""
        if self._writer is None:
            self._writer = self._started(dictionary_columns(table))
        self._writer.write_table(table, row_group_size=max(table.num_rows, 1))

    def close(self) -> str | None:
        """Write the footer."""
        if self._writer is None:
            self._writer = self._started(use_dictionary=True)
        self._writer.close()
        return None

    def _started(self, use_dictionary: list[str] | bool) -> pq.ParquetWriter:
        try:
            return pq.ParquetWriter(
                self._output,
                self.schema,
                compression=self._compression,
                use_dictionary=use_dictionary,
                metadata_collector=self._footers,
            )
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise _unsupported(self.schema, error) from error

    @property
    def footer(self) -> pq.FileMetaData:
        """The footer, once the file is closed."""
        return self._footers[0]


def _unsupported(schema: pa.Schema, error: Exception) -> UnsupportedTypeError:
    for field in schema:
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            advice = f"cast it in the transform ({error})"
            return UnsupportedTypeError("Parquet", field.name, str(field.type), advice)
    return UnsupportedTypeError("Parquet", "?", "?", str(error))
