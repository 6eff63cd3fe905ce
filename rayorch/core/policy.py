"""What the tenants of a home may have: weights, quotas, and limits on what is outside of it.

A policy is a durable fact (`PolicyApplied`): the newest one holds, and a replay decides as it was
decided. Without one, all tenants are alike and nothing is limited.
"""

from typing import Final

import msgspec

from rayorch.ids import TenantId

RUNS_MAX: Final = 64
"""Runs of one tenant that are planned and worked on at once, unless the policy says; others wait.

A planned run is all of its tasks in memory: a flood of submissions must not become one of those.
"""
RUNS_ALL_MAX: Final = 256
"""The same of all tenants; but each may always have one."""


class TenantPolicy(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """What one tenant may have. 0 or None: no limit of its own.

    Units: runners, bytes of their memory, USD of the runs submitted in one day or month (UTC).
    """

    name: TenantId
    weight: float = 1.0
    slots: int = 0
    memory_bytes: int = 0
    usd: float | None = None
    usd_per: str = "month"
    runs: int = RUNS_MAX


class Limit(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True):
    """How much of a named outside resource may be held at once, over all runs."""

    name: str
    units: int


class Policy(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True):
    """The policy of a home. `others` holds for tenants that are not named."""

    tenants: tuple[TenantPolicy, ...] = ()
    limits: tuple[Limit, ...] = ()
    others: TenantPolicy = TenantPolicy(TenantId(""))

    def of(self, tenant: TenantId) -> TenantPolicy:
        """Return what a tenant may have."""
        for each in self.tenants:
            if each.name == tenant:
                return each
        return self.others

    def limit_of(self, name: str) -> int | None:
        """Return how much of an outside resource may be held; None: as much as anybody likes."""
        return next((each.units for each in self.limits if each.name == name), None)
