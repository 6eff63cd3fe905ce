"""What a layout came to, scenario by scenario."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from placement.tables import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a layout came to in each scenario.

    Shapes: end_s, usd, egress_usd, request_usd (S,), `usd` the sum of these two and of what nodes
    cost; ready_s (parts,) is when a part can begin on average, and
    done_s (C,) when a class is done; tasks (parts, fleets) is how many each fleet runs on average.
    """

    end_s: Floats
    usd: Floats
    egress_usd: Floats
    request_usd: Floats
    ready_s: Floats
    done_s: Floats
    tasks: Floats

    @property
    def mean_usd(self) -> float:
        """Mean cost over the scenarios."""
        return float(self.usd.mean())

    def quantile_s(self, q: float) -> float:
        """Finish time that a share `q` of the scenarios keeps."""
        return quantile_s(self.end_s, q)

    def miss_share(self, at_s: float) -> float:
        """Share of the scenarios that end after `at_s`."""
        return float((self.end_s > at_s + 1e-6).mean())


def quantile_s(end_s: Floats, q: float) -> float:
    """Time that a share `q` of some ends keeps."""
    at = math.ceil(q * (end_s.size - 1) - 1e-9)
    return float(np.partition(end_s, at)[at])
