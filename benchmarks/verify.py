"""Whether an output is right: its content against what DuckDB makes of the same input.

A fingerprint is the number of rows and, for each column, a sum of hashes, which no order of rows
or files changes; one more sum over whole rows tells that their cells belong together.
"""

from collections.abc import Sequence
from itertools import pairwise
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


def expected(source: str, query: str, other: str = "") -> Fingerprint:
    """Return the fingerprint of what a query makes of Parquet files.

    source: the folder of `input`; other: that of `other`, if there is one.
    """
    with duckdb.connect() as connection:
        connection.from_parquet(f"{source}/*.parquet").create_view("input")
        if other:
            connection.from_parquet(f"{other}/*.parquet").create_view("other")
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


def disorder_of(files: Sequence[str], column: str) -> str:
    """Say where rows of integers are not in order: within a file, or of one file to the next.

    Files count in the order of their least value: each must begin where another one ends.
    """
    with duckdb.connect() as connection:
        rows = connection.from_parquet(
            list(files), filename=True, file_row_number=True, hive_partitioning=False
        )
        rows.create_view("output")
        late = connection.sql(
            f"""select filename, count(*) from (
                    select filename, "{column}" as value, lag("{column}") over
                        (partition by filename order by file_row_number) as before from output)
                where before > value group by filename"""  # noqa: S608 - our own columns
        ).fetchall()
        spans = connection.sql(
            f"""select min("{column}") as low, max("{column}") as high, filename
                from output group by filename order by low, high"""  # noqa: S608
        ).fetchall()
    if late:
        return f"{late[0][1]} rows of {late[0][0]} are after greater ones"
    for (_, high, name), (low, _, following) in pairwise(spans):
        if low < high:
            return f"{name} ends with {high}, and {following} begins with {low}"
    return ""


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
