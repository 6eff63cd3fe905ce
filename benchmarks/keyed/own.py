"""The keyed jobs as a user of rayorch would write them, and what an exchange took."""

from typing import Final

import numpy as np
import pyarrow as pa

import rayorch as ro
from benchmarks.jobs import Job
from benchmarks.keyed.jobs import COLUMNS, KEYED, SUMMARY_UNTIL
from benchmarks.keyed.shaped import WIDE_NAMES, bucketed, entries, measured_texts
from connectors.errors import ObjectMissingError
from rayorch.bench.results import Told
from rayorch.exchange import ExchangeIndex
from rayorch.exchange.kept import load_input, load_plan
from rayorch.home import Home
from rayorch.observe.view import RunView

WIDE_ROWS: Final = 15_625_000
WIDE_COLUMNS: Final = 8
"""Of eight bytes: a gigabyte in all."""
MEMORY_BYTES: Final = 208 << 20
"""Of one slot, of two: a quarter of what the facts of the memory workloads have in memory."""
FIRST: Final = 1
"""The revision of an exchange of which nothing was lost."""


def keyed_pipeline(made: ro.Pipeline, job: Job) -> None:
    """Add a job's datasets to a pipeline."""
    fact = made.read("fact", job.source)
    match job.kind:
        case "group":
            done = fact.aggregate(
                "sums",
                by="key",
                total=("price", "sum"),
                mean=("price", "mean"),
                rows=("*", "count"),
            )
        case "join":
            done = fact.join("joined", made.read("items", job.other), on="item").aggregate(
                "sums",
                by="category",
                total=("price", "sum"),
                costs=("cost", "sum"),
                rows=("*", "count"),
            )
        case "join-wide":
            done = fact.join("joined", made.read("items", job.other), on="item")
        case "star":
            done = fact.join("joined", made.read("devices", job.other), on="device").aggregate(
                "sums", by="region", total=("price", "sum"), rows=("*", "count")
            )
        case "sort":
            done = fact.sort("sorted", "key")
        case "asof":
            events = fact.select(list(KEYED["asof"].inputs), output="events")
            states = made.read("states", job.other)
            done = events.join_asof("now", states, left_on="ts", right_on="at", by="device")
        case "wide-rows" | "strings" | "nested":
            done = _shaped(fact, job.kind)
        case "tpch-summary":
            shipped = fact.filter(f"l_shipdate <= date '{SUMMARY_UNTIL}'")
            done = shipped.aggregate(
                "summary",
                by=["l_returnflag", "l_linestatus"],
                quantity=("l_quantity", "sum"),
                price=("l_extendedprice", "sum"),
                rows=("*", "count"),
            )
        case "tpch-join":
            orders = made.read("orders", job.other)
            joined = fact.join("joined", orders, left_on="l_orderkey", right_on="o_orderkey")
            done = joined.aggregate(
                "sums", by="o_orderpriority", quantity=("l_quantity", "sum"), rows=("*", "count")
            )
        case _:
            done = _weighed(made, fact, job)
    done.write(job.target, format=job.format)


def _shaped(fact: ro.Dataset, kind: str) -> ro.Dataset:
    """Return what is made of awkward rows."""
    match kind:
        case "wide-rows":
            sums = {name: (name, "sum") for name in WIDE_NAMES} | {"rows": ("*", "count")}
            rows = fact.map(bucketed, output="bucketed")
            return rows.aggregate("sums", by="bucket", measures=sums)
        case "strings":
            texts = fact.map(measured_texts, output="texts")
            return texts.aggregate(
                "sums",
                by="name",
                rows=("*", "count"),
                characters=("characters", "sum"),
                words=("words", "sum"),
            )
        case _:
            rows = fact.map(entries, output="entries")
            return rows.aggregate("sums", by="item", rows=("*", "count"), total=("price", "sum"))


def _weighed(made: ro.Pipeline, fact: ro.Dataset, job: Job) -> ro.Dataset:
    """Return what is made of more rows than fit in memory."""
    match job.kind:
        case "memory-sort":
            return fact.sort("sorted", "key", memory=MEMORY_BYTES)
        case "memory-join":
            notes = made.read("again", job.source).select(["id", "note"], output="notes")
            return fact.join("joined", notes, on="id", memory=MEMORY_BYTES)
        case "memory-aggregate":
            most = {name: (name, "max") for name in COLUMNS if name != "id"}
            return fact.aggregate("most", by="id", memory=MEMORY_BYTES, measures=most)
        case _:
            raise ValueError(job.kind)


def exchange_pipeline(made: ro.Pipeline, job: Job) -> None:
    """Add datasets that go through an exchange; what is wide is written nowhere."""
    match job.kind:
        case "skew-join":
            fact, items = made.read("fact", job.source), made.read("items", job.other)
            joined = fact.join("joined", items, left_on="key", right_on="item")
            joined.write(job.target, format=job.format)
        case "skew-group":
            grouped = made.read("fact", job.source).aggregate(
                "sums", by="key", price=("price", "sum"), notes=("note", "count_distinct")
            )
            grouped.write(job.target, format=job.format)
        case "skew-sort":
            ordered = made.read("fact", job.source).sort("sorted", "key")
            ordered.write(job.target, format=job.format)
        case "wide":
            numbers = made.read("numbers", f"range://{job.rows}?splits={job.tasks}")
            rows = numbers.map(widened, output="rows")
            rows.repartition("mixed", by="id", parts=job.tasks).discard()
        case _:
            raise ValueError(job.kind)


def widened(numbers: pa.Table) -> pa.Table:
    """Return rows of `WIDE_COLUMNS` numbers."""
    ids = numbers["id"].to_numpy()
    more = {f"c{place}": ids + np.int64(place) for place in range(1, WIDE_COLUMNS)}
    return pa.table({"id": ids, **more})


def exchanged(home: Home, view: RunView) -> Told:
    """Return what a run's exchanges moved, and how unequal the bytes of its reduce tasks are."""
    written = read = requests = 0
    worst = 1.0
    for stage in range(len(view.stages)):
        try:
            index = ExchangeIndex.load(load_input(home, view.run, stage, FIRST).index)
        except ObjectMissingError:
            continue  # It reads files, at once or after it had waited.
        plan = load_plan(home, view.run, stage)
        written += sum(part.size_bytes for side in index.sides for part in side.parts)
        read += sum(plan.task_bytes)
        requests += sum(plan.split(number).requests for number in range(len(plan.splits)))
        if sum(plan.task_bytes):
            worst = max(worst, max(plan.task_bytes) * len(plan.task_bytes) / sum(plan.task_bytes))
    totals = view.totals
    return {
        "exchange_written_bytes": written,
        "exchange_read_bytes": read,
        "exchange_requests": requests,
        "input_bytes": view.size_bytes,
        "slowest_over_mean": worst,
        "read_s": totals.read_s,
        "compute_s": totals.compute_s,
        "write_s": totals.write_s,
        "wait_s": totals.wait_s,
    }
