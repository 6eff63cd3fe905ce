"""Ray Data, on a warm Ray."""

import logging
import os
from collections.abc import Callable
from typing import Any, Final

import ray
from ray.data.aggregate import Count, Mean, Sum
from ray.data.expressions import col, lit

from benchmarks.driver import after_warming, serve
from benchmarks.jobs import QTY_BELOW, Job, scan_map, spin, tiny_map
from benchmarks.keyed.jobs import KEYED, SUMMARY_UNTIL
from benchmarks.places import parquet_files
from rayorch.bench.results import Told

JOIN_PARTS: Final = 16


def scanned(source: str, target: str) -> None:
    """Do the scan as its documentation would."""
    events: Any = ray.data.read_parquet(source)
    kept = events.filter(expr=f"qty < {QTY_BELOW}")
    kept.map_batches(scan_map, batch_format="pyarrow", batch_size=None).write_parquet(target)


def tiny(source: str, target: str) -> None:
    """Do the tiny files, a block a file."""
    files = len(parquet_files(source))
    points: Any = ray.data.read_parquet(source, override_num_blocks=files)
    points.map_batches(tiny_map, batch_format="pyarrow", batch_size=None).write_parquet(target)


def spun(turns: list[int]) -> int:
    """Spend the CPU time, a row a block."""
    numbers: Any = ray.data.from_items(turns, override_num_blocks=len(turns))
    # Its own `sum` goes through a shuffle of hundreds of partitions, which is not what is measured.
    rows = numbers.map(lambda row: {"value": spin(row["item"])}).take_all()
    return sum(int(row["value"]) for row in rows)


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
        case "tpch-summary":
            kept = fact.filter(expr=col("l_shipdate") <= lit(SUMMARY_UNTIL))
            done = kept.groupby(["l_returnflag", "l_linestatus"]).aggregate(
                Sum("l_quantity", alias_name="quantity"),
                Sum("l_extendedprice", alias_name="price"),
                Count(alias_name="rows"),
            )
        case "tpch-join":
            orders: Any = ray.data.read_parquet(other, columns=["o_orderkey", "o_orderpriority"])
            keys = {"on": ("l_orderkey",), "right_on": ("o_orderkey",)}
            joined = fact.join(orders, join_type="inner", num_partitions=JOIN_PARTS, **keys)
            done = joined.groupby("o_orderpriority").aggregate(
                Sum("l_quantity", alias_name="quantity"), Count(alias_name="rows")
            )
        case _:
            raise ValueError(job.kind)
    done.write_parquet(target)


def worked(job: Job) -> int | None:
    """Do a job."""
    match job.kind:
        case "scan":
            scanned(job.source, job.target)
        case "tiny":
            tiny(job.source, job.target)
        case "pareto":
            return spun(job.turns())
        case _:
            keyed(job, job.source, job.other, job.target)
    return None


def prepare(job: Job) -> Callable[[], Told]:
    """Connect, and run something small of the same kind."""
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return after_warming(job, worked)


if __name__ == "__main__":
    serve(prepare)
