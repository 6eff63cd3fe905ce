"""Polars in one process: no checkpoints, no other processes."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from benchmarks.driver import Told, serve
from benchmarks.jobs import Job
from benchmarks.keyed.jobs import KEYED


def lazy(kind: str, source: str, other: str) -> pl.LazyFrame:
    """Return a keyed job's query."""
    fact = pl.scan_parquet(f"{source}/*.parquet")
    right = pl.scan_parquet(f"{other}/*.parquet") if other else fact
    price = pl.col("price")
    match kind:
        case "group":
            return fact.group_by("key").agg(
                price.sum().alias("total"), price.mean().alias("mean"), pl.len().alias("rows")
            )
        case "join":
            sums = (price.sum().alias("total"), pl.col("cost").sum().alias("costs"))
            return fact.join(right, on="item").group_by("category").agg(*sums, rows=pl.len())
        case "join-wide":
            return fact.join(right, on="item")
        case "star":
            joined = fact.join(right, on="device")
            return joined.group_by("region").agg(price.sum().alias("total"), rows=pl.len())
        case "sort":
            return fact.sort("key")
        case "asof":
            events = fact.select(KEYED[kind].inputs).sort("ts")
            states = right.sort("at")
            joined = events.join_asof(
                states, left_on="ts", right_on="at", by="device", check_sortedness=False
            )
            return joined.select("id", "device", "ts", "price", "at", "level")
        case _:
            raise ValueError(kind)


def worked(kind: str, source: str, other: str, target: str) -> None:
    """Do a keyed job."""
    Path(target).mkdir()
    lazy(kind, source, other).sink_parquet(f"{target}/all.parquet", compression="snappy")


def prepare(job: Job) -> Callable[[], Told]:
    """Do something small of the same kind first."""
    assert pl.thread_pool_size() == job.slots, pl.thread_pool_size()
    worked(job.kind, job.warm_source, job.warm_other, job.warm_target)

    def told() -> Told:
        worked(job.kind, job.source, job.other, job.target)
        return {}

    return told


if __name__ == "__main__":
    serve(prepare)
