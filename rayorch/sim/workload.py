"""What a trial's run is made of, and what its planner answers."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from rayorch.core.commands import Lease, PlanStage, SolvePlacement
from rayorch.core.facts import Fact, RunSubmitted
from rayorch.core.values import AttemptOutput

Answer = tuple[float, Sequence[Fact]]
"""How many seconds later, and what then is told."""


class Workload(Protocol):
    """What a trial's run is made of, and what its planner answers. Times are of the trial."""

    @property
    def turn_s(self) -> float:
        """Seconds from the first fact that waits for a turn of the scheduler to the turn."""
        ...

    @property
    def tick_s(self) -> float:
        """Seconds between two turns without news."""
        ...

    @property
    def patience_s(self) -> float:
        """Seconds after which a run is given up."""
        ...

    def submitted(self) -> RunSubmitted:
        """Return the run."""
        ...

    def planned(self, at_s: float) -> Answer:
        """Return the plan, and the first placement."""
        ...

    def divided(self, command: PlanStage) -> Answer:
        """Return the tasks of a stage that others come before."""
        ...

    def placed(self, command: SolvePlacement, there: Mapping[str, int]) -> Answer:
        """Look at the placement, where each pool has so many slots of one core."""
        ...

    def publish_s(self) -> float:
        """Return the seconds that it takes to make the outputs visible."""
        ...

    def tasks_each(self, stage: int) -> float:
        """Return for how many tasks of a stage one stands: each takes the control actor's CPU."""
        ...

    def attempt_s(self, lease: Lease, first: int | None, rest: bytes, *, is_first: bool) -> float:
        """Return the seconds of an attempt at speed 1.

        `first` is the first task of a stage that was divided as the run went; `rest` is of a task
        that has what another left.
        """
        ...

    def speed(self, lease: Lease, pool: str) -> float:
        """Return how quick a pool is at a stage's tasks."""
        ...

    def overhead_s(self, lease: Lease) -> float:
        """Return the seconds that pass on a runner before the next attempt begins."""
        ...

    def output(self, lease: Lease, duration_s: float) -> AttemptOutput:
        """Return what an attempt ends with."""
        ...

    def cut(self, lease: Lease, took_s: float, left_s: float) -> tuple[float, tuple[bytes, ...]]:
        """Return when an attempt ends that is to leave its rest to others, and the rests.

        Nothing is left of one that cannot be cut.
        """
        ...
