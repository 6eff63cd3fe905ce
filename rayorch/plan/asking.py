"""What a run is asked to keep to: its pools, objective and budget, as kept under the home.

    runs/<run>/pools.json    there only when somebody asked for something

The client writes it before it submits the run, so that whoever leads, now or after a crash, plans
by what was asked and not by a file that may have changed since.
"""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from rayorch.errors import PoolsError
from rayorch.plan.pool_files import read_pools
from rayorch.plan.pools import PoolsSpec, grows
from rayorch.spec.objective import Budget, Objective

SLOTS_MAX: Final = 64
"""More than these, a plan may well use; but every task of too many costs a little."""


class Asked(BaseModel):
    """What a run is to keep to. `file` is where the pools were read, as it was typed.

    `autoscale` says that machines of those pools may be asked for, beside those that are there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pools: PoolsSpec | None = None
    file: str = ""
    objective: Objective | None = None
    budget_usd: float | None = None
    autoscale: bool = False

    def document(self) -> dict[str, Any]:
        """Return it as it is kept. What nobody said of a pool is left out, and stays unsaid."""
        kept = self.model_dump(mode="json")
        if self.pools is not None:
            kept["pools"] = self.pools.model_dump(mode="json", exclude_unset=True)
        return kept

    @property
    def is_anything(self) -> bool:
        """Whether there is something to keep to."""
        return self.pools is not None or self.objective is not None

    @property
    def slots_to_come(self) -> int:
        """How many slots a plan is cut for when machines may be asked for: enough for a choice."""
        pools = self.pools.pools if self.pools is not None else []
        return int(min(sum(pool.max_nodes * pool.vcpu for pool in pools if grows(pool)), SLOTS_MAX))

    def objective_on(self, pools: PoolsSpec) -> tuple[Objective | None, tuple[str, ...]]:
        """Return what can be asked of some pools, and what cannot."""
        if isinstance(self.objective, Budget) and not pools.is_priced:
            return None, ("the budget is not looked at: the price of a pool is not known",)
        return self.objective, ()


def asked_for(
    objective: Objective | None, pools: str | PoolsSpec | None, *, autoscale: bool = False
) -> Asked:
    """Return what a run is to keep to, its pools read from a file if one is named.

    Raises: PoolsError, when machines may be asked for and none are described, too.
    """
    if autoscale and pools is None:
        problem = "machines can be asked for of pools that are described: name a file of them"
        raise PoolsError(problem, "", "pools", "")
    if isinstance(pools, str):
        read = read_pools(pools)
        return Asked(pools=read, file=pools, objective=objective, autoscale=autoscale)
    return Asked(pools=pools, objective=objective, autoscale=autoscale)
