"""Who shares a home: what each tenant may have and has, and what waits for what, by the journal."""

from collections import Counter

import msgspec

from rayorch.core.limiting import spent_of
from rayorch.core.machine import Machine
from rayorch.core.run import ACTIVE, RunState
from rayorch.ids import TenantId
from rayorch.observe.waits import WaitView, wait_of


class TenantView(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant. Units: bytes, USD of the current period."""

    name: str
    weight: float
    slots_max: int | None
    memory_bytes_max: int | None
    usd_max: float | None
    usd_per: str
    runs_max: int
    spent_usd: float
    at_work: int
    queued: int
    blocked: int


class LimitView(msgspec.Struct, frozen=True, kw_only=True):
    """One outside resource."""

    name: str
    units: int
    held: int


class TenantsView(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    tenants: tuple[TenantView, ...]
    limits: tuple[LimitView, ...]
    waits: tuple[WaitView, ...]


def tenants_of(machine: Machine, now_s: float) -> TenantsView:
    """Return who shares a home."""
    book = machine.book
    held: Counter[str] = Counter()
    for units in book.units.values():
        held.update(units)
    names = {each.name for each in book.policy.tenants} | {r.tenant for r in machine.runs.values()}
    limits = tuple(
        LimitView(name=each.name, units=each.units, held=held[each.name])
        for each in book.policy.limits
    )
    waits = [wait for run in machine.runs.values() if (wait := wait_of(machine, run)) is not None]
    return TenantsView(
        tenants=tuple(_tenant(machine, name, now_s) for name in sorted(names)),
        limits=limits,
        waits=tuple(waits),
    )


def _tenant(machine: Machine, name: TenantId, now_s: float) -> TenantView:
    policy = machine.book.policy.of(name)
    states = Counter(run.state for run in machine.runs.values() if run.tenant == name)
    return TenantView(
        name=name,
        weight=policy.weight,
        slots_max=policy.slots or None,
        memory_bytes_max=policy.memory_bytes or None,
        usd_max=policy.usd,
        usd_per=policy.usd_per,
        runs_max=policy.runs,
        spent_usd=spent_of(machine.book, name, now_s),
        at_work=sum(states[state] for state in ACTIVE - {RunState.QUEUED}),
        queued=states[RunState.QUEUED],
        blocked=states[RunState.BLOCKED],
    )
