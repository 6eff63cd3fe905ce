"""An answer about capacity as rows of text, for the terminal and for pages.

A column whose name ends in `>` is set to the right.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rayorch.capacity.asking import Capacity, PoolNeed, StageNeed, WhatIf
from rayorch.capacity.scenarios import SURE, scenarios_for
from rayorch.core.sizes import Size
from rayorch.observe.columns import with_values
from rayorch.observe.figures import (
    bytes_text,
    core_hours_text,
    count_text,
    counted,
    seconds_text,
    usd_text,
)
from rayorch.plan.needs import size_text

SHARE_MIN: Final = 1e-4
"""Less of something is next to nothing."""


class Rows(NamedTuple):
    """A table of text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def machine_rows(found: Capacity) -> Rows:
    """Return how many machines of each pool there are to be."""
    columns = ["pool", "nodes>", "at most>", "can be had>"]
    rows = [[p.pool, *_nodes_texts(p), f"{p.nodes_max:,}"] for p in found.pools]
    if any(p.gpus for p in found.pools):
        columns.append("GPUs each>")
        rows = [[*row, f"{p.gpus:g}"] for row, p in zip(rows, found.pools, strict=True)]
    return Rows(columns, rows)


def _nodes_texts(need: PoolNeed) -> tuple[str, str]:
    if not need.nodes_most:
        return "unused", ""
    return f"{need.nodes:,}", f"{need.nodes_most:,}"


def stage_text(stage: StageNeed) -> str:
    """Return how large a task is, and what it has where that is more than a part of a machine."""
    size = bytes_text(stage.task_bytes)
    return f"{size} each, with {needs_of(stage)}" if stage.gpus else f"{size} each"


def needs_of(stage: StageNeed) -> str:
    """Return what a task has to itself."""
    return size_text(Size(stage.cores, stage.memory_bytes, stage.gpus))


def changes(found: Capacity) -> list[WhatIf]:
    """Return what was tried besides: more data, and less machines."""
    return ([found.doubled] if found.doubled is not None else []) + list(found.losses)


def what_if_rows(found: Capacity) -> Rows:
    """Return what comes of one change."""
    columns = ("", "half within>", "95 % within>", "a run>", "in time>", "nodes")
    return Rows(*with_values(columns, [_what_if(each) for each in changes(found)]))


def use_rows(found: Capacity) -> Rows:
    """Return how much is used of what there is."""
    rows = [(use.name, _share(use.share), _share(use.doubled), use.why) for use in found.uses]
    return Rows(("", "now>", "doubled>", ""), rows)


def frontier_rows(found: Capacity) -> Rows:
    """Return cost against time."""
    rows = [
        (
            seconds_text(p.p95_s),
            core_hours_text(p.cost) if p.usd is None else usd_text(p.usd),
            "no deadline" if p.ask_s is None else f"--deadline {math.ceil(p.ask_s)}s",
            nodes_text(p.pools),
        )
        for p in found.frontier
    ]
    return Rows(("95 % within>", "a run>", "ask for", "nodes"), rows)


def frontier_text(found: Capacity) -> str:
    """Return where cost against time is from."""
    runs = min((each.runs for each in found.frontier), default=0)
    if not runs:
        return "as the solver foresees it"
    return f"{counted(runs, 'simulated run')} of a plan for each deadline"


def _what_if(each: WhatIf) -> tuple[str, ...]:
    hit = "" if each.hit is None else f"{100.0 * each.hit:.0f} %"
    return (
        each.name,
        time_text(each.p50_s),
        time_text(each.p95_s),
        usd_text(each.usd),
        hit,
        nodes_text(each.nodes),
    )


def headrooms(found: Capacity) -> list[tuple[float, float]]:
    """Return shares of the runs, and how much later than half of them they end: 99 % always."""
    shares = {found.confidence: found.headroom, 0.99: found.headroom_99}
    return list(shares.items())


def in_time_text(found: Capacity) -> str:
    """Return how many runs are in time, and of how many that is sure."""
    hit, surely = found.finish.hit or 0.0, found.finish.hit_surely or 0.0
    return (
        f"{100.0 * hit:.3g} % of {counted(found.scenarios, 'simulated run')}; of all runs "
        f"{100.0 * surely:.3g} % at least, as far as so many can tell ({100.0 * SURE:g} % sure)"
    )


def time_text(duration_s: float) -> str:
    """Return a duration that may be for ever."""
    return seconds_text(duration_s) if math.isfinite(duration_s) else "never"


def nodes_text(nodes: dict[str, int]) -> str:
    """Return how many of which: `12 spot, 3 ondemand`."""
    return ", ".join(f"{count:,} {pool}" for pool, count in nodes.items() if count)


def _share(share: float) -> str:
    if 0.0 < share < SHARE_MIN:
        return f"under {100.0 * SHARE_MIN:g} %"
    return f"{100.0 * share:,.3g} %" if math.isfinite(share) else "never ends"


def basis(found: Capacity) -> Iterator[tuple[str, str]]:
    """Return what an answer rests on, and what nobody knows."""
    if found.measured_s:
        off = found.simulated_s / found.measured_s - 1.0
        took, would = seconds_text(found.measured_s), seconds_text(found.simulated_s)
        yield "the run", f"measured {took}, simulated {would} ({100.0 * off:+.1f} %)"
    if found.measured_core_s:
        off = found.simulated_core_s / found.measured_core_s - 1.0
        took, would = (
            core_hours_text(seconds / 3600.0)
            for seconds in (found.measured_core_s, found.simulated_core_s)
        )
        yield "its cost", f"measured {took}, simulated {would} ({100.0 * off:+.1f} %)"
    yield "simulator", _calibrated(found)
    if found.runners_each > 1.0 or found.tasks_each > 1:
        each = count_text(found.runners_each * found.tasks_each)
        if found.runners_each > 1.0:
            yield (
                "thinned",
                f"one runner stands for {_stands_for(found)}, one task for up to {each}",
            )
        else:
            yield "thinned", f"one task stands for up to {each}"
    luck = f"{counted(found.scenarios, 'scenario')} of seed {found.seed}"
    if found.scenarios < scenarios_for(0.99):
        luck += "; 99 % is the worst of them"
    yield "luck", luck
    for number, each in enumerate(found.unknown):
        yield "" if number else "not known", each


def _stands_for(found: Capacity) -> str:
    if len(set(found.runners_by_pool.values())) <= 1:
        return f"{found.runners_each:.3g}"
    return ", ".join(f"{count:.3g} of {pool}" for pool, count in found.runners_by_pool.items())


def _calibrated(found: Capacity) -> str:
    known = found.calibrated
    if known is None:
        return "not calibrated here: `rayorch bench calibrate` measures how far it is off"
    runs = counted(known.runs, "run")
    median, worst = 100.0 * known.whole_median, 100.0 * known.whole_worst
    return (
        f"on {runs} that it was not fitted to, time was off by {median:.1f} % (median; at worst "
        f"{worst:.1f} %), cost by {100.0 * known.usd_median:.1f} %"
    )
