"""What runs cost, cut by any of their sides: run, stage, output, tenant, pool, task, day, link.

However it is cut, the rows add up to the same: what the runs' nodes cost, egress, requests, and,
of a whole home, the node time that nobody used.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from rayorch.core.accounts import DAY_S, EARLIER, NANO, Accounts, day_of, whole
from rayorch.core.ledger import IDLE, PoolSpent, pools_spent
from rayorch.core.placed import LinkSpent, Paid, Spent
from rayorch.core.run import Run
from rayorch.observe.cost import datasets_of, summed
from rayorch.observe.outcome import TaskCost

NOBODY: Final = "(nobody)"
"""Node time that no run paid for."""
UNPUBLISHED: Final = "(not published)"
NO_ATTEMPT: Final = "(no attempt ended)"
ELSEWHERE: Final = "(unknown)"
OTHERS: Final = "others"
OLDER: Final = "(older than the journal tells)"


class CostRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one thing cost. Units: cores times seconds, bytes, USD.

    `other` is what nodes cost besides the work: their start, their waiting, cores without a runner.
    `wasted` is a part of the work. `saved` is not among the cost. Where `is_priced` is false some
    price is not known, and the dollars are those that are.
    """

    name: str
    core_s: float = 0.0
    other_core_s: float = 0.0
    work_usd: float = 0.0
    other_usd: float = 0.0
    wasted_usd: float = 0.0
    egress_usd: float = 0.0
    request_usd: float = 0.0
    unused_usd: float = 0.0
    moved_bytes: int = 0
    cached_bytes: int = 0
    saved_usd: float = 0.0
    is_priced: bool = True

    @property
    def known_usd(self) -> float:
        """Dollars of what has a price."""
        paid_usd = self.work_usd + self.other_usd + self.unused_usd
        return paid_usd + self.egress_usd + self.request_usd

    @property
    def usd(self) -> float | None:
        """All dollars; None where a price is not known."""
        return self.known_usd if self.is_priced else None


class _Cell(msgspec.Struct, frozen=True):
    """One stage of one run on one pool."""

    run: Run
    stage: str
    pool: str
    row: CostRow


def cost_rows(
    runs: Iterable[Run],
    by: str,
    accounts: Accounts | None = None,
    tasks: Mapping[int, TaskCost] | None = None,
    since_day: int = 0,
) -> list[CostRow]:
    """Return what runs cost by one of their sides, the dearest first; days and tasks in order.

    `accounts` are those of a whole home: with them comes what nobody paid for, since a day. `tasks`
    has what the attempts of the one run were charged, where that is asked for.
    """
    runs = list(runs)
    rows = _joined(_ROWS[by](runs, tasks or {}, since_day))
    if by != "link" and accounts is not None:
        rows = _joined([*rows.values(), *_unused(accounts, by, since_day)])
    if by in {"day", "task"}:
        return list(rows.values()) if by == "task" else [rows[day] for day in sorted(rows)]
    return sorted(rows.values(), key=lambda row: (-row.known_usd, -row.core_s, row.name))


def limited(rows: list[CostRow], count: int) -> list[CostRow]:
    """Return the first rows; what the others cost is one more, so that the sum stays."""
    if len(rows) <= count:
        return rows
    rest = total_of(rows[count:])
    name = f"({len(rows) - count} {OTHERS})"
    return [*rows[:count], msgspec.structs.replace(rest, name=name)]


def total_of(rows: Iterable[CostRow], name: str = "all") -> CostRow:
    """Return the sum of some rows."""
    total = CostRow(name)
    for row in rows:
        total = _added(total, row)
    return total


# --- the sides ------------------------------------------------------------------------------------


def _cells(run: Run) -> Iterator[_Cell]:
    """Yield a run by stage and pool; of what nodes cost besides, each stage has its part."""
    pools = pools_spent(run)
    for stage, some in run.ledger.items():
        for pool, spent in some.items() if stage != IDLE else ():
            part = spent.core_s / pools[pool].core_s if pools[pool].core_s else 0.0
            yield _Cell(run, run.stages[stage].name, pool, _row(spent, pools[pool], part))
    for pool, spent_there in pools.items():
        if not spent_there.core_s:
            row = CostRow(
                "",
                other_core_s=spent_there.other_core_s,
                other_usd=spent_there.other_usd,
                is_priced=spent_there.is_priced,
            )
            yield _Cell(run, NO_ATTEMPT, pool, row)


def _row(spent: Spent, there: PoolSpent, part: float) -> CostRow:
    return CostRow(
        "",
        core_s=spent.core_s,
        other_core_s=part * there.other_core_s,
        work_usd=there.usd_of(spent.core_s, spent.compute_usd),
        other_usd=part * there.other_usd,
        wasted_usd=there.usd_of(spent.wasted_core_s, spent.wasted_usd),
        egress_usd=spent.egress_usd,
        request_usd=spent.request_usd,
        moved_bytes=spent.moved_bytes,
        cached_bytes=spent.cached_bytes,
        saved_usd=spent.saved_usd,
        is_priced=there.is_priced,
    )


Rows = Iterator[CostRow]
Tasks = Mapping[int, TaskCost]


def _by_cell(name_of: Callable[[_Cell], str]) -> Callable[[list[Run], Tasks, int], Rows]:
    def rows(runs: list[Run], _tasks: Tasks, _since: int) -> Rows:
        for run in runs:
            for cell in _cells(run):
                yield _named(cell.row, name_of(cell))

    return rows


def _by_dataset(runs: list[Run], _tasks: Tasks, _since: int) -> Rows:
    for run in runs:
        row = total_of(cell.row for cell in _cells(run))
        outputs = list(datasets_of(run))
        if not outputs:
            yield _named(row, UNPUBLISHED)
            continue
        weights = [each.usd or each.core_s for each in outputs]
        known = sum(weights)
        for each, weight in zip(outputs, weights, strict=True):
            share = weight / known if known else 1.0 / len(outputs)
            yield _named(_part(row, share), each.url)


def _by_day(runs: list[Run], _tasks: Tasks, since_day: int) -> Rows:
    """Yield node time on the days on which it was metered, the rest when it was asked for."""
    for run in runs:
        for row in _days_of(run):
            if row.name >= _day_text(since_day):
                yield row


def _days_of(run: Run) -> Rows:
    asked_usd = 0.0
    for day, usd in run.asked_usd.items():
        asked_usd += usd
        yield CostRow(_day_text(day), egress_usd=usd)
    for pool, there in pools_spent(run).items():
        days = run.paid.get(pool, {})
        total = whole(days)
        for day, paid in days.items():
            share = paid.core_s / total.core_s if total.core_s else 1.0 / len(days)
            yield _part(_pool_row(there, _day_text(day)), share)
        if not days:
            yield _pool_row(there, _day_text(day_of(run.submitted_s)))


def _pool_row(there: PoolSpent, name: str) -> CostRow:
    return CostRow(
        name,
        core_s=there.core_s,
        other_core_s=there.other_core_s,
        work_usd=there.usd,
        other_usd=there.other_usd,
        is_priced=there.is_priced,
    )


def _by_link(runs: list[Run], _tasks: Tasks, _since: int) -> Rows:
    for run in runs:
        for link in run.links:
            yield CostRow(
                link_text(link),
                egress_usd=link.egress_usd,
                moved_bytes=link.moved_bytes,
                cached_bytes=link.cached_bytes,
                saved_usd=link.saved_usd,
            )


def link_text(link: LinkSpent) -> str:
    """Return the two ends of a link; a pool stands for its place where that is not known."""
    return f"{link.source or ELSEWHERE} -> {link.to or link.pool or ELSEWHERE}"


def _by_task(runs: list[Run], tasks: Tasks, _since: int) -> Rows:
    """Yield the tasks of one run, with their parts of what its nodes cost besides."""
    (run,) = runs
    left = total_of(cell.row for cell in _cells(run))
    pools = pools_spent(run)
    for number, cost in sorted(tasks.items()):
        row = CostRow(f"{run.stages[run.tasks[number].stage].name} {number}")
        for pool, spent in cost.pools.items():
            part = spent.core_s / pools[pool].core_s if pools[pool].core_s else 0.0
            row = _added(row, _row(spent, pools[pool], part))
        left = _added(left, row, -1)
        yield row
    if left.core_s > 1e-6 * (total_of([left]).core_s + 1.0):
        yield _named(left, OLDER)


_ROWS: Final[Mapping[str, Callable[[list[Run], Tasks, int], Rows]]] = {
    "run": _by_cell(lambda cell: cell.run.id),
    "stage": _by_cell(lambda cell: f"{cell.run.pipeline}.{cell.stage}"),
    "dataset": _by_dataset,
    "tenant": _by_cell(lambda cell: cell.run.tenant),
    "pool": _by_cell(lambda cell: cell.pool or ELSEWHERE),
    "task": _by_task,
    "day": _by_day,
    "link": _by_link,
}
SIDES: Final = tuple(_ROWS)


def _unused(accounts: Accounts, by: str, since_day: int) -> Rows:
    """Yield the node time that nobody paid for, that of nodes that still wait for a user too."""
    for pool, days in accounts.unassigned.items():
        for day, paid in days.items():
            if day >= since_day or (day == EARLIER and not since_day):
                yield _unused_row(paid, by, pool, day)
    for account in accounts.nodes.values():
        if account.early.core_s or account.early.nano_usd:
            yield _unused_row(account.early, by, account.pool, day_of(account.through_s))


def _unused_row(paid: Paid, by: str, pool: str, day: int) -> CostRow:
    name = {"pool": pool, "day": _day_text(day)}.get(by, NOBODY)
    return CostRow(
        name,
        other_core_s=paid.core_s,
        unused_usd=paid.nano_usd / NANO,
        is_priced=not paid.unpriced_core_s,
    )


def _day_text(day: int) -> str:
    return f"{datetime.fromtimestamp(day * DAY_S, UTC):%Y-%m-%d}"


# --- adding up ------------------------------------------------------------------------------------


def _joined(rows: Iterable[CostRow]) -> dict[str, CostRow]:
    found: dict[str, CostRow] = {}
    for row in rows:
        before = found.get(row.name)
        found[row.name] = row if before is None else _added(before, row)
    return found


def _named(row: CostRow, name: str) -> CostRow:
    return msgspec.structs.replace(row, name=name)


_AMOUNTS: Final = tuple(
    name for name in CostRow.__struct_fields__ if name not in {"name", "is_priced"}
)


def _added(one: CostRow, other: CostRow, sign: int = 1) -> CostRow:
    sums = {name: getattr(one, name) + sign * getattr(other, name) for name in _AMOUNTS}
    return CostRow(one.name, is_priced=one.is_priced and other.is_priced, **sums)


def _part(row: CostRow, share: float) -> CostRow:
    parts = {name: getattr(row, name) * share for name in _AMOUNTS}
    return CostRow(row.name, is_priced=row.is_priced, **parts)


def nodes_usd(accounts: Accounts) -> float | None:
    """Return what all nodes of a home cost, whoever pays; None where a price is not known."""
    known = (
        None if paid.unpriced_core_s else paid.nano_usd / NANO for paid in accounts.billed.values()
    )
    return summed(known)
