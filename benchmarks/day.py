"""A day of a hundred million tasks on ten thousand machines, simulated.

    python -m benchmarks.day [--tasks 100000000] [--nodes 10000] [--hours 24] [--scenarios 2]

The question is that of `benchmarks.capacity_scale`, at this size: skewed tasks, two fifths of the
machines spot ones, and a promise to be done within the day. Prints one JSON line: whether it can be
kept, when runs end, what they cost, and which resources are used how far, the scheduler's own among
them. Twice the data, and the loss of each pool half-way, are asked besides, as in every answer.
"""

import argparse
import json
import time
from dataclasses import replace
from typing import Any, Final

from benchmarks.capacity_scale import question_of
from rayorch.capacity.answering import capacity
from rayorch.capacity.asking import Capacity, WhatIf
from rayorch.capacity.tables import nodes_text

TASKS: Final = 100_000_000
NODES: Final = 10_000
HOURS: Final = 24.0


def day(tasks: int, nodes: int, hours: float, scenarios: int) -> Capacity:
    """Return what such a day needs."""
    question = question_of(tasks, nodes, scenarios)
    return capacity(replace(question, deadline_s=3600.0 * hours))


def numbers_of(found: Capacity) -> dict[str, Any]:
    """Return what the table of `scale.md` is made of. Units: hours; shares, 1 is all there is."""
    return {
        "tasks": found.tasks,
        "refused": found.refused,
        "could_do": found.nearest,
        "nodes": nodes_text({need.pool: need.nodes_most for need in found.pools}),
        "half_h": round(found.finish.p50_s / 3600.0, 2),
        "all_h": round(found.finish.p99_s / 3600.0, 2),
        "usd": found.usd and round(found.usd),
        "core_hours": round(found.core_hours),
        "uses": {use.name: [round(use.share, 3), round(use.doubled, 3)] for use in found.uses},
        "changed": [_changed(each) for each in (found.doubled, *found.losses) if each is not None],
        "one_runner_stands_for": round(found.runners_each, 1),
    }


def _changed(each: WhatIf) -> dict[str, Any]:
    return {
        "what": each.name,
        "half_h": round(each.p50_s / 3600.0, 2),
        "unfinished": each.unfinished,
        "usd": each.usd and round(each.usd),
        "nodes": nodes_text(each.nodes),
    }


def main() -> None:
    """Simulate it and print the numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--hours", type=float, default=HOURS)
    parser.add_argument("--scenarios", type=int, default=2)
    options = parser.parse_args()
    cpu_s = time.process_time()
    found = day(options.tasks, options.nodes, options.hours, options.scenarios)
    cpu_s = round(time.process_time() - cpu_s, 1)
    print(json.dumps({"benchmark": "day", **vars(options), "cpu_s": cpu_s, **numbers_of(found)}))


if __name__ == "__main__":
    main()
