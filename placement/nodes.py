"""A granted node, what it costs, and the outcome of an execution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from placement.model import Pool

_EPS: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one execution came to; `end_s` is inf when it never finished."""

    end_s: float
    usd: float
    egress_usd: float
    nodes: int
    reclaims: int


class Node:
    """A node that was granted: what it has free, and what runs on it."""

    __slots__ = (
        "boot", "end", "free", "gpus", "mem", "parts", "pool", "ready", "running", "serves", "up",
    )  # fmt: skip

    def __init__(self, pool: int, parts: tuple[int, ...], up: float, ready: float) -> None:
        self.pool = pool
        self.parts = parts
        self.serves: frozenset[int] = frozenset()
        self.up = up
        self.ready = ready
        self.end = math.inf
        self.running: dict[tuple[int, int], int] = {}
        self.free = self.mem = self.gpus = 0.0


def bill_usd(pool: Pool, seconds: float) -> float:
    """USD for a node of the pool that was up for so long, rounded up as the pool bills."""
    if seconds <= 0:
        return 0.0
    billed = math.ceil(max(seconds, pool.min_bill_s) / pool.bill_s - _EPS) * pool.bill_s
    return billed * pool.usd_h / 3600.0


def overlap(i: int, n: int, m: int) -> range:
    """Tasks of a parent with m tasks that task i of n reads one to one."""
    return range(i * m // n, max(i * m // n + 1, -(-(i + 1) * m // n)))
