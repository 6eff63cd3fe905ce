"""What commands print on standard output: documents for programs, tables for people."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import click
import msgspec

LABEL: Final = 10
"""Characters of a label, where nothing longer is among them."""

Lines = Iterable[tuple[str, str]]
"""Labelled lines; a label is empty where it is the one above."""


def print_document(content: Any) -> None:  # noqa: ANN401 - whatever JSON can hold.
    """Print one JSON document."""
    data = msgspec.json.format(msgspec.json.encode(content), indent=2)
    click.echo(data.decode())


def print_section(title: str, lines: Lines, label: int = LABEL) -> None:
    """Print labelled lines under a title; without lines, nothing.

    label: characters of a label, or more where one is longer.
    """
    told = list(lines)
    label = max([label, *(len(name) + 2 for name, _ in told if len(name) >= label)])
    shown = [f"  {name:<{label}}{text}".rstrip() for name, text in told]
    if shown:
        click.echo("\n".join(["", title, *shown]))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Print rows under headings; a column whose name ends in `>` is set to the right."""
    table = [[name.rstrip(">") for name in columns], *rows]
    widths = [max(len(row[at]) for row in table) for at in range(len(columns))]
    for row in table:
        cells = [
            f"{cell:>{width}}" if name.endswith(">") else f"{cell:<{width}}"
            for cell, width, name in zip(row, widths, columns, strict=True)
        ]
        click.echo(f"{indent}{'  '.join(cells)}".rstrip())
