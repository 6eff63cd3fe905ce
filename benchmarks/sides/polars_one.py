"""Polars in one process: no checkpoints, no other processes."""

from collections.abc import Callable

import polars as pl

from benchmarks.driver import after_warming, serve
from benchmarks.jobs import QTY_BELOW, Job
from benchmarks.keyed.jobs import KEYED, SUMMARY_UNTIL
from benchmarks.keyed.shaped import BUCKETS, WIDE_NAMES
from benchmarks.places import make_folder
from rayorch.bench.results import Told


def scanned(events: pl.LazyFrame) -> pl.LazyFrame:
    """Return the scan."""
    total = pl.col("price") * pl.col("qty")
    return events.filter(pl.col("qty") < QTY_BELOW).select(
        "id",
        "account",
        "country",
        "price",
        total=total,
        net=total * (1.0 - pl.col("discount")),
        hour=pl.col("ts").dt.hour(),
        label=pl.col("note").str.to_uppercase(),
    )


def lazy(kind: str, source: str, other: str) -> pl.LazyFrame:  # noqa: PLR0911 - one a job.
    """Return a job's query."""
    fact = pl.scan_parquet(f"{source}/*.parquet")
    right = pl.scan_parquet(f"{other}/*.parquet") if other else fact
    price = pl.col("price")
    match kind:
        case "scan":
            return scanned(fact)
        case "tiny":
            return fact.with_columns(twice=pl.col("value") * 2.0)
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
        case "wide-rows" | "strings" | "nested":
            return shaped(kind, fact)
        case _:
            return tpch(kind, fact, right)


def shaped(kind: str, rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return a job on awkward rows."""
    match kind:
        case "wide-rows":
            grouped = rows.group_by((pl.col("id") % BUCKETS).alias("bucket"))
            return grouped.agg(pl.len().alias("rows"), pl.col(WIDE_NAMES).sum())
        case "strings":
            text = pl.col("text")
            return rows.group_by(pl.col("host").str.to_uppercase().alias("name")).agg(
                pl.len().alias("rows"),
                text.str.len_chars().cast(pl.Int64).sum().alias("characters"),
                (text.str.count_matches(" ", literal=True) + 1).cast(pl.Int64).sum().alias("words"),
            )
        case _:
            # An empty list would be a row without an entry.
            entries = rows.select("items").filter(pl.col("items").list.len() > 0).explode("items")
            grouped = entries.unnest("items").group_by("item")
            return grouped.agg(pl.len().alias("rows"), pl.col("price").sum().alias("total"))


def tpch(kind: str, lines: pl.LazyFrame, orders: pl.LazyFrame) -> pl.LazyFrame:
    """Return a job on TPC-H."""
    quantity = pl.col("l_quantity").sum().alias("quantity")
    match kind:
        case "tpch-summary":
            kept = lines.filter(pl.col("l_shipdate") <= SUMMARY_UNTIL)
            price = pl.col("l_extendedprice").sum().alias("price")
            grouped = kept.group_by("l_returnflag", "l_linestatus")
            return grouped.agg(quantity, price, rows=pl.len())
        case "tpch-join":
            joined = lines.join(orders, left_on="l_orderkey", right_on="o_orderkey")
            return joined.group_by("o_orderpriority").agg(quantity, rows=pl.len())
        case _:
            raise ValueError(kind)


def worked(kind: str, source: str, other: str, target: str) -> None:
    """Do a job."""
    make_folder(target)
    lazy(kind, source, other).sink_parquet(f"{target}/all.parquet", compression="snappy")


def prepare(job: Job) -> Callable[[], Told]:
    """Do something small of the same kind first."""
    assert pl.thread_pool_size() == job.slots, pl.thread_pool_size()
    return after_warming(job, lambda some: worked(some.kind, some.source, some.other, some.target))


if __name__ == "__main__":
    serve(prepare)
