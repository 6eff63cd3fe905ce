"""What is learned of a stage's tasks, from nothing to many measurements."""

import math
from typing import Any

import numpy as np
import pytest

from rayorch.plan.estimate import (
    PRIOR_S,
    Calibration,
    History,
    Measured,
    Spread,
    Work,
    calibrated,
    estimate_of,
    observe,
)

EMPTY = History("v1", "lines")
MB = 10**6


def attempts(
    count: int, line: tuple[float, float, float], *, pool: str = "p", cv: float = 0.0, seed: int = 0
) -> list[Measured]:
    """Attempts of many sizes on a pool, with seconds of this line and log-normal noise."""
    rng = np.random.default_rng(seed)
    sigma = math.sqrt(math.log1p(cv**2))
    made = []
    for _ in range(count):
        size, rows = int(rng.integers(1, 500)) * MB, int(rng.integers(1, 5_000_000))
        mean_s = line[0] + line[1] * size / 1e9 + line[2] * rows / 1e6
        noise = math.exp(sigma * rng.standard_normal() - sigma**2 / 2)
        made.append(Measured(Work(size, rows), pool, mean_s * noise, 100 * MB, size // 4))
    return made


def test_before_the_first_measurement_the_prior_speaks_and_is_unsure() -> None:
    estimate = estimate_of(EMPTY)

    assert estimate.line_s == pytest.approx(PRIOR_S)
    assert estimate.memory is None
    assert estimate.seconds(Work(10**9)).mean == pytest.approx(10.1)
    assert estimate.seconds(Work(10**9), speed=2.0).mean == pytest.approx(5.05)
    assert estimate.scale_cv[""] > 0.6


def test_a_few_attempts_move_the_mean_nearly_all_the_way() -> None:
    """A stage that is thirty times slower than the prior must not be believed to be ten."""
    slow = (PRIOR_S[0] * 30, PRIOR_S[1] * 30, PRIOR_S[2] * 30)

    estimate = estimate_of(observe(EMPTY, attempts(3, slow)))

    assert estimate.seconds(Work(200 * MB, 10**6), "p").mean == pytest.approx(69.0, rel=0.15)
    assert estimate.scale_cv["p"] < estimate_of(EMPTY).scale_cv[""] / 3


@pytest.mark.parametrize("cv", [0.1, 0.5])
def test_line_and_spread_are_found_from_many_attempts(cv: float) -> None:
    line = (2.0, 4.0, 1.5)

    estimate = estimate_of(observe(EMPTY, attempts(2_000, line, cv=cv)))

    for work in (Work(10 * MB, 10_000), Work(400 * MB, 100_000), Work(50 * MB, 4_000_000)):
        true_s = line[0] + line[1] * work.size_bytes / 1e9 + line[2] * work.rows / 1e6
        assert estimate.seconds(work, "p").mean == pytest.approx(true_s, rel=0.1)
    assert estimate.cv == pytest.approx(cv, rel=0.15)
    assert estimate.seconds(Work(50 * MB), "p").cv == pytest.approx(cv, rel=0.2)


def test_no_term_of_the_line_is_ever_negative() -> None:
    """Larger files that take less: extrapolated, the seconds must stay positive."""
    some = [Measured(Work(k * 100 * MB), "p", 10.0 / k) for k in range(1, 20)]

    estimate = estimate_of(observe(EMPTY, some))

    assert min(estimate.line_s) >= 0.0
    assert estimate.seconds(Work(10**12), "p").mean > 0.0


def test_the_order_and_the_grouping_of_measurements_do_not_matter() -> None:
    some = attempts(40, (1.0, 8.0, 0.1), cv=0.3)

    at_once = estimate_of(observe(EMPTY, some))
    one_by_one = EMPTY
    for each in reversed(some):
        one_by_one = observe(one_by_one, [each])

    assert estimate_of(one_by_one).line_s == pytest.approx(at_once.line_s)
    assert estimate_of(one_by_one).cv == pytest.approx(at_once.cv)


def test_a_pool_is_as_fast_as_it_measures_and_others_as_their_stated_speed() -> None:
    """`quick` is stated to be twice as fast and is; `liar` says so and is not."""
    line, work = (1.0, 10.0, 0.0), Work(500 * MB)
    half = (line[0] / 2, line[1] / 2, 0.0)
    history = observe(EMPTY, attempts(50, line, pool="plain"))
    history = observe(history, attempts(50, half, pool="quick", seed=1))
    history = observe(history, attempts(50, line, pool="liar", seed=2))
    speeds = {"plain": 1.0, "quick": 2.0, "liar": 2.0}

    estimate = estimate_of(history, speeds)

    shown = {p: estimate.seconds(work, p, s).mean for p, s in speeds.items()}
    assert shown == pytest.approx({"plain": 6.0, "quick": 3.0, "liar": 6.0}, rel=0.05)
    unseen = estimate.seconds(work, "other", 1.0)
    assert 5.5 < unseen.mean < 9.0
    assert estimate.scale_cv[""] > 3 * estimate.scale_cv["plain"]


def test_memory_and_output_are_learned_too() -> None:
    estimate = estimate_of(observe(EMPTY, attempts(100, (1.0, 1.0, 1.0))))

    assert estimate.memory is not None
    assert estimate.memory.mean == pytest.approx(100 * MB, rel=1e-3)
    assert estimate.memory_bytes_max == 100 * MB
    assert estimate.ratio.mean == pytest.approx(0.25, rel=0.05)
    assert estimate.ratio.cv < 0.1


def test_a_stage_that_writes_nothing_or_reads_no_bytes_has_an_estimate() -> None:
    silent = observe(EMPTY, [Measured(Work(MB), "p", 1.0), Measured(Work(0, 1_000), "p", 1.0)])

    estimate = estimate_of(silent)

    assert estimate.ratio.mean < 0.2
    assert estimate.memory is None


def test_an_attempt_that_took_no_time_does_no_harm() -> None:
    estimate = estimate_of(observe(EMPTY, [Measured(Work(MB), "p", 0.0)] * 5))

    assert all(math.isfinite(each) and each >= 0.0 for each in estimate.line_s)
    assert estimate.seconds(Work(MB), "p").mean > 0.0


def test_quantiles_are_those_of_a_log_normal() -> None:
    rng = np.random.default_rng(3)
    sigma = math.sqrt(math.log1p(0.5**2))
    draws = 10.0 * np.exp(sigma * rng.standard_normal(200_000) - sigma**2 / 2)

    assert Spread(mean=10.0, cv=0.5).quantile(1.645) == pytest.approx(
        float(np.quantile(draws, 0.95)), rel=0.02
    )
    assert Spread(mean=10.0, cv=0.0).quantile(1.645) == 10.0


@pytest.mark.parametrize("level", [0.1, 1.0, 20.0])
def test_predictions_of_the_next_run_are_within_a_tenth_after_one(level: float) -> None:
    line = (level, 20.0 * level, 0.5 * level)
    first, second = attempts(64, line, cv=0.2), attempts(64, line, cv=0.2, seed=9)
    estimate = estimate_of(observe(EMPTY, first))

    record = calibrated(Calibration("lines", "v1", estimate.attempts), estimate, second)

    assert record.measured_before == 64
    assert record.tasks == 64
    assert record.factor == pytest.approx(1.0, abs=0.1)
    assert 1.1 < record.error < 1.35


def test_calibration_goes_on_where_a_resumed_run_left_it() -> None:
    estimate = estimate_of(EMPTY)
    some: Any = attempts(10, PRIOR_S, cv=0.2)

    whole = calibrated(Calibration("lines", "v1"), estimate, some)
    parts = calibrated(Calibration("lines", "v1"), estimate, some[:4])
    parts = calibrated(parts, estimate, some[4:])

    assert parts.actual_s == pytest.approx(whole.actual_s)
    assert parts.error == pytest.approx(whole.error)
