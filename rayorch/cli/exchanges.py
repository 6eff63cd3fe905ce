"""What `explain` says of stages and tasks that read an exchange: measured, cut, and why."""

from collections.abc import Iterator, Sequence
from typing import Any

from connectors.errors import ObjectMissingError
from rayorch.core.run import Run
from rayorch.exchange.kept import ReducePlan, load_plan
from rayorch.exchange.splits import Buckets, HotParts, HotRows, KeyRange, ReduceSplit, Take
from rayorch.home import Home
from rayorch.observe.figures import bytes_text, count_text, counted

Lines = Iterator[tuple[str, str]]


def cut_lines(run: Run, stage: int) -> Lines:
    """Yield how many tasks a stage has, and each decision with the numbers that led to it."""
    name = run.stages[stage].name
    if stage not in run.notes:
        yield name, "not known before what it takes has been measured"
        return
    count = run.task_counts[stage]
    again = run.revision_of(stage) - 1
    planned = f"; planned again {counted(again, 'time')}, as input was lost" if again > 0 else ""
    yield name, f"{counted(count, 'task')} of what was measured{planned}"
    for note in run.notes[stage]:
        yield "", note


def find_plan(home: Home, run: Run, stage: int) -> ReducePlan | None:
    """Return how a stage is divided, if it is known."""
    try:
        return load_plan(home, run.id, stage)
    except ObjectMissingError:
        return None


def reduce_lines(split: ReduceSplit, sides: Sequence[str]) -> Lines:
    """Yield what one task takes of each side."""
    for name, takes, rows, size_bytes in zip(
        sides, split.sides, split.rows, split.raw_bytes, strict=True
    ):
        yield name, f"about {counted(rows, 'row')}, {bytes_text(size_bytes)} in memory"
        for take in takes:
            yield "", _taken(take)
    yield "requests", f"{counted(split.requests, 'range')} of exchange files, neighbours as one"


def reduce_document(split: ReduceSplit, sides: Sequence[str]) -> dict[str, Any]:
    """Return the same as a document."""
    rows = zip(sides, split.sides, split.rows, split.raw_bytes, strict=True)
    return {
        "sides": [
            {
                "side": name,
                "takes": [_taken(take) for take in takes],
                "rows": count,
                "size_bytes": size_bytes,
            }
            for name, takes, count, size_bytes in rows
        ],
        "requests": split.requests,
    }


def sides_of_stage(run: Run, stage: int, count: int) -> tuple[str, ...]:
    """Return what the sides of a stage's exchange are called."""
    if count > 1:
        return ("left", "right")[:count]
    return (", ".join(run.stages[index].name for index in run.stages[stage].after)[:40],)


def _taken(take: Take) -> str:
    match take:
        case Buckets(first=first, last=last, without=without):
            but = f", without {counted(len(without), 'hot key')}" if without else ""
            return f"buckets {count_text(first)} to {count_text(last - 1)}{but}"
        case HotRows(bucket=bucket, first=first, last=last):
            rows = f"rows {count_text(first)} to {count_text(last)}"
            return f"{rows} of a hot key of bucket {count_text(bucket)}"
        case HotParts(bucket=bucket, first=first, last=last):
            parts = f"parts {count_text(first)} to {count_text(last - 1)} by value"
            return f"{parts} of a hot key of bucket {count_text(bucket)}"
        case KeyRange(keys=keys, low=low, high=high):
            by = ", ".join(key.column for key in keys)
            ends = {(True, True): "all rows", (True, False): "the first rows"}
            ends |= {(False, True): "the last rows", (False, False): "a range of rows"}
            return f"{ends[low is None, high is None]} in the order of {by}"
        case _:
            return f"rows {count_text(take.first)} to {count_text(take.last)}"
