"""Two files of results as ratios with spread, and whether the second is worse beyond the noise.

    drift = median of after / before over what both measured of peers of the same version
    ratio = after / before of ours, over the drift; the other way round where more is better
    range = least after / most before ... most after / least before, over the drift

A ratio above 1 is worse. It is a regression when even the low end of its range is above 1 by more
than the tolerance: no pair of runs says otherwise. A figure that was measured once has no spread of
its own: its range is widened by what is assumed of one run.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from rayorch.bench.errors import SuiteError
from rayorch.bench.results import FigureLine, Machine, Measured, Results
from rayorch.bench.tables import OURS

TOLERANCE: Final = 0.05
"""Worse by less is no regression, however sure it is."""
ONE_RUN: Final = 0.25
"""What one run is taken to be off, where nothing tells its spread."""
ANCHORS_MIN: Final = 3
"""Of fewer peers' figures, how the machine has changed is not told from their own noise."""
SAME: Final = ("scale", "slots", "quick")
"""What must have been asked for alike."""
LIBRARIES: Final = {
    "ray-data": "ray",
    "ray-data-tuned": "ray",
    "daft-ray": "daft",
    "daft": "daft",
    "dask": "dask",
    "pool": "pyarrow",
    "polars": "polars",
    "duckdb": "duckdb",
}
"""What makes a peer fast: of another version, it says nothing of the machine."""

Verdict = Literal["worse", "better", "same", "gone"]


class Ratio(msgspec.Struct, frozen=True):
    """One figure of ours, before and after. Above 1 is worse."""

    workload: str
    name: str
    unit: str
    before: float
    after: float
    ratio: float
    low: float
    high: float
    verdict: Verdict
    why: str = ""


class Comparison(msgspec.Struct, frozen=True):
    """All that two files have in common, and what the first has alone."""

    ratios: tuple[Ratio, ...]
    drift: dict[str, float]
    anchors: int
    notes: tuple[str, ...]
    tolerance: float
    one_run: float

    @property
    def worse(self) -> list[Ratio]:
        """Return the regressions."""
        return [each for each in self.ratios if each.verdict in {"worse", "gone"}]


@dataclass(frozen=True, slots=True)
class _Series:
    """A figure, each repetition of it."""

    values: tuple[float, ...]
    unit: str
    more_is_better: bool = False


Key = tuple[str, str, str]  # workload, side, measure


def compare(
    before: Results, after: Results, *, tolerance: float = TOLERANCE, one_run: float = ONE_RUN
) -> Comparison:
    """Hold the second file against the first.

    Raises: SuiteError: they were not asked for the same amount of work.
    """
    earlier, later = _machine(before), _machine(after)
    for each in (*before.machines(), *after.machines()):
        _check_alike(earlier, each)
    first, second = dict(_series(before)), dict(_series(after))
    drift, anchors = _drift(first, second, _anchors(earlier, later))
    ratios = []
    for key, was in first.items():
        if not key[1].startswith(OURS):
            continue
        now = second.get(key)
        if now is None:
            if why := _gone(key, after):
                ratios.append(_lost(key, was, why))
            continue
        ratios.append(_ratio(key, was, now, drift.get(key[2], 1.0), tolerance, one_run))
    return Comparison(
        ratios=tuple(ratios),
        drift=drift,
        anchors=anchors,
        notes=tuple(_notes(earlier, later, {key[0] for key in first} - {key[0] for key in second})),
        tolerance=tolerance,
        one_run=one_run,
    )


def _machine(results: Results) -> Machine:
    return results.machines()[0]


def _check_alike(earlier: Machine, later: Machine) -> None:
    for name in SAME:
        was, now = earlier.asked.get(name), later.asked.get(name)
        if was != now:
            problem = f"these results are not of the same work: {name} was {was}, and is {now}"
            raise SuiteError(problem, f"measure again with the same --{name}")


def _series(results: Results) -> Iterator[tuple[Key, _Series]]:
    for workload, side in results.sides:
        runs = results.runs(workload, side)
        for name, values in _measures(runs).items():
            unit = "MB" if name == "peak memory" else "s"
            yield (workload, side, name), _Series(values, unit)
    # A file that was appended to has a figure once for each call: all of them are repetitions.
    named: dict[Key, list[FigureLine]] = {}
    for figure in results.figures():
        name = figure.name if figure.at is None else f"{figure.name} at {figure.at:,.10g}"
        named.setdefault((figure.workload, OURS, name), []).append(figure)
    for key, lines in named.items():
        values = tuple(value for line in lines for value in line.values)
        # What is nothing has no ratio to anything.
        if min(values) > 0.0:
            yield key, _Series(values, lines[0].unit, lines[0].more_is_better)


def _measures(runs: Sequence[Measured]) -> Mapping[str, tuple[float, ...]]:
    found = {
        "wall": tuple(run.wall_s for run in runs),
        "CPU": tuple(run.cpu_s for run in runs),
        "peak memory": tuple(run.peak_bytes / 1e6 for run in runs),
    }
    return {name: values for name, values in found.items() if min(values) > 0.0}


def _anchors(earlier: Machine, later: Machine) -> set[str]:
    """Return the peers that are the same in both."""
    return {
        side
        for side, library in LIBRARIES.items()
        if earlier.versions.get(library) == later.versions.get(library)
    }


def _drift(
    first: Mapping[Key, _Series], second: Mapping[Key, _Series], anchors: set[str]
) -> tuple[dict[str, float], int]:
    """Return by measure how much longer the same work takes, by peers that did not change."""
    moved: dict[str, list[float]] = {}
    for key, was in first.items():
        now = second.get(key)
        if key[1] in anchors and key[2] in {"wall", "CPU"} and now is not None:
            ratio = statistics.median(now.values) / statistics.median(was.values)
            moved.setdefault(key[2], []).append(ratio)
    drift = {
        name: statistics.median(ratios)
        for name, ratios in moved.items()
        if len(ratios) >= ANCHORS_MIN
    }
    return drift, min((len(moved[name]) for name in drift), default=0)


def _ratio(
    key: Key, was: _Series, now: _Series, drift: float, tolerance: float, one_run: float
) -> Ratio:
    # So that more is worse, whatever the figure is.
    earlier, later = was.values, now.values
    if was.more_is_better:
        earlier, later = _inverse(earlier), _inverse(later)
    widened = 1.0 + (one_run if min(len(earlier), len(later)) == 1 else 0.0)
    ratio = statistics.median(later) / statistics.median(earlier) / drift
    low = min(later) / max(earlier) / drift / widened
    high = max(later) / min(earlier) / drift * widened
    verdict: Verdict = "same"
    if low > 1.0 + tolerance:
        verdict = "worse"
    elif high < 1.0 - tolerance:
        verdict = "better"
    return Ratio(
        workload=key[0],
        name=_name(key),
        unit=was.unit,
        before=statistics.median(was.values),
        after=statistics.median(now.values),
        ratio=ratio,
        low=low,
        high=high,
        verdict=verdict,
    )


def _inverse(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(1.0 / value for value in values)


def _name(key: Key) -> str:
    _, side, measure = key
    return measure if side == OURS else f"{side.removeprefix(OURS).strip(' ,')}: {measure}"


def _gone(key: Key, after: Results) -> str:
    """Say why ours has no figure any more; nothing, where it was not asked for."""
    failed = [each for each in after.failures() if (each.workload, each.side) == key[:2]]
    return failed[0].why if failed else ""


def _lost(key: Key, was: _Series, why: str) -> Ratio:
    nan = float("nan")
    median = statistics.median(was.values)
    return Ratio(key[0], _name(key), was.unit, median, nan, nan, nan, nan, "gone", why)


def _notes(earlier: Machine, later: Machine, missing: set[str]) -> Iterator[str]:
    if (earlier.processor, earlier.cores) != (later.processor, later.cores):
        yield (
            f"the machines differ: {earlier.cores} x {earlier.processor or 'unknown'}, then "
            f"{later.cores} x {later.processor or 'unknown'}; ratios of the two say little"
        )
    for name in sorted(earlier.versions.keys() | later.versions.keys()):
        was, now = earlier.versions.get(name, "none"), later.versions.get(name, "none")
        if was != now:
            yield f"{name} was {was}, and is {now}"
    if missing:
        yield f"not measured again: {', '.join(sorted(missing))}"
