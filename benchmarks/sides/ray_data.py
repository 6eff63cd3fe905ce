"""Ray Data, on a warm Ray."""

import logging
import os
from collections.abc import Callable
from typing import Any, Final

import ray
from ray.data.aggregate import Count, Mean, Sum

from benchmarks.driver import serve
from benchmarks.jobs import QTY_BELOW, Job, pareto_turns, scan_map, spin, tiny_map
from benchmarks.keyed.jobs import KEYED
from rayorch.bench.results import Told

JOIN_PARTS: Final = 16


def scanned(source: str, target: str) -> None:
    """Do the scan as its documentation would."""
    events: Any = ray.data.read_parquet(source)
    kept = events.filter(expr=f"qty < {QTY_BELOW}")
    kept.map_batches(scan_map, batch_format="pyarrow", batch_size=None).write_parquet(target)


def tiny(source: str, target: str) -> None:
    """Do the tiny files, a block a file."""
    files = len([name for name in os.listdir(source) if name.endswith(".parquet")])
    points: Any = ray.data.read_parquet(source, override_num_blocks=files)
    points.map_batches(tiny_map, batch_format="pyarrow", batch_size=None).write_parquet(target)


def spun(turns: list[int]) -> None:
    """Spend the CPU time, a row a block."""
    numbers: Any = ray.data.from_items(turns, override_num_blocks=len(turns))
    numbers.map(lambda row: {"value": spin(row["item"])}).materialize()


def keyed(job: Job, source: str, other: str, target: str) -> None:
    """Do a keyed job."""
    fact: Any = ray.data.read_parquet(source, columns=list(KEYED[job.kind].inputs))
    price = (Sum("price", alias_name="total"), Count(alias_name="rows"))
    match job.kind:
        case "group":
            done = fact.groupby("key").aggregate(*price, Mean("price", alias_name="mean"))
        case "join" | "join-wide":
            right: Any = ray.data.read_parquet(other)
            done = fact.join(right, join_type="inner", num_partitions=JOIN_PARTS, on=("item",))
            if job.kind == "join":
                costs = Sum("cost", alias_name="costs")
                done = done.groupby("category").aggregate(*price, costs)
        case "sort":
            done = fact.sort("key")
        case _:
            raise ValueError(job.kind)
    done.write_parquet(target)


def prepare(job: Job) -> Callable[[], Told]:
    """Connect, and run something small of the same kind."""
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    work: Callable[[], None]
    match job.kind:
        case "scan":
            scanned(job.warm_source, job.warm_target)
            work = lambda: scanned(job.source, job.target)  # noqa: E731
        case "tiny":
            tiny(job.warm_source, job.warm_target)
            work = lambda: tiny(job.source, job.target)  # noqa: E731
        case "pareto":
            spun([1000] * 4)
            work = lambda: spun(pareto_turns(job.tasks))  # noqa: E731
        case _:
            keyed(job, job.warm_source, job.warm_other, job.warm_target)
            work = lambda: keyed(job, job.source, job.other, job.target)  # noqa: E731

    def told() -> Told:
        work()
        return {}

    return told


if __name__ == "__main__":
    serve(prepare)
