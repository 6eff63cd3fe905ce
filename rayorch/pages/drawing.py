"""Pictures in one style, as data URLs of SVG: axes, colours, and what goes into the page.

Needs the extra `report` (or `plot`); nothing but pages and pictures does.
"""

import base64
import io
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, ParamSpec

from connectors.errors import MissingExtraError
from rayorch.pages.page import NEEDED_FOR

P = ParamSpec("P")

DPI: Final = 96
WIDTH: Final = 10.0
"""Inches; the page scales a picture to its own width."""
OURS: Final = "#4477aa"
THEIRS: Final = "#c3cad3"
WARN: Final = "#ee6677"
COLORS: Final = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Paul Tol's bright scheme: told apart by colour-blind people, too."""
INK: Final = "#1d2430"
STYLE: Final[Any] = {
    "font.size": 9.0,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": "#5b6675",
    "xtick.color": "#5b6675",
    "ytick.color": INK,
    "text.color": INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": "#e6eaee",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "svg.hashsalt": "rayorch",
}


def figure_class(needed_for: str, extra: str = "report") -> Any:  # noqa: ANN401 - it has no types.
    """Return matplotlib's class of a figure, without a window system. Raises: MissingExtraError."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to import.
    except ImportError as error:
        raise MissingExtraError(needed_for, "matplotlib", extra) from error
    return Figure


def styled(draw: Callable[P, str]) -> Callable[P, str]:
    """Draw in the style of the pages, whatever a user's own matplotlib is set to."""

    @wraps(draw)
    def drawn(*given: P.args, **named: P.kwargs) -> str:
        figure_class(NEEDED_FOR)
        import matplotlib as mpl  # noqa: PLC0415 - with the class above.

        with mpl.rc_context(STYLE):
            return draw(*given, **named)

    return drawn


class Drawing:
    """One picture: axes to draw into, then `url`. For functions that are `styled`."""

    def __init__(self, height: float, rows: int = 1, columns: int = 1) -> None:
        made = figure_class(NEEDED_FOR)
        self.figure = made(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
        self._axes = self.figure.subplots(rows, columns, squeeze=False)

    @property
    def axes(self) -> list[Any]:
        """All axes, row by row."""
        return [each for row in self._axes for each in row]

    def url(self) -> str:
        """Return the picture as a data URL; axes that nothing was drawn into are left out."""
        for each in self.axes:
            if not each.has_data():
                each.set_axis_off()
        out = io.BytesIO()
        self.figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        return "data:image/svg+xml;base64," + base64.b64encode(out.getvalue()).decode()
