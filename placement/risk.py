"""What a sample of executions is worth against an objective, and how sure one can be of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.model import Budget, Deadline, Objective
from placement.sample import quantile_s

if TYPE_CHECKING:
    from placement.sample import Sample
    from placement.tables import Floats

# A plan may miss on this share of what the confidence allows, so that it keeps its promise on
# fresh luck: at 95 % it has to keep 98.25 % of the scenarios that it is chosen on.
MISS_RESERVE: Final = 0.35
# A plan that is late: so much dearer, for each share of late scenarios, for each share of the time.
_LATE_JUMP: Final = 0.05
_LATE_SHARE: Final = 3.0
_LATE_SLOPE: Final = 20.0
_OVER_SLOPE: Final = 6.0
# All of a budget is spent for this share of the time, and not for less.
_THRIFT: Final = 0.02
_NEVER: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """An objective with the margin that a search has to keep.

    `tighten_s` moves the deadline forward, for a simulator that is known to be optimistic.
    `severity` weighs lateness: low at first, so that a search may pass through plans that are
    late, and higher in each phase, so that it ends with one that is not.
    Source: penalty method (Courant 1943).
    """

    objective: Objective
    now_s: float = 0.0
    reserve: float = MISS_RESERVE
    tighten_s: float = 0.0
    severity: float = 1.0

    @property
    def is_by_quantile(self) -> bool:
        """Whether only late scenarios count, and not when the others end."""
        return isinstance(self.objective, (Deadline, Budget))

    def score(self, sample: Sample) -> float:
        """Rank samples: USD, and much more when the objective is not kept.  Less is better."""
        return self.score_of(sample.mean_usd, sample.end_s)

    def score_of(self, mean_usd: float, end_s: Floats) -> float:
        """Rank by mean cost and by when each scenario ends.  Shapes: end_s (S,)."""
        usd = max(mean_usd, 1e-9)
        if isinstance(self.objective, Deadline):
            return usd * (1.0 + self._lateness(end_s, self.objective))
        if np.isposinf(end_s).any():
            return usd * _NEVER
        if isinstance(self.objective, Budget):
            over = max(0.0, usd / self.objective.usd - 1.0)
            span = max(quantile_s(end_s, 0.95) - self.now_s, 0.0)
            thrift = _THRIFT * usd / self.objective.usd
            return span * (1.0 + thrift + _LATE_JUMP * (over > 0) + _OVER_SLOPE * over)
        return usd + self.objective.usd_per_h * (float(end_s.mean()) - self.now_s) / 3600.0

    def _lateness(self, end_s: Floats, deadline: Deadline) -> float:
        """Penalty factor on the cost of a plan that is late too often; 0 for one that is not.

        It falls with every scenario that comes in time and with every second less in the others,
        so that a search finds its way back.
        """
        late = np.sort(end_s)[: self._counted(end_s.size, deadline)]
        late = late - (deadline.at_s - self.tighten_s)
        late = late[late > 0]
        if not late.size:
            return 0.0
        if np.isposinf(late).any():
            return _NEVER
        span = max(deadline.at_s - self.now_s, 1e-9)
        much = float(late.sum()) / span
        by_run = (_LATE_SHARE * late.size + _LATE_SLOPE * much) / end_s.size
        return _LATE_JUMP + self.severity * by_run

    def _counted(self, size: int, deadline: Deadline) -> int:
        """How many of some scenarios have to be in time."""
        allowed = (1.0 - deadline.confidence) * self.reserve
        return math.ceil((1.0 - allowed) * (size - 1) - 1e-9) + 1

    def is_in_time(self, end_s: Floats) -> bool:
        """Whether so many scenarios end in time, if there is a deadline."""
        objective = self.objective
        return not isinstance(objective, Deadline) or self._lateness(end_s, objective) <= 0

    def is_kept(self, sample: Sample) -> bool:
        """Whether the sample keeps the objective with the reserve."""
        if isinstance(self.objective, Deadline):
            return self._lateness(sample.end_s, self.objective) <= 0
        if isinstance(self.objective, Budget):
            # The mean of other scenarios may be higher by about this much.
            doubt = float(sample.usd.std()) / math.sqrt(sample.usd.size)
            return sample.mean_usd + doubt <= self.objective.usd
        return bool(np.isfinite(sample.end_s).all())


def hit_interval(hits: int, size: int, *, z: float = 1.96) -> tuple[float, float]:
    """Interval for the true share of hits, from `hits` of `size` scenarios.

    Source: Wilson 1927.
    """
    share = hits / size
    centre = (share + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * math.sqrt(share * (1 - share) / size + z * z / (4 * size**2))
    return max(0.0, centre - half), min(1.0, centre + half)
