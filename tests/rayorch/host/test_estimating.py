"""What a run teaches: noted by the host's thread, written when the run is at rest."""

from collections.abc import Iterator

import pytest

from connectors.splits import Discovery, FilePart, Split
from connectors.stores.memory import MemoryStore
from rayorch.core.facts import AttemptFinished, Event
from rayorch.core.machine import Machine
from rayorch.core.values import AttemptOutput, SinkResult, StepSeconds
from rayorch.home import Home, RunPlan, StagePlan, encode_split
from rayorch.host.estimating import EstimateKeeper, Noted, learn
from rayorch.ids import Epoch, EventId, RunId, RunnerId, TaskId
from rayorch.plan.estimate import estimate_of
from rayorch.plan.history import (
    Expected,
    ExpectedStage,
    expected_of,
    get_calibrations,
    get_expected,
    load_history,
    put_expected,
)

RUN = RunId("nightly-1")
MB = 10**6


def split(size_bytes: int) -> bytes:
    part = FilePart(key="a.parquet", size_bytes=size_bytes)
    return encode_split(Split(parts=(part,), rows=1_000, size_bytes=size_bytes))


@pytest.fixture
def home(request: pytest.FixtureRequest) -> Home:
    """A home with a planned run of two stages: two tasks, and one."""
    home = Home(MemoryStore(f"estimates-{request.node.name}"))
    found = Discovery(files=(), schema_ipc=b"", format="parquet", rows=None, size_bytes=0, roots=())
    stages = (
        StagePlan(found, (split(10 * MB), split(20 * MB))),
        StagePlan(found, (split(5 * MB),)),
    )
    plan = home.put_plan(RUN, RunPlan(stages))
    histories = [load_history(home, "v-lines", "lines"), load_history(home, "v-more", "more")]
    put_expected(home, RUN, expected_of(histories, plan))
    return home


@pytest.fixture
def keeper(home: Home) -> Iterator[EstimateKeeper]:
    keeper = EstimateKeeper(home)
    yield keeper
    keeper.close()


def finished(task: int, duration_s: float = 2.0) -> Event:
    output = AttemptOutput(
        rows_in=1_000,
        bytes_in=MB,
        results=(SinkResult(0, 1_000, 5 * MB),),
        seconds=StepSeconds(compute_s=duration_s),
        memory_bytes=50 * MB,
    )
    fact = AttemptFinished(RUN, TaskId(task), 0, Epoch(1), RunnerId("r"), output)
    return Event(EventId(task + 1), 0.0, fact)


def noted(duration_s: float) -> Noted:
    return Noted("local", duration_s, 50 * MB, 5 * MB)


def test_attempts_go_into_the_history_of_their_stage(home: Home) -> None:
    learn(home, RUN, {TaskId(0): noted(2.0), TaskId(1): noted(4.0), TaskId(2): noted(9.0)})

    lines, more = load_history(home, "v-lines", "lines"), load_history(home, "v-more", "more")
    assert (lines.attempts, more.attempts) == (2, 1)
    assert lines.pools["local"].memory_bytes_max == 50 * MB
    first, second = get_calibrations(home, RUN).stages
    assert (first.stage, first.tasks, first.actual_s) == ("lines", 2, 6.0)
    assert (second.stage, second.measured_before) == ("more", 0)


def test_the_next_run_is_expected_to_take_what_this_one_took(home: Home) -> None:
    for _ in range(20):
        learn(home, RUN, {TaskId(0): noted(2.0), TaskId(1): noted(4.0)})

    history = load_history(home, "v-lines", "lines")
    (stage, _) = expected_of([history, load_history(home, "x", "more")], home.get_plan(RUN)).stages

    assert stage.measured_before == 40
    assert stage.seconds == pytest.approx(6.0, rel=0.1)
    assert estimate_of(history).ratio.mean == pytest.approx(10 / 30, rel=0.1)


def test_a_resumed_run_adds_to_its_calibration(home: Home) -> None:
    learn(home, RUN, {TaskId(0): noted(2.0)})
    learn(home, RUN, {TaskId(1): noted(4.0)})

    (lines, _) = get_calibrations(home, RUN).stages

    assert (lines.tasks, lines.actual_s, lines.measured_before) == (2, 6.0, 0)


def test_a_run_that_was_planned_without_estimates_teaches_nothing(home: Home) -> None:
    put_expected(home, RUN, Expected())

    learn(home, RUN, {TaskId(0): noted(2.0)})

    assert not get_calibrations(home, RUN).stages


def test_a_damaged_record_begins_anew(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.put_estimates("v-lines", b"{not json")

    assert load_history(home, "v-lines", "lines").attempts == 0
    assert "begin anew" in caplog.text


def test_what_was_noted_is_written_once_the_run_is_at_rest(
    home: Home, keeper: EstimateKeeper
) -> None:
    """A machine that does not know the run any more has let it go: it is over."""
    keeper.saw([finished(0), finished(1), finished(0, duration_s=99.0)], Machine())

    keeper.close()

    (lines, _) = get_calibrations(home, RUN).stages
    assert (lines.tasks, lines.actual_s) == (2, 4.0)


def test_a_store_that_fails_stops_nobody(
    home: Home, keeper: EstimateKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    home.store.delete([info.key for info in list(home.store.list(f"runs/{RUN}/plan"))])

    keeper.saw([finished(0)], Machine())
    keeper.close()

    assert "nothing is learned of a run" in caplog.text


def test_expectations_are_kept_as_they_were_when_the_run_was_planned(home: Home) -> None:
    stage = ExpectedStage("lines", "v-lines", 2, 6.0, 0.1, 3)

    put_expected(home, RUN, Expected((stage,)))

    assert get_expected(home, RUN).stages == (stage,)
