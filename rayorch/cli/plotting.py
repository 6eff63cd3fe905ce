"""Draws cost against finish time. Needs the extra `plot`; nothing else does."""

from pathlib import Path

from rayorch.cli.errors import OptionError
from rayorch.pages.drawing import figure_class
from rayorch.plan.deciding import Decision

SIZE_INCHES = (7.0, 4.5)
DPI = 144


def draw(decision: Decision, pipeline: str, file: str) -> None:
    """Draw the frontier, and where the chosen plan lies, into a .png or .svg file.

    Raises: MissingExtraError; OptionError, when the file cannot be written.
    """
    figure = figure_class("--plot", "plot")(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    axes = figure.subplots()
    unit = "USD" if decision.is_priced else "core hours (prices are unknown)"
    minutes = [point.p95_s / 60.0 for point in decision.frontier]
    cost = [point.cost for point in decision.frontier]
    axes.plot(minutes, cost, marker="o", color="#4477aa", label="the cheapest for its finish time")
    for point, at in zip(decision.frontier, minutes, strict=True):
        named = "\n".join(f"{count} x {pool}" for pool, count in point.pools.items())
        axes.annotate(
            named, (at, point.cost), xytext=(6, 6), textcoords="offset points", fontsize=7
        )
    chosen = decision.usd if decision.usd is not None else decision.core_hours
    if chosen is not None:
        axes.plot(
            [decision.p95_s / 60.0],
            [chosen],
            marker="*",
            markersize=14,
            linestyle="",
            color="#ee6677",
            label="chosen",
        )
    axes.set(xlabel="finish of 95 % of runs, minutes", ylabel=f"mean cost, {unit}")
    axes.set_title(f"{pipeline}: {decision.objective}", fontsize=10)
    axes.set_ylim(bottom=0.0, top=1.2 * max([*cost, chosen or 0.0], default=1.0) or 1.0)
    axes.margins(x=0.15)
    axes.grid(alpha=0.3)
    axes.legend()
    try:
        figure.savefig(Path(file).expanduser())
    except OSError as error:
        raise OptionError(
            f"the picture cannot be written: {error.strerror}", "--plot", file
        ) from None
