"""The keyed jobs as a user of rayorch would write them."""

import rayorch as ro
from benchmarks.jobs import Job
from benchmarks.keyed.jobs import KEYED


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
        case _:
            raise ValueError(job.kind)
    done.write(job.target, format=job.format)
