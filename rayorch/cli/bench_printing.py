"""The tables that people read: what each side took, our stages, and which targets are reached."""

from collections.abc import Collection
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rayorch.bench.results import Machine, Results
from rayorch.bench.tables import (
    WORDS,
    Rows,
    checks_rows,
    figures_rows,
    sides_rows,
    stages_rows,
)

STYLES: Final = {"pass": "green", "fail": "red", "no figure": "yellow"}


def print_results(results: Results, console: Console) -> None:
    """Print where, how long, what failed and the verdicts."""
    for machine in results.machines():
        console.print(machine_text(machine), highlight=False)
    for rows in (sides_rows(results), stages_rows(results), figures_rows(results)):
        _print(rows, console)
    for failure in results.failures():
        word = WORDS[failure.kind]
        console.print(f"{failure.workload}, {failure.side}: {word}: {failure.why}", markup=False)
    _print(checks_rows(results), console)


def machine_text(machine: Machine) -> str:
    """Return one paragraph about the machine."""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    busy = f"load {machine.load_minute:.1f}, {machine.busy:.0%} busy before we began"
    where = f"{machine.system}, {machine.cores} cores ({machine.processor or 'unknown'})"
    return f"{machine.at}: {where}, Python {machine.python}; {busy}\n{versions}"


def _print(found: Rows, console: Console) -> None:
    """Print rows, the first cell only where it differs from the one above."""
    if not found.rows:
        return
    table = Table(title=found.title, title_justify="left")
    for name in found.columns:
        table.add_column(name.rstrip(">"), justify="right" if name.endswith(">") else "left")
    last = ""
    for row in found.rows:
        first = row[0] if row[0] != last else ""
        # Names and reasons are anybody's text: nothing in them is markup.
        table.add_row(first, *(Text(cell, style=STYLES.get(cell, "")) for cell in row[1:]))
        last = row[0]
    console.print(table)


def failed(results: Results, peers: Collection[str]) -> bool:
    """Say whether any target is missed, or anything but a peer could not be measured."""
    return any(check.verdict == "fail" for check in results.checks()) or any(
        failure.kind != "skipped" and failure.side not in peers for failure in results.failures()
    )
