"""What goes wrong with runners, machines, pools and links, one thing at a time."""

from functools import partial

from rayorch.sim.cluster import SimCluster
from rayorch.sim.ports import WorldPort
from rayorch.sim.runner import SimRunner

AWAY_S_MIN = 0.5
AWAY_S_MAX = 12.0
"""How long a runner is not heard, unless it sleeps for long."""
NOTICE_S_MAX = 20.0


class Trouble:
    """Each method lets one thing go wrong, if there is anything that it can befall."""

    def __init__(self, world: WorldPort, cluster: SimCluster) -> None:
        self._world = world
        self._cluster = cluster

    def crash_runner(self) -> None:
        """End a runner."""
        if living := self._cluster.living():
            preempted = self._world.coin(0.3)
            runner = self._world.luck.choice(living)
            self._cluster.crash(runner.id, "preempted" if preempted else "lost")

    def pause_runner(self) -> None:
        """Stop a runner for a while."""
        if living := [runner for runner in self._cluster.living() if not runner.silent]:
            runner = self._world.luck.choice(living)
            self._cluster.pause(runner, self._world.absence_s(AWAY_S_MIN, AWAY_S_MAX))

    def cut_links(self) -> None:
        """Cut some runners off, one after the other; they are heard again in an order of luck."""
        self._world.tell("links are cut")
        apart_s = self._world.faults.link_apart_s
        for runner in self._cluster.living():
            if runner.silent or not self._world.coin(0.4):
                continue
            if not apart_s:
                self._cut(runner)
            else:
                later_s = self._world.luck.uniform(0.0, apart_s)
                self._world.agenda.after(later_s, partial(self._cut, runner))

    def _cut(self, runner: SimRunner) -> None:
        if runner.alive and not runner.silent:
            self._cluster.cut_off(runner, self._world.absence_s(AWAY_S_MIN, AWAY_S_MAX))

    def take_node(self) -> None:
        """Take a machine away after a notice."""
        if living := self._cluster.living():
            runner = self._world.luck.choice(living)
            self._cluster.drain(runner.node, self._world.luck.uniform(0.0, NOTICE_S_MAX))

    def lose_node(self) -> None:
        """Lose a machine with all that runs on it, without a notice."""
        if up := list(self._cluster.machines.up):
            kind = self._world.luck.choice(("lost", "preempted"))
            self._cluster.lose_node(
                self._world.luck.choice(up), "lost" if kind == "lost" else "preempted"
            )

    def lose_pool(self) -> None:
        """Lose a pool with all its runners, without a notice."""
        pool = self._world.luck.choice(self._world.config.pools)
        self._world.tell("a pool is lost:", pool.name)
        for runner in self._cluster.living():
            if runner.pool is pool:
                self._cluster.crash(runner.id, "preempted")
        if self._world.config.told_nodes:
            for node in [n for n, own in self._cluster.machines.up.items() if own is pool]:
                self._cluster.lose_node(node, "preempted")

    def warn_pool(self) -> None:
        """Take all machines of a pool away after a notice."""
        pool = self._world.luck.choice(self._world.config.pools)
        self._world.tell("a pool is going to be lost:", pool.name)
        notice_s = self._world.luck.uniform(0.0, NOTICE_S_MAX)
        for node in list(self._cluster.machines.of(pool)):
            self._cluster.drain(node, notice_s)
