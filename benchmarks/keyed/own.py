"""The keyed jobs as a user of rayorch would write them, and what an exchange took."""

from typing import Final

import rayorch as ro
from benchmarks.driver import Told
from benchmarks.jobs import Job
from benchmarks.keyed.jobs import KEYED
from connectors.errors import ObjectMissingError
from rayorch.exchange import ExchangeIndex
from rayorch.exchange.kept import load_input, load_plan
from rayorch.home import Home
from rayorch.observe.view import RunView

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
        case "sort":
            done = fact.sort("sorted", "key")
        case "asof":
            events = fact.select(list(KEYED["asof"].inputs), output="events")
            states = made.read("states", job.other)
            done = events.join_asof("now", states, left_on="ts", right_on="at", by="device")
        case "skew":
            items = made.read("items", job.other)
            fact.join("joined", items, left_on="key", right_on="item").discard()
            return
        case _:
            raise ValueError(job.kind)
    done.write(job.target, format=job.format)


def exchanged(home: Home, view: RunView) -> Told:
    """Return what a run's exchanges moved, and how unequal the bytes of its reduce tasks are."""
    written = read = requests = 0
    worst = 1.0
    for stage in range(len(view.stages)):
        try:
            plan = load_plan(home, view.run, stage)
            index = ExchangeIndex.load(load_input(home, view.run, stage, FIRST).index)
        except ObjectMissingError:
            continue  # It reads files.
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
