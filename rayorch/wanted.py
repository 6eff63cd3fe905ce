"""What a run is to keep to, where that is not left to its pipeline."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rayorch.plan.asking import Asked
    from rayorch.plan.pools import PoolsSpec
    from rayorch.spec.objective import Objective


def asked_of(
    objective: "Objective | None",
    pools: "str | PoolsSpec | None" = None,
    *,
    autoscale: bool = False,
) -> "Asked | None":
    """Return what a run is to keep to: pools, of a file or as they are, and an objective.

    Raises: PoolsError.
    """
    if objective is None and pools is None and not autoscale:
        return None
    # What describes pools takes placement and YAML to import: who asks for nothing does without.
    from rayorch.plan.asking import asked_for  # noqa: PLC0415

    return asked_for(objective, pools, autoscale=autoscale)
