"""The Executor port: where runners live and how leases reach them.

Three implementations pass one contract suite: Ray, threads of this process, and the simulator.
An executor decides nothing. It starts and ends runners, carries leases to them, and tells the host
what becomes of them: `RunnerJoined`, `RunnerLost`, and whatever the runners report. A runner that
joins names all that it holds, with what this host sent it before.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from rayorch.core.commands import (
    AskNodes,
    CutTask,
    EnsureRunners,
    FindRunners,
    KillRunner,
    RevokeLeases,
    SendLeases,
)
from rayorch.core.facts import Fact
from rayorch.core.sizes import Size
from rayorch.host.inbox import Ticket
from rayorch.ids import RunId, TaskId

RunnerCommand = (
    EnsureRunners | AskNodes | SendLeases | RevokeLeases | CutTask | KillRunner | FindRunners
)


class HostPort(Protocol):
    """What an executor may ask of its host. Safe from any thread."""

    def offer(self, facts: Sequence[Fact]) -> Ticket:
        """Queue facts; the ticket tells when they are durable and applied."""
        ...

    def split_of(self, run: RunId, task: TaskId) -> bytes:
        """Return the encoded split of a task. Host thread only."""
        ...


class Room(Protocol):
    """How much room there is for runners."""

    @property
    def slots(self) -> int:
        """How many runners of one core fit; what sources are cut for."""
        ...

    @property
    def pools(self) -> Mapping[str, int]:
        """How many runners of one core fit in each pool that has a machine now. Any thread."""
        ...

    @property
    def machines(self) -> Mapping[str, Collection[Size]]:
        """The size of each machine of a pool; none: it takes whatever comes. Any thread."""
        ...

    def why_fixed(self) -> str:
        """Return why no machines can be had beside those that are there; "": they can.

        Any thread.
        """
        ...


class Executor(Room, Protocol):
    """Where runners live."""

    def attach(self, host: HostPort) -> None:
        """Meet the host; tell it, as `RunnerJoined`, of runners that live already."""
        ...

    def start(self, command: RunnerCommand) -> None:
        """Begin to carry out a command. Returns at once; host thread only."""
        ...

    def check(self, now_s: float) -> None:
        """Look for runners that are silent or gone. Called some times a second, host thread."""
        ...

    def release(self) -> None:
        """Let all runners go: no run is active. Host thread only."""
        ...

    def close(self) -> None:
        """Let go of everything that would keep this process alive."""
        ...
