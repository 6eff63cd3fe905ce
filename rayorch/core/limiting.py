"""What holds a run back: admission, quotas, and limits on what is outside of the cluster.

Units of an outside resource are held by runners, not by tasks: a runner works on one task at a
time, so what its queue uses is what its most demanding task does. A runner that is to get such a
task claims its units first (`UnitsTaken`, journaled), and gets the task when that is durable; so
the next leader counts what runners hold that it has not heard of yet. They are free again when the
runner has had no use for them for a while, or is known to have ended.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from rayorch.core import ledger
from rayorch.core.book import Book
from rayorch.core.commands import Command, MakePlan, Record
from rayorch.core.facts import Event
from rayorch.core.leasing import RunnerSlot
from rayorch.core.limit_facts import PolicyApplied, RunAdmitted, RunBlocked, UnitsFreed, UnitsTaken
from rayorch.core.policy import RUNS_ALL_MAX
from rayorch.core.run import ACTIVE, Run, RunState
from rayorch.core.settling import drain
from rayorch.core.sharing import Party
from rayorch.core.values import ErrorInfo
from rayorch.ids import TenantId

UNUSED_S: Final = 2.0
"""How long a runner keeps units that it has no use for: a lease may still be on its way to it."""
QUOTA_S: Final = 1.0
"""Between two looks at what tenants have spent."""


# --- facts -----------------------------------------------------------------------------------


def policy_applied(book: Book, fact: PolicyApplied, _event: Event) -> Iterable[Command]:
    """Let a policy hold from now on; what is held beyond it is not taken away."""
    book.policy = fact.policy
    for party in book.parties.values():
        party.weight = fact.policy.of(party.id).weight
    return ()


def units_taken(book: Book, fact: UnitsTaken, _event: Event) -> Iterable[Command]:
    """Count what a runner holds."""
    claim = dict(fact.units)
    if book.claims.pop(fact.runner, None) is None:
        book.used.update(claim)  # A replay has not seen the claim.
    held = book.units.setdefault(fact.runner, {})
    for name, units in claim.items():
        held[name] = held.get(name, 0) + units
    return ()


def units_freed(book: Book, fact: UnitsFreed, _event: Event) -> Iterable[Command]:
    """Give back what a runner held."""
    book.used.subtract(book.units.pop(fact.runner, {}))
    book.unused_s.pop(fact.runner, None)
    book.ended.discard(fact.runner)
    return ()


def run_admitted(book: Book, fact: RunAdmitted, event: Event) -> Iterable[Command]:
    """Plan a run that has waited."""
    run = book.run(fact)
    book.admitting.discard(run.id)
    if run.state is RunState.QUEUED:
        book.enter(run, RunState.PLANNING, event)
        yield MakePlan(event.id, run.id)


def run_blocked(book: Book, fact: RunBlocked, event: Event) -> Iterable[Command]:
    """Hand out no more of a run whose tenant has used up a quota."""
    run = book.run(fact)
    book.blocking.discard(run.id)
    if run.state is RunState.RUNNING:
        run.error = fact.error
        yield from drain(book, run, RunState.BLOCKED, event)


# --- admission -------------------------------------------------------------------------------


def begin(book: Book, run: Run, event: Event) -> Iterable[Command]:
    """Plan a run, or let it wait for others to end."""
    run.state = RunState.QUEUED
    if _has_room(book, run.tenant):
        book.enter(run, RunState.PLANNING, event)
        yield MakePlan(event.id, run.id)


def admit(book: Book, event: Event) -> Iterable[Command]:
    """Plan the runs for which there is room now: most urgent first, then the oldest."""
    queued = [run for run in book.runs.values() if run.state is RunState.QUEUED]
    queued.sort(key=lambda run: -run.priority)
    tenants: dict[TenantId, Run] = {}
    for run in queued:
        tenants.setdefault(run.tenant, run)
    # One at a time: the next tick counts it.
    for run in tenants.values():
        if run.id not in book.admitting and _has_room(book, run.tenant):
            book.admitting.add(run.id)
            yield Record(event.id, RunAdmitted(run.id))


def _has_room(book: Book, tenant: TenantId) -> bool:
    # Not those that drain: to a replay they have ended, and it must decide alike.
    at_work = [run for run in book.runs.values() if _is_at_work(run)]
    own = sum(run.tenant == tenant for run in at_work)
    return own < book.policy.of(tenant).runs and (len(at_work) < RUNS_ALL_MAX or not own)


def _is_at_work(run: Run) -> bool:
    return run.state in ACTIVE and run.state is not RunState.QUEUED and run.target is None


# --- quotas ----------------------------------------------------------------------------------


def may_grow(book: Book, party: Party, slot: RunnerSlot) -> bool:
    """Say whether a tenant may hold one more runner."""
    policy = book.policy.of(party.id)
    if policy.slots and party.slots >= policy.slots:
        return False
    return not policy.memory_bytes or party.memory_bytes + slot.memory_bytes <= policy.memory_bytes


def block_spent(book: Book, event: Event) -> Iterable[Command]:
    """Block the runs whose tenant has spent all that it may."""
    if event.at_s < book.quota_due_s:
        return
    book.quota_due_s = event.at_s + QUOTA_S
    for run in book.runs.values():
        if run.state is not RunState.RUNNING or run.target is not None:
            continue
        policy = book.policy.of(run.tenant)
        if policy.usd is None:
            continue
        spent_usd = spent_of(book, run.tenant, run.submitted_s)
        if spent_usd >= policy.usd:
            message = (
                f"tenant {run.tenant!r} has spent its quota of the {policy.usd_per}. "
                f"spent_usd={spent_usd:.2f}, quota_usd={policy.usd:.2f}"
            )
            remedy = "raise usd in the policy (`rayorch tenants apply FILE`), then resume the run"
            book.blocking.add(run.id)
            yield Record(event.id, RunBlocked(run.id, "quota", ErrorInfo(message, remedy=remedy)))


def spent_of(book: Book, tenant: TenantId, at_s: float) -> float:
    """Return what a tenant's runs have cost that were submitted in the same period as a time."""
    per = book.policy.of(tenant).usd_per
    period = _period(at_s, per)
    return sum(
        ledger.spent_usd(run)
        for run in book.runs.values()
        if run.tenant == tenant and _period(run.submitted_s, per) == period
    )


def _period(at_s: float, per: str) -> tuple[int, int, int]:
    at = datetime.fromtimestamp(at_s, UTC)
    return at.year, at.month, at.day if per == "day" else 0


# --- outside resources -----------------------------------------------------------------------


def may_use(book: Book, slot: RunnerSlot, uses: tuple[tuple[str, int], ...]) -> bool:
    """Say whether a runner holds what a task would use."""
    held = book.units.get(slot.id, {})
    return all(held.get(name, 0) >= units for name, units in uses)


def claim(
    book: Book, slot: RunnerSlot, uses: tuple[tuple[str, int], ...], event: Event
) -> Iterable[Command]:
    """Ask for the rest of what a task would use, if there is as much left."""
    held = book.units.get(slot.id, {})
    lacking = tuple((n, units - held.get(n, 0)) for n, units in uses if units > held.get(n, 0))
    for name, units in lacking:
        limit = book.policy.limit_of(name)
        if limit is not None and book.used[name] + units > limit:
            return
    book.claims[slot.id] = lacking
    book.used.update(dict(lacking))
    yield Record(event.id, UnitsTaken(slot.id, lacking))


def free_unused(book: Book, event: Event) -> Iterable[Command]:
    """Free what runners hold that have ended, or have had no use for it for a while."""
    for runner in list(book.units):
        slot = book.runners.get(runner)
        if runner in book.ended:
            book.ended.discard(runner)
            yield Record(event.id, UnitsFreed(runner))
        elif slot is None or slot.dying or slot.strange_s is not None or _uses_any(book, slot):
            # One that is not here may still be at work; one that is being ended, too.
            book.unused_s.pop(runner, None)
        elif event.at_s - book.unused_s.setdefault(runner, event.at_s) >= UNUSED_S:
            book.unused_s[runner] = event.at_s
            yield Record(event.id, UnitsFreed(runner))


def _uses_any(book: Book, slot: RunnerSlot) -> bool:
    leases = slot.queue.values()
    return any(book.runs[lease.run].stages[lease.stage].uses for lease in leases)
