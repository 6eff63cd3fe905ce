"""Fleets of a layout while it is simulated, and those that serve a part together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from placement.fate import Fate
    from placement.layout import Fleet
    from placement.tables import Floats, Ints


@dataclass(slots=True)
class FleetState:
    """Slots of one fleet: when each is free next, and how many of each node began busy.

    Shapes: free_s (S, nodes, slots); taken (nodes,).
    """

    fleet: Fleet
    unit: float
    fate: Fate | None
    free_s: Floats
    taken: list[int]
    is_own: bool = True  # whether the fleet comes up in its own pool in every scenario


@dataclass(frozen=True, slots=True)
class Served:
    """Fleets that serve a part together, as arrays.

    Shapes: pools (S, F, phases); lost_s, ready_s likewise, None if nothing is lost; slow (S, F,
    phases) is how much slower their machines are.
    """

    states: list[FleetState]
    pools: Ints
    own: Ints
    slow: Floats
    lost_s: Floats | None
    ready_s: Floats | None
