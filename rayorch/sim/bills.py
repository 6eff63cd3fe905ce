"""What machines really cost, and what tenants may have: held against what the control plane says.

Machines live by the world's clock, events by that of the control actor's machine, which may be
hours ahead of the one before: such a leap counts to every machine that lives through it.
"""

from dataclasses import dataclass
from typing import Final

from rayorch.clock import Clock
from rayorch.core.accounts import HOUR_S, NANO
from rayorch.core.facts import Event, RunnerJoined, Ticked
from rayorch.core.limiting import QUOTA_S, spent_of
from rayorch.core.machine import Machine
from rayorch.core.node_facts import NodeLost, NodesMetered
from rayorch.core.run import RunState
from rayorch.errors import InvariantError
from rayorch.ids import NodeId, RunId, TenantId

LATE_S: Final = 1.0
"""From when a tenant's dollars are spent until its runs are looked at, beside `QUOTA_S`."""
LOOK_S: Final = 0.25
"""Between two sums of what tenants have spent."""


@dataclass(slots=True)
class _Life:
    """One machine. `ended_s` is when it was gone, `heard_s` when whoever leads knew."""

    pool: str
    cores: float
    began_s: float
    ended_s: float | None = None
    heard_s: float | None = None
    leaps_s: float = 0.0

    def most_s(self, now_s: float) -> float:
        """Return the seconds that may be billed of it at most."""
        until_s = now_s if self.heard_s is None else self.heard_s
        return until_s - self.began_s + self.leaps_s


class Bills:
    """The life of each machine, by the simulated world itself. `prices` are USD a core hour."""

    def __init__(self, clock: Clock, prices: dict[str, float]) -> None:
        self._clock = clock
        self._prices = prices
        self._lives: dict[NodeId, _Life] = {}
        self._ahead_s: float | None = None
        self._spent_s: dict[RunId, float] = {}
        self._spent_due_s = 0.0
        self._held: dict[TenantId, tuple[int, int]] = {}  # runners, bytes of their memory

    def began(self, node: NodeId, pool: str, cores: float) -> None:
        """Note that a machine is up."""
        self._lives[node] = _Life(pool, cores, self._clock.now_s())

    def ended(self, node: NodeId) -> None:
        """Note that a machine is gone."""
        self._lives[node].ended_s = self._clock.now_s()

    def led(self, event_s: float) -> None:
        """Note that a control actor begins to lead, and the time that it believes in."""
        ahead_s = event_s - self._clock.now_s()
        leap_s = 0.0 if self._ahead_s is None else max(0.0, ahead_s - self._ahead_s)
        self._ahead_s = ahead_s
        for life in self._lives.values():
            if life.heard_s is None:
                life.leaps_s += leap_s
                # Of one that was gone before, it hears nothing any more.
                life.heard_s = self._clock.now_s() if life.ended_s is not None else None

    def saw(self, machine: Machine, event: Event) -> None:
        """Look at what an event of the leader did. Raises: InvariantError."""
        fact = event.fact
        if isinstance(fact, Ticked):
            if event.at_s >= self._spent_due_s:
                self._spent_due_s = event.at_s + LOOK_S
                self._check_spent(machine, event.at_s)
        elif isinstance(fact, NodesMetered):
            self._check_billed(machine)
        elif isinstance(fact, NodeLost):
            self._heard(fact.node)
        self._check_held(machine, is_back=isinstance(fact, RunnerJoined))

    def _heard(self, node: NodeId) -> None:
        life = self._lives.get(node)
        if life is not None and life.ended_s is not None:
            life.heard_s = self._clock.now_s()

    def _check_billed(self, machine: Machine) -> None:
        """No second of a machine is billed that it did not live, and none twice."""
        for pool, billed in machine.accounts.billed.items():
            lives = [life for life in self._lives.values() if life.pool == pool]
            most_core_s = sum(life.cores * life.most_s(self._clock.now_s()) for life in lives)
            if billed.core_s > most_core_s + 1e-3:
                raise InvariantError(
                    "no more is billed of machines than they lived",
                    f"{pool}: {billed.core_s:.3f} core s, of {most_core_s:.3f}: {self._lives}",
                )
            priced_core_s = billed.core_s - billed.unpriced_core_s
            most_nano = priced_core_s / HOUR_S * self._prices.get(pool, 0.0) * NANO
            # Each window is rounded to the billionth.
            if billed.nano_usd > most_nano + 1e6:
                raise InvariantError(
                    "no more is billed of machines than their price",
                    f"{pool}: {billed.nano_usd}, of {most_nano:.0f}",
                )

    def _check_spent(self, machine: Machine, at_s: float) -> None:
        """Who has spent its dollars is soon given nothing."""
        policy = machine.book.policy
        for run in machine.runs.values():
            quota_usd = policy.of(run.tenant).usd
            if quota_usd is None and not self._spent_s:
                continue
            is_over = (
                quota_usd is not None
                and run.state is RunState.RUNNING
                and run.target is None
                and run.id not in machine.book.blocking
                and spent_of(machine.book, run.tenant, run.submitted_s) >= quota_usd
            )
            if not is_over:
                self._spent_s.pop(run.id, None)
            elif at_s - self._spent_s.setdefault(run.id, at_s) > QUOTA_S + LATE_S:
                raise InvariantError("who has spent its quota is blocked", run.id)

    def _check_held(self, machine: Machine, *, is_back: bool) -> None:
        """No tenant is given more runners, or more of their memory, than it may have.

        One that was taken for lost may come back with what it is at: that is not taken away.
        """
        before, parties = self._held, machine.book.parties
        held_now = {party.id: (party.slots, party.memory_bytes) for party in parties.values()}
        if held_now == before:
            return
        self._held = held_now
        for party in parties.values():
            held = held_now[party.id]
            if held == before.get(party.id):
                continue
            policy = machine.book.policy.of(party.id)
            quota = (policy.slots, policy.memory_bytes)
            for now, then, most in zip(held, before.get(party.id, (0, 0)), quota, strict=True):
                if most and now > max(most, then) and not is_back:
                    raise InvariantError(
                        "a tenant is given no more than it may have", f"{party.id}: {now} of {most}"
                    )
