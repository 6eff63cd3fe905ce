"""DuckDB inside an attempt: one connection a thread, one core, within the attempt's memory."""

import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from rayorch.runner.errors import ResultError

if TYPE_CHECKING:
    import duckdb

INPUT_NAME: Final = "input"
MEMORY_BYTES_MIN: Final = 64 << 20  # with less, DuckDB cannot even group a small table


class _Connections(threading.local):
    """A DuckDB connection is not safe to share, and costs milliseconds to open."""

    connection: "duckdb.DuckDBPyConnection | None" = None
    memory_bytes: int = 0


_connections: Final = _Connections()


def this_threads_duckdb() -> "duckdb.DuckDBPyConnection":
    """Return the connection of the calling thread, opened at the first call."""
    if _connections.connection is None:
        # Optional and heavy: only a pipeline with SQL pays for its import.
        import duckdb  # noqa: PLC0415

        # Left alone, it would spill into the current directory.
        spill = Path(tempfile.gettempdir()) / f"rayorch-duckdb-{os.getpid()}"
        _connections.connection = duckdb.connect(
            config={
                "threads": "1",
                "temp_directory": str(spill),
                # A query could name our local variables: an unknown table must be an error.
                "python_enable_replacements": "false",
            }
        )
    return _connections.connection


def limit_duckdb(memory_bytes: int) -> None:
    """Let the calling thread's DuckDB use so much memory; past it, it spills to disk."""
    memory_bytes = max(memory_bytes, MEMORY_BYTES_MIN)
    if _connections.memory_bytes != memory_bytes:
        this_threads_duckdb().execute(f"SET memory_limit='{memory_bytes >> 10}KiB'")
        _connections.memory_bytes = memory_bytes


def query_result(table: pa.Table, query: str, memory_bytes: int) -> pa.Table:
    """Return the rows of the query over the table, which it calls `input`.

    Raises: whatever DuckDB raises; ResultError when the query gives no rows back.
    """
    connection = this_threads_duckdb()
    limit_duckdb(memory_bytes)
    connection.register(INPUT_NAME, table)
    try:
        relation: Any = connection.sql(query)
        if relation is None:
            raise ResultError(
                "is a statement that gives no rows back", "end with a SELECT over `input`"
            )
        return relation.to_arrow_table()
    finally:
        connection.unregister(INPUT_NAME)
