"""What may happen to a cluster and its store, and in what order a seed lets it."""

import random
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "runner killed",
    "runner frozen",
    "runner hangs",  # for longer than a silent runner is believed in
    "machine killed",
    "machine frozen",
    "control killed",
    "control frozen",
    "driver killed",
    "head lost",  # and the machines that it led, at once or later; then `resume`
    "store frozen",
    "store crashed",
]
Where = Literal["local", "s3"]

FAULTS_MIN: Final = 10
FAULTS_MAX: Final = 12
WEIGHTS: Final[dict[Kind, float]] = {
    "runner killed": 6.0,
    "runner frozen": 3.0,
    "runner hangs": 1.0,
    "machine killed": 1.5,
    "machine frozen": 1.0,
    "control killed": 2.0,
    "control frozen": 1.5,
    "driver killed": 1.0,
}
OF_STORE: Final[dict[Kind, float]] = {"store frozen": 1.5, "store crashed": 1.0}
HEAD_EVERY: Final = 5
"""One seed of so many loses its head: a new cluster takes a while to start."""
HANG_S: Final = 12.0


@dataclass(frozen=True)
class Fault:
    """One thing that happens: to whom, for how long, and how long after the one before."""

    kind: Kind
    victim: float  # of those that are there, from 0 to 1
    for_s: float
    after_s: float
    rudely: bool  # a head takes its machines with it

    def __str__(self) -> str:
        lasts = "frozen" in self.kind or "hangs" in self.kind
        return f"{self.kind} {self.for_s:.1f} s" if lasts else self.kind


def faults_of(seed: int, where: Where) -> list[Fault]:
    """Return the faults of a seed, in their order."""
    rng = random.Random(f"{where}-{seed}")
    weights = {**WEIGHTS, **(OF_STORE if where == "s3" else {})}
    kinds = rng.choices(
        list(weights), list(weights.values()), k=rng.randint(FAULTS_MIN, FAULTS_MAX)
    )
    if seed % HEAD_EVERY == HEAD_EVERY - 1:
        kinds[rng.randrange(2, len(kinds))] = "head lost"
    return [
        Fault(
            kind,
            victim=rng.random(),
            for_s=HANG_S if kind == "runner hangs" else rng.uniform(0.3, 2.5),
            after_s=rng.uniform(0.1, 0.8),
            rudely=rng.random() < 0.5,
        )
        for kind in kinds
    ]
