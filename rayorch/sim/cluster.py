"""The simulated executor: runners on pools, a network that is late and says things twice."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from rayorch.core.commands import (
    AskNodes,
    Command,
    CutTask,
    EnsureRunners,
    FindRunners,
    KillRunner,
    RevokeLeases,
    SendLeases,
)
from rayorch.core.facts import Fact, RunnerLost
from rayorch.core.node_facts import NodeDraining, RunnerRefused
from rayorch.core.values import FailureKind
from rayorch.ids import NodeId, RunnerId
from rayorch.sim.config import SimPool
from rayorch.sim.machines import Machines
from rayorch.sim.ports import ControlPort, Heard, WorldPort
from rayorch.sim.runner import SimRunner

ASKED_S: Final = 0.001
"""How soon after the last order a runner is asked what it holds."""


class SimCluster:
    """Where runners live. It outlives control actors, and may die as a whole."""

    def __init__(self, world: WorldPort) -> None:
        self._world = world
        self.runners: dict[RunnerId, SimRunner] = {}
        self.machines = Machines(world)
        self._starting: dict[str, int] = {}
        self._count = 0

    def living(self) -> list[SimRunner]:
        """Return the runners that are alive, silent or not."""
        return [runner for runner in self.runners.values() if runner.alive]

    def slots(self) -> Mapping[str, int]:
        """Return how many runners of one core fit in each pool."""
        pools = self._world.config.pools
        return {pool.name: int(self.machines.room(pool) * pool.cores) for pool in pools}

    # --- what a control actor asks for -----------------------------------------------------------

    def execute(self, command: Command) -> None:  # noqa: C901 - one case a command.
        """Begin to carry out a command about runners."""
        match command:
            case EnsureRunners():
                for pool in self._world.config.pools:
                    if command.pool in {"", pool.name}:
                        self._ensure(pool, command)
            case AskNodes():
                self.machines.ask(command)
                self.machines.let_go(self._occupied())
            case SendLeases():
                # Orders of one host are not overtaken: said twice, it is so one after the other.
                twice = self._world.strikes("told_twice")
                leases = command.leases * (2 if twice else 1)
                self._tell(command.runner, lambda runner: runner.enqueue(leases), order=True)
            case RevokeLeases():
                self._tell(
                    command.runner, lambda runner: runner.revoke(command.leases, halt=command.halt)
                )
            case CutTask():
                self._tell(command.runner, lambda runner: runner.cut(command.lease))
            case KillRunner():
                self._tell(command.runner, lambda runner: self.crash(runner.id))
            case FindRunners(runners=runners):
                living = {runner.id for runner in self.living()}
                for gone in [each for each in runners if each not in living]:
                    lost = RunnerLost(runner=gone, kind="lost", reason="it has ended")
                    self._offer((lost,))
            case _:
                raise AssertionError(command)

    def attach(self, control: ControlPort) -> None:
        """Tell a new control actor of the runners that live already, and which machines go."""
        draining = tuple(self.machines.draining.values())
        if draining and self._world.coin(0.5):
            control.offer(draining, None)
        self.machines.introduce(control)
        for runner in self.living():
            if runner.silent:
                # It is found when it speaks again.
                runner.disowned = True
            else:
                self._introduce(runner, control)
        control.offer(draining, None)

    def _ensure(self, pool: SimPool, asked: EnsureRunners) -> None:
        if not pool.size.serves(asked.size):
            return
        mine = [
            each
            for each in self.living()
            if each.pool is pool and not each.disowned and each.node not in self.machines.draining
        ]
        starting = self._starting.get(pool.name, 0)
        wanted = min(self.machines.room(pool), asked.count_max)
        for _ in range(wanted - len(mine) - starting):
            self._starting[pool.name] = self._starting.get(pool.name, 0) + 1
            self._world.agenda.after(pool.startup_s, partial(self._start, pool))

    def _start(self, pool: SimPool) -> None:
        self._starting[pool.name] -= 1
        self._count += 1
        runner_id = RunnerId(f"{pool.name}-{self._count}")
        node = self.machines.for_runner(pool, self._occupied())
        if self._world.strikes("runner_refused"):
            cores_left = self._world.luck.choice((0, 2, 2, 2))
            refused = RunnerRefused(runner_id, node, pool.name, "simulated: other code", cores_left)
            self._offer((refused,))
            return
        runner = SimRunner(self._world, runner_id, pool, node)
        self.runners[runner.id] = runner
        self._introduce(runner, self._world.leader)

    def _occupied(self) -> Counter[NodeId]:
        """Return how many runners each machine has."""
        return Counter(runner.node for runner in self.living())

    def _tell(
        self, runner_id: RunnerId, act: Callable[[SimRunner], None], *, order: bool = False
    ) -> None:
        """Reach a runner over the network; a silent one hears it when it wakes.

        It may hear it again later, unless it is an order to work.
        """
        runner = self.runners.get(runner_id)
        if runner is None or not runner.alive:
            return
        late_s = max(0.0, runner.silent_until_s - self._world.agenda.at_s)
        late_s += self._world.latency_s()
        self._world.agenda.after(late_s, lambda: act(runner))
        if order:
            runner.ordered_s = max(runner.ordered_s, self._world.agenda.at_s + late_s)
        if not order and self._world.strikes("told_twice"):
            again_s = late_s + self._world.luck.uniform(0.0, 10.0)
            self._world.agenda.after(again_s, lambda: act(runner))

    # --- what runners say ------------------------------------------------------------------------

    def report(self, runner_id: RunnerId, facts: tuple[Fact, ...]) -> None:
        """Bring a runner's facts to whoever leads, late, and now and then twice."""
        runner, world = self.runners[runner_id], self._world
        late_s = max(0.0, runner.silent_until_s - world.agenda.at_s)
        delay_s = late_s + world.latency_s()
        heard = partial(runner.heard, facts)
        # Some are on their way to a leader that is superseded meanwhile. It hears them when it
        # wakes; the next one hears them from the runner, when they meet.
        to = world.leader if world.coin(0.3) else None
        world.agenda.after(delay_s, partial(self._offer, facts, heard, to))
        if world.happens("report_doubled"):
            again_s = world.luck.uniform(0.0, 20.0)
            world.agenda.after(again_s, partial(self._offer, facts))

    def _offer(
        self, facts: tuple[Fact, ...], heard: Heard | None = None, to: ControlPort | None = None
    ) -> None:
        (to or self._world.leader).offer(facts, heard)

    def _introduce(self, runner: SimRunner, control: ControlPort) -> None:
        """Say who it is, and again what nobody has made durable, in either order."""
        runner.newest = max(runner.newest, control.epoch)
        unheard = tuple(runner.unheard)
        first = self._world.coin(0.5)
        if unheard and first:
            control.offer(unheard, partial(runner.heard, unheard))
        control.offer((runner.joined(),), None)
        if unheard and not first:
            control.offer(unheard, partial(runner.heard, unheard))

    # --- what goes wrong -------------------------------------------------------------------------

    def crash(self, runner_id: RunnerId, kind: FailureKind = "lost") -> None:
        """End a runner; whoever leads hears of it a little later."""
        runner = self.runners[runner_id]
        if not runner.alive:
            return
        runner.die()
        self._world.tell("runner dies:", runner_id, kind)
        lost = RunnerLost(runner=runner.id, kind=kind, reason="its process is gone")
        self._world.agenda.after(self._world.luck.uniform(0.0, 0.5), partial(self._offer, (lost,)))
        self.machines.let_go(self._occupied())

    def drain(self, node: NodeId, notice_s: float) -> None:
        """Take away a machine: whoever leads is told, and later it is gone."""
        if node in self.machines.draining:
            return
        draining = self.machines.drain(node, notice_s)
        self._world.agenda.after(notice_s, partial(self._take_away, draining))

    def _take_away(self, draining: NodeDraining) -> None:
        if draining.node in self.machines.up:  # It may have been lost before its time.
            self._empty(draining.node, "lost", "its time is over", late_s=1.0)

    def lose_node(self, node: NodeId, kind: FailureKind) -> None:
        """Have a machine be gone at once, with all that runs on it."""
        self._world.tell("a machine dies:", node)
        self._empty(node, kind, "it is gone", late_s=5.0)

    def _empty(self, node: NodeId, kind: FailureKind, reason: str, late_s: float) -> None:
        for runner in self.living():
            if runner.node == node:
                self.crash(runner.id, kind)
        # With its last runner a machine may go that nobody asks for any more.
        if node in self.machines.up:
            self.machines.lose(node, reason, late_s)

    def pause(self, runner: SimRunner, duration_s: float) -> None:
        """Stop a runner for a while."""
        runner.stopped_until_s = self._world.agenda.now_s() + duration_s
        self.cut_off(runner, duration_s)

    def cut_off(self, runner: SimRunner, duration_s: float) -> None:
        """Let nobody hear a runner, and it nobody. Longer than is tolerated, and it is lost."""
        agenda = self._world.agenda
        self._world.tell("runner is not heard:", runner.id, f"for {duration_s:.3f} s")
        runner.silent_until_s = agenda.now_s() + duration_s
        silence_s = self._world.config.silence_s
        if duration_s > silence_s:
            agenda.after(silence_s, partial(self._disown, runner))
        agenda.after(duration_s, partial(self._wake, runner))

    def die(self) -> None:
        """Lose every runner at once, with nobody left to tell."""
        for runner in self.living():
            runner.die()
        self.machines.die()

    def _disown(self, runner: SimRunner) -> None:
        if runner.alive and runner.silent:
            runner.disowned = True
            lost = RunnerLost(runner=runner.id, kind="lost", reason="it is silent", silent=True)
            self._offer((lost,))

    def _wake(self, runner: SimRunner) -> None:
        """A disowned runner comes back with what it holds, or reports once more and ends."""
        if not runner.alive or not runner.disowned:
            return
        if self._world.coin(0.5):
            # Orders and questions of one leader come in their order: the answer has all of them.
            wait_s = max(0.0, runner.ordered_s - self._world.agenda.at_s)
            self._world.agenda.after(wait_s + ASKED_S, partial(self._come_back, runner))
        else:
            later_s = self._world.luck.uniform(0.0, 2.0)
            self._world.agenda.after(later_s, partial(self.crash, runner.id))

    def _come_back(self, runner: SimRunner) -> None:
        # One that is cut off again comes back when it wakes again.
        if runner.alive and runner.disowned and not runner.silent:
            runner.disowned = False
            self._introduce(runner, self._world.leader)
