"""Dask: a process for each slot on this machine, with its own scheduler (`distributed`)."""

from collections.abc import Callable
from typing import Any

import dask
import dask.dataframe as dd
from distributed import Client, LocalCluster

from benchmarks.driver import after_warming, serve
from benchmarks.jobs import QTY_BELOW, Job, spin
from benchmarks.keyed.jobs import KEYED, SUMMARY_UNTIL
from rayorch.bench.results import Told


def scanned(source: str) -> Any:  # noqa: ANN401 - a frame that has no type of its own.
    """Return the scan."""
    events = dd.read_parquet(f"{source}/*.parquet", filters=[("qty", "<", QTY_BELOW)])
    total = events["price"] * events["qty"]
    made = events.assign(
        total=total,
        net=total * (1.0 - events["discount"]),
        hour=events["ts"].dt.hour,
        label=events["note"].str.upper(),
    )
    return made[["id", "account", "country", "price", "total", "net", "hour", "label"]]


def tiny(source: str) -> Any:  # noqa: ANN401
    """Return the tiny files with one more column."""
    points = dd.read_parquet(f"{source}/*.parquet")
    return points.assign(twice=points["value"] * 2.0)


def keyed(kind: str, source: str, other: str) -> Any:  # noqa: ANN401
    """Return a keyed job."""
    fact = dd.read_parquet(f"{source}/*.parquet", columns=list(KEYED[kind].inputs))
    right = dd.read_parquet(f"{other}/*.parquet") if other else fact
    match kind:
        case "group":
            grouped = fact.groupby("key")["price"].agg(["sum", "mean", "count"], split_out=True)
            return _named(grouped, {"sum": "total", "count": "rows"})
        case "join" | "star":
            on, by = ("item", "category") if kind == "join" else ("device", "region")
            joined = fact.merge(right, on=on).assign(rows=1)
            sums = ["price", "cost", "rows"] if kind == "join" else ["price", "rows"]
            return _named(joined.groupby(by)[sums].sum(), {"price": "total", "cost": "costs"})
        case "join-wide":
            return fact.merge(right, on="item")
        case "sort":
            return fact.sort_values("key")
        case "tpch-summary" | "tpch-join":
            return tpch(kind, fact, right)
        case _:
            raise ValueError(kind)


def tpch(kind: str, lines: Any, orders: Any) -> Any:  # noqa: ANN401
    """Return a job on TPC-H."""
    if kind == "tpch-summary":
        kept = lines[lines["l_shipdate"] <= SUMMARY_UNTIL].assign(rows=1)
        grouped = kept.groupby(["l_returnflag", "l_linestatus"])
        sums = grouped[["l_quantity", "l_extendedprice", "rows"]].sum()
    else:
        joined = lines.merge(orders, left_on="l_orderkey", right_on="o_orderkey").assign(rows=1)
        sums = joined.groupby("o_orderpriority")[["l_quantity", "rows"]].sum()
    return _named(sums, {"l_quantity": "quantity", "l_extendedprice": "price"})


def _named(frame: Any, names: dict[str, str]) -> Any:  # noqa: ANN401
    return frame.reset_index().rename(columns=names)


def worked(kind: str, source: str, other: str, target: str) -> None:
    """Do a job."""
    if kind == "scan":
        made = scanned(source)
    elif kind == "tiny":
        made = tiny(source)
    else:
        made = keyed(kind, source, other)
    made.to_parquet(target, write_index=False)


def prepare(job: Job) -> Callable[[], Told]:
    """Start the workers, and run something small of the same kind."""
    dask.config.set({"distributed.worker.daemon": True})
    cluster = LocalCluster(
        n_workers=job.slots,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
    )
    client = Client(cluster)

    def work(some: Job) -> int | None:
        if some.kind == "pareto":
            return sum(client.gather(client.map(spin, some.turns(), pure=False)))
        worked(some.kind, some.source, some.other, some.target)
        return None

    return after_warming(job, work)


if __name__ == "__main__":
    serve(prepare)
