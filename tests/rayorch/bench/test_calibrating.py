"""Real runs against simulated ones: what is compared, and where it is kept."""

from pathlib import Path

import pytest

from connectors.stores.memory import MemoryStore
from rayorch.bench.calibrating import (
    Bench,
    Compared,
    calibrate,
    checks,
    foretold,
    lines,
    make_files,
    summary,
)
from rayorch.bench.calibrating import compared as compared_with
from rayorch.bench.errors import SuiteError
from rayorch.bench.unlike import emulation, foretold_unlike
from rayorch.capacity.calibrated import KEY, keep_calibrated, read_calibrated
from rayorch.capacity.scenarios import Runs
from rayorch.home import Home
from rayorch.plan.profile import Profile
from tests.rayorch.capacity import make
from tests.rayorch.cli.conftest import PatientClock


def compared(simulated_s: float, core_s: float = 100.0) -> Compared:
    return Compared("map", "1 runner", 8, 100.0, simulated_s, 100.0, core_s)


def test_errors_are_shares_of_what_was_measured_whichever_way() -> None:
    found = summary([compared(104.0), compared(90.0, 103.0), compared(101.0, 99.0)])

    assert found.runs == 3
    assert found.whole_median == pytest.approx(0.04)
    assert found.whole_worst == pytest.approx(0.10)
    assert found.usd_median == pytest.approx(0.01)
    assert dict(lines(found))["time"] == "off by 4.0% (median), 10.0% (worst)"


def test_a_run_is_foretold_from_its_own_turn_and_the_middle_one_counts(tmp_path: Path) -> None:
    """One turn of three that met what else the machine did changes nothing."""
    bench = Bench(folder=tmp_path, executor="in-process", fitted=3, tested=(6,))
    took = {3: [30.0, 10.0, 11.0], 6: [20.0, 21.0, 90.0]}
    asked: list[int] = []
    fitted: list[float] = []
    told: list[str] = []

    def measured(files: int) -> Profile:
        asked.append(files)
        whole_s = took[files].pop(0) if files in took else 1.0
        return make.profile(make.stage(tasks=files), whole_s=whole_s, core_s=whole_s)

    def simulated(profile: Profile, growth: float) -> Runs:
        fitted.append(profile.whole_s)
        return foretold(profile, growth, 1)

    (found,) = compared_with(bench, ("map", "1 runner"), measured, simulated, told.append)

    assert asked == [2, 3, 6, 6, 3, 3, 6]
    assert fitted == [30.0, 10.0, 11.0]
    assert found.measured_s == 21.0
    assert found.spread_s == (20.0, 90.0)
    assert "measured 21.00 s (20.00 to 90.00), simulated" in told[0]


def test_a_cost_is_compared_in_dollars_where_they_are_known() -> None:
    each = Compared("map", "two unlike pools", 8, 10.0, 10.0, 20.0, 30.0, 2.0, 1.9)

    assert each.cost_error == pytest.approx(0.05)
    assert compared(100.0, 130.0).cost_error == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("simulated", "missed"),
    [
        ([104.0, 103.0, 106.0], []),
        ([110.0, 109.0, 101.0], ["makespan, median error"]),
        ([101.0, 102.0, 79.0], ["makespan, worst error"]),
    ],
)
def test_a_calibration_is_held_against_its_targets(
    simulated: list[float], missed: list[str]
) -> None:
    found = checks(summary([compared(each) for each in simulated]))

    assert [check.claim for check in found if check.verdict == "fail"] == missed


def test_costs_that_are_off_miss_a_target_too() -> None:
    found = checks(summary([compared(100.0, 106.0)]))

    assert [check.claim for check in found if check.verdict == "fail"] == ["cost, median error"]


def test_room_is_looked_at_before_anything_is_written(tmp_path: Path) -> None:
    bench = Bench(folder=tmp_path, executor="in-process", rows=10**15)

    with pytest.raises(SuiteError, match="there is no room for the runs of a calibration"):
        make_files(bench)

    assert not list(tmp_path.iterdir())


def test_two_unlike_pools_are_foretold_in_seconds_and_dollars() -> None:
    """The solver gives both of them work, and the slow one half as much."""
    pools = emulation().pools
    tasks = 30
    sums = {
        name: make.sums(task_s, 60 * make.MB, count)
        for name, task_s, count in (("slow", 2.0, 10), ("fast", 1.0, 20))
    }
    fitted = make.profile(
        make.stage(tasks=tasks, pools=sums, bias=1.0), runners={"slow": 1, "fast": 1}
    )

    runs = foretold_unlike(fitted, 2.0, pools)

    # Sixty tasks at one and a half a second, and what comes on top.
    assert float(runs.whole_s.mean()) == pytest.approx(41.0, rel=0.2)
    usd_h = sum(pool.usd_h or 0.0 for pool in pools.pools)
    assert runs.mean_usd == pytest.approx(usd_h * float(runs.whole_s.mean()) / 3600.0, rel=0.2)


def test_what_a_calibration_found_is_kept_for_every_answer() -> None:
    home = Home(MemoryStore("calibrated"))
    found = summary([compared(104.0)])

    assert read_calibrated(home) is None
    keep_calibrated(home, found)

    assert read_calibrated(home) == found


@pytest.mark.parametrize("data", [b"{not json", b'{"version": 1}'])
def test_a_damaged_calibration_is_none_and_says_so(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    home = Home(MemoryStore("calibrated-damaged"))
    home.store.put(KEY, data)

    assert read_calibrated(home) is None
    assert "cannot be read" in caplog.text


@pytest.mark.slow
def test_real_runs_of_two_pipelines_are_foretold_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How near they are is for a machine at rest: here each is run, and simulated, at all."""
    monkeypatch.setattr("rayorch.client.SystemClock", PatientClock)
    told: list[str] = []
    bench = Bench(folder=tmp_path, executor="in-process", fitted=3, tested=(5,), rows=500)

    make_files(bench)
    found = calibrate(bench, told.append)

    assert [(each.pipeline, each.where) for each in found] == [
        ("map", "1 runner"),
        ("map", "2 runners"),
        ("exchange", "1 runner"),
        ("exchange", "2 runners"),
    ]
    assert all(each.measured_s > 0.0 and each.simulated_s > 0.0 for each in found)
    assert len(told) == 4
