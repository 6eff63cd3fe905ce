"""What a run cost, beside its estimate, as people and programs read it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from rayorch.core.ledger import CORE_HOUR_S
from rayorch.core.placed import Forecast
from rayorch.observe.cost import CostLine, RunCost, summed
from rayorch.observe.figures import (
    UNKNOWN,
    amount_digits,
    bytes_text,
    change_text,
    core_hours_text,
    count_text,
    seconds_text,
    usd_text,
)
from rayorch.observe.view import RunView

UNPRICED_SHOWN_MAX: Final = 3
DOLLARS: Final[Mapping[str, str]] = {
    "compute>": "compute_usd",
    "egress>": "egress_usd",
    "requests>": "request_usd",
    "wasted>": "wasted_usd",
    "USD>": "usd",
}
"""Columns and what they hold; the waste is a part of what was computed."""
ALL: Final = "all"
IDLE: Final = "(idle)"
NO_POOL: Final = "(not told)"
"""Of a journal that was written before pools were."""


def cost_text(cost: RunCost) -> str:
    """Return what a run cost beside what was expected, in one line."""
    usd, hours = cost.usd, core_hours_text(cost.core_hours)
    expected = cost.estimate or Forecast()
    if usd is not None:
        told = f"{usd_text(usd)}, {hours}"
        return told + (_beside(usd, expected.usd, usd_text(expected.usd)) if expected.usd else "")
    if expected.core_hours and expected.usd is None:
        foretold = core_hours_text(expected.core_hours)
        hours += _beside(cost.core_hours, expected.core_hours, foretold)
    known = f"{usd_text(cost.known_usd)} and more" if cost.known_usd else UNKNOWN
    return f"{hours}; dollars {known}: {unpriced_text(cost)}"


def _beside(actual: float, expected: float, text: str) -> str:
    return f"; estimated {text} ({change_text(actual, expected)})"


def unpriced_text(cost: RunCost) -> str:
    """Return why dollars are not known."""
    pools = [pool for pool in cost.unpriced if pool]
    if not pools:
        return "no price is known"
    shown = ", ".join(pools[:UNPRICED_SHOWN_MAX])
    more = f" and {len(pools) - UNPRICED_SHOWN_MAX} more" if len(pools) > UNPRICED_SHOWN_MAX else ""
    return f"no price is known for {shown}{more}"


def deadline_text(view: RunView, deadline_s: float) -> str:
    """Return whether a run kept its deadline, or how much of it is left."""
    left_s = deadline_s - view.elapsed_s
    whole = seconds_text(deadline_s)
    if view.state == "succeeded":
        if left_s >= 0.0:
            return f"kept: {whole}, {seconds_text(left_s)} to spare"
        return f"missed by {seconds_text(-left_s)}: {whole}"
    if left_s < 0.0:
        return f"missed by {seconds_text(-left_s)} so far: {whole}"
    return f"{whole}, {seconds_text(left_s)} left"


def estimate_lines(estimate: Forecast, *, has_deadline: bool) -> Iterator[str]:
    """Yield what a placement foretells of a whole run."""
    cost = usd_text(estimate.usd)
    if estimate.usd is None:
        cost = f"{core_hours_text(estimate.core_hours)}, dollars {UNKNOWN}"
    hit = f"; deadline kept in {estimate.hit:.1%} of runs".replace("%", " %")
    yield f"{cost}{hit if has_deadline else ''}"
    late = f"{seconds_text(estimate.p95_s)} in 95 % of runs"
    yield f"ends after {seconds_text(estimate.p50_s)} usually, {late}"


# --- all of it ----------------------------------------------------------------------------------


def bill_table(cost: RunCost) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return headings, and a row for each stage and pool, for what waited, and for the sum.

    Without any price there are no columns for dollars, and none for what nobody was charged.
    """
    lines = [*cost.lines, _sum(cost)] if len(cost.lines) > 1 else list(cost.lines)
    columns: list[tuple[str, list[str]]] = [
        ("stage", [line.stage or IDLE for line in lines]),
        ("pool", [line.pool or NO_POOL for line in lines]),
        ("attempts>", [count_text(line.attempts) if line.attempts else "" for line in lines]),
        ("core h>", aligned([line.core_s / CORE_HOUR_S for line in lines])),
    ]
    if all(line.usd is None for line in lines):
        wasted = [line.wasted_core_s / CORE_HOUR_S for line in lines]
        columns.append(("wasted h>", aligned(wasted)))
    else:
        for name, field in DOLLARS.items():
            amounts = [getattr(line, field) for line in lines]
            if field == "usd" or any(amounts):
                columns.append((name, aligned(amounts)))
    names, cells = zip(*columns, strict=True)
    return names, list(zip(*cells, strict=True))


def aligned(amounts: Sequence[float | None]) -> list[str]:
    """Return a column of amounts, all with the digits that its largest one needs."""
    digits = amount_digits(max((each for each in amounts if each is not None), default=0.0))
    return [UNKNOWN if each is None else f"{each:,.{digits}f}" for each in amounts]


def bill_lines(cost: RunCost, *, has_deadline: bool) -> Iterator[tuple[str, str]]:
    """Yield what a bill says besides its table: the estimate, work in vain, waiting, outputs."""
    if cost.estimate is not None:
        first, *rest = estimate_lines(cost.estimate, has_deadline=has_deadline)
        yield "estimate", first
        yield from (("", line) for line in rest)
    if cost.wasted_core_hours:
        text = f"{core_hours_text(cost.wasted_core_hours)} of attempts that came to nothing"
        yield "wasted", f"{text}{_part(line.wasted_usd for line in cost.work)}"
    lost_s = sum(line.lost_core_s for line in cost.work)
    if lost_s:
        text = f"{core_hours_text(lost_s / CORE_HOUR_S)} of that with runners and nodes that went"
        yield "", f"{text}{_part(line.lost_usd for line in cost.work)}"
    if cost.idle:
        text = (
            f"{core_hours_text(cost.idle_core_hours)} of nodes that started and waited for the run"
        )
        yield "idle", f"{text}{_part(line.usd for line in cost.idle)}"
    yield from _cache_lines(cost)
    label = "outputs"
    for each in cost.datasets:
        work = core_hours_text(each.core_s / CORE_HOUR_S)
        yield label, f"{usd_text(each.usd)}, {work} for {each.url}"
        label = ""


def _cache_lines(cost: RunCost) -> Iterator[tuple[str, str]]:
    cached_bytes = sum(line.cached_bytes for line in cost.work)
    if cached_bytes:
        saved_usd = summed(line.saved_usd for line in cost.work)
        saved = f", {usd_text(saved_usd)} saved" if saved_usd else ""
        yield "cache", f"{bytes_text(cached_bytes)} read from the nodes' disks{saved}"


def _part(usd: Iterator[float | None]) -> str:
    known = list(usd)
    return "" if None in known else f", {usd_text(sum(each for each in known if each is not None))}"


def _sum(cost: RunCost) -> CostLine:
    """Return all lines as one; dollars that are not known make their sum unknown."""
    whole = cost.lines
    is_known = cost.usd is not None

    def usd(field: str) -> float | None:
        return sum(getattr(line, field) for line in whole) if is_known else None

    return CostLine(
        stage=ALL,
        pool=" ",
        attempts=sum(line.attempts for line in whole),
        core_s=sum(line.core_s for line in whole),
        wasted_core_s=sum(line.wasted_core_s for line in whole),
        known_usd=cost.known_usd,
        compute_usd=usd("compute_usd"),
        egress_usd=usd("egress_usd"),
        request_usd=usd("request_usd"),
        wasted_usd=usd("wasted_usd"),
    )


# --- for programs -------------------------------------------------------------------------------


def cost_data(cost: RunCost) -> dict[str, Any]:
    """Return a bill as a document; null dollars are not known. Units: USD, core hours, bytes."""
    expected = cost.estimate
    return {
        "usd": cost.usd,
        "known_usd": cost.known_usd,
        "unpriced_pools": list(cost.unpriced),
        "core_hours": cost.core_hours,
        "wasted_core_hours": cost.wasted_core_hours,
        "idle_core_hours": cost.idle_core_hours,
        "by_stage_and_pool": [_line_data(line) for line in cost.work],
        "idle": [_line_data(line) for line in cost.idle],
        "links": [msgspec.to_builtins(each) for each in cost.links],
        "datasets": [
            {"url": each.url, "usd": each.usd, "core_hours": each.core_s / CORE_HOUR_S}
            for each in cost.datasets
        ],
        "estimate": None
        if expected is None
        else {
            "usd": expected.usd,
            "core_hours": expected.core_hours or None,
            "p50_s": expected.p50_s,
            "p95_s": expected.p95_s,
            "hit": expected.hit,
        },
        "placement_revision": cost.revision or None,
        "solver_failures": cost.solver_failures,
    }


def _line_data(line: CostLine) -> dict[str, Any]:
    return {
        "stage": line.stage or None,
        "pool": line.pool,
        "attempts": line.attempts,
        "core_hours": line.core_s / CORE_HOUR_S,
        "wasted_core_hours": line.wasted_core_s / CORE_HOUR_S,
        "moved_bytes": line.moved_bytes,
        "usd": line.usd,
        "compute_usd": line.compute_usd,
        "egress_usd": line.egress_usd,
        "request_usd": line.request_usd,
        "wasted_usd": line.wasted_usd,
        "lost_core_hours": line.lost_core_s / CORE_HOUR_S,
        "lost_usd": line.lost_usd,
        "cached_bytes": line.cached_bytes,
        "saved_usd": line.saved_usd,
    }


def deadline_data(view: RunView, deadline_s: float | None) -> dict[str, Any] | None:
    """Return a deadline and what became of it. Units: seconds after the submission."""
    if deadline_s is None:
        return None
    left_s = deadline_s - view.elapsed_s
    is_over = view.state == "succeeded" or left_s < 0.0
    return {"within_s": deadline_s, "kept": left_s >= 0.0 if is_over else None, "left_s": left_s}
