"""Whether an output is right: its content against what DuckDB makes of the same input.

A fingerprint is the number of rows and, for each column, a sum of hashes, which no order of rows
or files changes; one more sum over whole rows tells that their cells belong together.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
from deltalake import DeltaTable

import rayorch as ro

TABLE_FORMATS: Final = ("parquet", "delta")


class Fingerprint(NamedTuple):
    """What two outputs with the same rows have in common."""

    rows: int
    columns: tuple[tuple[str, str, int], ...]  # name, type, sum of hashes
    whole_rows: int


def expected(source: str, query: str) -> Fingerprint:
    """Return the fingerprint of what a query makes of `input`, the Parquet files of a folder."""
    with duckdb.connect() as connection:
        connection.from_parquet(f"{source}/*.parquet").create_view("input")
        connection.sql(query).create_view("output")
        described = connection.sql("describe output").fetchall()
        return _fingerprint(connection, [(str(row[0]), str(row[1])) for row in described])


def of_files(files: Sequence[str], like: Fingerprint) -> Fingerprint:
    """Return the fingerprint of Parquet files, their columns cast to the types of another one.

    Engines differ in how wide an hour is; a column that is missing raises.
    """
    types = [(name, kind) for name, kind, _ in like.columns]
    with duckdb.connect() as connection:
        connection.from_parquet(list(files), hive_partitioning=False).create_view("output")
        return _fingerprint(connection, types)


def _fingerprint(
    connection: duckdb.DuckDBPyConnection, types: Sequence[tuple[str, str]]
) -> Fingerprint:
    cells = [f'cast("{name}" as {kind})' for name, kind in types]
    sums = [
        f"coalesce(sum(hash({cell})::hugeint), 0)::varchar" for cell in (*cells, ", ".join(cells))
    ]
    [found] = connection.sql(f"select count(*), {', '.join(sums)} from output").fetchall()  # noqa: S608
    named = zip(types, found[1:-1], strict=True)
    columns = tuple((name, kind, int(total)) for (name, kind), total in named)
    return Fingerprint(int(found[0]), columns, int(found[-1]))


def written_files(target: str, side: str, file_format: str) -> list[str]:
    """Return the files that a reader of an output sees."""
    if side != "own":
        return [str(path) for path in sorted(Path(target).rglob("*.parquet"))]
    if file_format == "delta":
        return [str(path) for path in DeltaTable(target).file_uris()]
    return [str(path) for path in ro.read(target).files]  # They are local: their paths are whole.
