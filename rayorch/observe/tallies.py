"""Counters and histograms for a path that prometheus_client's own are too slow for.

Theirs take a lock and walk their buckets for each observation; these are plain numbers under the
one lock of whoever owns them, turned into Prometheus families when somebody scrapes.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from prometheus_client.core import HistogramMetricFamily

from rayorch.core.values import StepSeconds

OTHER: Final = "other"
"""What a label says when it has had as many values as it may have."""
STEPS: Final = ("read", "compute", "write", "wait")
STEP_BOUNDS_S: Final = (0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0)

SUMS: Final = ("rows_in", "rows_out", "bytes_in", "bytes_out", "duplicates")
"""Of `Totals`: committed work, each task once."""


class Histogram:
    """How many values fell between which bounds, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        assert list(bounds) == sorted(set(bounds)), bounds
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)  # the last one: above all bounds
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value; one that equals a bound is below it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def copied(self) -> "Histogram":
        """Return one that changes no more."""
        copy = Histogram.__new__(Histogram)
        copy.bounds, copy.counts, copy.total = self.bounds, self.counts.copy(), self.total
        return copy

    def put(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Add this as one metric of a family, in Prometheus' cumulated form."""
        family.add_metric(labels, list(self._cumulated()), sum_value=self.total)

    def _cumulated(self) -> Iterator[tuple[str, float]]:
        seen = 0
        bounds = [*(str(bound) for bound in self.bounds), "+Inf"]
        for bound, count in zip(bounds, self.counts, strict=True):
            seen += count
            yield bound, float(seen)


class StageTally:
    """What became of the attempts of one stage of one pipeline."""

    __slots__ = ("compute", "finished", "read", "unfinished", "wait", "write")

    def __init__(self) -> None:
        self.finished = 0
        self.unfinished: dict[tuple[str, str], int] = {}  # (outcome, kind) -> attempts
        self.read = Histogram(STEP_BOUNDS_S)
        self.compute = Histogram(STEP_BOUNDS_S)
        self.write = Histogram(STEP_BOUNDS_S)
        self.wait = Histogram(STEP_BOUNDS_S)

    def finish(self, seconds: StepSeconds) -> None:
        """Count an attempt that ended well."""
        self.finished += 1
        self.read.add(seconds.read_s)
        self.compute.add(seconds.compute_s)
        self.write.add(seconds.write_s)
        self.wait.add(seconds.wait_s)

    def end(self, outcome: str, kind: str) -> None:
        """Count an attempt that did not."""
        key = (outcome, kind)
        self.unfinished[key] = self.unfinished.get(key, 0) + 1

    def copied(self) -> "StageTally":
        """Return one that changes no more."""
        copy = StageTally.__new__(StageTally)
        copy.finished, copy.unfinished = self.finished, dict(self.unfinished)
        copy.read, copy.compute = self.read.copied(), self.compute.copied()
        copy.write, copy.wait = self.write.copied(), self.wait.copied()
        return copy

    def steps(self) -> Iterator[tuple[str, Histogram]]:
        """Yield the histogram of each step."""
        yield from zip(STEPS, (self.read, self.compute, self.write, self.wait), strict=True)


class Sums(msgspec.Struct):
    """What the runs of one pipeline did since this process began to look."""

    values: list[int]  # of SUMS
    publications: dict[str, int]  # by outcome
    ended: dict[str, Histogram]  # seconds by the state that the run settled in

    def copied(self) -> "Sums":
        """Return one that changes no more."""
        ended = {state: seconds.copied() for state, seconds in self.ended.items()}
        return Sums(self.values.copy(), dict(self.publications), ended)


class CostTally:
    """What runs were charged, by pool and kind, as counters that never fall.

    The ledger itself may: an attempt that was presumed lost and charged as waste reports after all.
    What it fell by is then not counted again until the run's waste has come as far once more.
    """

    __slots__ = ("core_s", "failures", "revisions", "usd")

    def __init__(self) -> None:
        self.usd: dict[tuple[str, str], float] = {}  # (pool, kind)
        self.core_s: dict[tuple[str, str], float] = {}  # (pool, kind)
        self.revisions: dict[str, int] = {}  # by pipeline
        self.failures: dict[str, int] = {}  # by pipeline

    def copied(self) -> "CostTally":
        """Return one that changes no more."""
        copy = CostTally()
        copy.usd, copy.core_s = dict(self.usd), dict(self.core_s)
        copy.revisions, copy.failures = dict(self.revisions), dict(self.failures)
        return copy


class Gauges(msgspec.Struct, frozen=True):
    """What is so at one moment."""

    tasks: Mapping[tuple[str, str], int] = {}  # (pipeline, state)
    runs: Mapping[tuple[str, str], int] = {}  # (pipeline, state)
    runners: Mapping[str, int] = {}  # by pool
    leases: int = 0


class LabelCap:
    """Lets so many distinct values of a label through; the others are one."""

    __slots__ = ("_seen", "_values_max")

    def __init__(self, values_max: int) -> None:
        self._values_max = values_max
        self._seen: set[str] = set()

    def capped(self, value: str) -> str:
        """Return the value, or OTHER when it is one too many."""
        if value in self._seen:
            return value
        if len(self._seen) >= self._values_max:
            return OTHER
        self._seen.add(value)
        return value
