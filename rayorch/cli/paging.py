"""Where a page goes."""

from pathlib import Path

from rayorch.cli.errors import OptionError
from rayorch.pages.drawing import figure_class
from rayorch.pages.page import NEEDED_FOR, Page, html_of


def check_page(file: str) -> None:
    """Find out before the work, not after it, that a page cannot be made or written.

    Raises: MissingExtraError, OptionError.
    """
    figure_class(NEEDED_FOR)
    html_of(Page(title="", lead=""))
    _write(file, b"", "ab")


def write_page(page: Page, file: str) -> None:
    """Write a page. Raises: OptionError."""
    _write(file, html_of(page).encode(), "wb")


def _write(file: str, data: bytes, mode: str) -> None:
    try:
        with Path(file).expanduser().open(mode) as out:
            out.write(data)
    except OSError as error:
        problem = f"the page cannot be written: {(error.strerror or '').lower()}"
        raise OptionError(problem, "--html", file) from None
