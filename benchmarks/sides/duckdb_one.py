"""DuckDB in one process: no checkpoints, no other processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import duckdb

from benchmarks.driver import serve
from benchmarks.jobs import SCAN_SQL, TINY_SQL, Job
from benchmarks.keyed.jobs import KEYED
from rayorch.bench.results import Told

PLAIN: Final = {"scan": SCAN_SQL, "tiny": TINY_SQL}


def worked(job: Job, source: str, other: str, target: str) -> None:
    """Do a job."""
    keyed = KEYED.get(job.kind)
    sql = keyed.sql if keyed is not None else PLAIN[job.kind]
    with duckdb.connect(config={"threads": str(job.slots)}) as connection:
        if keyed is None or not keyed.order:
            connection.execute("set preserve_insertion_order = false")
        connection.from_parquet(f"{source}/*.parquet").create_view("input")
        if other:
            connection.from_parquet(f"{other}/*.parquet").create_view("other")
        Path(target).mkdir()
        options = "format parquet, compression snappy"
        connection.execute(f"copy ({sql}) to '{target}/all.parquet' ({options})")


def prepare(job: Job) -> Callable[[], Told]:
    """Do something small of the same kind first."""
    worked(job, job.warm_source, job.warm_other, job.warm_target)

    def told() -> Told:
        worked(job, job.source, job.other, job.target)
        return {}

    return told


if __name__ == "__main__":
    serve(prepare)
