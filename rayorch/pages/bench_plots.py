"""The plots of a page of results: sides, stages, the tail, who worked when, and curves."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from rayorch.bench.figures import Summary, summary
from rayorch.bench.results import Bar, FigureLine, Measured, Results
from rayorch.bench.tables import middle
from rayorch.pages.drawing import COLORS, INK, OURS, THEIRS, Drawing, styled

COLUMNS: Final = 3
ROW_INCHES: Final = 0.2
FAR_APART: Final = 50.0
"""Times the least, from which on a log scale is needed to see it."""
LANES_MAX: Final = 40
CURVES_MAX: Final = 7
TAIL_MIN: Final = 8
"""Attempts of which a distribution is worth drawing."""


@styled
def sides_plot(results: Results) -> str:
    """Draw, for each workload that has peers, the wall seconds of each side."""
    shown: dict[str, list[tuple[str, Summary]]] = defaultdict(list)
    for workload, side in results.sides:
        walls = [run.wall_s for run in results.runs(workload, side)]
        shown[workload].append((side, summary(walls)))
    compared = {name: sides for name, sides in shown.items() if len(sides) > 1}
    if not compared:
        return ""
    columns = min(COLUMNS, len(compared))
    rows = math.ceil(len(compared) / columns)
    most = max(len(sides) for sides in compared.values())
    drawing = Drawing(rows * (0.75 + ROW_INCHES * most), rows, columns)
    for axes, (workload, sides) in zip(drawing.axes, compared.items(), strict=False):
        _bars(axes, workload, sorted(sides, key=lambda each: -each[1].median))
    return drawing.url()


def _bars(axes: Any, workload: str, sides: Sequence[tuple[str, Summary]]) -> None:  # noqa: ANN401
    names = [side for side, _ in sides]
    medians = [found.median for _, found in sides]
    spread = (
        [found.median - found.least for _, found in sides],
        [found.most - found.median for _, found in sides],
    )
    colors = [OURS if name.startswith("rayorch") else THEIRS for name in names]
    axes.barh(names, medians, xerr=spread, color=colors, ecolor=INK, height=0.7, capsize=2)
    axes.set(title=workload, xlabel="wall seconds")
    axes.grid(axis="x")
    for at, value in enumerate(medians):
        axes.annotate(
            f"{value:.3g}",
            (sides[at][1].most, at),
            (4, 0),
            textcoords="offset points",
            va="center",
            size=7.5,
        )
    axes.margins(x=0.15)


@styled
def stages_plot(results: Results) -> str:
    """Draw what each stage of ours read in a second."""
    rates: dict[str, float] = {}
    for workload, side in results.sides:
        for run in results.runs(workload, side):
            for stage in run.stages:
                if stage.size_bytes and stage.wall_s > 0.0:
                    rates[f"{workload} / {stage.name}"] = stage.size_bytes / stage.wall_s / 1e6
    if not rates:
        return ""
    drawing = Drawing(0.7 + ROW_INCHES * len(rates))
    [axes] = drawing.axes
    names = list(rates)[::-1]
    axes.barh(names, [rates[name] for name in names], color=OURS, height=0.7)
    if max(rates.values()) > FAR_APART * min(rates.values()):
        axes.set_xscale("log")
    axes.set(xlabel="MB of Arrow in a second, all slots together")
    axes.grid(axis="x")
    return drawing.url()


@styled
def tail_plot(results: Results) -> str:
    """Draw how attempts are spread around their stage's mean: what the last one waits for."""
    curves = {}
    for workload, side in results.sides:
        spread = tail_of(results.runs(workload, side))
        if len(spread) >= TAIL_MIN:
            curves[workload if side == "rayorch" else f"{workload} ({side})"] = spread
    if not curves:
        return ""
    drawing = Drawing(3.4)
    [axes] = drawing.axes
    heavy = sorted(curves.items(), key=lambda each: -each[1][-1])[:CURVES_MAX]
    for color, (name, spread) in zip(COLORS, heavy, strict=False):
        share = [100.0 * (at + 0.5) / len(spread) for at in range(len(spread))]
        axes.plot(share, spread, color=color, label=f"{name}: slowest {spread[-1]:.1f} x")
    axes.axhline(1.0, color="#9aa5b1", linewidth=0.8)
    axes.set(xlabel="% of the attempts of a stage", ylabel="seconds over the stage's mean")
    axes.set(xlim=(0, 100), ylim=(0, None))
    axes.grid()
    axes.legend()
    return drawing.url()


def tail_of(runs: Sequence[Measured]) -> list[float]:
    """Return the seconds of attempts over the mean of their stage, in order, of the middle run."""
    drawn = [run for run in runs if run.bars]
    if not drawn:
        return []
    stages: dict[str, list[float]] = defaultdict(list)
    for bar in middle(drawn).bars:
        stages[bar.stage].append(bar.end_s - bar.start_s)
    found = []
    for seconds in stages.values():
        mean_s = statistics.mean(seconds)
        found += [each / mean_s for each in seconds if mean_s > 0.0]
    return sorted(found)


@styled
def gantt_plot(bars: Sequence[Bar]) -> str:
    """Draw who worked when on what: a lane for each runner, pools together."""
    if not bars:
        return ""
    lanes = list(dict.fromkeys((bar.pool, bar.runner) for bar in bars))[:LANES_MAX]
    stages = list(dict.fromkeys(bar.stage for bar in sorted(bars, key=lambda bar: bar.start_s)))
    drawing = Drawing(1.0 + 0.26 * len(lanes))
    [axes] = drawing.axes
    for number, stage in enumerate(stages):
        own = [bar for bar in bars if bar.stage == stage and (bar.pool, bar.runner) in lanes]
        axes.barh(
            [lanes.index((bar.pool, bar.runner)) for bar in own],
            [bar.end_s - bar.start_s for bar in own],
            left=[bar.start_s for bar in own],
            color=COLORS[number % len(COLORS)],
            edgecolor="white",
            linewidth=0.4,
            height=0.8,
            label=stage,
        )
    pools: dict[str, int] = defaultdict(int)
    names = []
    for pool, _ in lanes:
        pools[pool] += 1
        names.append(f"{pool} {pools[pool]}")
    axes.set_yticks(range(len(lanes)), names)
    axes.invert_yaxis()
    axes.set(xlabel="seconds since the submission", xlim=(0, None))
    axes.grid(axis="x")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(6, len(stages)))
    return drawing.url()


@styled
def curves_plot(figures: Sequence[FigureLine]) -> str:
    """Draw numbers over what they depend on, a plot for each."""
    named: dict[tuple[str, str], list[FigureLine]] = defaultdict(list)
    for figure in figures:
        if figure.at is not None:
            named[figure.workload, figure.name].append(figure)
    drawn = {key: sorted(points, key=_at) for key, points in named.items() if len(points) > 1}
    if not drawn:
        return ""
    columns = min(COLUMNS, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    drawing = Drawing(2.6 * rows, rows, columns)
    for axes, ((workload, name), points) in zip(drawing.axes, drawn.items(), strict=False):
        at = [_at(point) for point in points]
        found = [summary(point.values) for point in points]
        axes.plot(at, [each.median for each in found], color=OURS, marker="o", markersize=4)
        axes.fill_between(
            at, [each.least for each in found], [each.most for each in found], color=OURS, alpha=0.2
        )
        if at[-1] > FAR_APART * max(at[0], 1e-9):
            axes.set_xscale("log")
        unit = f" ({points[0].unit})" if points[0].unit else ""
        axes.set(title=workload, ylabel=f"{name.partition(' over ')[0]}{unit}", ylim=(0, None))
        axes.set(xlabel=name.partition(" over ")[2])
        axes.grid()
    return drawing.url()


def _at(figure: FigureLine) -> float:
    assert figure.at is not None
    return figure.at
