"""Machines that are asked of an autoscaler: what a home's runs want, and all homes together.

    AskNodes of each run --Capacity--> the home's part --CapacityDesk--> one request of the cluster

An autoscaler takes one standing request for the whole cluster: a second one replaces the first.
So that the homes of a cluster do not undo each other's, one desk keeps the part of each and asks
for the sum. A part is held by its home: it is said again and again, and one that has not been said
for a while belongs to nobody, and is dropped. This module knows no Ray.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from rayorch.core.placed import NodesWanted
from rayorch.ids import RunId

RENEW_S: Final = 10.0
"""Between two times that a home says its part."""
HELD_S: Final = 60.0
"""How long a part holds that is not said again: a control actor that restarts takes a while."""


@dataclass(frozen=True, slots=True, order=True)
class Bundle:
    """Room for runners on one machine of a pool."""

    pool: str
    cores: float
    gpus: float = 0.0


Part = Mapping[Bundle, int]
"""How many machines with such room are wanted."""


class Autoscaler(Protocol):
    """Whoever brings machines, and takes those away that are idle and not asked for."""

    def request(self, bundles: Part) -> None:
        """Have machines with this room, instead of those that were asked for before."""
        ...


class Desk(Protocol):
    """Where a home says its part. It never waits for an answer."""

    def say(self, part: Part) -> None:
        """Say the part of this home: all that it wants now."""
        ...


class Capacity:
    """What the runs of one home ask for."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._runs: dict[RunId, tuple[NodesWanted, ...]] = {}
        self._due_s = 0.0
        self._has_said = False

    def ask(self, run: RunId, nodes: tuple[NodesWanted, ...], now_s: float) -> None:
        """Take what a run wants from now on; nothing: it wants no machines."""
        if nodes:
            self._runs[run] = nodes
        else:
            self._runs.pop(run, None)
        self._say(now_s)

    def check(self, now_s: float) -> None:
        """Say again what holds still, when it is time."""
        if self._runs and now_s >= self._due_s:
            self._say(now_s)

    def withdraw(self) -> None:
        """Ask for nothing more."""
        if self._runs or self._has_said:
            self._runs.clear()
            self._has_said = False
            self._desk.say({})

    def cores_of_others(self, run: RunId, pool: str) -> float:
        """Return the cores of a pool that other runs have asked for."""
        return sum(
            each.count * each.cores
            for other, nodes in self._runs.items()
            for each in nodes
            if other != run and each.pool == pool
        )

    def _say(self, now_s: float) -> None:
        part: Counter[Bundle] = Counter()
        for nodes in self._runs.values():
            for each in nodes:
                part[Bundle(each.pool, each.cores, each.gpus)] += each.count
        self._due_s = now_s + RENEW_S
        self._has_said = bool(part)
        self._desk.say(dict(part))


class CapacityDesk:
    """The parts of all homes of a cluster, and the one request that is made of them.

    Before `begins_s` nothing is asked: a desk that was restarted hears all homes first, so that
    none of them loses its machines for having spoken last.
    """

    def __init__(self, autoscaler: Autoscaler, begins_s: float) -> None:
        self._autoscaler = autoscaler
        self._begins_s = begins_s
        self._parts: dict[str, tuple[Part, float]] = {}  # home -> what it wants, until when
        self._asked: Part | None = None  # None: what stands from before is not known

    def say(self, home: str, part: Part, now_s: float) -> None:
        """Take the part of a home, in place of the one before."""
        self._parts.pop(home, None)
        if part:
            self._parts[home] = (part, now_s + HELD_S)
        self.settle(now_s)

    def settle(self, now_s: float) -> None:
        """Drop the parts that nobody holds any more, and ask for what is left."""
        if now_s < self._begins_s:
            return
        self._parts = {home: held for home, held in self._parts.items() if held[1] > now_s}
        wanted: Counter[Bundle] = Counter()
        for part, _ in self._parts.values():
            wanted.update(part)
        asked = dict(sorted(wanted.items()))
        if asked != self._asked:
            self._autoscaler.request(asked)
            self._asked = asked
