"""The plots of a page about capacity: ends, what if, what breaks first, cost against time."""

import math
from collections.abc import Sequence

from rayorch.capacity.asking import Capacity, Traded, Use
from rayorch.capacity.tables import changes
from rayorch.pages.drawing import COLORS, INK, OURS, THEIRS, WARN, Drawing, styled

MINUTE_S = 60.0


@styled
def ends_plot(found: Capacity) -> str:
    """Draw by when which share of the simulated runs has ended."""
    ends = [end_s / MINUTE_S for end_s in found.finish.ends_s]
    if not ends:
        return ""
    drawing = Drawing(2.8)
    [axes] = drawing.axes
    share = [100.0 * (at + 1) / found.scenarios for at in range(len(ends))]
    axes.step(ends, share, where="post", color=OURS)
    axes.fill_between(ends, share, step="post", color=OURS, alpha=0.15)
    for name, end_s in (("half", found.finish.p50_s), ("95 %", found.finish.p95_s)):
        if math.isfinite(end_s):
            axes.axvline(end_s / MINUTE_S, color=INK, linewidth=0.8, linestyle=":")
            axes.annotate(
                f"{name}: {end_s / MINUTE_S:.3g} min",
                (end_s / MINUTE_S, 4.0),
                (4, 0),
                textcoords="offset points",
                fontsize=8,
            )
    if found.deadline_s is not None:
        axes.axvline(found.deadline_s / MINUTE_S, color=WARN, label="deadline")
        axes.legend()
    axes.set(xlabel="minutes after the submission", ylabel="% of the runs have ended")
    axes.set_ylim(0, 104)
    axes.grid()
    return drawing.url()


@styled
def standing_plot(found: Capacity) -> str:
    """Draw how many machines of each pool there are when, in the middle run."""
    pools = list(dict.fromkeys(each.pool for each in found.standing))
    if not pools:
        return ""
    drawing = Drawing(0.9 + 1.0 * len(pools), len(pools))
    last = max(each.at_s for each in found.standing) / MINUTE_S
    for number, (axes, pool) in enumerate(zip(drawing.axes, pools, strict=True)):
        own = [each for each in found.standing if each.pool == pool]
        at = [0.0, *(each.at_s / MINUTE_S for each in own), last]
        nodes = [0, *(each.nodes for each in own), own[-1].nodes]
        axes.fill_between(at, nodes, step="post", color=COLORS[number % len(COLORS)], alpha=0.8)
        axes.set(title=pool, ylabel="machines", xlim=(0, last), ylim=(0, None))
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.grid()
    drawing.axes[-1].set(xlabel="minutes after the submission")
    return drawing.url()


@styled
def what_if_plot(found: Capacity) -> str:
    """Draw when runs end if one thing is changed."""
    as_asked = ("as asked", found.finish.p50_s, found.finish.p95_s)
    rows = [as_asked, *((each.name, each.p50_s, each.p95_s) for each in changes(found))]
    drawn = [row for row in rows if math.isfinite(row[1])]
    if not drawn:
        return ""
    drawing = Drawing(0.9 + 0.34 * len(drawn))
    [axes] = drawing.axes
    names = [name for name, _, _ in drawn]
    half = [p50_s / MINUTE_S for _, p50_s, _ in drawn]
    most = [p95_s / MINUTE_S if math.isfinite(p95_s) else p50_s for _, p50_s, p95_s in drawn]
    axes.barh(names, most, color=THEIRS, height=0.6, label="95 % within")
    axes.barh(names, half, color=OURS, height=0.6, label="half within")
    if found.deadline_s is not None:
        axes.axvline(found.deadline_s / MINUTE_S, color=WARN, label="deadline")
    axes.invert_yaxis()
    axes.set(xlabel="minutes after the submission")
    axes.grid(axis="x")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return drawing.url()


@styled
def uses_plot(uses: Sequence[Use]) -> str:
    """Draw how much is used of what there is, now and of twice the data."""
    known = [use for use in uses if math.isfinite(use.share) and math.isfinite(use.doubled)]
    if not known:
        return ""
    drawing = Drawing(0.9 + 0.4 * len(known))
    [axes] = drawing.axes
    names = [use.name for use in known]
    at = range(len(known))
    now = [100.0 * use.share for use in known]
    axes.barh([y - 0.18 for y in at], now, height=0.34, color=OURS, label="now")
    twice = [100.0 * use.doubled for use in known]
    axes.barh([y + 0.18 for y in at], twice, height=0.34, color=COLORS[3], label="twice the data")
    axes.axvline(100.0, color=WARN, label="all that there is")
    axes.set_yticks(list(at), names)
    axes.invert_yaxis()
    axes.set(xlabel="% of what there is")
    if max([*now, *twice]) > 20.0 * 100.0:
        axes.set_xscale("log")
    axes.grid(axis="x")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return drawing.url()


@styled
def frontier_plot(points: Sequence[Traded], found: Capacity) -> str:
    """Draw the cheapest plan for each finish."""
    if len(points) < 2:  # noqa: PLR2004 - a line has two ends.
        return ""
    drawing = Drawing(3.4)
    [axes] = drawing.axes
    minutes = [point.p95_s / MINUTE_S for point in points]
    cost = [point.cost for point in points]
    axes.plot(minutes, cost, marker="o", markersize=4, color=OURS, label="the cheapest plans")
    for number, point in enumerate(points):
        named = "\n".join(f"{count:,} {pool}" for pool, count in point.pools.items() if count)
        axes.annotate(
            named,
            (minutes[number], cost[number]),
            (5, 5 if number % 2 else -14),
            textcoords="offset points",
            fontsize=7,
        )
    mean = found.usd if points[0].usd is not None else found.core_hours
    if mean is not None and math.isfinite(found.finish.p95_s):
        axes.plot(
            [found.finish.p95_s / MINUTE_S],
            [mean],
            marker="*",
            markersize=13,
            linestyle="",
            color=WARN,
            label="as asked",
        )
    unit = "USD" if points[0].usd is not None else "core hours (prices are unknown)"
    axes.set(xlabel="95 % within, minutes", ylabel=f"a run, {unit}")
    axes.set_ylim(0, 1.25 * max(cost))
    axes.margins(x=0.12)
    axes.grid()
    axes.legend()
    return drawing.url()
