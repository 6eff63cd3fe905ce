"""What a sample of executions is worth against an objective, and how sure one can be of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.model import Budget, Deadline, Objective

if TYPE_CHECKING:
    from placement.sample import Sample

# A plan may miss on this share of what the confidence allows, so that it keeps its promise on
# fresh luck: at 95 % it has to keep 98.5 % of the scenarios that it is chosen on.
MISS_RESERVE: Final = 0.3
_LATE_JUMP: Final = 0.05
_LATE_SLOPE: Final = 6.0
_NEVER: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """An objective with the margin that a search has to keep.

    `tighten_s` moves the deadline forward, for a simulator that is known to be optimistic.
    """

    objective: Objective
    now_s: float = 0.0
    reserve: float = MISS_RESERVE
    tighten_s: float = 0.0

    def score(self, sample: Sample) -> float:
        """Rank samples: USD, and much more when the objective is not kept.  Less is better."""
        usd = max(sample.mean_usd, 1e-9)
        if isinstance(self.objective, Deadline):
            return usd * (1.0 + self._lateness(sample, self.objective))
        end = sample.end_s[np.isfinite(sample.end_s)]
        if end.size < sample.end_s.size:
            return usd * _NEVER
        if isinstance(self.objective, Budget):
            over = max(0.0, usd / self.objective.usd - 1.0)
            span = float(np.quantile(end, 0.95)) - self.now_s
            return span * (1.0 + _LATE_JUMP * (over > 0) + _LATE_SLOPE * over)
        return usd + self.objective.usd_per_h * (float(end.mean()) - self.now_s) / 3600.0

    def _lateness(self, sample: Sample, deadline: Deadline) -> float:
        """Penalty factor on the cost of a plan that is late too often; 0 for one that is not."""
        allowed = (1.0 - deadline.confidence) * self.reserve
        at = sample.quantile_s(1.0 - allowed)
        if not math.isfinite(at):
            return _NEVER
        late = at - (deadline.at_s - self.tighten_s)
        if late <= 0:
            return 0.0
        return _LATE_JUMP + _LATE_SLOPE * late / max(deadline.at_s - self.now_s, 1e-9)

    def is_kept(self, sample: Sample) -> bool:
        """Whether the sample keeps the objective with the reserve."""
        if isinstance(self.objective, Deadline):
            return self._lateness(sample, self.objective) <= 0
        if isinstance(self.objective, Budget):
            return sample.mean_usd <= self.objective.usd
        return bool(np.isfinite(sample.end_s).all())


def hit_interval(hits: int, size: int, *, z: float = 1.96) -> tuple[float, float]:
    """Interval for the true share of hits, from `hits` of `size` scenarios.

    Source: Wilson 1927.
    """
    share = hits / size
    centre = (share + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * math.sqrt(share * (1 - share) / size + z * z / (4 * size**2))
    return max(0.0, centre - half), min(1.0, centre + half)
