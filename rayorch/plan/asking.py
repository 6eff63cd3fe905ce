"""What a run is asked to keep to: its pools, objective and budget, as kept under the home.

    runs/<run>/pools.json    there only when somebody asked for something

The client writes it before it submits the run, so that whoever leads, now or after a crash, plans
by what was asked and not by a file that may have changed since.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from connectors.errors import ObjectMissingError
from rayorch.home import Home
from rayorch.ids import RunId
from rayorch.plan.pools import PoolsSpec
from rayorch.spec.objective import Budget, Objective

ASKED: Final = "pools"


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


def put_asked(home: Home, run: RunId, asked: Asked) -> None:
    """Keep what a run is asked to keep to. Raises: StoreError."""
    home.put_json(run, ASKED, asked.model_dump(mode="json"))


def get_document(home: Home, run: RunId) -> Mapping[str, Any] | None:
    """Return what was asked, unread; None when nothing was. Raises: StoreError."""
    try:
        return home.get_json(run, ASKED)
    except ObjectMissingError:
        return None
