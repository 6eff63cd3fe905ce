"""DuckDB in one process: no checkpoints, no other processes."""

from collections.abc import Callable
from typing import Final

import duckdb
import fsspec

from benchmarks.driver import after_warming, serve
from benchmarks.jobs import SCAN_SQL, TINY_SQL, Job
from benchmarks.keyed.jobs import KEYED
from benchmarks.places import is_local, make_folder
from rayorch.bench.results import Told

PLAIN: Final = {"scan": SCAN_SQL, "tiny": TINY_SQL}


def worked(job: Job, source: str, other: str, target: str) -> None:
    """Do a job."""
    keyed = KEYED.get(job.kind)
    sql = keyed.sql if keyed is not None else PLAIN[job.kind]
    with duckdb.connect(config={"threads": str(job.slots)}) as connection:
        if not is_local(source):
            # Its own client is an extension, which is downloaded from elsewhere when first used.
            connection.register_filesystem(fsspec.filesystem(source.partition(":")[0]))
        if keyed is None or not keyed.order:
            connection.execute("set preserve_insertion_order = false")
        connection.from_parquet(f"{source}/*.parquet").create_view("input")
        if other:
            connection.from_parquet(f"{other}/*.parquet").create_view("other")
        make_folder(target)
        options = "format parquet, compression snappy"
        connection.execute(f"copy ({sql}) to '{target}/all.parquet' ({options})")


def prepare(job: Job) -> Callable[[], Told]:
    """Do something small of the same kind first."""
    return after_warming(job, lambda some: worked(some, some.source, some.other, some.target))


if __name__ == "__main__":
    serve(prepare)
