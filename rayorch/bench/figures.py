"""Medians, ratios and verdicts. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Verdict = Literal["pass", "fail", "no figure"]
PLAIN: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Several runs of one figure."""

    median: float
    least: float
    most: float
    runs: int

    @property
    def spread(self) -> float:
        """Distance of the extremes, as a share of the median."""
        return (self.most - self.least) / self.median if self.median else 0.0


def summary(values: Sequence[float]) -> Summary:
    """Return the median and the extremes of some runs. Raises: ValueError, of none."""
    if not values:
        raise ValueError("no runs to sum up")
    return Summary(
        median=statistics.median(values), least=min(values), most=max(values), runs=len(values)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A figure held against its target."""

    workload: str
    claim: str
    figure: float | None
    """None where a side failed or was left out."""
    limit: float
    at_least: bool = False
    unit: str = PLAIN
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the target is reached."""
        if self.figure is None:
            return "no figure"
        reached = self.figure >= self.limit if self.at_least else self.figure <= self.limit
        return "pass" if reached else "fail"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Return our median over theirs; None where either has no run."""
    if not ours or not theirs:
        return None
    return statistics.median(ours) / statistics.median(theirs)


def makespan_bound_s(total_s: float, slowest_s: float, slots: int) -> float:
    """Return what no schedule can beat: all slots busy to the end, or the slowest task alone.

    Source: the two lower bounds of Graham 1969.
    """
    assert total_s >= slowest_s
    assert slots > 0
    return max(total_s / slots, slowest_s)
