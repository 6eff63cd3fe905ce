"""A bare `multiprocessing` pool that calls pyarrow: what the work costs without any framework."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.driver import serve
from benchmarks.jobs import QTY_BELOW, Job, pareto_turns, scan_map, spin, tiny_map
from rayorch.bench.results import Told

FILES_A_CALL: Final = 16
"""Of the tiny ones: fewer calls than files, or the calls would be what is measured."""


def scan_file(paths: tuple[Path, Path]) -> None:
    """Read a file, keep some rows, compute, write."""
    source, target = paths
    table = pq.read_table(source)
    pq.write_table(scan_map(table.filter(pc.less(table["qty"], QTY_BELOW))), target)


def tiny_file(paths: tuple[Path, Path]) -> None:
    """Read a file, compute, write."""
    source, target = paths
    pq.write_table(tiny_map(pq.ParquetFile(source).read()), target)


def one_thread_each() -> None:
    """Keep pyarrow to one core in each process: the pool has one for each."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def _pairs(source: str, target: str) -> list[tuple[Path, Path]]:
    folder = Path(target)
    folder.mkdir(parents=True)
    return [(path, folder / path.name) for path in sorted(Path(source).glob("*.parquet"))]


def prepare(job: Job) -> Callable[[], Told]:
    """Start the processes and let each do something."""
    pool = multiprocessing.get_context("spawn").Pool(job.slots, one_thread_each)
    if job.kind == "pareto":
        pool.map(spin, [1000] * 4, chunksize=1)

        def spin_all() -> Told:
            pool.map(spin, pareto_turns(job.tasks), chunksize=1)
            return {}

        return spin_all
    function, chunk = (scan_file, 1) if job.kind == "scan" else (tiny_file, FILES_A_CALL)
    pool.map(function, _pairs(job.warm_source, job.warm_target), chunksize=1)

    def map_all() -> Told:
        pool.map(function, _pairs(job.source, job.target), chunksize=chunk)
        return {}

    return map_all


if __name__ == "__main__":
    serve(prepare)
