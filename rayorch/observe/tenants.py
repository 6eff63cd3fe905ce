"""Who shares a home: what each tenant may have and has, and what waits for what, by the journal."""

from collections import Counter

import msgspec

from rayorch.core.limiting import spent_of
from rayorch.core.machine import Machine
from rayorch.core.run import ACTIVE, Run, RunState
from rayorch.core.task import OPEN
from rayorch.ids import RunId, TenantId


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


class WaitView(msgspec.Struct, frozen=True, kw_only=True):
    """A run that does not go on, and what it waits for."""

    run: RunId
    tenant: str
    cause: str  # quota, policy
    why: str


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


def wait_of(machine: Machine, run: Run) -> WaitView | None:
    """Return why a run does not go on, if a quota, a limit or the bound on runs is the cause."""
    book = machine.book
    cause, why = "", ""
    if run.state is RunState.QUEUED:
        runs = book.policy.of(run.tenant).runs
        cause, why = "policy", f"{runs} runs of {run.tenant} are worked on at once, or all there is"
    elif run.state is RunState.BLOCKED and run.error is not None:
        cause, why = "quota", run.error.message
    elif run.state is RunState.RUNNING:
        held: Counter[str] = Counter()
        for units in book.units.values():
            held.update(units)
        left = {run.stages[task.stage] for task in run.tasks if task.state in OPEN}
        for name, used in sorted({use for stage in left for use in stage.uses}):
            limit = book.policy.limit_of(name)
            if limit is not None and held[name] + used > limit:
                cause, why = "policy", f"{held[name]} of {limit} {name} are held"
    return WaitView(run=run.id, tenant=run.tenant, cause=cause, why=why) if cause else None
