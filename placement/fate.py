"""When the nodes of one fleet are there, in every scenario."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from placement.tables import Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """Phases of one fleet in every scenario.

    Shapes: pool, up_s, ready_s, lost_s (S, PHASES_MAX).  A phase that does not happen has inf.
    """

    pool: Ints
    up_s: Floats
    ready_s: Floats
    lost_s: Floats

    @property
    def is_steady(self) -> bool:
        """Whether no scenario reclaims the fleet."""
        return bool(np.isinf(self.lost_s[:, 0]).all())
