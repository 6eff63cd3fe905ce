import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectors.errors import StoreUnavailableError
from connectors.store import ObjectInfo
from connectors.stores.memory import MemoryStore
from rayorch.clock import ManualClock
from rayorch.core.facts import Led, RunnerLost, RunSwept
from rayorch.home import Home
from rayorch.ids import Epoch, RunId, TaskId
from rayorch.observe import logs as logs_module
from rayorch.observe.logs import RunLogs, log_prefix, read_log
from rayorch.runner.capture import LogLine
from tests.rayorch.observe.make import (
    RUN,
    RUNNER,
    World,
    failed,
    finished,
    joined,
    lost,
    published,
    started,
)


class MoodyStore(MemoryStore):
    """A store in memory that takes no writes while it is down."""

    down = False

    def put(self, key: str, data: bytes) -> ObjectInfo:
        if self.down:
            raise StoreUnavailableError(self.url, key, "the store is down")
        return super().put(key, data)


@pytest.fixture
def store() -> MoodyStore:
    return MoodyStore(secrets.token_hex(8))


@pytest.fixture
def home(store: MoodyStore) -> Home:
    return Home(store)


@pytest.fixture
def new_logs(home: Home) -> Iterator[Callable[[], RunLogs]]:
    opened: list[RunLogs] = []

    def new() -> RunLogs:
        opened.append(RunLogs(home, ManualClock(5_000.0)))
        return opened[-1]

    yield new
    for logs in opened:
        logs.close()


@pytest.fixture
def logs(new_logs: Callable[[], RunLogs]) -> RunLogs:
    return new_logs()


def events(home: Home, run: str = RUN) -> list[str]:
    return [line["event"] for line in lines(home, run)]


def lines(home: Home, run: str = RUN) -> list[dict[str, Any]]:
    return list(read_log(home, RunId(run)))


def printed(text: str, at_s: float, task: int = 0) -> LogLine:
    return LogLine(RUN, 0, TaskId(task), 0, "stdout", text, at_s)


def test_a_run_leaves_the_story_of_its_attempts(logs: RunLogs, home: Home) -> None:
    """Two tasks: one ends at once, one is lost and then ends; the run is published."""
    world = World(logs)
    world.begin(tasks=2)
    world.apply(joined())
    world.apply(started(0), started(1))
    world.apply(finished(0), lost(1))
    world.apply(finished(1))
    world.apply(published())
    world.apply(RunSwept(run=RUN, files=0))
    logs.close()

    assert events(home) == [
        "RunSubmitted",
        "PlanReady",
        "state",
        "RunnerJoined",
        "AttemptFinished",
        "AttemptLost",
        "AttemptFinished",
        "state",
        "SinkPublished",
        "state",
        "RunSwept",
    ]
    attempt = lines(home)[4]
    assert attempt["stage"] == "orders"
    assert (attempt["task"], attempt["attempt"], attempt["runner"]) == (0, 0, RUNNER)
    assert attempt["seconds"]["compute_s"] == 0.3
    assert [line["message"].split(":")[0] for line in lines(home) if line["event"] == "state"] == [
        "planning -> running",
        "running -> publishing",
        "publishing -> succeeded",
    ]


def test_every_line_of_an_event_names_its_cause(logs: RunLogs, home: Home) -> None:
    world = World(logs)
    world.begin(tasks=1)
    world.apply(failed(0))
    logs.close()

    causes = {line["event"]: line["cause"] for line in lines(home)}
    assert causes["AttemptFailed"] == causes["state"] == world.machine.through


def test_a_failed_run_says_why(logs: RunLogs, home: Home) -> None:
    world = World(logs)
    world.begin(tasks=1)
    world.apply(failed(0, message="column 'amount' is not there"))
    logs.close()

    last = lines(home)[-1]
    assert (last["event"], last["level"]) == ("state", "error")
    assert "running -> failed: 0 of 1 tasks committed, 1 failed" in last["message"]
    assert last["error"]["message"] == "column 'amount' is not there"


def test_a_run_of_very_many_tasks_logs_failures_and_sums_only(
    logs: RunLogs, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_module, "QUIET_TASKS", 3)
    world = World(logs)
    world.begin(tasks=4)
    world.apply(*(finished(task) for task in range(3)), lost(3))
    world.apply(finished(3))
    world.apply(published())
    logs.close()

    assert "AttemptFinished" not in events(home)
    assert "AttemptLost" in events(home)
    assert "4 of 4 tasks committed" in lines(home)[-1]["message"]
    assert "12 rows out" in lines(home)[-1]["message"]


def test_what_is_nobodys_in_particular_is_in_the_log_of_each_active_run(
    logs: RunLogs, home: Home
) -> None:
    world = World(logs)
    world.begin(tasks=1)
    world.submit(1, run="run-2")
    world.apply(finished(0, run="run-2"), published("run-2"))
    world.apply(joined())
    world.apply(RunnerLost(runner=RUNNER, kind="preempted", reason="spot"))
    logs.close()

    assert events(home)[-2:] == ["RunnerJoined", "RunnerLost"]
    assert "RunnerLost" not in events(home, "run-2")


def test_printed_lines_are_in_the_log_in_the_order_of_time(logs: RunLogs, home: Home) -> None:
    world = World(logs)
    world.begin(tasks=1)
    world.at_s = 1_010.0
    world.apply(finished(0))
    logs.add([printed("second", 1_006.0), printed("first", 1_005.0)])
    logs.close()

    told = [(line["event"], line["message"]) for line in lines(home)]
    assert told[3:5] == [("printed", "first"), ("printed", "second")]
    assert lines(home)[4]["stage"] == "orders"
    assert lines(home)[4]["kind"] == "stdout"


def test_a_printed_line_of_a_run_that_nobody_knows_is_kept(logs: RunLogs, home: Home) -> None:
    logs.add([printed("hello\nthere", 1.0)])
    logs.close()

    (line,) = lines(home)
    assert (line["message"], line["stage"]) == ("hello\nthere", "0")


def test_two_control_actors_write_one_log(new_logs: Callable[[], RunLogs], home: Home) -> None:
    """The first dies; the second replays, takes the lead and goes on with the run."""
    first = new_logs()
    world = World(first)
    world.begin(tasks=2)
    world.apply(finished(0))
    first.close()

    second = new_logs()
    world.observers = (second,)
    world.at_s += 60.0
    world.apply(Led(epoch=Epoch(2), interrupts=False))
    world.apply(finished(1))
    second.close()

    keys = [found.key for found in home.store.list(log_prefix(RUN))]
    assert len({key.rpartition("-")[2] for key in keys}) == 2
    assert events(home)[-4:] == ["AttemptFinished", "Led", "AttemptFinished", "state"]
    assert lines(home)[-1]["message"] == "running -> publishing"


def test_while_the_store_is_down_lines_wait_and_the_run_does_not(
    logs: RunLogs, home: Home, store: MoodyStore
) -> None:
    world = World(logs)
    store.down = True

    world.begin(tasks=2)
    assert logs.flush() is False
    world.apply(finished(0))
    assert logs.flush() is False
    assert events(home) == []

    store.down = False
    assert logs.flush() is True
    assert events(home) == ["RunSubmitted", "PlanReady", "state", "AttemptFinished"]


def test_an_object_that_is_put_again_is_the_same_object(
    logs: RunLogs, home: Home, store: MoodyStore
) -> None:
    """A put may have happened although it raised: its repetition must not double lines."""
    world = World(logs)
    store.down = True
    world.begin(tasks=2)
    logs.flush()
    (unsent,) = logs._unsent
    MemoryStore.put(store, unsent.key, unsent.data)

    store.down = False
    logs.flush()

    assert events(home) == ["RunSubmitted", "PlanReady", "state"]


def test_lines_beyond_the_buffer_are_dropped_and_the_next_line_says_how_many(
    logs: RunLogs, home: Home, store: MoodyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_module, "BUFFER_BYTES_MAX", 1_000)
    store.down = True
    logs.add([printed("kept", 1.0)])
    logs.flush()
    logs.add([printed("x" * 900, 2.0), printed("y" * 900, 3.0)])

    store.down = False
    logs.flush()
    logs.add([printed("later", 6_000.0)])
    logs.flush()

    assert [line["message"] for line in lines(home)] == [
        "kept",
        "2 lines are missing: the home could not be written to for too long",
        "later",
    ]
    assert lines(home)[1]["dropped"] == 2


def test_lines_that_were_dropped_last_are_still_counted_at_the_end(
    logs: RunLogs, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_module, "BUFFER_BYTES_MAX", 100)
    logs.add([printed("x" * 900, 2.0)])

    logs.close()

    assert [line["dropped"] for line in lines(home)] == [1]


def test_a_run_that_settles_is_written_without_being_asked(logs: RunLogs, home: Home) -> None:
    """Whoever waited for the run reads its log next."""
    world = World(logs)
    world.begin(tasks=1)
    world.apply(failed(0))

    with logs._wake:
        assert logs._wake.wait_for(lambda: not logs._pending and not logs._unsent_bytes, 10.0)
    assert events(home)[-1] == "state"


def test_a_run_without_a_log_has_no_lines(home: Home) -> None:
    assert lines(home, "never") == []


def test_what_a_watcher_of_the_process_should_see_is_logged_there_too(
    logs: RunLogs, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(logs)
    world.begin(tasks=2)
    with caplog.at_level("INFO", "rayorch"):
        world.apply(finished(0), failed(1))
        logs.close()

    told = [(record.levelname, record.getMessage().split(":")[0]) for record in caplog.records]
    assert ("WARNING", "no such column") in told
    assert ("ERROR", "running -> failed") in told
    assert not [text for _, text in told if "rows in, 3 rows" in text]
    assert {record.run for record in caplog.records} == {RUN}  # type: ignore[attr-defined]
