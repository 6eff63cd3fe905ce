"""The meters of the nodes that are up: who used each since it was last metered. Volatile.

An instant of a node is paid for by the runs that hold its slots then, by their cores; while no slot
is held, by those that held one last, as long as they are active: a run that waits between two
stages keeps its nodes. The rest is nobody's.
"""

from collections.abc import Mapping

from rayorch.ids import NodeId, RunId, RunnerId


class NodeMeter:
    """One node since it was last metered."""

    __slots__ = (
        "at_s",
        "cores",
        "empty_s",
        "from_s",
        "holders",
        "is_told",
        "node",
        "payers",
        "pool",
        "runners",
        "seconds",
        "usd_h",
    )

    def __init__(self, node: NodeId, pool: str, cores: float, from_s: float) -> None:
        self.node = node
        self.pool = pool
        self.cores = cores
        self.from_s = self.at_s = from_s
        self.usd_h: float | None = None  # by its own account
        self.is_told = False  # somebody looks at nodes, and says when it goes
        self.empty_s: float | None = None  # since when it has no runner, where nobody does
        self.runners: dict[RunnerId, tuple[RunId, float] | None] = {}  # who holds each: run, cores
        self.holders: dict[RunId, float] = {}  # cores
        self.payers: dict[RunId, float] = {}  # the holders, or those that held it last
        self.seconds: dict[RunId, float] = {}

    def advance(self, at_s: float, active: Mapping[RunId, None]) -> None:
        """Let time pass, with everything as it is.

        A node without a runner may be gone: its time passes when one is there again.
        """
        passed_s = at_s - self.at_s
        if passed_s <= 0.0 or self.empty_s is not None:
            return
        self.at_s = at_s
        payers = self.holders or {run: w for run, w in self.payers.items() if run in active}
        cores = sum(payers.values())
        for run, weight in payers.items():
            self.seconds[run] = self.seconds.get(run, 0.0) + passed_s * (weight / cores)

    def hold(self, runner: RunnerId, holder: tuple[RunId, float] | None) -> None:
        """Note who holds a runner from now on."""
        self.runners[runner] = holder
        self._count()

    def drop(self, runner: RunnerId, at_s: float) -> None:
        """Note that a runner is gone."""
        self.runners.pop(runner, None)
        if not self.runners and not self.is_told:
            self.empty_s = at_s
        self._count()

    def _count(self) -> None:
        self.holders = {}
        for holder in self.runners.values():
            if holder is not None:
                run, cores = holder
                self.holders[run] = self.holders.get(run, 0.0) + cores
        if self.holders:
            self.payers = self.holders


class Meters:
    """All meters. Nodes are in the order in which they were last metered."""

    def __init__(self) -> None:
        self.nodes: dict[NodeId, NodeMeter] = {}
        self.touched: dict[RunnerId, None] = {}  # whose queue changed since the last tick
        self.opened: dict[NodeId, float] = {}  # that the journal does not know yet, since when
        self.active: dict[RunId, None] = {}
        self.gone: list[NodeMeter] = []  # to be closed
        self.unclaimed_s: float | None = None  # when nodes of an earlier leader are given up
