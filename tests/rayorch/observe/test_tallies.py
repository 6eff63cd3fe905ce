import pytest
from prometheus_client.core import HistogramMetricFamily

from rayorch.core.values import StepSeconds
from rayorch.observe.tallies import OTHER, Histogram, LabelCap, StageTally


def _buckets(histogram: Histogram) -> dict[str, float]:
    family = HistogramMetricFamily("seconds", "text")
    histogram.put(family, ())
    return {s.labels["le"]: s.value for s in family.samples if s.name == "seconds_bucket"}


def test_a_histogram_counts_what_is_at_or_below_each_bound() -> None:
    histogram = Histogram((1.0, 2.0))

    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.add(value)

    assert _buckets(histogram) == {"1.0": 2.0, "2.0": 4.0, "+Inf": 5.0}
    assert histogram.total == pytest.approx(14.0)


def test_a_copy_stands_still() -> None:
    tally = StageTally()
    tally.finish(StepSeconds(read_s=0.01))
    tally.end("failed", "user")

    copy = tally.copied()
    tally.finish(StepSeconds(read_s=0.01))
    tally.end("failed", "user")

    assert copy.finished == 1
    assert copy.unfinished == {("failed", "user"): 1}
    assert {step: sum(seconds.counts) for step, seconds in copy.steps()} == {
        "read": 1,
        "compute": 1,
        "write": 1,
        "wait": 1,
    }


def test_one_label_value_too_many_is_other_and_the_first_ones_stay() -> None:
    cap = LabelCap(2)

    assert [cap.capped(value) for value in "abcab"] == ["a", "b", OTHER, "a", "b"]
