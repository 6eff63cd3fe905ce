import pytest

from rayorch.bench.figures import Check, makespan_bound_s, ratio, summary


def test_a_summary_is_the_median_with_its_extremes() -> None:
    found = summary([3.0, 1.0, 2.0, 9.0])

    assert (found.median, found.least, found.most, found.runs) == (2.5, 1.0, 9.0, 4)
    assert found.spread == pytest.approx(3.2)


def test_no_runs_have_no_summary() -> None:
    with pytest.raises(ValueError, match="no runs"):
        summary([])


def test_a_ratio_is_of_medians() -> None:
    """One odd run of either side does not move it."""
    assert ratio([1.0, 1.0, 50.0], [4.0, 4.0, 0.1]) == 0.25


def test_a_side_without_runs_has_no_ratio() -> None:
    assert ratio([1.0], []) is None
    assert ratio([], [1.0]) is None


@pytest.mark.parametrize(
    ("figure", "limit", "at_least", "verdict"),
    [
        (0.35, 0.35, False, "pass"),
        (0.36, 0.35, False, "fail"),
        (15_000.0, 15_000.0, True, "pass"),
        (14_999.0, 15_000.0, True, "fail"),
        (None, 1.0, False, "no figure"),
    ],
)
def test_a_verdict_is_a_figure_against_its_limit(
    figure: float | None, limit: float, at_least: bool, verdict: str
) -> None:
    check = Check(workload="w", claim="c", figure=figure, limit=limit, at_least=at_least)

    assert check.verdict == verdict


def test_no_schedule_beats_busy_slots_or_the_slowest_task() -> None:
    assert makespan_bound_s(10.0, 1.0, 2) == 5.0
    assert makespan_bound_s(10.0, 8.0, 2) == 8.0
