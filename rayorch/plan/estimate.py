"""What an attempt of a stage is expected to take, learned from the attempts that there were.

Seconds are a line through size and rows:  s = (a + b * GB + c * Mrows) / speed of the pool.
Before the first measurement a, b and c are PRIOR_S. Measurements are kept relative to the prior, as
sums alone, so that they may be folded in any order and a million of them take no more room than
one. Three things are learned from the sums, each shrunk towards what is known without it:

    how far the whole stage is off the prior     a factor, in logarithms
    how far each pool is off its stated speed    a factor on top, in logarithms
    how the seconds divide among a, b and c      a regression, held to equal shares

The spread around the line is the tasks' own (`cv`); how sure the factors are is another matter, and
is the same for all tasks of a pool (`scale_cv`).
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GB: Final = 1e9
PRIOR_S: Final[tuple[float, float, float]] = (0.1, 10.0, 0.2)
"""Seconds for a task, a GB and a million rows on one vCPU of speed 1: Parquet, read and written."""
PRIOR_SIGMA: Final = 0.6
"""How far a stage is usually off the prior, in logarithms: a factor of 1.8."""
POOL_SIGMA: Final = 0.25
"""How far a pool is usually off its stated speed, in logarithms."""
NOISE_SIGMA: Final = 0.3
"""How far one attempt is usually off the mean, in logarithms; weighs an attempt against a prior."""
PRIOR_CV: Final = 0.35
PRIOR_CV_ATTEMPTS: Final = 4.0
SHARE_ATTEMPTS: Final = 0.05
DRIFT_CV: Final = 0.03
"""However much was measured, tomorrow differs by this."""
PRIOR_RATIO: Final = 0.5
PRIOR_RATIO_CV: Final = 1.0
RATIO_ATTEMPTS: Final = 0.25
SECONDS_MIN: Final = 1e-4
_ZEROS: Final = (0.0, 0.0, 0.0)
_NO_PAIRS: Final = (0.0, 0.0, 0.0, 0.0, 0.0)
MEMORY_SPREAD: Final = 1.0
"""Squared logarithms of size that hold the growth of memory at none: tasks must differ in size."""
MEMORY_GROWTH_MIN: Final = 0.05
"""Less growth of memory with size than this power is taken to be noise."""


class Work(msgspec.Struct, frozen=True, gc=False):
    """What one task reads, as the planner knows it: bytes on disk and rows (0: not known)."""

    size_bytes: int = 0
    rows: int = 0


class Measured(msgspec.Struct, frozen=True, gc=False):
    """One attempt that ended well."""

    work: Work
    pool: str
    duration_s: float
    memory_bytes: int = 0
    out_bytes: int = 0


class Sums(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that is kept of the attempts of one stage version on one pool.

    `gram` and `moment` are of the shares that a, b and c have in the prior seconds, and of
    measured over prior seconds; `logs` are sums of the logarithm of the latter. `memory_pairs` are
    attempts, and sums over the logarithms of size and memory: x, y, xx and xy.
    """

    attempts: int = 0
    gram: tuple[tuple[float, float, float], ...] = (_ZEROS, _ZEROS, _ZEROS)
    moment: tuple[float, float, float] = _ZEROS
    square: float = 0.0
    logs: float = 0.0
    memory_bytes_max: int = 0
    memory_logs: float = 0.0
    memory_log_squares: float = 0.0
    memory_size_bytes_max: int = 0
    memory_pairs: tuple[float, float, float, float, float] = _NO_PAIRS
    in_bytes: float = 0.0
    out_bytes: float = 0.0
    ratios: float = 0.0
    ratio_squares: float = 0.0
    ratio_attempts: int = 0


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was measured of one version of a stage, by pool."""

    version: str
    stage: str = ""
    pools: dict[str, Sums] = {}

    @property
    def attempts(self) -> int:
        """How many attempts were measured."""
        return sum(sums.attempts for sums in self.pools.values())


def observe(history: History, measured: Iterable[Measured]) -> History:
    """Return the history with some more attempts in it. Their order does not matter."""
    by_pool: dict[str, list[Measured]] = {}
    for each in measured:
        by_pool.setdefault(each.pool, []).append(each)
    pools = dict(history.pools)
    for pool, some in sorted(by_pool.items()):
        pools[pool] = _added(pools.get(pool, Sums()), some)
    return msgspec.structs.replace(history, pools=pools)


def _added(before: Sums, some: list[Measured]) -> Sums:
    terms = np.array([_terms(each.work) for each in some])
    prior_s = terms.sum(axis=1)
    shares = terms / prior_s[:, None]
    ratio = np.maximum([each.duration_s for each in some], SECONDS_MIN) / prior_s
    gram = np.array(before.gram) + shares.T @ shares
    moment = np.array(before.moment) + shares.T @ ratio
    memory = [math.log(each.memory_bytes) for each in some if each.memory_bytes > 0]
    sized = [each.work.size_bytes for each in some if each.memory_bytes > 0]
    outs = [(each.work.size_bytes, each.out_bytes) for each in some if each.work.size_bytes > 0]
    out_ratios = [out / into for into, out in outs]
    return Sums(
        attempts=before.attempts + len(some),
        gram=tuple((float(a), float(b), float(c)) for a, b, c in gram),
        moment=(float(moment[0]), float(moment[1]), float(moment[2])),
        square=before.square + float(ratio @ ratio),
        logs=before.logs + float(np.log(ratio).sum()),
        memory_bytes_max=max([before.memory_bytes_max, *(each.memory_bytes for each in some)]),
        memory_logs=before.memory_logs + sum(memory),
        memory_log_squares=before.memory_log_squares + sum(log * log for log in memory),
        memory_size_bytes_max=max([before.memory_size_bytes_max, *sized]),
        memory_pairs=_pairs(before.memory_pairs, some),
        in_bytes=before.in_bytes + sum(into for into, _ in outs),
        out_bytes=before.out_bytes + sum(out for _, out in outs),
        ratios=before.ratios + sum(out_ratios),
        ratio_squares=before.ratio_squares + sum(each * each for each in out_ratios),
        ratio_attempts=before.ratio_attempts + len(out_ratios),
    )


def _pairs(
    before: tuple[float, float, float, float, float], some: list[Measured]
) -> tuple[float, float, float, float, float]:
    both = [e for e in some if e.memory_bytes > 0 and e.work.size_bytes > 0]
    x = np.log([e.work.size_bytes for e in both]) if both else np.zeros(0)
    y = np.log([e.memory_bytes for e in both]) if both else np.zeros(0)
    count, x_sum, y_sum, xx, xy = before
    return (
        count + len(both),
        x_sum + float(x.sum()),
        y_sum + float(y.sum()),
        xx + float(x @ x),
        xy + float(x @ y),
    )


def _terms(work: Work) -> tuple[float, float, float]:
    """Prior seconds of a task, by what they are for."""
    overhead_s, gb_s, mrow_s = PRIOR_S
    return overhead_s, gb_s * work.size_bytes / GB, mrow_s * work.rows / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A quantity that is positive and uncertain: log-normal, by its mean and its cv."""

    mean: float
    cv: float

    def quantile(self, normal: float) -> float:
        """Return the value that lies `normal` standard deviations up (1.645: the 95th percent)."""
        sigma = math.sqrt(math.log1p(self.cv**2))
        return self.mean * math.exp(normal * sigma - sigma**2 / 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is expected of a stage's tasks.

    Units: `line_s` seconds of a task, a GB and a million rows at speed 1; `cv` around the line.
    `factors` has, for each pool that was measured, seconds over what its speed promises.
    `scale_cv` is how sure the line is, by pool and by "" for pools that were not measured.
    `memory` is the high-water mark of an attempt, None before the first measurement, and
    `memory_bytes_max` the highest that was seen, in tasks of up to `memory_size_bytes_max`, beyond
    which it grows with a power of size, `memory_growth` (0: not at all, 1: as size does); `ratio`
    is bytes out over bytes in.
    """

    attempts: int
    line_s: tuple[float, float, float]
    cv: float
    factors: Mapping[str, float]
    scale_cv: Mapping[str, float]
    memory: Spread | None
    memory_bytes_max: int
    ratio: Spread
    memory_size_bytes_max: int = 0
    memory_growth: float = 0.0

    def mean_s(self, work: Work) -> float:
        """Return the mean seconds of one task at speed 1; for many tasks, this is all it takes."""
        overhead_s, gb_s, mrow_s = self.line_s
        return overhead_s + gb_s * work.size_bytes / GB + mrow_s * work.rows / 1e6

    def seconds(self, work: Work, pool: str = "", speed: float = 1.0) -> Spread:
        """Return the seconds of one task on a pool, its own spread and the line's together."""
        mean = self.mean_s(work)
        scale_cv = self.scale_cv.get(pool, self.scale_cv[""])
        cv = math.sqrt((1.0 + self.cv**2) * (1.0 + scale_cv**2) - 1.0)
        return Spread(mean=mean * self.factors.get(pool, 1.0) / speed, cv=cv)

    def memory_bytes_at(self, size_bytes: int) -> int:
        """Return the memory that a task of this size may take: never less than what was seen."""
        larger = size_bytes / max(1, self.memory_size_bytes_max)
        if not self.memory_growth or not self.memory_size_bytes_max or larger <= 1.0:
            return self.memory_bytes_max
        return math.ceil(self.memory_bytes_max * math.pow(larger, self.memory_growth))


def estimate_of(history: History, speeds: Mapping[str, float] | None = None) -> Estimate:
    """Return what a stage's history says, on pools of these stated speeds (1, where not stated).

    Source: normal-normal shrinkage (Gelman, BDA3, 5.4); ridge regression towards equal shares.
    """
    stated = speeds or {}
    speed = {pool: stated.get(pool, 1.0) for pool in history.pools}
    logs = {pool: _pool_log(sums, speed[pool]) for pool, sums in history.pools.items()}
    total = history.attempts
    weight = NOISE_SIGMA**2 / PRIOR_SIGMA**2
    level = sum(history.pools[p].attempts * log for p, log in logs.items()) / (weight + total)
    pool_weight = NOISE_SIGMA**2 / POOL_SIGMA**2
    shifts = {
        pool: (logs[pool] - level) * sums.attempts / (pool_weight + sums.attempts)
        for pool, sums in history.pools.items()
    }
    shares, cv = _shares(history, {p: speed[p] / math.exp(level + shifts[p]) for p in speed})
    everything = history.pools.values()
    return Estimate(
        attempts=total,
        line_s=_scaled(shares * math.exp(level)),
        cv=cv,
        factors={pool: math.exp(shift) for pool, shift in shifts.items()},
        scale_cv=_scale_cvs(history, NOISE_SIGMA**2 / (weight + total)),
        memory=_memory(everything),
        memory_bytes_max=max((sums.memory_bytes_max for sums in everything), default=0),
        ratio=_ratio(everything),
        memory_size_bytes_max=max((sums.memory_size_bytes_max for sums in everything), default=0),
        memory_growth=_memory_growth(everything),
    )


def _pool_log(sums: Sums, speed: float) -> float:
    return sums.logs / max(1, sums.attempts) + math.log(speed)


def _scaled(shares: Floats) -> tuple[float, float, float]:
    overhead_s, gb_s, mrow_s = (float(s) * p for s, p in zip(shares, PRIOR_S, strict=True))
    return overhead_s, gb_s, mrow_s


def _shares(history: History, scale: Mapping[str, float]) -> tuple[Floats, float]:
    """Return the weights of the three terms, around 1, and the cv of what they leave.

    `scale` takes each pool's ratios to a mean of about 1.
    """
    gram, moment, square = np.zeros((3, 3)), np.zeros(3), 0.0
    for pool, sums in history.pools.items():
        gram += np.array(sums.gram)
        moment += np.array(sums.moment) * scale[pool]
        square += sums.square * scale[pool] ** 2
    ridge, target = gram + SHARE_ATTEMPTS * np.eye(3), moment + SHARE_ATTEMPTS
    shares = _not_negative(ridge, target)
    left = max(0.0, square - 2.0 * float(shares @ moment) + float(shares @ gram @ shares))
    # Relative to what is predicted: ratios are far from 1 where shares are far from the prior.
    mean_square = float(shares @ gram @ shares) / max(1, history.attempts)
    known = PRIOR_CV_ATTEMPTS * PRIOR_CV**2
    own = left / mean_square if mean_square > 0.0 else 0.0
    return shares, math.sqrt((known + own) / (PRIOR_CV_ATTEMPTS + history.attempts))


def _not_negative(matrix: Floats, target: Floats) -> Floats:
    """Minimise x'Mx/2 - t'x over x >= 0 by trying each set of terms: there are seven."""
    best, best_x = math.inf, np.zeros(3)
    for size in (3, 2, 1):
        for chosen in itertools.combinations(range(3), size):
            some = list(chosen)
            x = np.zeros(3)
            x[some] = np.linalg.solve(matrix[np.ix_(some, some)], target[some])
            value = float(x @ matrix @ x / 2.0 - target @ x)
            if (x >= 0.0).all() and value < best:
                best, best_x = value, x
    return best_x


def _scale_cvs(history: History, level_var: float) -> dict[str, float]:
    """How sure the mean seconds on each pool are; "" is a pool without a measurement."""
    var = {"": level_var + POOL_SIGMA**2}
    for pool, sums in history.pools.items():
        var[pool] = 1.0 / (1.0 / var[""] + sums.attempts / NOISE_SIGMA**2)
    return {pool: math.sqrt(math.expm1(v) + DRIFT_CV**2) for pool, v in var.items()}


def _memory(everything: Iterable[Sums]) -> Spread | None:
    some = [sums for sums in everything if sums.memory_bytes_max > 0]
    count = sum(sums.attempts for sums in some)
    if not count:
        return None
    mean = sum(sums.memory_logs for sums in some) / count
    square = sum(sums.memory_log_squares for sums in some) / count
    var = max(0.0, square - mean * mean)
    return Spread(mean=math.exp(mean + var / 2.0), cv=math.sqrt(math.expm1(var)))


def _memory_growth(everything: Iterable[Sums]) -> float:
    """Return the power of size that memory grows with: a regression of logarithms, held to none."""
    pairs = np.array([sums.memory_pairs for sums in everything]).reshape(-1, 5).sum(axis=0)
    count, x, y, xx, xy = (float(each) for each in pairs)
    if not count:
        return 0.0
    power = (xy - x * y / count) / (max(0.0, xx - x * x / count) + MEMORY_SPREAD)
    return min(power, 1.0) if power >= MEMORY_GROWTH_MIN else 0.0


def _ratio(everything: Iterable[Sums]) -> Spread:
    some = list(everything)
    count = sum(sums.ratio_attempts for sums in some)
    if not count:
        return Spread(mean=PRIOR_RATIO, cv=PRIOR_RATIO_CV)
    whole = sum(sums.out_bytes for sums in some) / sum(sums.in_bytes for sums in some)
    each = sum(sums.ratios for sums in some) / count
    var = max(0.0, sum(sums.ratio_squares for sums in some) / count - each * each)
    mean = (RATIO_ATTEMPTS * PRIOR_RATIO + count * whole) / (RATIO_ATTEMPTS + count)
    own = var / each**2 if each > 0.0 else 0.0
    cv = (RATIO_ATTEMPTS * PRIOR_RATIO_CV**2 + count * own) / (RATIO_ATTEMPTS + count)
    return Spread(mean=mean, cv=math.sqrt(cv))


class Calibration(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was predicted of a stage in one run, and what it took: sums over its attempts."""

    stage: str
    version: str
    measured_before: int = 0
    tasks: int = 0
    predicted_s: float = 0.0
    actual_s: float = 0.0
    log_errors: float = 0.0
    log_error_squares: float = 0.0

    @property
    def factor(self) -> float:
        """Actual over predicted seconds, all attempts together."""
        return self.actual_s / self.predicted_s if self.predicted_s > 0.0 else 1.0

    @property
    def error(self) -> float:
        """The typical error of one prediction, as a factor: 1.2 is 20 % off, either way."""
        return math.exp(math.sqrt(self.log_error_squares / self.tasks)) if self.tasks else 1.0


def calibrated(
    before: Calibration, estimate: Estimate, measured: Iterable[Measured]
) -> Calibration:
    """Add to a run's calibration some attempts that were predicted by an estimate."""
    tasks, predicted_s, actual_s, logs, squares = 0, 0.0, 0.0, 0.0, 0.0
    for each in measured:
        expected_s = estimate.seconds(each.work, each.pool).mean
        log = math.log(max(each.duration_s, SECONDS_MIN) / expected_s)
        tasks += 1
        predicted_s += expected_s
        actual_s += each.duration_s
        logs += log
        squares += log * log
    return msgspec.structs.replace(
        before,
        tasks=before.tasks + tasks,
        predicted_s=before.predicted_s + predicted_s,
        actual_s=before.actual_s + actual_s,
        log_errors=before.log_errors + logs,
        log_error_squares=before.log_error_squares + squares,
    )
