"""What nodes cost, and who pays for it: folded from their metered windows, to the billionth.

    a window of a node ---> runs that used it, by their seconds ---> `Run.paid`
                       ---> what nobody used: nobody's (`Accounts.unassigned`)

Before its first use a node waits for whoever comes: that time is paid by its first users. When it
is gone, what its provider bills beyond the time that it was up is shared by all who used it. So
what runs pay and what nobody pays is what the nodes cost, whatever happened.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from rayorch.core.placed import NodeWindow, Paid, PoolPrice
from rayorch.ids import NodeId, RunId

NANO: Final = 1_000_000_000
HOUR_S: Final = 3600.0
DAY_S: Final = 86_400.0
DAYS_KEPT_MAX: Final = 400
"""Of node time that nobody used; what is older is one sum."""
USED_MAX: Final = 100
"""Runs among which the last bill of a node is shared: the newest that it had."""
EARLIER: Final = 0
"""In the place of a day: all that is older."""

ByDay = dict[int, Paid]
PaidBy = Mapping[RunId, dict[str, ByDay]]
"""Where the node time of each run is kept: pool -> day -> paid."""


class NodeAccount(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """One node that is up. Seconds of `used` are those that runs paid for, all its life."""

    pool: str
    cores: float
    opened_s: float
    through_s: float
    used: dict[RunId, float] = {}
    payers: tuple[RunId, ...] = ()  # of the newest window
    early: Paid = msgspec.field(default_factory=Paid)  # before the first use


class Accounts(msgspec.Struct, forbid_unknown_fields=True):
    """The accounts of a home: nodes that are up, what nobody paid for, and what all of it cost.

    Bounded: by the nodes that are up, by pools, and by `DAYS_KEPT_MAX`.
    """

    nodes: dict[NodeId, NodeAccount] = {}
    unassigned: dict[str, ByDay] = {}  # pool -> day
    billed: dict[str, Paid] = {}  # pool -> all that its nodes cost, whoever pays
    prices: dict[str, PoolPrice] = {}  # pool -> the newest that is known


def note_prices(accounts: Accounts, prices: Iterable[PoolPrice]) -> None:
    """Remember what pools cost, for nodes that no run's placement speaks of."""
    for price in prices:
        if price.usd_core_h is not None:
            accounts.prices[price.pool] = price


def enter(accounts: Accounts, paid: PaidBy, window: NodeWindow) -> None:
    """Add what a node cost in a window to those who pay for it.

    `paid` holds the runs that are known; what others used is nobody's.
    """
    account = accounts.nodes.get(window.node)
    if account is None:
        account = accounts.nodes[window.node] = NodeAccount(
            window.pool, window.cores, window.from_s, window.from_s
        )
    if window.usd_h is not None and window.cores and window.pool not in accounts.prices:
        # A node said it of itself; attempts of its pool are charged by it, too.
        usd_core_h = window.usd_h / window.cores
        accounts.prices[window.pool] = PoolPrice(window.pool, usd_core_h)
    whole_s = window.to_s - window.from_s
    # Invariant: a second of a node is paid for once, whoever metered it.
    counted_s = window.to_s - max(window.from_s, account.through_s)
    if counted_s > 0.0:
        part = counted_s / whole_s
        used = {run: part * s for run, s in window.used if run in paid and s > 0.0}
        _spend(accounts, paid, account, window, counted_s, used)
        account.through_s = window.to_s
        account.payers = tuple(used) or account.payers
    if window.closed:
        _close(accounts, paid, account, window)
        del accounts.nodes[window.node]


def close_all(accounts: Accounts, paid: PaidBy) -> None:
    """Let go of all nodes: their cluster is gone, and was last seen when they were metered."""
    for node, account in list(accounts.nodes.items()):
        price = accounts.prices.get(account.pool, PoolPrice(account.pool))
        enter(accounts, paid, closing(node, account, price))


def closing(node: NodeId, account: NodeAccount, price: PoolPrice) -> NodeWindow:
    """Return the window that ends an account where it was last metered."""
    at_s = account.through_s
    window = NodeWindow(node, account.pool, account.cores, at_s, at_s, closed=True)
    return priced(window, price)


def priced(window: NodeWindow, price: PoolPrice) -> NodeWindow:
    """Return a window of a node at the price of its pool."""
    return replace(
        window,
        usd_h=None if price.usd_core_h is None else price.usd_core_h * window.cores,
        bill_s=price.bill_s,
        min_bill_s=price.min_bill_s,
    )


def whole(by_day: Mapping[int, Paid]) -> Paid:
    """Return what was paid on all days."""
    total = Paid()
    for each in by_day.values():
        total.add(each)
    return total


def day_of(at_s: float) -> int:
    """Return the number of a day, in UTC."""
    return int(at_s // DAY_S)


# --- one window -----------------------------------------------------------------------------------


def _spend(
    accounts: Accounts,
    paid: PaidBy,
    account: NodeAccount,
    window: NodeWindow,
    counted_s: float,
    used: Mapping[RunId, float],
) -> None:
    nano = _nano(window.usd_h, counted_s)
    core_s = counted_s * window.cores
    unpriced_s = core_s if window.usd_h is None else 0.0
    _billed(accounts, account.pool).add(Paid(core_s, nano, unpriced_s))
    day = day_of(window.to_s)
    rest_s = max(0.0, counted_s - sum(used.values()))
    *shares, rest = _split(Paid(core_s, nano, unpriced_s), [*used.values(), rest_s])
    if used and not account.used:
        # Its first users pay for its start, too, and for what of this window was before them.
        account.early.add(rest)
        early = _split(account.early, list(used.values()))
        account.early = rest = Paid()
        for share, more in zip(shares, early, strict=True):
            share.add(more)
    for run, share in zip(used, shares, strict=True):
        _on_day(paid[run].setdefault(account.pool, {}), day).add(share)
        account.used[run] = account.used.get(run, 0.0) + used[run]
    while len(account.used) > USED_MAX:
        del account.used[next(iter(account.used))]
    if account.used:
        _to_nobody(accounts, account.pool, day, rest)
    else:
        account.early.add(rest)


def _close(accounts: Accounts, paid: PaidBy, account: NodeAccount, window: NodeWindow) -> None:
    """Share out what is billed beyond the time that a node was up, and what nobody came for."""
    up_s = account.through_s - account.opened_s
    nano = _nano(window.usd_h, _billed_s(up_s, window) - up_s)
    day = day_of(account.through_s)
    _billed(accounts, account.pool).add(Paid(0.0, nano))
    if account.used:
        shares = _split(Paid(0.0, nano), list(account.used.values()))
        for run, share in zip(account.used, shares, strict=True):
            _on_day(paid[run].setdefault(account.pool, {}), day).add(share)
    else:
        account.early.add(Paid(0.0, nano))
        _to_nobody(accounts, account.pool, day, account.early)


def _billed_s(up_s: float, window: NodeWindow) -> float:
    # A hair over a whole number of units is a rounding error, not one more unit.
    units = math.ceil(up_s / window.bill_s - 1e-9) if window.bill_s else 0
    return max(up_s, window.min_bill_s, units * window.bill_s)


def _nano(usd_h: float | None, duration_s: float) -> int:
    return 0 if usd_h is None else round(usd_h * duration_s / HOUR_S * NANO)


def _split(whole_paid: Paid, weights: Sequence[float]) -> list[Paid]:
    """Divide in proportion; the billionths that are left go to the largest remainders."""
    total = sum(weights)
    if not total > 0.0:
        # Nobody in particular: the last takes it.
        return [*(Paid() for _ in weights[1:]), whole_paid]
    exact = [whole_paid.nano_usd * (weight / total) for weight in weights]
    nano = [math.floor(each) for each in exact]
    left = whole_paid.nano_usd - sum(nano)
    order = sorted(range(len(weights)), key=lambda at: (nano[at] - exact[at], at))
    for turn in range(abs(left)):
        nano[order[turn % len(order)]] += 1 if left > 0 else -1
    return [
        Paid(
            whole_paid.core_s * (weight / total),
            share,
            whole_paid.unpriced_core_s * (weight / total),
        )
        for weight, share in zip(weights, nano, strict=True)
    ]


def _on_day(by_day: ByDay, day: int) -> Paid:
    return by_day.setdefault(day, Paid())


def _billed(accounts: Accounts, pool: str) -> Paid:
    return accounts.billed.setdefault(pool, Paid())


def _to_nobody(accounts: Accounts, pool: str, day: int, paid: Paid) -> None:
    if not paid.core_s and not paid.nano_usd:
        return
    by_day = accounts.unassigned.setdefault(pool, {})
    _on_day(by_day, day).add(paid)
    while len(by_day) > DAYS_KEPT_MAX:
        oldest = min(each for each in by_day if each != EARLIER)
        _on_day(by_day, EARLIER).add(by_day.pop(oldest))
