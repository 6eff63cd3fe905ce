"""A machine with its host played by the test: it stamps, records, and checks after every event."""

from typing import Any, TypeVar

import msgspec

from rayorch.core import invariants
from rayorch.core.commands import Command, Lease, Record, RevokeLeases, SendLeases
from rayorch.core.facts import Event, Fact, Led, RunSubmitted, Ticked, is_durable
from rayorch.core.machine import Machine
from rayorch.core.node_facts import NodesMetered
from rayorch.core.run import Run, RunState, Snapshot
from rayorch.core.task import Task, TaskState
from rayorch.ids import Epoch, EventId, RunId, RunnerId
from tests.rayorch import make

C = TypeVar("C", bound=Command)


class Driver:
    """Feeds facts to a machine and keeps what came of them."""

    def __init__(self, *, metered: bool = True) -> None:
        self.machine = Machine()
        self.metered = metered  # or the test says itself what nodes cost
        self.at_s = 0.0
        self.events: list[Event] = []
        self.commands: list[Command] = []

    # --- driving -----------------------------------------------------------------------------

    def feed(self, *facts: Fact) -> list[Command]:
        """Handle facts, and what the machine asks to be recorded; return the commands."""
        begun = len(self.commands)
        queue = list(facts)
        while queue:
            event = Event(EventId(len(self.events) + 1), self.at_s, queue.pop(0))
            self.events.append(event)
            for command in self.machine.handle(event):
                if isinstance(command, Record) and isinstance(command.fact, NodesMetered):
                    # Readings of meters come when they are due, whatever a test is about.
                    queue += [command.fact] if self.metered else []
                    continue
                self.commands.append(command)
                if isinstance(command, Record):
                    queue.append(command.fact)
            invariants.check(self.machine)
        return self.commands[begun:]

    def feed_alone(self, fact: Fact) -> tuple[Command, ...]:
        """Handle one fact, and record nothing of what the machine asks to be recorded."""
        event = Event(EventId(len(self.events) + 1), self.at_s, fact)
        commands = self.machine.handle(event)
        self.events.append(event)
        invariants.check(self.machine)
        return commands

    def tick(self, after_s: float = 0.0) -> list[Command]:
        """Let time pass, then tick."""
        self.at_s += after_s
        return self.feed(Ticked())

    def lead(self, epoch: int = make.EPOCH, *, interrupts: bool = True) -> list[Command]:
        """Take the lead, as a host does after its replay."""
        self.feed(Led(epoch=Epoch(epoch), interrupts=interrupts))
        asked = self.machine.outstanding(EventId(len(self.events)), self.at_s)
        self.commands += asked
        return list(asked)

    def start(self, *counts: int, runners: int = 1, **fields: Any) -> None:
        """Lead, submit, plan and have runners, named runner-1 and so on; nothing is leased yet."""
        self.lead()
        self.feed(RunSubmitted(**msgspec.structs.asdict(make.submitted(**fields))))
        self.feed(make.planned(*counts))
        self.feed(*(make.joined(f"runner-{i + 1}") for i in range(runners)))

    # --- looking -----------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        return self.machine.runs[make.RUN]

    @property
    def state(self) -> RunState:
        return self.run.state

    def task(self, index: int = 0) -> Task:
        return self.run.tasks[index]

    def states(self) -> list[TaskState]:
        return [task.state for task in self.run.tasks]

    def held(self, run: RunId = make.RUN) -> int:
        return self.machine.flows[run].held

    def queue(self, runner: str = make.RUNNER) -> list[Lease]:
        return list(self.machine.runners[RunnerId(runner)].queue.values())

    def head(self, runner: str = make.RUNNER) -> Lease:
        return self.queue(runner)[0]

    # --- replaying ---------------------------------------------------------------------------

    def replayed(self) -> Machine:
        """The machine that a fold of the durable events alone gives."""
        machine = Machine()
        for event in self.events:
            if is_durable(event.fact):
                machine.handle(event)
        return machine

    def restored(self) -> Machine:
        """The machine that a snapshot of this one, through bytes, gives."""
        machine = Machine()
        data = msgspec.json.encode(self.machine.snapshot())
        machine.restore(msgspec.json.decode(data, type=Snapshot))
        return machine

    def assert_replays(self) -> None:
        """A fold of the durable events alone ends where the live machine is."""
        assert invariants.durable_view(self.replayed()) == invariants.durable_view(self.machine)


def started(*counts: int, runners: int = 1, **fields: object) -> Driver:
    """A driver whose run has begun, its first leases given."""
    driver = Driver()
    driver.start(*counts, runners=runners, **fields)
    driver.tick()
    return driver


def only(commands: list[Command], kind: type[C]) -> C:
    """The one command of a kind."""
    found = [command for command in commands if isinstance(command, kind)]
    assert len(found) == 1, commands
    return found[0]


def some(commands: list[Command], kind: type[C]) -> list[C]:
    """The commands of a kind."""
    return [command for command in commands if isinstance(command, kind)]


def sent(commands: list[Command]) -> dict[str, list[int]]:
    """Which tasks were leased to which runner."""
    return {
        each.runner: [lease.task for lease in each.leases] for each in some(commands, SendLeases)
    }


def revoked(commands: list[Command]) -> dict[str, list[int]]:
    """Which tasks were taken back from which runner."""
    return {
        each.runner: [lease.task for lease in each.leases] for each in some(commands, RevokeLeases)
    }
