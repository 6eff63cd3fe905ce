"""Which machines a run was the first to use: what they had waited before is on its bill."""

from rayorch.core.accounts import USED_MAX
from rayorch.core.facts import Fact
from rayorch.core.machine import Machine
from rayorch.core.node_facts import NodesMetered
from rayorch.core.run import ACTIVE
from rayorch.ids import NodeId, RunId


class Stood:
    """Machines by the run that was the first on them, and how long they had waited for it."""

    def __init__(self) -> None:
        self._runs: dict[RunId, dict[NodeId, tuple[str, float]]] = {}

    def saw(self, fact: Fact, machine: Machine) -> None:
        """Note whose the machines are whose meters were read."""
        for window in fact.windows if isinstance(fact, NodesMetered) else ():
            account = machine.accounts.nodes.get(window.node)
            if account is None or not 0 < len(account.used) < USED_MAX:
                continue  # Gone; or who came first is forgotten.
            run = machine.runs.get(next(iter(account.used)))
            if run is None or run.state not in ACTIVE or account.opened_s > run.submitted_s:
                continue  # It came for the run.
            stood_s = run.submitted_s - account.opened_s
            self._runs.setdefault(run.id, {})[window.node] = (account.pool, stood_s)

    def taken(self, run: RunId) -> dict[str, float]:
        """Return how long the machines of each pool had waited, and let go of the run."""
        by_pool: dict[str, list[float]] = {}
        for pool, stood_s in self._runs.pop(run, {}).values():
            by_pool.setdefault(pool, []).append(stood_s)
        return {pool: round(sum(each) / len(each), 4) for pool, each in by_pool.items()}
