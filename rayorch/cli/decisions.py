"""A placement decision as it is printed: where, when, for how much, what lost and by how much.

`plan` prints one that it has just taken, `explain` those that a run kept.
"""

from collections.abc import Iterator
from typing import Final

import click

from rayorch.cli.printing import Lines, print_section, print_table
from rayorch.observe.figures import (
    UNKNOWN,
    amount_text,
    bytes_text,
    core_hours_text,
    counted,
    seconds_text,
    usd_text,
)
from rayorch.plan.deciding import Decision, Lost, PoolUse, StageChoice
from rayorch.plan.estimate import GB

LOST_SHOWN_MAX: Final = 5
LABEL: Final = 11


def decision_lines(decision: Decision) -> Lines:
    """Yield what a decision comes to as a whole."""
    yield "objective", decision.objective
    if decision.refused:
        yield "not kept", decision.refused
        yield "nearest", decision.nearest
    if decision.stages:
        usual, late = seconds_text(decision.p50_s), seconds_text(decision.p95_s)
        yield "ends", f"{usual} usually, {late} in 95 % of runs"
        if "ends within" in decision.objective:
            low = f"at least {decision.hit_low:.1%} for sure; {decision.scenarios} simulated runs"
            yield "deadline", f"kept with a probability of {decision.hit:.1%} ({low})"
        yield "costs", cost_text(decision)
        yield "found by", decision.method


def cost_text(decision: Decision) -> str:
    """Return what a decision expects to cost, and how far that is from the least possible."""
    if decision.usd is None:
        hours = f"; {core_hours_text(decision.core_hours)}" if decision.core_hours else ""
        return f"{UNKNOWN}: no price is known for the pools{hours}"
    parts = ", ".join(
        f"{name} {usd_text(usd)}"
        for name, usd in (
            ("compute", decision.compute_usd),
            ("egress", decision.egress_usd),
            ("requests", decision.request_usd),
        )
    )
    return f"{usd_text(decision.usd)} ({parts}){_gap_text(decision.gap)}"


def _gap_text(gap: float | None) -> str:
    """Return how far a cost may be from the least: for little work, start-up is most of it."""
    if gap is None:
        return ""
    far = f"{gap:.0%} above" if gap < 1.0 else f"{1.0 + gap:,.1f} times"
    return f"; at most {far} the least possible"


def print_choices(decision: Decision) -> None:
    """Print each stage's pools, chosen and lost, and the plans that lost."""
    for stage in decision.stages:
        print_section(f"stage {stage.name} goes to", _stage_lines(stage), LABEL)
    if decision.candidates:
        click.echo("")
        click.echo("plans that lost")
        for each in decision.candidates[:LOST_SHOWN_MAX]:
            click.echo(f"  {_lost_text(each)}")
        more = len(decision.candidates) - LOST_SHOWN_MAX
        if more > 0:
            click.echo(f"  and {more} more: --json has them all")


def _stage_lines(stage: StageChoice) -> Iterator[tuple[str, str]]:
    label = "chosen"
    for use in stage.chosen:
        nodes = counted(use.nodes, "node")
        yield label, f"{use.pool}: {use.tasks:.0f} of {counted(stage.tasks, 'task')} on {nodes}"
        label = ""
    yield "when", f"{_at(stage.start_s)} to {_at(stage.finish_s)}"
    dollars = (
        ("compute", stage.compute_usd),
        ("egress", stage.egress_usd),
        ("requests", stage.request_usd),
    )
    yield "dollars", ", ".join(f"{name} {usd_text(usd)}" for name, usd in dollars)
    yield "moves", f"{bytes_text(stage.moved_gb * GB)} between locations"
    label = "lost"
    for use in stage.lost[:LOST_SHOWN_MAX]:
        yield label, option_text(use)
        label = ""
    more = len(stage.lost) - LOST_SHOWN_MAX
    if more > 0:
        yield "", f"and {counted(more, 'pool')} more: --json has them all"


def _at(at_s: float) -> str:
    return f"+{seconds_text(max(0.0, at_s))}"


def option_text(use: PoolUse) -> str:
    """Return what a pool would mean for a stage, and why it was chosen or not."""
    if not use.task_s:
        return f"{use.pool}: {use.reason}"
    parts = [f"{seconds_text(use.task_s)} a task"]
    if use.usd is not None:
        parts.append(f"{usd_text(use.usd + (use.egress_usd or 0.0))} in all")
    if use.loss > 0.0:
        parts.append(f"{use.loss:.0%} chance to be taken back")
    return f"{use.pool}: {use.reason} ({', '.join(parts)})"


def _lost_text(each: Lost) -> str:
    cost = f"{each.above:+.1%}" if each.usd is None else f"{usd_text(each.usd)} ({each.above:+.1%})"
    kept = "" if each.is_kept else f", objective not kept ({each.hit:.0%})"
    if each.is_kept and each.above < 0.0:
        # Only where time is worth money or a budget is kept: for a deadline the cheapest is chosen.
        kept = ", cheaper but slower"
    return f"{each.name}: {cost}, ends by {seconds_text(each.p95_s)}{kept}"


def print_frontier(decision: Decision) -> None:
    """Print cost against finish time."""
    if not decision.frontier:
        return
    click.echo("")
    click.echo("cost against finish time, from the fastest to the cheapest")
    cost = "USD>" if decision.is_priced else "core hours>"
    rows = [
        (
            "",
            seconds_text(point.p95_s),
            amount_text(point.cost),
            ", ".join(f"{count} x {pool}" for pool, count in point.pools.items()),
        )
        for point in decision.frontier
    ]
    print_table(("", "ends by>", cost, "nodes"), rows)
