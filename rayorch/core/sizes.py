"""How large runners are: what work needs, what a runner has, and how many a machine holds.

A runner has so much of its machine to itself. Work may go to a larger one, but never to one with a
GPU that it has no use for: those are few, and dear.
"""

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

PART_MIN: Final = 1e-6
"""Less is what is left over when fractions are added and taken away."""


class Size(NamedTuple):
    """So many cores, bytes of memory and GPUs: of a runner, or of a whole machine.

    A machine of which nobody says how much memory it has, has 0.
    """

    cores: float
    memory_bytes: int
    gpus: float = 0.0

    def serves(self, need: "Size") -> bool:
        """Say whether a runner of this size may run work that needs so much."""
        return (
            self.cores >= need.cores
            and self.memory_bytes >= need.memory_bytes
            and self.gpus >= need.gpus
            and bool(self.gpus) == bool(need.gpus)
        )

    def holds(self, size: "Size") -> int:
        """Return how many runners of a size a machine of this one has room for."""
        counts = [self.cores / size.cores] if size.cores > 0.0 else []
        if self.memory_bytes and size.memory_bytes:
            counts.append(self.memory_bytes / size.memory_bytes)
        if size.gpus:
            counts.append(_devices(self.gpus, size.gpus))
        return max(0, math.floor(min(counts) + PART_MIN)) if counts else 0

    def without(self, taken: Iterable["Size"]) -> "Size":
        """Return what is left of a machine on which there are runners of these sizes."""
        cores, memory_bytes, gpus = self
        for each in taken:
            cores -= each.cores
            gpus -= each.gpus
            # 0 is a machine of which nobody knows: one that is full has less.
            memory_bytes = memory_bytes and (memory_bytes - each.memory_bytes or -1)
        return Size(cores, memory_bytes, gpus)


def _devices(has: float, each: float) -> float:
    """Return how often so many GPUs are there: parts of two devices are not a whole one."""
    whole = math.floor(has + PART_MIN)
    if each >= 1.0:
        return whole // each
    rest = max(0.0, has - whole)
    return whole * math.floor(1.0 / each + PART_MIN) + math.floor(rest / each + PART_MIN)
