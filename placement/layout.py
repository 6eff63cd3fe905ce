"""A plan as data: which nodes are asked for when, and which queues of work they serve.

A `Part` is a range of one class and a queue of its own; a `Fleet` is alike nodes that serve some
parts, in the order of the parts: a node takes the first ready task that fits, and goes home when
its parts have nothing left to start.  A fleet whose parts are all started by `at_s` is never
asked for, which makes a late on-demand fleet an insurance that costs only when it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placement.errors import InvalidPlanError

if TYPE_CHECKING:
    from placement.model import Problem
    from placement.tables import Tables

NO_POOL = -1


@dataclass(frozen=True, slots=True)
class Part:
    """Tasks [lo, hi) of class `cls` (an index)."""

    cls: int
    lo: int
    hi: int

    @property
    def count(self) -> int:
        """Number of tasks in the part."""
        return self.hi - self.lo


@dataclass(frozen=True, slots=True)
class Fleet:
    """`count` nodes of pool `pool` (an index), asked for at `at_s`.

    `at_s` None means: when work of its parts is first ready.  `parts` are indices, ascending.
    `held` is an index into `Problem.held` for nodes that are there already, else -1.
    """

    pool: int
    count: int
    at_s: float | None
    parts: tuple[int, ...]
    held: int = -1


@dataclass(frozen=True, slots=True)
class Layout:
    """Parts in order of priority, fleets, and where a lost or refused spot node is replaced.

    `fallback[p]` is the pool that replaces pool p after a reclaim, or after `patience_s` of
    waiting for a pool that is gone; NO_POOL waits for p itself.
    """

    parts: tuple[Part, ...]
    fleets: tuple[Fleet, ...]
    fallback: tuple[int, ...]
    patience_s: float = 60.0


def check_layout(problem: Problem, tables: Tables, layout: Layout) -> None:
    """Refuse a layout that does not run every task exactly once on nodes that it fits.

    Raises: InvalidPlanError, naming the first class or fleet that is wrong.
    """
    _check_ranges(problem, layout)
    if len(layout.fallback) != len(problem.pools):
        raise InvalidPlanError("fallback needs one entry a pool", f"got={len(layout.fallback)}")
    served = [False] * len(layout.parts)
    for fleet in layout.fleets:
        if not 0 <= fleet.pool < len(problem.pools) or fleet.count < 1:
            raise InvalidPlanError("a fleet is malformed", repr(fleet))
        for p in fleet.parts:
            served[p] = served[p] or bool(tables.fits[layout.parts[p].cls, fleet.pool])
    for part, ok in zip(layout.parts, served, strict=True):
        if not ok:
            name = problem.classes[part.cls].name
            raise InvalidPlanError("no node of the plan can run the class", f"class={name}")


def _check_ranges(problem: Problem, layout: Layout) -> None:
    """Every task of every class is in exactly one part."""
    ranges: dict[int, list[tuple[int, int]]] = {}
    for part in layout.parts:
        ranges.setdefault(part.cls, []).append((part.lo, part.hi))
    for k, cls in enumerate(problem.classes):
        at = 0
        for lo, hi in sorted(ranges.get(k, [])):
            if lo != at or hi <= lo:
                raise InvalidPlanError("tasks are placed twice or not at all", f"class={cls.name}")
            at = hi
        if at != cls.count:
            missing = f"class={cls.name}, placed={at}, count={cls.count}"
            raise InvalidPlanError("tasks are not placed", missing)
