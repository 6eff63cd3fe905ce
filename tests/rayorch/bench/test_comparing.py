"""What two files of results say of each other, and what is noise."""

import pytest

from rayorch.bench.comparing import Comparison, Ratio, compare
from rayorch.bench.errors import SuiteError
from rayorch.bench.results import Results
from tests.rayorch.bench import make


def ratio_of(found: Comparison, name: str = "wall") -> Ratio:
    return next(each for each in found.ratios if each.name == name)


def scan(*walls: float) -> Results:
    return make.results(make.runs("scan", "rayorch", walls))


def test_runs_that_do_not_overlap_are_a_regression() -> None:
    found = compare(scan(1.0, 1.1, 1.2), scan(1.5, 1.6, 1.7))

    each = ratio_of(found)
    assert each.verdict == "worse"
    assert each.ratio == pytest.approx(1.6 / 1.1)
    assert each.low == pytest.approx(1.5 / 1.2)
    assert each.high == pytest.approx(1.7 / 1.0)
    assert {each.name for each in found.worse} == {"wall", "CPU"}


def test_runs_that_overlap_are_noise_however_far_the_medians_are() -> None:
    found = compare(scan(1.0, 1.1, 2.0), scan(1.9, 1.9, 2.1))

    assert ratio_of(found).ratio > 1.7
    assert not found.worse


def test_what_is_worse_by_less_than_the_tolerance_is_no_regression() -> None:
    before, after = scan(1.0, 1.0, 1.0), scan(1.08, 1.08, 1.08)

    assert compare(before, after).worse
    assert not compare(before, after, tolerance=0.1).worse


def test_single_runs_are_given_the_spread_that_nobody_has_measured() -> None:
    """One run that is 20 % slower says nothing; one that takes twice as long does."""
    assert not compare(scan(1.0), scan(1.2)).worse
    assert compare(scan(1.0), scan(2.0)).worse


def test_a_slower_machine_is_divided_out_by_peers_that_did_not_change() -> None:
    def measured(times: float, ours: float) -> Results:
        peers = [
            make.runs(work, side, [times, times, times])
            for work in ("scan", "group")
            for side in ("duckdb", "polars")
        ]
        return make.results(make.runs("scan", "rayorch", [ours] * 3), *peers)

    alike = compare(measured(1.0, 2.0), measured(1.5, 3.0))
    slower = compare(measured(1.0, 2.0), measured(1.0, 3.0))

    assert alike.drift == {"wall": 1.5, "CPU": 1.5}
    assert ratio_of(alike).ratio == pytest.approx(1.0)
    assert not alike.worse
    assert slower.worse


def test_a_peer_of_another_version_says_nothing_of_the_machine() -> None:
    def measured(version: str, wall_s: float) -> Results:
        peers = [make.runs(work, "duckdb", [wall_s] * 3) for work in ("a", "b", "c")]
        ours = make.runs("a", "rayorch", [2.0] * 3)
        return make.results(ours, *peers, versions={**make.VERSIONS, "duckdb": version})

    found = compare(measured("2.0.0", 1.0), measured("2.1.0", 0.5))

    assert not found.drift
    assert "duckdb was 2.0.0, and is 2.1.0" in found.notes


def test_more_events_a_second_are_better() -> None:
    def core(*values: float) -> Results:
        return make.results(make.figure("core", "events a second", *values, more_is_better=True))

    fewer = compare(core(10.0, 10.0, 11.0), core(5.0, 5.0, 5.5))
    more = compare(core(5.0, 5.0, 5.5), core(10.0, 10.0, 11.0))

    assert fewer.ratios[0].verdict == "worse"
    assert fewer.ratios[0].ratio == pytest.approx(2.0)
    assert more.ratios[0].verdict == "better"


def test_a_workload_that_fails_now_is_a_regression() -> None:
    found = compare(scan(1.0), make.results(make.failure("scan", "rayorch", "no room")))

    assert [each.verdict for each in found.worse] == ["gone", "gone"]
    assert found.worse[0].why == "no room"


def test_a_workload_that_was_not_asked_for_again_is_said_and_no_regression() -> None:
    found = compare(scan(1.0), make.results(make.runs("sort", "rayorch", [1.0])))

    assert not found.worse
    assert "not measured again: scan" in found.notes


def test_results_of_other_amounts_of_work_are_not_compared() -> None:
    larger = make.results(asked={**make.ASKED, "scale": "2"})

    with pytest.raises(SuiteError) as caught:
        compare(scan(1.0), larger)

    assert str(caught.value) == (
        "these results are not of the same work: scale was 1, and is 2\n"
        "  measure again with the same --scale"
    )


def test_another_machine_is_said() -> None:
    found = compare(scan(1.0), make.results(processor="fast", cores=64))

    assert found.notes[0].startswith("the machines differ: 2 x unknown, then 64 x fast")


def test_a_file_that_was_appended_to_has_as_many_repetitions_more() -> None:
    twice = make.results(make.figure("core", "RSS", 10.0), make.figure("core", "RSS", 20.0))

    each = ratio_of(compare(twice, twice), "RSS")

    assert (each.before, each.low, each.high) == (15.0, 0.5, 2.0)


def test_what_is_nothing_has_no_ratio() -> None:
    """The gap of a plan that is proven to be the best."""
    proven = make.results(make.figure("placement", "gap", 0.0, 0.0))

    assert not compare(proven, proven).ratios


def test_a_file_of_two_amounts_of_work_is_not_compared_either() -> None:
    mixed = make.results(make.machine(asked={**make.ASKED, "scale": "3"}))

    with pytest.raises(SuiteError, match="scale was 1, and is 3"):
        compare(mixed, mixed)
