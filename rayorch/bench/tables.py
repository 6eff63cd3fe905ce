"""Results as rows of text, for the terminal and for pages.

A column whose name ends in `>` is set to the right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from rayorch.bench.figures import Check, Summary, summary
from rayorch.bench.results import Measured, Results
from rayorch.observe.columns import with_values

WHOLE_FROM: Final = 100
"""Digits after the point say nothing of such numbers."""
OURS: Final = "rayorch"
STEPS: Final = ("wait", "compute", "write")
"""Of an attempt, one after the other; what is read meanwhile is not on top of them."""
WORDS: Final = {
    "skipped": "skipped",
    "failed": "failed",
    "slow": "too slow",
    "memory": "out of memory",
}


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def sides_rows(results: Results) -> Rows:
    """Return medians of each side, with the least and the most."""
    rows = []
    for workload, side in results.sides:
        runs = results.runs(workload, side)
        cpu_s = [run.cpu_s for run in runs]
        peak = max(run.peak_bytes for run in runs)
        files = runs[0].told.get("files", "")
        rows.append(
            (
                workload,
                side,
                spread_text(summary([run.wall_s for run in runs])),
                spread_text(summary(cpu_s)) if any(cpu_s) else "",
                f"{median(run.startup_s for run in runs):.1f}",
                f"{files:.0f}" if isinstance(files, float | int) else files,
                f"{peak / 1e6:,.0f}" if peak else "",
                str(len(runs)),
            )
        )
    names = ("workload", "side", "wall s>", "CPU s>", "start-up s>", "files>", "peak MB>", "runs>")
    return Rows("Medians (least - most) of each side", *with_values(names, rows))


def stages_rows(results: Results) -> Rows:
    """Return what each stage of ours did in a second, and in which step its seconds went."""
    rows = []
    for workload, side in results.sides:
        for stage in middle(results.runs(workload, side)).stages:
            seconds = max(stage.wall_s, 1e-3)
            rows.append(
                (
                    workload if side == OURS else f"{workload}, {side}",
                    stage.name,
                    f"{stage.tasks:,}",
                    f"{stage.tasks / seconds:,.1f}",
                    f"{stage.rows / seconds:,.0f}",
                    f"{stage.size_bytes / seconds / 1e6:,.1f}",
                    *(f"{stage.steps.get(step, 0.0):.2f}" for step in STEPS),
                    f"{stage.slowest_over_mean:.2f}",
                )
            )
    rates = ("tasks>", "tasks/s>", "rows/s>", "MB/s>", *(f"{step} s>" for step in STEPS))
    title = "Our stages in the middle run: per second, and seconds by step"
    return Rows(title, ("workload", "stage", *rates, "slowest/mean>"), rows)


def middle(runs: Sequence[Measured]) -> Measured:
    """Return the run that took neither least nor most."""
    return sorted(runs, key=lambda run: run.wall_s)[len(runs) // 2]


def figures_rows(results: Results) -> Rows:
    """Return the numbers that are ours alone."""
    rows = []
    for figure in results.figures():
        found = summary(figure.values)
        at = "" if figure.at is None else f" = {figure.at:,.10g}"
        spread = f"{figure_text(found.least)} - {figure_text(found.most)}"
        rows.append(
            (
                figure.workload,
                f"{figure.name}{at}",
                figure_text(found.median, figure.unit),
                spread if found.runs > 1 else "",
                "more is better" if figure.more_is_better else "",
            )
        )
    names = ("subject", "figure", "measured>", "least - most>", "")
    return Rows("Figures of ours", *with_values(names, rows))


def failures_rows(results: Results) -> Rows:
    """Return what failed or was left out."""
    rows = [(each.workload, each.side, WORDS[each.kind], each.why) for each in results.failures()]
    return Rows("What was not measured", ("workload", "side", "", "why"), rows)


def checks_rows(results: Results) -> Rows:
    """Return targets and verdicts."""
    rows = [check_row(check) for check in results.checks()]
    names = ("workload", "claim", "measured>", "target>", "verdict", "note")
    return Rows("Targets", *with_values(names, rows))


def check_row(check: Check) -> tuple[str, ...]:
    """Return a figure, its target and the verdict."""
    sign = ">=" if check.at_least else "<="
    return (
        check.workload,
        check.claim,
        "-" if check.figure is None else figure_text(check.figure, check.unit),
        f"{sign} {figure_text(check.limit, check.unit)}",
        check.verdict,
        check.note,
    )


def figure_text(figure: float, unit: str = "") -> str:
    """Return a number with as many digits as help."""
    if abs(figure) >= WHOLE_FROM:
        text = f"{figure:,.0f}"
    else:
        text = f"{figure:.2f}" if abs(figure) >= 1.0 or not figure else f"{figure:.3g}"
    return f"{text} {unit}".strip()


def spread_text(found: Summary) -> str:
    """Return a median with its extremes."""
    if found.runs == 1:
        return f"{found.median:.2f}"
    return f"{found.median:.2f} ({found.least:.2f} - {found.most:.2f})"
