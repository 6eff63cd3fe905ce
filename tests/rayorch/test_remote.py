"""A run from outside, by way of the home: handed over, followed, stopped, resumed, cancelled."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from rayorch import remote
from rayorch.client import LocalControl, connection
from rayorch.errors import RunFailedError, UnknownRunError
from rayorch.home import REQUESTS
from rayorch.host.code import library_code, python_version
from rayorch.host.leader import Leader, read_leader, sign
from rayorch.remote import RunHandle
from rayorch.submit_errors import SubmitError, TakenBackError, VersionsDifferError
from tests.rayorch.cli.conftest import PatientClock

Function = Callable[[pa.Table], pa.Table]


def failing(_table: pa.Table) -> pa.Table:
    raise ValueError("no such price")


class Place:
    """A home, and the control host that serves it: it looks for requests at every turn."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = (folder / "home").as_uri()
        self.at = connection(self.home, "in-process")
        self.gate = folder / "gate"
        (folder / "in").mkdir()
        pq.write_table(pa.table({"a": [1, 2, 3]}), folder / "in" / "0.parquet")

    def held(self) -> Function:
        """Return a function that waits for the gate."""
        gate = str(self.gate)

        def held(table: pa.Table) -> pa.Table:
            while not Path(gate).exists():
                threading.Event().wait(0.01)
            return table

        return held

    def pipeline(self, function: Function | None = None) -> ro.Pipeline:
        pipeline = ro.Pipeline("nightly")
        rows = pipeline.read("rows", f"{self.folder}/in/*.parquet")
        made = rows if function is None else pipeline.map(rows, output="made")(function)
        made.write((self.folder / "out").as_uri(), format="parquet")
        return pipeline

    def serve(self) -> LocalControl:
        control = LocalControl(self.at.home, self.at.clock, 1)
        control._host.serve()
        while read_leader(self.at.home) is None:
            self.at.clock.sleep(0.01)
        return control

    def submit(self, function: Function | None = None, **options: Any) -> RunHandle:
        return ro.submit(self.pipeline(function), home=self.home, **options)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("rayorch.client.SystemClock", PatientClock)
    monkeypatch.setattr("rayorch.host.requests.LOOK_S_IDLE", 0.0)
    monkeypatch.setattr("rayorch.host.requests.LOOK_S", 0.0)
    monkeypatch.setattr(remote, "LOOK_S", 0.02)
    return Place(tmp_path)


@pytest.fixture
def served(place: Place) -> Iterator[Place]:
    control = place.serve()
    yield place
    place.gate.touch()
    control.close()


def test_a_run_is_handed_over_and_waited_for(served: Place) -> None:
    handle = served.submit(id="nightly-1")

    report = handle.wait(30.0)

    assert handle.run == report.run == "nightly-1"
    assert report.state == "succeeded"
    assert ro.read((served.folder / "out").as_uri()).to_table()["a"].to_pylist() == [1, 2, 3]
    assert list(served.at.home.store.list(REQUESTS)) == []
    assert ro.attach("nightly-1", home=served.home).status().state == "succeeded"
    with pytest.raises(UnknownRunError):
        ro.attach("nightly-2", home=served.home)


def test_an_id_that_the_home_knows_is_refused_and_nothing_is_written_over(served: Place) -> None:
    served.submit(id="nightly-1").wait(30.0)
    before = served.at.home.get_json(ro.attach("nightly-1", home=served.home).run, "spec")

    with pytest.raises(SubmitError) as caught:
        served.submit(lambda table: table, id="nightly-1")

    assert str(caught.value) == (
        "this home has a run of this id already. "
        f"run=nightly-1, state=succeeded, home={served.home}\n"
        "  `rayorch show nightly-1` says more; for another run, leave --id out or choose another"
    )
    assert served.at.home.get_json(ro.attach("nightly-1", home=served.home).run, "spec") == before


def test_a_run_is_stopped_resumed_and_failed_from_outside(served: Place) -> None:
    handle = served.submit(served.held())
    with pytest.raises(TimeoutError, match="after 0 s, and goes on"):
        handle.wait(0.0)

    handle.stop()
    served.gate.touch()
    with pytest.raises(RunFailedError, match="stopped"):
        handle.wait(30.0)
    handle.resume()
    assert handle.wait(30.0).state == "succeeded"

    broken = served.submit(failing)
    with pytest.raises(RunFailedError, match="no such price"):
        broken.wait(30.0)
    broken.resume(served.pipeline(served.held()))
    assert broken.wait(30.0).state == "succeeded"


def test_a_run_is_cancelled_from_outside_and_its_log_is_read(served: Place) -> None:
    handle = served.submit(served.held())

    handle.cancel()
    handle.cancel()

    assert handle.status().state == "cancelled"
    served.gate.touch()
    assert any("cancelled" in str(line.get("message")) for line in handle.logs(follow=True))


def test_where_nobody_serves_it_is_said_how_somebody_will(place: Place) -> None:
    with pytest.raises(SubmitError) as caught:
        place.submit()

    assert str(caught.value).startswith(
        f"no control actor serves this home. home={place.home}\n"
        "  `rayorch up --address http://HEAD:8265 --home HOME` starts a control actor"
    )


def test_an_address_has_a_control_actor_started_and_the_run_goes_by_the_home(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[LocalControl] = []

    def start(_at: object, address: str) -> None:
        assert address == "http://127.0.0.1:8265"
        started.append(place.serve())

    monkeypatch.setattr("rayorch.remote.start_control", start)
    for _ in range(2):
        assert place.submit(address="http://127.0.0.1:8265").wait(30.0).state == "succeeded"

    assert len(started) == 1
    started[0].close()


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("python", "runs Python 3.9, and this process Python 3."),
        ("code", "runs rayorch 3.9, and this process rayorch "),
    ],
)
def test_a_control_actor_of_another_version_is_not_handed_what_it_cannot_read(
    place: Place, field: str, said: str
) -> None:
    leader = Leader("rayorch-control-1", "head", 1, place.at.clock.now_s(), serves=True)
    same = {"python": python_version(), "code": library_code()}
    sign(place.at.home, msgspec.structs.replace(leader, **{**same, field: "3.9"}))

    with pytest.raises(VersionsDifferError) as caught:
        place.submit()

    assert f"the control actor rayorch-control-1 on head {said}" in str(caught.value)
    assert "http://HEAD:8265" in str(caught.value)
    assert list(place.at.home.store.list("runs/")) == []


def test_a_request_that_nobody_takes_up_is_taken_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would begin a run when nobody waits for it any more."""
    monkeypatch.setattr(remote, "ANSWER_S_MAX", 0.1)
    ours = {"python": python_version(), "code": library_code()}
    now_s = place.at.clock.now_s()
    sign(place.at.home, Leader("control", "head", 1, now_s, serves=True, **ours))

    with pytest.raises(TakenBackError, match=r"not taken up within 0\.1 s, and is taken back"):
        place.submit()

    assert list(place.at.home.store.list(REQUESTS)) == []
