"""What a run is asked to keep to: its pools, objective and budget, as kept under the home.

    runs/<run>/pools.json    there only when somebody asked for something

The client writes it before it submits the run, so that whoever leads, now or after a crash, plans
by what was asked and not by a file that may have changed since.
"""

from pydantic import BaseModel, ConfigDict

from rayorch.plan.pool_files import read_pools
from rayorch.plan.pools import PoolsSpec
from rayorch.spec.objective import Budget, Objective


class Asked(BaseModel):
    """What a run is to keep to. `file` is where the pools were read, as it was typed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pools: PoolsSpec | None = None
    file: str = ""
    objective: Objective | None = None
    budget_usd: float | None = None

    @property
    def is_anything(self) -> bool:
        """Whether there is something to keep to."""
        return self.pools is not None or self.objective is not None

    def objective_on(self, pools: PoolsSpec) -> tuple[Objective | None, tuple[str, ...]]:
        """Return what can be asked of some pools, and what cannot."""
        if isinstance(self.objective, Budget) and not pools.is_priced:
            return None, ("the budget is not looked at: the price of a pool is not known",)
        return self.objective, ()


def asked_for(objective: Objective | None, pools: str | PoolsSpec | None) -> Asked:
    """Return what a run is to keep to, its pools read from a file if one is named.

    Raises: PoolsError.
    """
    if isinstance(pools, str):
        return Asked(pools=read_pools(pools), file=pools, objective=objective)
    return Asked(pools=pools, objective=objective)
