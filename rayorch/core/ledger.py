"""What a run has cost, folded from its attempts: core seconds, bytes moved, requests, dollars.

An attempt is charged when it ends, however it ends: with the price that its pool had then. Work
that came to nothing (failed, lost, a second commit of one task) is charged, too, and told apart.
"""

from collections.abc import Iterable
from typing import Final

from rayorch.core.commands import Record
from rayorch.core.facts import AttemptFailed, AttemptFinished, AttemptLost, PoolIdled
from rayorch.core.placed import Charged, PoolPrice, Spent
from rayorch.core.run import Flow, Run
from rayorch.ids import EventId, TaskId

GB: Final = 1e9
CORE_HOUR_S: Final = 3600.0
IDLE_CORE_S_MIN: Final = 1.0
"""What is not worth a record of its own in the journal."""
IDLE: Final = -1
"""In the place of a stage: runners that waited."""


def charge(run: Run, fact: AttemptFinished, *, useful: bool) -> None:
    """Charge an attempt that staged its output; it is not `useful` when another came first."""
    before = _charged(run, fact)
    if before is not None and before.ended:
        return  # The same report again.
    output = fact.output
    stage = run.tasks[fact.task].stage
    spent, price = _spent(run, stage, fact.pool), _price(run, fact.pool)
    if before is not None:
        # It was presumed lost and charged as such: what it really took replaces that.
        spent.attempts -= 1
        _add_core_s(spent, price, -before.core_s, useful=False)
    core_s = output.seconds.total_s * run.stages[stage].cores
    spent.attempts += 1
    spent.moved_bytes += output.moved_bytes
    spent.gets += output.gets
    spent.puts += output.puts
    spent.egress_usd += output.moved_bytes / GB * price.egress_usd_gb
    spent.request_usd += output.gets * price.get_usd + output.puts * price.put_usd
    _add_core_s(spent, price, core_s, useful=useful)
    if before is not None or not useful:
        _note(run, fact.task, Charged(fact.epoch, fact.attempt, core_s, ended=True))


def charge_failed(run: Run, fact: AttemptFailed | AttemptLost) -> None:
    """Charge an attempt that came to nothing, once."""
    if _charged(run, fact) is not None:
        return
    stage = run.tasks[fact.task].stage
    spent = _spent(run, stage, fact.pool)
    core_s = fact.duration_s * run.stages[stage].cores
    spent.attempts += 1
    _add_core_s(spent, _price(run, fact.pool), core_s, useful=False)
    ended = isinstance(fact, AttemptFailed)
    _note(run, fact.task, Charged(fact.epoch, fact.attempt, core_s, ended=ended))


def charge_idle(run: Run, fact: PoolIdled) -> None:
    """Charge runners that waited for the run."""
    spent = _spent(run, IDLE, fact.pool)
    _add_core_s(spent, _price(run, fact.pool), fact.core_s, useful=False)


def settle_idle(run: Run, flow: Flow, cause: EventId) -> Iterable[Record]:
    """Ask for what the run's runners waited so far to be journaled, if it has a plan to compare."""
    idle, flow.idle = flow.idle, {}
    for pool, core_s in sorted(idle.items()):
        if run.placement is not None and core_s >= IDLE_CORE_S_MIN:
            yield Record(cause, PoolIdled(run.id, pool, core_s))


def spent_usd(run: Run) -> float:
    """Return the dollars so far, of what has a price."""
    every = (spent for pools in run.ledger.values() for spent in pools.values())
    return sum(each.compute_usd + each.egress_usd + each.request_usd for each in every)


def _spent(run: Run, stage: int, pool: str) -> Spent:
    return run.ledger.setdefault(stage, {}).setdefault(pool, Spent())


def _charged(run: Run, fact: AttemptFinished | AttemptFailed | AttemptLost) -> Charged | None:
    """Return the charge of this attempt, unless it is the one that was committed."""
    name = (fact.epoch, fact.attempt)
    some = run.charged.get(fact.task, ())
    return next((each for each in some if (each.epoch, each.attempt) == name), None)


def _note(run: Run, task: TaskId, charged: Charged) -> None:
    name = (charged.epoch, charged.attempt)
    some = run.charged.get(task, ())
    run.charged[task] = (*(e for e in some if (e.epoch, e.attempt) != name), charged)


def _price(run: Run, pool: str) -> PoolPrice:
    prices = run.placement.prices if run.placement is not None else ()
    return next((each for each in prices if each.pool == pool), PoolPrice(pool))


def _add_core_s(spent: Spent, price: PoolPrice, core_s: float, *, useful: bool) -> None:
    spent.core_s += core_s
    spent.is_priced = spent.is_priced and price.usd_core_h is not None
    usd = core_s / CORE_HOUR_S * (price.usd_core_h or 0.0)
    spent.compute_usd += usd
    if not useful:
        spent.wasted_core_s += core_s
        spent.wasted_usd += usd
