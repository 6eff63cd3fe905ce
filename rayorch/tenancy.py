"""From what a person writes of a home's tenants to the policy that the core follows."""

from rayorch.core.policy import RUNS_MAX, Limit, Policy, TenantPolicy
from rayorch.ids import TenantId
from rayorch.spec.tenants import TenantSpec, TenantsSpec


def policy_of(spec: TenantsSpec) -> Policy:
    """Return a policy as it is journaled."""
    return Policy(
        tenants=tuple(_tenant(name, each) for name, each in sorted(spec.tenants.items())),
        limits=tuple(Limit(name, units) for name, units in sorted(spec.limits.items())),
        others=_tenant("", spec.others),
    )


def _tenant(name: str, spec: TenantSpec) -> TenantPolicy:
    return TenantPolicy(
        name=TenantId(name),
        weight=spec.weight,
        slots=spec.slots or 0,
        memory_bytes=spec.memory or 0,
        usd=spec.usd,
        usd_per=spec.usd_per,
        runs=spec.runs or RUNS_MAX,
    )
