"""What commands print on standard output: documents for programs, tables for people."""

from collections.abc import Sequence
from typing import Any

import click
import msgspec


def print_document(content: Any) -> None:  # noqa: ANN401 - whatever JSON can hold.
    """Print one JSON document."""
    data = msgspec.json.format(msgspec.json.encode(content), indent=2)
    click.echo(data.decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under headings; a column whose name ends in `>` is set to the right."""
    table = [[name.rstrip(">") for name in columns], *rows]
    widths = [max(len(row[at]) for row in table) for at in range(len(columns))]
    for row in table:
        cells = [
            f"{cell:>{width}}" if name.endswith(">") else f"{cell:<{width}}"
            for cell, width, name in zip(row, widths, columns, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())
