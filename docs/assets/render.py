# ruff: noqa: INP001 - a program to run, not a module to import.
"""Draw `run.svg`, the picture in the README, from a real run of the example.

    python docs/assets/render.py

Whoever changes what the display or the report looks like runs this again.
"""

import io
import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from rayorch.client import LocalControl, connection, submit_run, usable_cores, watch
from rayorch.loading import load_pipeline
from rayorch.observe.display import Pace, picture, print_report
from rayorch.observe.report import report_of
from rayorch.observe.view import RunView

HERE: Final = Path(__file__).parent
EXAMPLES: Final = HERE.parent.parent / "examples"
WIDTH: Final = 104
SHOWN_AT: Final = 0.8  # of the tasks done
TYPED: Final = "rayorch run examples/tpch_nightly.py"
FONT_FACE: Final = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


class Recording:
    """A display that keeps the look at the run that the picture shows."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.shown: RunView | None = None

    def update(self, view: RunView) -> None:
        """Keep the view if it is the one."""
        if self.shown is None:
            self.pace.note(view)
            if view.tasks and view.committed >= SHOWN_AT * view.tasks:
                self.shown = view

    def stopping(self, view: RunView) -> None:
        """Nobody stops it."""

    def finish(self, view: RunView) -> None:
        """The caller has the view."""

    def close(self) -> None:
        """There is no terminal."""


def main() -> None:
    """Run the example in this process and draw it."""
    sys.path.insert(0, str(EXAMPLES))
    from tpch_data import tpch_data  # noqa: PLC0415 - found by the path above.

    with tempfile.TemporaryDirectory() as folder:
        tpch_data(Path(folder), 0.5, 16)
        params = {"folder": folder}
        pipeline = load_pipeline(str(EXAMPLES / "tpch_nightly.py"), params=params)
        at = connection(f"{folder}/home", "in-process")
        control = LocalControl(at.home, at.clock, usable_cores())
        seen = Recording()
        view = watch(at, control, submit_run(at, control, pipeline), seen)
        control.close()
        assert seen.shown is not None
        drawn = drawing(seen.shown, seen.pace, view)
        (HERE / "run.svg").write_text(drawn.replace(folder, "/lake"))


def drawing(during: RunView, pace: Pace, after: RunView) -> str:
    """Return the SVG: a run while it goes, and its report."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    console.print(Text(f"$ {TYPED}"))
    console.print(picture(during, pace))
    console.print(Text(" " * 2 + "..."), style="dim")
    print_report(console, report_of(after))
    # Without the web font that rich asks for: a picture in a README loads nothing.
    return FONT_FACE.sub("", console.export_svg(title=TYPED))


if __name__ == "__main__":
    main()
