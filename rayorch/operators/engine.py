"""DuckDB under a kernel: its own database, one query over streams, limits on memory and threads.

The engine reads its inputs through Arrow streams, which know no Python exceptions: a feed keeps
what its source raised, so that it comes out of the kernel as it was.
"""

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from rayorch.operators.errors import ValueRefusedError

if TYPE_CHECKING:
    import duckdb

BATCH_ROWS: Final = 32_768
MEMORY_BYTES_MIN: Final = 64 << 20  # with less, DuckDB cannot even group a small table
SEQUENCE: Final = "sequence"  # the column that numbers the rows of a feed as they arrive
# The names of DuckDB's classes, which is imported only when it is used.
_VALUES_REFUSED: Final = frozenset({"ConversionException", "OutOfRangeException"})

Side = Callable[[], Iterator[pa.Table]]


class Feed:
    """Tables of one side as a stream of batches, counted, the first error kept."""

    def __init__(self, tables: Iterator[pa.Table], schema: pa.Schema, *, numbered: bool) -> None:
        self.error: BaseException | None = None
        self._tables = tables
        self._numbered = numbered
        self._rows = 0
        self._schema = schema.append(pa.field(SEQUENCE, pa.int64())) if numbered else schema

    def reader(self) -> pa.RecordBatchReader:
        """Return the stream, which can be read once."""
        return pa.RecordBatchReader.from_batches(self._schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for table in self._tables:
                yield from (self._with_numbers(table) if self._numbered else table).to_batches()
        except BaseException as error:
            # All of them: the stream turns whatever it is into text, and the kernel raises this.
            self.error = error
            raise

    def _with_numbers(self, table: pa.Table) -> pa.Table:
        start, self._rows = self._rows, self._rows + table.num_rows
        return table.append_column(self._schema.field(SEQUENCE), pa.arange(start, self._rows))


@contextmanager
def spilling_engine(
    memory_bytes: int, spill_dir: str, threads: int
) -> "Iterator[duckdb.DuckDBPyConnection]":
    """Open a database of its own that spills below a folder, and leave nothing there."""
    folder = tempfile.mkdtemp(prefix="operator-", dir=spill_dir)
    try:
        connection = _connect(folder, threads)
        try:
            limit_memory(connection, memory_bytes)
            yield connection
        finally:
            connection.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def query(
    connection: "duckdb.DuckDBPyConnection",
    sql: str,
    feeds: dict[str, Feed],
    batch_rows: int = BATCH_ROWS,
) -> Iterator[pa.Table]:
    """Yield the rows of the query over feeds, which it knows by name.

    Raises: what a feed's source raised, as it was; what DuckDB raises.
    """
    for name, feed in feeds.items():
        connection.register(name, feed.reader())
    try:
        relation: Any = connection.sql(sql)
        for batch in relation.to_arrow_reader(batch_rows):
            if batch.num_rows:
                yield pa.Table.from_batches([batch])
    except Exception as error:
        # Whatever the engine made of it, a source's own error says more.
        for feed in feeds.values():
            if feed.error is not None:
                raise feed.error from error
        if type(error).__name__ in _VALUES_REFUSED:
            raise ValueRefusedError(_said(str(error))) from error
        raise
    finally:
        for name in feeds:
            connection.unregister(name)


def _said(text: str) -> str:
    """Return what is wrong with a value, without the query that nobody wrote."""
    return text.partition("\n")[0].partition(" when casting from source column")[0]


def limit_memory(connection: "duckdb.DuckDBPyConnection", memory_bytes: int) -> None:
    """Let the engine use so much; past it, it spills or fails."""
    memory_bytes = max(memory_bytes, MEMORY_BYTES_MIN)
    connection.execute(f"SET memory_limit='{memory_bytes >> 10}KiB'")


class _Kept(threading.local):
    """Opening a database takes 20 ms of CPU, too much for every buffer of a map task."""

    connection: "duckdb.DuckDBPyConnection | None" = None
    memory_bytes = 0  # its limit: to set it takes 2 ms of CPU


_kept: Final = _Kept()


def this_threads_engine(memory_bytes: int) -> "duckdb.DuckDBPyConnection":
    """Return the calling thread's database that never spills: for tables that are in memory."""
    if _kept.connection is None:
        _kept.connection = _connect("", 1)
    if _kept.memory_bytes != memory_bytes:
        limit_memory(_kept.connection, memory_bytes)
        _kept.memory_bytes = memory_bytes
    return _kept.connection


def _connect(spill_dir: str, threads: int) -> "duckdb.DuckDBPyConnection":
    # Optional and heavy: only a pipeline with relational operators pays for its import.
    import duckdb  # noqa: PLC0415

    return duckdb.connect(
        config={
            "threads": str(threads),
            "temp_directory": spill_dir,
            "preserve_insertion_order": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            # A stream tells nothing of its size: the kernel decides what is built on.
            "disabled_optimizers": "join_order,build_side_probe_side",
            # It would also take a stream for a few rows, and as-of join them in nested loops.
            "asof_loop_join_threshold": "0",
            "python_enable_replacements": "false",
        }
    )
