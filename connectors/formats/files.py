"""The reader of every source that is made of files, whatever their format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import pyarrow as pa

from connectors.data_errors import FileChangedError, MissingColumnError
from connectors.errors import ObjectMissingError
from connectors.formats.file_format import (
    FileFormat,
    PartRead,
    rows_without_columns,
    with_values,
)
from connectors.predicates import filtered, predicate_columns
from connectors.schema import load_schema
from connectors.store import Store, open_store
from connectors.stores.cached import cached
from connectors.url import join_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pyarrow.compute as pc

    from connectors.range_cache import RangeCache
    from connectors.splits import Discovery, FilePart, OptionValue, Split

PARTS_DESCRIBED_MAX: Final = 3
# Columns in smaller pieces than this are worth one copy: every kernel pays for each piece.
PIECE_ROWS_MIN: Final = 16_384


class FilesReader:
    """Reads splits of files. Holds no open file, so that threads may share it."""

    def __init__(
        self,
        file_format: FileFormat,
        discovery: Discovery,
        options: Mapping[str, OptionValue],
        *,
        owner: str,
        columns: list[str] | None,
        predicate: pc.Expression | None,
    ) -> None:
        self._format = file_format
        self._options = options
        self._predicate = predicate
        self._stores: list[Store] = [
            open_store(root, store_options(options)) for root in discovery.roots
        ]
        everything = load_schema(discovery.schema_ipc)
        self._everything = everything
        self.schema = projected(everything, columns, owner)
        needed = set(self.schema.names)
        if predicate is not None:
            needed |= set(predicate_columns(predicate, everything, owner))
        # What is read, before the filter: the predicate may need columns that are not asked for.
        self._read_schema = self.schema
        if len(needed) > len(self.schema):
            self._read_schema = pa.schema([f for f in everything if f.name in needed])

    def through(self, cache: RangeCache | None) -> Self:
        """Read files that are not of this machine through a cache, from now on; return itself."""
        self._stores = [cached(store, cache) for store in self._stores]
        return self

    def batches(self, split: Split, batch_bytes: int) -> Iterator[pa.Table]:
        """Yield the rows of the split in order, in tables of about `batch_bytes` at most.

        Small files are put together: one table of many files, not one for each.
        Raises: FileChangedError, CorruptFileError, SchemaConflictError, StoreError.
        """
        assert batch_bytes > 0, batch_bytes
        pending: list[pa.Table] = []
        used_bytes = 0
        for table in self._tables(split.parts, batch_bytes):
            if table.num_rows == 0:
                continue
            size_bytes = table.nbytes
            if pending and used_bytes + size_bytes > batch_bytes:
                yield _joined(pending)
                pending, used_bytes = [], 0
            pending.append(table)
            used_bytes += size_bytes
        if pending:
            yield _joined(pending)

    def describe(self, split: Split) -> str:
        """Say which files and row groups the split reads."""
        parts = split.parts[:PARTS_DESCRIBED_MAX]
        said = [f"{self._url(part)}{_which(part)}" for part in parts]
        more = len(split.parts) - len(parts)
        return ", ".join(said) + (f" and {more} more files" if more else "")

    def _tables(self, parts: Iterable[FilePart], batch_bytes: int) -> Iterator[pa.Table]:
        for part in parts:
            store, url = self._stores[part.root], self._url(part)
            check_unchanged(store, part, url)
            values = {k: v for k, v in part.values.items() if k in self._read_schema.names}
            file_schema = self._read_schema
            if values:
                file_schema = pa.schema([f for f in file_schema if f.name not in values])
            read = PartRead(
                store=store,
                part=part,
                url=url,
                schema=file_schema,
                predicate=self._predicate,
                predicate_schema=self._everything,
                batch_bytes=batch_bytes,
                options=self._options,
            )
            try:
                for table in _rows_between(self._format.tables(read), part.first, part.last):
                    yield self._finished(table, values)
            except ObjectMissingError as error:
                raise FileChangedError(url, "disappeared") from error

    def _finished(self, table: pa.Table, values: Mapping[str, str | None]) -> pa.Table:
        table = with_values(table, values, self._read_schema)
        if self._predicate is not None:
            table = filtered(table, self._predicate)
        if self._read_schema is not self.schema:
            table = table.select(self.schema.names)
        return table

    def _url(self, part: FilePart) -> str:
        return join_url(self._stores[part.root].url, part.key)


def _rows_between(tables: Iterator[pa.Table], first: int, last: int) -> Iterator[pa.Table]:
    """Yield some of the rows, counted through all tables; 0 is the end."""
    before = 0
    for table in tables:
        low, high = max(first - before, 0), table.num_rows
        before += table.num_rows
        if last and before >= last:
            yield table.slice(low, high - (before - last) - low)
            return
        if low < high:
            yield table.slice(low) if low else table


def check_unchanged(store: Store, part: FilePart, url: str) -> None:
    """Refuse a file that is not what it was at discovery. Raises: FileChangedError."""
    info = store.head(part.key)
    if info is None:
        raise FileChangedError(url, "disappeared")
    if info.size_bytes != part.size_bytes:
        verb = "grew" if info.size_bytes > part.size_bytes else "shrank"
        change = f"{verb} from {part.size_bytes} to {info.size_bytes} bytes"
        raise FileChangedError(url, change)
    if part.version and info.version != part.version:
        raise FileChangedError(url, "was written again")


def projected(schema: pa.Schema, columns: list[str] | None, owner: str) -> pa.Schema:
    """Return the schema of these columns, in their order. Raises: MissingColumnError."""
    if columns is None:
        return schema
    known = set(schema.names)
    for name in columns:
        if name not in known:
            raise MissingColumnError(owner, name, tuple(schema.names))
    return pa.schema([schema.field(name) for name in columns])


def store_options(options: Mapping[str, OptionValue]) -> dict[str, str]:
    """Return the options that belong to the store: `store.x` as `x`."""
    prefix = "store."
    return {
        name.removeprefix(prefix): str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in options.items()
        if name.startswith(prefix)
    }


def _joined(tables: list[pa.Table]) -> pa.Table:
    if len(tables) == 1:
        return tables[0]
    if not tables[0].schema:
        return rows_without_columns(sum(table.num_rows for table in tables))
    table = pa.concat_tables(tables)
    if table.num_rows < len(tables) * PIECE_ROWS_MIN:
        return table.combine_chunks()
    return table


def _which(part: FilePart) -> str:
    rows = f" rows {part.first}-{part.last or ''}" if part.first or part.last else ""
    if part.row_groups is None:
        return (f" bytes {part.start}-{part.end}" if part.end else "") + rows
    groups = part.row_groups
    if len(groups) == 1:
        return f" row group {groups[0]}{rows}"
    return f" row groups {groups[0]}-{groups[-1]}{rows}"
