"""What a run has cost, folded from its attempts: core seconds, bytes moved, requests, dollars.

An attempt is charged when it ends, however it ends: with the price that its pool had then. Work
that came to nothing (failed, lost, a second commit of one task) is charged, too, and told apart.

What its nodes cost besides (their start, their waiting, cores that no runner had) is metered node
by node (`accounts`): the difference between what a run paid for its nodes and what its attempts
took is shared by all of its work on them.
"""

from dataclasses import dataclass
from typing import Final

from rayorch.core.accounts import NANO, day_of, whole
from rayorch.core.book import Book
from rayorch.core.facts import AttemptFailed, AttemptFinished, AttemptLost
from rayorch.core.node_facts import PoolIdled
from rayorch.core.placed import Charged, LinkSpent, PoolPrice, Spent
from rayorch.core.run import ACTIVE, Run
from rayorch.core.values import AttemptOutput
from rayorch.ids import TaskId

GB: Final = 1e9
CORE_HOUR_S: Final = 3600.0
IDLE: Final = -1
"""In the place of a stage: what runners waited, in journals of before nodes were metered."""


def charge(book: Book, run: Run, fact: AttemptFinished, at_s: float, *, useful: bool) -> None:
    """Charge an attempt that staged its output; it is not `useful` when another came first."""
    before = _charged(run, fact) if run.charged else None
    if before is not None and before.ended:
        return  # The same report again.
    output = fact.output
    stage = run.tasks[fact.task].stage
    spent, price = _spent(run, stage, fact.pool), price_of(book, run, fact.pool)
    if before is not None:
        # It was presumed lost and charged as such: what it really took replaces that.
        spent.attempts -= 1
        _add_core_s(spent, price, -before.core_s, useful=False, lost=True)
    core_s = output.seconds.total_s * run.stages[stage].cores
    spent.attempts += 1
    if _has_moved(output):
        _add_moved(book, run, fact, spent, price, at_s)
    _add_core_s(spent, price, core_s, useful=useful)
    if before is not None or not useful:
        _note(run, fact.task, Charged(fact.epoch, fact.attempt, core_s, ended=True))


def charge_failed(book: Book, run: Run, fact: AttemptFailed | AttemptLost) -> None:
    """Charge an attempt that came to nothing, once."""
    if _charged(run, fact) is not None:
        return
    stage = run.tasks[fact.task].stage
    spent = _spent(run, stage, fact.pool)
    core_s = fact.duration_s * run.stages[stage].cores
    spent.attempts += 1
    ended = isinstance(fact, AttemptFailed)
    _add_core_s(spent, price_of(book, run, fact.pool), core_s, useful=False, lost=not ended)
    _note(run, fact.task, Charged(fact.epoch, fact.attempt, core_s, ended=ended))


def charge_idle(book: Book, run: Run, fact: PoolIdled) -> None:
    """Charge runners that waited for the run."""
    spent = _spent(run, IDLE, fact.pool)
    _add_core_s(spent, price_of(book, run, fact.pool), fact.core_s, useful=False)


@dataclass(frozen=True, slots=True)
class PoolSpent:
    """What a run took of one pool: its attempts' work, and what its nodes cost besides.

    Units: cores times seconds; USD. `usd_core_s` is what its work is reckoned with where its
    attempts do not say: they ended before a price was known, or say more than was paid.
    """

    core_s: float
    usd: float
    other_core_s: float
    other_usd: float
    usd_core_s: float | None
    is_priced: bool

    def usd_of(self, core_s: float, usd: float) -> float:
        """Return what a part of the work cost."""
        return usd if self.usd_core_s is None else core_s * self.usd_core_s


def pools_spent(run: Run) -> dict[str, PoolSpent]:
    """Return what a run took of each pool: of one that is metered, all that it paid for its nodes.

    Readings come now and then, so that of a run that goes on the work may be ahead of them.
    """
    work: dict[str, Spent] = {}
    for stage, pools in run.ledger.items():
        for pool, spent in pools.items() if stage != IDLE else ():
            known = work.setdefault(pool, Spent())
            known.core_s += spent.core_s
            known.compute_usd += spent.compute_usd
            known.is_priced = known.is_priced and spent.is_priced
    names = dict.fromkeys([*work, *run.paid, *run.ledger.get(IDLE, {})])
    return {pool: _pool_spent(run, work.get(pool, Spent()), pool) for pool in names}


def _pool_spent(run: Run, work: Spent, pool: str) -> PoolSpent:
    if pool not in run.paid:
        waited = run.ledger.get(IDLE, {}).get(pool, Spent())
        is_priced = work.is_priced and waited.is_priced
        usd, other_usd = work.compute_usd, waited.compute_usd if is_priced else 0.0
        return PoolSpent(work.core_s, usd, waited.core_s, other_usd, None, is_priced)
    paid = whole(run.paid.get(pool, {}))
    paid_usd, is_paid = paid.nano_usd / NANO, paid.core_s > 0.0 and not paid.unpriced_core_s
    usd, rate = work.compute_usd, None
    if is_paid and not work.is_priced:
        rate = paid_usd / max(paid.core_s, work.core_s)
    elif is_paid and run.state not in ACTIVE and paid_usd < usd:
        rate = paid_usd / work.core_s
    if rate is not None:
        usd = rate * work.core_s
    is_priced = is_paid or (work.is_priced and not paid.unpriced_core_s)
    return PoolSpent(
        core_s=work.core_s,
        usd=usd,
        other_core_s=max(0.0, paid.core_s - work.core_s),
        other_usd=max(0.0, paid_usd - usd) if is_priced else 0.0,
        usd_core_s=rate,
        is_priced=is_priced,
    )


def spent_usd(run: Run) -> float:
    """Return the dollars so far, of what has a price."""
    every = (spent for pools in run.ledger.values() for spent in pools.values())
    asked_usd = sum(each.egress_usd + each.request_usd for each in every)
    return asked_usd + sum(each.usd + each.other_usd for each in pools_spent(run).values())


def price_of(book: Book, run: Run, pool: str) -> PoolPrice:
    """Return what a pool costs: by the run's own placement, else as it was last known."""
    own = None
    for each in run.placement.prices if run.placement is not None else ():
        if each.pool == pool:
            own = each
            break
    if own is not None and own.usd_core_h is not None:
        return own
    return book.accounts.prices.get(pool) or own or PoolPrice(pool)


def _add_moved(
    book: Book, run: Run, fact: AttemptFinished, spent: Spent, price: PoolPrice, at_s: float
) -> None:
    """Charge what an attempt read and asked for, and count it to the link that it came over."""
    output = fact.output
    source = _source(book, run, fact.task, price)
    usd_gb = price.egress_from(source)
    egress_usd = output.moved_bytes / GB * usd_gb
    request_usd = output.gets * price.get_usd + output.puts * price.put_usd
    spent.moved_bytes += output.moved_bytes
    spent.gets += output.gets
    spent.puts += output.puts
    if egress_usd or request_usd:
        spent.egress_usd += egress_usd
        spent.request_usd += request_usd
        day = day_of(at_s)
        run.asked_usd[day] = run.asked_usd.get(day, 0.0) + egress_usd + request_usd
    if output.moved_bytes:
        link = _link(run, source, price)
        link.moved_bytes += output.moved_bytes
        link.egress_usd += egress_usd
    if output.cached_bytes or output.cached_gets:
        saved_usd = output.cached_bytes / GB * usd_gb
        spent.cached_bytes += output.cached_bytes
        spent.saved_usd += saved_usd + output.cached_gets * price.get_usd
        link = _link(run, source, price)
        link.cached_bytes += output.cached_bytes
        link.saved_usd += saved_usd


def _has_moved(output: AttemptOutput) -> bool:
    return bool(output.moved_bytes or output.cached_bytes or output.gets or output.puts)


def _source(book: Book, run: Run, task: TaskId, price: PoolPrice) -> str:
    """Return where a task's input lies, as far as its placement says."""
    if run.placement is None:
        return price.source
    number = book.flows[run.id].routes.class_of(task)
    if 0 <= number < len(run.placement.classes):
        return run.placement.classes[number].source or price.source
    return price.source


def _link(run: Run, source: str, price: PoolPrice) -> LinkSpent:
    for each in run.links:
        if each.pool == price.pool and each.source == source and each.to == price.location:
            return each
    run.links.append(LinkSpent(source, price.location, price.pool))
    return run.links[-1]


def _spent(run: Run, stage: int, pool: str) -> Spent:
    pools = run.ledger.get(stage)
    if pools is None:
        pools = run.ledger[stage] = {}
    spent = pools.get(pool)
    if spent is None:
        spent = pools[pool] = Spent()
    return spent


def _charged(run: Run, fact: AttemptFinished | AttemptFailed | AttemptLost) -> Charged | None:
    """Return the charge of this attempt, unless it is the one that was committed."""
    some = run.charged.get(fact.task)
    if some is None:
        return None
    name = (fact.epoch, fact.attempt)
    return next((each for each in some if (each.epoch, each.attempt) == name), None)


def _note(run: Run, task: TaskId, charged: Charged) -> None:
    name = (charged.epoch, charged.attempt)
    some = run.charged.get(task, ())
    run.charged[task] = (*(e for e in some if (e.epoch, e.attempt) != name), charged)


def _add_core_s(
    spent: Spent, price: PoolPrice, core_s: float, *, useful: bool, lost: bool = False
) -> None:
    spent.core_s += core_s
    usd = core_s / CORE_HOUR_S * (price.usd_core_h or 0.0)
    if price.usd_core_h is not None:
        spent.compute_usd += usd
    elif spent.is_priced:
        spent.is_priced = False
    if not useful:
        spent.wasted_core_s += core_s
        spent.wasted_usd += usd
    if lost:
        spent.lost_core_s += core_s
        spent.lost_usd += usd
