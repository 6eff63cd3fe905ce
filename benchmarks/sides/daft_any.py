"""Daft: on a warm Ray where there is one, else its own runner in this process."""

import logging
import os
from collections.abc import Callable

import daft
import ray
from daft import col
from daft.io import IOConfig, S3Config

from benchmarks.driver import after_warming, serve
from benchmarks.jobs import QTY_BELOW, Job, spin
from benchmarks.keyed.jobs import SUMMARY_UNTIL
from rayorch.bench.results import Told


def scanned(source: str, target: str) -> None:
    """Do the scan in Daft's own expressions."""
    total = col("price") * col("qty")
    kept = daft.read_parquet(f"{source}/*.parquet").where(f"qty < {QTY_BELOW}")
    kept.select(
        col("id"),
        col("account"),
        col("country"),
        col("price"),
        total.alias("total"),
        (total * (1.0 - col("discount"))).alias("net"),
        col("ts").hour().alias("hour"),
        col("note").upper().alias("label"),
    ).write_parquet(target)


def tiny(source: str, target: str) -> None:
    """Do the tiny files."""
    points = daft.read_parquet(f"{source}/*.parquet")
    points.with_column("twice", col("value") * 2.0).write_parquet(target)


def spun(turns: list[int]) -> int:
    """Spend the CPU time, a row a partition."""

    @daft.func
    def out(count: int) -> int:
        return spin(count)

    rows = daft.from_pydict({"turns": turns}).into_partitions(len(turns))
    values = rows.with_column("value", out(col("turns"))).to_pydict()["value"]
    return int(sum(values))


def keyed(job: Job, source: str, other: str, target: str) -> None:
    """Do a keyed job."""
    fact = daft.read_parquet(f"{source}/*.parquet")
    right = daft.read_parquet(f"{other}/*.parquet") if other else fact
    price = col("price")
    match job.kind:
        case "group":
            sums = (price.sum().alias("total"), price.mean().alias("mean"))
            done = fact.groupby("key").agg(*sums, col("id").count().alias("rows"))
        case "join":
            sums = (price.sum().alias("total"), col("cost").sum().alias("costs"))
            joined = fact.join(right, on="item").groupby("category")
            done = joined.agg(*sums, col("id").count().alias("rows"))
        case "join-wide":
            done = fact.join(right, on="item")
        case "star":
            joined = fact.join(right, on="device").groupby("region")
            done = joined.agg(price.sum().alias("total"), col("id").count().alias("rows"))
        case "sort":
            done = fact.sort("key")
        case "tpch-summary":
            kept = fact.where(col("l_shipdate") <= SUMMARY_UNTIL)
            done = kept.groupby("l_returnflag", "l_linestatus").agg(
                col("l_quantity").sum().alias("quantity"),
                col("l_extendedprice").sum().alias("price"),
                col("l_orderkey").count().alias("rows"),
            )
        case "tpch-join":
            joined = fact.join(right, left_on="l_orderkey", right_on="o_orderkey")
            done = joined.groupby("o_orderpriority").agg(
                col("l_quantity").sum().alias("quantity"), col("l_orderkey").count().alias("rows")
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
    if address := os.environ.get("RAY_ADDRESS"):
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        daft.set_runner_ray()
    else:
        daft.set_runner_native()
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        # Of all that the environment says of S3, this alone it does not read by itself.
        found = S3Config.from_env().replace(endpoint_url=endpoint)
        daft.set_planning_config(default_io_config=IOConfig(s3=found))
    return after_warming(job, worked)


if __name__ == "__main__":
    serve(prepare)
