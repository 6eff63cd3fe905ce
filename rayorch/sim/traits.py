"""What a seed draws for its whole world, apart from the luck that moves it.

Drawn by a source of its own: a world without one of these is moved as if nobody had asked.
"""

import random
from dataclasses import dataclass
from typing import Final

from rayorch.core.policy import Limit, Policy, TenantPolicy
from rayorch.ids import TenantId
from rayorch.sim.config import GIB, SimConfig

DATABASE: Final = "database"
"""An outside resource that the first stage of each run uses."""
MERGED_STAGES: Final = 3
SMALL_TASKS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """One world, as its seed made it."""

    stages: int  # of each run
    tasks_max: int  # of a stage
    merged: bool
    elastic: bool
    solved: bool
    cached: bool
    watched: bool
    tenants: int
    policy: Policy  # what a person applies in the beginning


def drawn(seed: int, config: SimConfig) -> Traits:
    """Return the traits of a seed's world."""
    dice = random.Random(f"{seed}/traits")  # noqa: S311 - luck to be had again.
    merged = dice.random() < config.merged
    elastic = dice.random() < config.elastic
    solved = dice.random() < config.solved
    has_quotas = dice.random() < config.quotas
    tenants = dice.choice((1, config.tenants)) if has_quotas else config.tenants
    is_small = dice.random() < config.small
    units = config.database_units
    policies = tuple(_tenant(number, dice) for number in range(tenants if has_quotas else 0))
    return Traits(
        stages=max(config.stages, MERGED_STAGES) if merged else config.stages,
        tasks_max=min(config.tasks_max, SMALL_TASKS) if is_small else config.tasks_max,
        merged=merged,
        elastic=elastic,
        solved=solved,
        cached=dice.random() < config.cached,
        watched=dice.random() < config.watched,  # drawn last: what was drawn before is as it was
        tenants=tenants,
        policy=Policy(
            tenants=policies,
            limits=(Limit(DATABASE, units),) if units else (),
        ),
    )


def tenant_name(number: int) -> TenantId:
    """Return the name of a tenant."""
    return TenantId(f"tenant-{number}")


def _tenant(number: int, dice: random.Random) -> TenantPolicy:
    """Return what a tenant may have: always one runner, and often more of some than of others."""
    return TenantPolicy(
        name=tenant_name(number),
        weight=dice.choice((1.0, 1.0, 3.0)),
        slots=dice.choice((0, 0, 1, 2, 3)),
        memory_bytes=dice.choice((0, 0, 4 * GIB, 9 * GIB)),
        usd=dice.choice((None, None, 0.002, 0.01)),
        runs=dice.choice((1, 1, 64)),
    )
