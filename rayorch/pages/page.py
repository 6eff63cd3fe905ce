"""A page as values, and as one HTML file: text, tables, and plots as pictures inside it.

The file holds all it shows, and tells the browser to load nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from connectors.errors import MissingExtraError

TEMPLATE: Final = "page.html.jinja"
NEEDED_FOR: Final = "a page with plots (--html)"
EXTRA: Final = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under headings; a column whose name ends in `>` is set to the right.

    `marked` are the words that a cell is coloured for: good, bad or neither.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a page. `plots` are data URLs of pictures, each with what it shows in words."""

    title: str
    text: str = ""
    plots: Sequence[tuple[str, str]] = ()
    table: Table | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page: what it is about, the facts that count most, and its sections."""

    title: str
    lead: str
    facts: Sequence[tuple[str, str]] = ()
    sections: Sequence[Section] = ()


def html_of(page: Page) -> str:
    """Return a page as one HTML file. Raises: MissingExtraError."""
    return str(_template().render(page=page))


def _template() -> Any:  # noqa: ANN401 - jinja2's own.
    try:
        import jinja2  # noqa: PLC0415 - an extra.
    except ImportError as error:
        raise MissingExtraError(NEEDED_FOR, "jinja2", EXTRA) from error
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    # Names of workloads and errors of peers are anybody's text: none of it becomes markup.
    made = jinja2.Environment(loader=folder, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return made.get_template(TEMPLATE)
