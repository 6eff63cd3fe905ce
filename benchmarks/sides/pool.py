"""A bare `multiprocessing` pool that calls pyarrow: what the work costs without any framework."""

import multiprocessing
from collections.abc import Callable
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.driver import after_warming, serve
from benchmarks.jobs import QTY_BELOW, Job, scan_map, spin, tiny_map
from benchmarks.places import make_folder, parquet_files
from rayorch.bench.results import Told

FILES_A_CALL: Final = 16
"""Of the tiny ones: fewer calls than files, or the calls would be what is measured."""


def scan_file(paths: tuple[str, str]) -> None:
    """Read a file, keep some rows, compute, write."""
    source, target = paths
    table = pq.read_table(source)
    pq.write_table(scan_map(table.filter(pc.less(table["qty"], QTY_BELOW))), target)


def tiny_file(paths: tuple[str, str]) -> None:
    """Read a file, compute, write."""
    source, target = paths
    pq.write_table(tiny_map(pq.ParquetFile(source).read()), target)


def one_thread_each() -> None:
    """Keep pyarrow to one core in each process: the pool has one for each."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def pairs(source: str, target: str) -> list[tuple[str, str]]:
    """Return each file with the one that is made of it, in a folder that is new."""
    make_folder(target)
    return [(path, f"{target}/{path.rpartition('/')[2]}") for path in parquet_files(source)]


def prepare(job: Job) -> Callable[[], Told]:
    """Start the processes and let each do something."""
    pool = multiprocessing.get_context("spawn").Pool(job.slots, one_thread_each)

    def work(some: Job) -> int | None:
        if some.kind == "pareto":
            return sum(pool.map(spin, some.turns(), chunksize=1))
        function, chunk = (scan_file, 1) if some.kind == "scan" else (tiny_file, FILES_A_CALL)
        # Small, each process is to have something.
        chunk = 1 if some.is_small else chunk
        pool.map(function, pairs(some.source, some.target), chunksize=chunk)
        return None

    return after_warming(job, work)


if __name__ == "__main__":
    serve(prepare)
