"""What a client does, with a host in this process: submit, follow, stop, resume, and say why."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from rayorch import client, reading
from rayorch.client import Connection, LocalControl, connection, failure_text
from rayorch.core.facts import AttemptFinished, Event, RunStopRequested
from rayorch.core.values import ErrorInfo
from rayorch.errors import (
    FencedError,
    HomeBusyError,
    ResumeError,
    RunFailedError,
    SettingsError,
    SpecError,
    UnknownRunError,
)
from rayorch.ids import RunId, new_nonce
from rayorch.journal.log import Journal
from rayorch.observe.logs import read_log
from rayorch.observe.view import RunView
from tests.rayorch.refusals import refusal

FILES = 4

gate = threading.Event()
"""Functions are pickled by reference: what they share with a test is their module's."""
calls: list[int] = []


def passed(table: pa.Table) -> pa.Table:
    sys.modules[__name__].calls.append(table["file"][0].as_py())
    return table


def gated(table: pa.Table) -> pa.Table:
    """Wait for the test on all files but the first."""
    if table["file"][0].as_py() > 0:
        assert sys.modules[__name__].gate.wait(30.0)
    return passed(table)


def broken(table: pa.Table) -> pa.Table:
    """Fail on one file."""
    if table["file"][0].as_py() == 2:
        raise ValueError("file 2 is bad")
    return passed(table)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    gate.clear()
    calls.clear()
    yield
    gate.set()


class Desk:
    """A home, an input and a client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = (folder / "home").as_uri()
        self.at: Connection = connection(self.home, "in-process")
        (folder / "in").mkdir()
        for index in range(FILES):
            table = pa.table({"id": [index * 10], "file": [index]})
            pq.write_table(table, folder / "in" / f"{index}.parquet")

    def pipeline(
        self, function: Callable[[pa.Table], pa.Table] = passed, files: str = "*", out: str = "out"
    ) -> ro.Pipeline:
        pipeline = ro.Pipeline("nightly")
        rows = pipeline.read("rows", f"{self.folder}/in/{files}.parquet", split="file")
        pipeline.map(rows, output="mapped")(function).write(
            (self.folder / out).as_uri(), format="parquet"
        )
        return pipeline

    def control(self, **options: Any) -> LocalControl:
        return LocalControl(self.at.home, self.at.clock, 1, **options)

    def followed(self, control: LocalControl, run: RunId) -> RunView:
        *_, last = client.follow(self.at, control, run)
        return last

    def events(self) -> list[Event]:
        found: list[Event] = []
        Journal(self.at.home.store, self.at.clock, new_nonce).replay(found.append)
        return found

    def committed(self) -> list[int]:
        return [e.fact.task for e in self.events() if isinstance(e.fact, AttemptFinished)]

    def ids(self, out: str = "out") -> list[int]:
        table = ro.read((self.folder / out).as_uri()).to_table()
        return sorted(table["id"].to_pylist())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def control(desk: Desk) -> Iterator[LocalControl]:
    made = desk.control()
    yield made
    gate.set()
    made.close()


class Screen:
    """A display that tells the test what it is asked to show, and lets it press Ctrl-C."""

    def __init__(self, press: Callable[[RunView], bool] = lambda _: False, times: int = 1) -> None:
        self.said: list[str] = []
        self._press = press
        self._times = times

    def update(self, view: RunView) -> None:
        if self._times and self._press(view):
            self._times -= 1
            raise KeyboardInterrupt

    def stopping(self, view: RunView) -> None:
        self.said.append(f"stopping at {view.state}")
        gate.set()

    def finish(self, view: RunView) -> None:
        self.said.append(f"finish {view.state}")

    def close(self) -> None:
        self.said.append("close")


# --- run and submit ----------------------------------------------------------------------------


def test_run_returns_what_was_written_and_how_to_read_it(desk: Desk) -> None:
    report = client.run(desk.pipeline(), home=desk.home, executor="in-process", display=None)

    url = (desk.folder / "out").as_uri()
    assert report.state == "succeeded"
    assert report.rows_out == FILES
    assert report.outputs == {url: f'rayorch.read("{url}").to_table()'}
    assert desk.ids() == [0, 10, 20, 30]


def test_run_raises_what_failed_with_its_place(desk: Desk) -> None:
    with pytest.raises(RunFailedError) as caught:
        client.run(desk.pipeline(broken), home=desk.home, executor="in-process", display=None)

    text = str(caught.value)
    assert "file 2 is bad" in text
    assert "test_client.py:" in text
    assert "2.parquet" in text
    assert caught.value.state == "failed"


def test_a_spec_that_is_wrong_is_refused_before_anything_is_stored(desk: Desk) -> None:
    with pytest.raises(SpecError):
        client.run(ro.Pipeline("empty"), home=desk.home, executor="in-process", display=None)

    assert not (desk.folder / "home").exists()


def test_submit_keeps_what_it_takes_to_do_it_again(desk: Desk, control: LocalControl) -> None:
    run = client.submit_run(desk.at, control, desk.pipeline(), file="nightly.py", name="nightly")
    view = desk.followed(control, run)

    home = desk.at.home
    assert view.state == "succeeded"
    assert home.get_json(run, "origin") == {"file": "nightly.py", "name": "nightly"}
    assert home.get_json(run, "spec")["name"] == "nightly"
    assert home.get_json(run, "reproduce")["version"] == view.version
    assert home.get_program(run, view.version)


def test_what_functions_print_is_in_the_runs_log_and_still_seen(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    def prints(table: pa.Table) -> pa.Table:
        print("file", table["file"][0].as_py())  # noqa: T201 - it is about this.
        return table

    stdout = sys.stdout
    report = client.run(desk.pipeline(prints), home=desk.home, executor="in-process", display=None)

    logged = [line["message"] for line in read_log(desk.at.home, report.run)]
    assert {f"file {i}" for i in range(FILES)} <= set(logged)
    assert sorted(capsys.readouterr().out.split("\n"))[1:] == [f"file {i}" for i in range(FILES)]
    assert sys.stdout is stdout


def test_ids_of_runs_are_readable_and_sort_by_time(desk: Desk) -> None:
    found = client.run_id("Nightly sales (EU)", desk.at.clock, lambda: "abcdef")

    assert found.startswith("nightly-sales-eu-2")
    assert found.endswith("-abcd")
    assert client.run_id("日本", desk.at.clock, lambda: "abcdef").startswith("run-")


# --- stop and resume -----------------------------------------------------------------------------


def test_a_first_ctrl_c_stops_so_that_the_run_can_be_resumed(
    desk: Desk, control: LocalControl
) -> None:
    run = client.submit_run(desk.at, control, desk.pipeline(gated))
    screen = Screen(lambda view: view.committed >= 1)

    view = client.watch(desk.at, control, run, screen)

    assert view.state == "stopped"
    assert screen.said == ["stopping at draining", "finish stopped", "close"]
    stops = [e.fact for e in desk.events() if isinstance(e.fact, RunStopRequested)]
    assert stops == [RunStopRequested(run, "interrupted from the keyboard")]
    before = desk.committed()
    assert 0 < len(before) < FILES

    client.resume_run(desk.at, control, run)
    assert desk.followed(control, run).state == "succeeded"
    assert sorted(desk.committed()) == list(range(FILES))
    assert sorted(calls) == list(range(FILES)), "what was committed was computed again"
    assert desk.ids() == [0, 10, 20, 30]


def test_a_second_ctrl_c_stops_at_once(desk: Desk, control: LocalControl) -> None:
    run = client.submit_run(desk.at, control, desk.pipeline(gated))
    screen = Screen(lambda view: view.committed >= 1, times=2)
    screen.stopping = lambda view: screen.said.append("stopping")  # type: ignore[method-assign]

    with pytest.raises(KeyboardInterrupt):
        client.watch(desk.at, control, run, screen)

    assert screen.said == ["stopping", "close"]
    assert control.view(run).state == "draining"


def test_a_ctrl_c_at_the_very_end_changes_nothing(desk: Desk, control: LocalControl) -> None:
    run = client.submit_run(desk.at, control, desk.pipeline())
    screen = Screen(lambda view: view.is_settled)

    view = client.watch(desk.at, control, run, screen)

    assert view.state == "succeeded"
    assert screen.said[-2:] == ["finish succeeded", "close"]


def test_a_host_that_goes_leaves_a_run_that_the_next_one_finishes(desk: Desk) -> None:
    first = desk.control()
    run = client.submit_run(desk.at, first, desk.pipeline(gated))
    for view in client.follow(desk.at, first, run):
        if view.committed:
            break
    gate.set()
    first.close()
    before = set(desk.committed())

    second = desk.control()
    try:
        assert second.view(run).state == "interrupted"
        client.resume_run(desk.at, second, run)
        assert desk.followed(second, run).state == "succeeded"
    finally:
        second.close()
    assert before
    assert sorted(desk.committed()) == list(range(FILES))
    assert desk.ids() == [0, 10, 20, 30]


def test_resumed_with_a_mended_function_only_what_is_open_is_done(
    desk: Desk, control: LocalControl
) -> None:
    run = client.submit_run(desk.at, control, desk.pipeline(broken))
    failed = desk.followed(control, run)
    assert failed.state == "failed"
    assert failed.is_resumable
    done = set(calls)

    client.resume_run(desk.at, control, run, desk.pipeline(passed))
    view = desk.followed(control, run)

    assert view.state == "succeeded"
    assert view.version != failed.version
    assert 2 not in done
    assert sorted(calls) == list(range(FILES))
    assert sorted(desk.committed()) == list(range(FILES))


OTHER_SOURCES = """\
run RUN cannot be resumed: its sources, or which of them lead to which outputs, have changed
  start a new run: what is committed was cut from the old sources"""
OTHER_OUTPUTS = """\
run RUN cannot be resumed: its outputs have changed
  start a new run"""


@pytest.mark.parametrize(
    ("change", "text"),
    [({"files": "[01]"}, OTHER_SOURCES), ({"out": "elsewhere"}, OTHER_OUTPUTS)],
)
def test_resumed_with_other_sources_or_outputs_it_is_refused(
    desk: Desk, control: LocalControl, change: dict[str, str], text: str
) -> None:
    run = client.submit_run(desk.at, control, desk.pipeline(broken))
    before = desk.followed(control, run)

    said = refusal(
        lambda: client.resume_run(desk.at, control, run, desk.pipeline(passed, **change))
    )

    assert said.replace(run, "RUN") == text
    after = control.view(run)
    assert (after.state, after.version, after.resumed) == ("failed", before.version, 0)


def test_a_run_that_succeeded_cannot_be_resumed(desk: Desk, control: LocalControl) -> None:
    run = client.submit_run(desk.at, control, desk.pipeline())
    desk.followed(control, run)

    with pytest.raises(ResumeError, match="it is succeeded"):
        client.resume_run(desk.at, control, run)


def test_an_unknown_run_is_refused_with_a_near_miss(desk: Desk, control: LocalControl) -> None:
    run = client.submit_run(desk.at, control, desk.pipeline())
    desk.followed(control, run)

    with pytest.raises(UnknownRunError, match="Did you mean"):
        client.resume_run(desk.at, control, RunId(run[:-1]))
    with pytest.raises(UnknownRunError, match="Did you mean"):
        reading.read_run(desk.at.home, desk.at.clock, run[:-1])


# --- two at once ------------------------------------------------------------------------------


def test_a_takeover_tells_the_older_host_so(desk: Desk, control: LocalControl) -> None:
    run = client.submit_run(desk.at, control, desk.pipeline(gated))
    newer = desk.control(takeover=True)
    gate.set()
    try:
        with pytest.raises(FencedError, match="another control actor has taken over"):
            desk.followed(control, run)
        with pytest.raises(FencedError):
            control.submit([RunStopRequested(run)])
        client.resume_run(desk.at, newer, run)
        assert desk.followed(newer, run).state == "succeeded"
    finally:
        newer.close()
    assert desk.ids() == [0, 10, 20, 30]
    assert sorted(set(desk.committed())) == list(range(FILES))


def test_a_busy_home_is_refused_and_leaves_no_thread_behind(desk: Desk) -> None:
    leader = b'{"name":"x","machine":"another","pid":1,"at_s":%f,"run":"r"}'
    desk.at.home.store.put("leader.json", leader % desk.at.clock.now_s())
    before = set(threading.enumerate())

    with pytest.raises(HomeBusyError):
        desk.control()

    assert set(threading.enumerate()) - before == set()


# --- reading ----------------------------------------------------------------------------------


def test_a_home_is_read_without_leading_it(desk: Desk, control: LocalControl) -> None:
    run = client.submit_run(desk.at, control, desk.pipeline())
    desk.followed(control, run)
    before = [info.key for info in desk.at.home.store.list("journal/")]

    assert [view.run for view in reading.read_runs(desk.at.home, desk.at.clock)] == [run]
    assert reading.read_run(desk.at.home, desk.at.clock, run).state == "succeeded"
    assert [info.key for info in desk.at.home.store.list("journal/")] == before


def test_an_executor_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SettingsError, match="did you mean 'in-process'"):
        connection(None, "inprocess")


def test_a_failure_says_what_where_and_what_to_do(desk: Desk, control: LocalControl) -> None:
    run = client.submit_run(desk.at, control, desk.pipeline())
    view = desk.followed(control, run)
    assert failure_text(view) == f"`rayorch resume {run}` goes on with it"

    error = ErrorInfo("it broke", "ValueError", "mapped", "a.py:7", "s3://x/1.parquet", "mend it")
    said = failure_text(msgspec.structs.replace(view, error=error))
    first, *rest = said.splitlines()
    assert first == "it broke"
    for part in ("mapped", "a.py:7", "s3://x/1.parquet", "mend it"):
        assert any(line.endswith(part) for line in rest), said


# --- several runs, one place --------------------------------------------------------------------


def appending(desk: Desk, files: str, form: str) -> ro.Pipeline:
    pipeline = ro.Pipeline("append")
    rows = pipeline.read("rows", f"{desk.folder}/in/{files}.parquet", split="file")
    mapped = pipeline.map(rows, output="mapped")(passed)
    mapped.write((desk.folder / "out").as_uri(), format=form, mode="append")
    return pipeline


@pytest.mark.parametrize("form", ["parquet", "delta"])
def test_runs_that_append_to_one_place_at_once_all_arrive(
    desk: Desk, control: LocalControl, form: str
) -> None:
    """Protection: a publication is known by its run. The later of two must not hide the earlier."""
    runs = [
        client.submit_run(desk.at, control, appending(desk, str(index % FILES), form))
        for index in range(12)
    ]

    states = {desk.followed(control, run).state for run in runs}

    assert states == {"succeeded"}
    assert desk.ids() == sorted(index % FILES * 10 for index in range(12))


def test_a_run_resumed_after_another_has_published_still_arrives(
    desk: Desk, control: LocalControl
) -> None:
    """1. a publication fails  2. another run publishes to the same place  3. the first resumes."""
    obstacle = desk.folder / "out" / "_manifests"
    obstacle.parent.mkdir()
    obstacle.write_text("a file where a folder must be")
    first = client.submit_run(desk.at, control, appending(desk, "0", "parquet"))
    assert desk.followed(control, first).state == "failed"
    obstacle.unlink()
    second = client.submit_run(desk.at, control, appending(desk, "1", "parquet"))
    assert desk.followed(control, second).state == "succeeded"

    client.resume_run(desk.at, control, first)

    assert desk.followed(control, first).state == "succeeded"
    assert desk.ids() == [0, 10]
