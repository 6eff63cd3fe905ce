"""Real runs against simulated ones: what is compared, and where it is kept."""

from pathlib import Path

import pytest

from connectors.stores.memory import MemoryStore
from rayorch.bench.calibrating import Bench, Compared, calibrate, lines, summary
from rayorch.capacity.calibrated import KEY, keep_calibrated, read_calibrated
from rayorch.home import Home
from tests.rayorch.cli.conftest import PatientClock


def compared(simulated_s: float, core_s: float = 100.0) -> Compared:
    return Compared("map", 1, 8, 100.0, simulated_s, 100.0, core_s)


def test_errors_are_shares_of_what_was_measured_whichever_way() -> None:
    found = summary([compared(104.0), compared(90.0, 103.0), compared(101.0, 99.0)])

    assert found.runs == 3
    assert found.whole_median == pytest.approx(0.04)
    assert found.whole_worst == pytest.approx(0.10)
    assert found.usd_median == pytest.approx(0.01)
    assert dict(lines(found))["time"] == "off by 4.0% (median), 10.0% (worst)"


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

    found = calibrate(bench, told.append)

    assert [(each.pipeline, each.runners) for each in found] == [
        ("map", 1),
        ("map", 2),
        ("exchange", 1),
        ("exchange", 2),
    ]
    assert all(each.measured_s > 0.0 and each.simulated_s > 0.0 for each in found)
    assert len(told) == 4
