"""Random walks through the machine: what must hold whatever happens, in whatever order."""

import random
from typing import Final

import pytest

from rayorch.core import invariants
from rayorch.core.commands import Lease, SendLeases
from rayorch.core.facts import Fact, RunCancelRequested, RunStopRequested, RunSwept, Ticked
from rayorch.core.node_facts import NodeJoined, NodeLost
from rayorch.core.run import ENDED, RESUMABLE, RunState
from rayorch.core.values import Held, StageShape
from rayorch.ids import NodeId
from tests.rayorch import make
from tests.rayorch.driver import Driver

STEPS: Final = 150
TASKS: Final = 6
KINDS: Final = ("transient", "transient", "oom", "timeout", "user")


class Walk:
    """One random walk: a host that does anything that a real one might, in any order."""

    def __init__(self, seed: int) -> None:
        self.luck = random.Random(seed)
        self.driver = Driver()
        self.epoch = 1
        self.given: list[tuple[Lease, str]] = []  # every lease ever sent, and to whom
        self.driver.start(4, TASKS - 4, stages=_stages(), sinks=("a", "b"))

    def step(self) -> None:
        choices = [
            (30, self._tick),
            (25, self._work),
            (8, self._late),
            (6, self._runner),
            (2, self._node),
            (4, self._return),
            (2, self._person),
            (1, self._new_leader),
            (6, self._publish),
        ]
        weights = [weight for weight, _ in choices]
        _, act = self.luck.choices(choices, weights)[0]
        act()

    def finish(self) -> None:
        """Let no more faults happen: every run must end."""
        run = self.driver.run
        for _ in range(20 * TASKS):
            if run.state in RESUMABLE:
                self.feed(make.resumed())
            if not self.driver.machine.runners:
                runner = f"runner-{self.luck.randrange(10**9)}"
                self.feed(make.joined(runner, node=NodeId("that stays")))
            self._tick(after_s=100.0)
            self._finish_leases()
            for sink in range(len(run.sinks)):
                if run.state is RunState.PUBLISHING:
                    self.feed(make.published(sink))
            if run.state in ENDED:
                break
        if not run.swept:
            self.feed(RunSwept(run=make.RUN, files=0))

    def _finish_leases(self) -> None:
        for slot in list(self.driver.machine.runners.values()):
            if slot.dying:
                self.feed(make.gone(slot.id))
            for lease in list(slot.queue.values()):
                self.feed(make.finished(lease, slot.id, sink=lease.stage))

    def feed(self, fact: Fact) -> None:
        for command in self.driver.feed(self.driver.machine.admitted(fact)):
            if isinstance(command, SendLeases):
                self.given += [(lease, command.runner) for lease in command.leases]

    def _tick(self, after_s: float | None = None) -> None:
        self.driver.at_s += self.luck.choice([0.0, 0.1, 5.0]) if after_s is None else after_s
        self.feed(Ticked())

    def _work(self) -> None:
        slots = [slot for slot in self.driver.machine.runners.values() if slot.queue]
        if not slots:
            return
        slot = self.luck.choice(slots)
        lease = next(iter(slot.queue.values()))
        dice = self.luck.random()
        if dice < 0.2:
            self.feed(make.started(lease, slot.id))
        elif dice < 0.3:
            self.feed(make.failed(lease, slot.id, self.luck.choice(KINDS)))
        else:
            self.feed(make.finished(lease, slot.id, sink=lease.stage))

    def _late(self) -> None:
        """A report of a lease that may be anybody's by now, or a second one."""
        if self.given:
            lease, runner = self.luck.choice(self.given)
            reports: list[Fact] = [
                make.finished(lease, runner, sink=lease.stage),
                make.failed(lease, runner),
                make.started(lease, runner),
                make.returned(lease, runner),
            ]
            self.feed(self.luck.choice(reports))

    def _runner(self) -> None:
        runners = list(self.driver.machine.runners.values())
        if runners and self.luck.random() < 0.5:
            slot = self.luck.choice(runners)
            self.feed(make.gone(slot.id, self.luck.choice(["lost", "preempted"])))
        elif len(runners) < 4 or self.luck.random() < 0.2:
            name = f"runner-{self.luck.randrange(5)}"
            node = NodeId(f"node-{self.luck.randrange(3)}")
            self.feed(make.joined(name, *self._memories(name), node=node))

    def _node(self) -> None:
        """A machine comes, is taken away, or is gone with whoever ran there."""
        node = NodeId(f"node-{self.luck.randrange(3)}")
        dice = self.luck.random()
        if dice < 0.3:
            self.feed(NodeJoined(node, "local", 8.0))
        elif dice < 0.7:
            self.feed(make.draining(node))
        else:
            there = [slot for slot in self.driver.machine.runners.values() if slot.node == node]
            for slot in there:
                self.feed(make.gone(slot.id, "lost"))
            self.feed(NodeLost(node, "local"))

    def _memories(self, runner: str) -> list[Held]:
        """What a runner says it holds: leases that it was given, done or not."""
        mine = list(
            {(each.run, each.task): each for each, to in self.given if to == runner}.items()
        )
        some = self.luck.sample(mine, k=self.luck.randint(0, min(2, len(mine))))
        return [make.held(each, started=self.luck.random() < 0.5) for _, each in some]

    def _return(self) -> None:
        slots = [slot for slot in self.driver.machine.runners.values() if slot.revoking]
        for slot in slots:
            for key in list(slot.revoking):
                if key in slot.queue:
                    self.feed(make.returned(slot.queue[key], slot.id))

    def _person(self) -> None:
        wishes: list[Fact] = [RunStopRequested(run=make.RUN), make.resumed(), make.resumed()]
        if self.luck.random() < 0.05:
            wishes = [RunCancelRequested(run=make.RUN)]
        if self.luck.random() < 0.1:
            wishes = [make.run_failed()]
        self.feed(self.luck.choice(wishes))

    def _new_leader(self) -> None:
        self.epoch += 10
        self.driver.lead(self.epoch, interrupts=self.luck.random() < 0.5)

    def _publish(self) -> None:
        run = self.driver.run
        if run.state is RunState.PUBLISHING:
            sink = self.luck.randrange(2)
            if self.luck.random() < 0.5:
                self.feed(make.published(sink))
            else:
                due_s = self.driver.at_s + 3.0 if self.luck.random() < 0.7 else 0.0
                self.feed(make.publish_failed(sink, due_s))


def _stages() -> tuple[StageShape, ...]:
    return (
        StageShape(name="lines", sinks=(0,), timeout_s=20.0),
        StageShape(name="orders", sinks=(1,)),
    )


@pytest.mark.parametrize("seed", range(150))
def test_a_replay_of_the_durable_events_ends_where_the_live_machine_is(seed: int) -> None:
    """The journal keeps no lease: what a durable event does must not depend on one.

    The invariants are checked after each event, and a snapshot in the middle is as good a
    beginning as the first event.
    """
    walk = Walk(seed)
    for step in range(STEPS):
        walk.step()
        if step % 30 == 0:
            walk.driver.assert_replays()

    walk.driver.assert_replays()
    restored = walk.driver.restored()
    assert invariants.durable_view(restored) == invariants.durable_view(walk.driver.machine)


@pytest.mark.parametrize("seed", range(150))
def test_every_run_ends_once_faults_stop(seed: int) -> None:
    """No task is lost, whatever became of its leases."""
    walk = Walk(seed)
    for _ in range(STEPS):
        walk.step()

    walk.finish()

    assert walk.driver.state in ENDED
    assert walk.driver.run.swept
    walk.driver.assert_replays()


def test_the_same_events_give_the_same_commands() -> None:
    walk = Walk(7)
    for _ in range(STEPS):
        walk.step()

    again = Driver()
    commands = [list(again.machine.handle(event)) for event in walk.driver.events]

    once_more = Driver()
    assert commands == [list(once_more.machine.handle(event)) for event in walk.driver.events]
    assert invariants.durable_view(again.machine) == invariants.durable_view(walk.driver.machine)
