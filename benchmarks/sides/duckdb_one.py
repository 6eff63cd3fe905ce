"""DuckDB in one process: no checkpoints, no other processes."""

from collections.abc import Callable
from pathlib import Path

import duckdb

from benchmarks.driver import Told, serve
from benchmarks.jobs import Job
from benchmarks.keyed.jobs import KEYED


def worked(job: Job, source: str, other: str, target: str) -> None:
    """Do a keyed job."""
    with duckdb.connect(config={"threads": str(job.slots)}) as connection:
        if not KEYED[job.kind].order:
            connection.execute("set preserve_insertion_order = false")
        connection.from_parquet(f"{source}/*.parquet").create_view("input")
        if other:
            connection.from_parquet(f"{other}/*.parquet").create_view("other")
        Path(target).mkdir()
        options = "format parquet, compression snappy"
        connection.execute(f"copy ({KEYED[job.kind].sql}) to '{target}/all.parquet' ({options})")


def prepare(job: Job) -> Callable[[], Told]:
    """Do something small of the same kind first."""
    worked(job, job.warm_source, job.warm_other, job.warm_target)

    def told() -> Told:
        worked(job, job.source, job.other, job.target)
        return {}

    return told


if __name__ == "__main__":
    serve(prepare)
