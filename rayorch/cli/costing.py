"""`cost`: what the runs of a home cost, by any of their sides. Read from the journal alone."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import click

from rayorch.cli.errors import OptionError
from rayorch.cli.finding import find_run
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document, print_table
from rayorch.client import connection
from rayorch.core.accounts import Accounts, day_of
from rayorch.core.ledger import CORE_HOUR_S
from rayorch.looking import HomeReader
from rayorch.observe.bill import aligned
from rayorch.observe.costs import NOBODY, CostRow, cost_rows, limited, nodes_usd, total_of
from rayorch.observe.figures import bytes_text, usd_text
from rayorch.observe.outcome import tasks_of

_PAST: Final = re.compile(r"(\d{1,5})([hdw])")
_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}
DOLLARS: Final = {
    "work>": "work_usd",
    "nodes>": "other_usd",
    "unused>": "unused_usd",
    "egress>": "egress_usd",
    "requests>": "request_usd",
    "USD>": "usd",
}
"""Columns and what they hold: they add up to the last one."""
BYTES: Final = {"moved>": "moved_bytes", "from cache>": "cached_bytes"}


def cost(options: Options) -> int:
    """Print what runs cost."""
    at = connection(options.home)
    by = options.by or ("stage" if options.run else "run")
    if by == "task" and not options.run:
        raise OptionError("tasks are those of one run: name it", "rayorch cost last --by", by)
    since = since_of(options.since, at.clock.now_s())
    reader = HomeReader(at, keep=by == "task")
    machine = reader.look()
    accounts: Accounts | None = machine.accounts
    runs = list(machine.runs.values())
    tasks = None
    if options.run:
        run = find_run(at, machine, options.run)
        runs, accounts = [run], None
        tasks = tasks_of(reader.events, run.id) if by == "task" else None
    elif by != "day":
        runs = [run for run in runs if run.submitted_s >= since]
    rows = cost_rows(runs, by, accounts, tasks, day_of(since))
    if options.as_json:
        print_document(_document(by, rows, accounts))
        return Exit.OK
    if not rows:
        click.echo(f"nothing was charged yet under {at.home.url}", err=True)
        return Exit.OK
    shown = limited(rows, options.limit)
    print_table(*_table(by, [*shown, total_of(rows)] if len(rows) > 1 else shown))
    for line in _notes(rows, accounts):
        click.echo(line, err=True)
    return Exit.OK


def since_of(text: str | None, now_s: float) -> float:
    """Return the time that `12h`, `7d`, `2w` or a date means. Raises: OptionError."""
    if text is None:
        return 0.0
    match = _PAST.fullmatch(text.strip())
    if match:
        return max(0.0, now_s - timedelta(**{_UNITS[match[2]]: int(match[1])}).total_seconds())
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        problem = "it is a time ago (12h, 7d, 2w) or a date (2026-11-01)"
        raise OptionError(problem, "--since", text) from None
    return max(0.0, datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _table(by: str, rows: Sequence[CostRow]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return headings and rows: no column is there for what nothing was charged for."""
    columns: list[tuple[str, list[str]]] = [(by, [row.name for row in rows])]
    if any(row.core_s or row.other_core_s for row in rows):
        hours = [(row.core_s + row.other_core_s) / CORE_HOUR_S for row in rows]
        columns.append(("core h>", aligned(hours)))
    is_priced = any(row.known_usd for row in rows)
    for name, field in DOLLARS.items():
        amounts = [getattr(row, field) for row in rows]
        if field == "usd" or (is_priced and any(amounts)):
            columns.append((name, aligned(amounts)))
    for name, field in BYTES.items():
        sizes = [getattr(row, field) for row in rows]
        if any(sizes) and by in {"link", "run", "stage", "task"}:
            columns.append((name, [bytes_text(size) for size in sizes]))
    names, cells = zip(*columns, strict=True)
    return list(names), list(zip(*cells, strict=True))


def _notes(rows: Iterable[CostRow], accounts: Accounts | None) -> Iterable[str]:
    rows = list(rows)
    if any(not row.is_priced for row in rows):
        yield "unknown: no price is known; `rayorch run --pools FILE` gives prices"
    saved_usd = sum(row.saved_usd for row in rows)
    if saved_usd:
        yield f"the nodes' caches saved {usd_text(saved_usd)}"
    if accounts is not None and accounts.nodes:
        through_s = min(account.through_s for account in accounts.nodes.values())
        when = datetime.fromtimestamp(through_s, UTC).astimezone()
        yield f"nodes that are up are metered through {when:%Y-%m-%d %H:%M:%S}"


def _document(by: str, rows: list[CostRow], accounts: Accounts | None) -> dict[str, Any]:
    """Return a cost for programs; null dollars are not known. Units: USD, core hours, bytes."""
    total = total_of(rows)
    document: dict[str, Any] = {"by": by, "rows": [_row_document(row) for row in rows]}
    document["total"] = _row_document(total)
    if accounts is not None:
        document["nodes_usd"] = nodes_usd(accounts)
        document["nobody"] = NOBODY
    return document


def _row_document(row: CostRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "usd": row.usd,
        "known_usd": row.known_usd,
        "core_hours": row.core_s / CORE_HOUR_S,
        "other_core_hours": row.other_core_s / CORE_HOUR_S,
        "work_usd": row.work_usd,
        "other_usd": row.other_usd,
        "unused_usd": row.unused_usd,
        "wasted_usd": row.wasted_usd,
        "egress_usd": row.egress_usd,
        "request_usd": row.request_usd,
        "moved_bytes": row.moved_bytes,
        "cached_bytes": row.cached_bytes,
        "saved_usd": row.saved_usd,
    }
