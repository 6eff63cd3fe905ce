"""The control host: what it does in which order, and what it does when something is refused."""

import msgspec
import pytest
from msgspec.structs import replace

from connectors.errors import StoreReadOnlyError, StoreUnavailableError
from rayorch.clock import ManualClock
from rayorch.core.cheap import Cheap
from rayorch.core.facts import (
    AttemptFinished,
    LeaseReturned,
    RunnerJoined,
    RunResumed,
    RunStopRequested,
    SinkPublished,
)
from rayorch.core.machine import Machine
from rayorch.core.run import RunState
from rayorch.core.values import AttemptOutput, Held
from rayorch.errors import FencedError, UnknownRunError
from rayorch.home import REQUESTS
from rayorch.host import host as host_module
from rayorch.host.host import IDLE_S_MAX
from rayorch.host.leader import SIGN_S
from rayorch.host.requests import leave_request
from rayorch.ids import Epoch, RunId, TaskId
from rayorch.journal.log import SNAP, Journal
from tests.rayorch.host.make import RUN, RUNNER, VERSION, WAIT_S, Rig, leading


def test_a_run_goes_from_its_submission_to_its_sweep() -> None:
    rig = Rig()
    with leading(rig):
        rig.submit(tasks=3)
        run = rig.watch.wait_state(RunState.SUCCEEDED)
        rig.watch.wait_for(lambda: rig.watch.runs[RUN].swept)

        assert rig.host.view(RUN).state == "succeeded"
        assert [view.run for view in rig.host.runs()] == [RUN]
    assert run.committed == 3
    assert len(rig.watch.of(SinkPublished)) == 1


def test_ids_and_times_are_given_once_and_a_replay_reads_them_back() -> None:
    clock = ManualClock()
    rig = Rig(clock=clock)
    with leading(rig):
        rig.host.offer([RunStopRequested(RunId("a")), RunStopRequested(RunId("b"))]).wait(10.0)
        clock.advance(5.0)
        rig.host.offer([RunStopRequested(RunId("c"))]).wait(10.0)

    events = rig.journaled()
    assert [event.id for event in events] == sorted({event.id for event in events})
    assert events[3].at_s - events[2].at_s == 5.0
    seen = {event.id: event for event in rig.watch.events}
    assert [seen[event.id] for event in events] == events


def test_a_client_that_submits_twice_gets_one_run() -> None:
    """A call whose reply was lost is made again."""
    rig = Rig()
    with leading(rig):
        fact = rig.submission(tasks=3)
        rig.host.offer([fact, fact]).wait(10.0)
        rig.host.offer([fact]).wait(10.0)
        rig.watch.wait_state(RunState.SUCCEEDED)
        rig.host.offer([fact]).wait(10.0)

        assert rig.host.view(RUN).state == "succeeded"
    assert sorted(lease.task for lease in rig.executor.leases) == [0, 1, 2]


def test_a_task_that_is_reported_twice_commits_once() -> None:
    rig = Rig()
    rig.executor.ends_at_once = False
    with leading(rig):
        rig.submit(tasks=1)
        rig.watch.wait_for(lambda: rig.executor.leases)
        report = rig.executor.finished(rig.executor.leases[0])

        rig.host.offer([report, report]).wait(10.0)
        rig.host.offer([report]).wait(10.0)

        run = rig.watch.wait_state(RunState.SUCCEEDED)
    assert run.committed == 1
    assert run.totals.rows_in == 1
    assert run.totals.duplicates >= 1


def test_an_impossible_event_fails_its_run_and_not_the_host() -> None:
    """A replay meets the same event again: a host that dies of it would die for ever."""
    rig = Rig()
    rig.executor.ends_at_once = False
    with leading(rig):
        rig.submit(tasks=1)
        rig.watch.wait_for(lambda: rig.executor.leases)
        lease = msgspec.structs.replace(rig.executor.leases[0], task=TaskId(99))

        rig.host.offer([rig.executor.finished(lease)]).wait(10.0)
        rig.host.offer([rig.executor.finished(rig.executor.leases[0])]).wait(10.0)
        run = rig.watch.wait_state(RunState.FAILED)

        assert rig.host.stopped_by is None
        assert run.error is not None
        assert run.error.error_type == "InvalidTransitionError"
        assert "impossible event" in run.error.message
        rig.submit(tasks=1, run=RunId("another"))

    rig.again()
    with leading(rig):
        assert rig.host.view(RUN).state == "failed"


def test_a_report_about_a_run_of_another_home_is_dropped() -> None:
    rig = Rig()
    with leading(rig):
        stray = AttemptFinished(RunId("stray"), TaskId(0), 0, Epoch(1), RUNNER, AttemptOutput())

        rig.host.offer([stray]).wait(10.0)

        assert rig.host.runs() == []
        with pytest.raises(UnknownRunError):
            rig.host.view(RunId("stray"))


def test_a_fenced_host_stops_and_refuses_everything() -> None:
    """Its epoch will never be the newest again: what it said would be void."""
    rig = Rig()
    rig.executor.ends_at_once = False
    with leading(rig):
        rig.submit(tasks=1)
        rig.watch.wait_for(lambda: rig.executor.leases)
        newer = Journal(rig.store, rig.clock, lambda: "newer")
        newer.replay(lambda _: None)
        newer.lead(lambda _: None)

        refused = rig.host.offer([rig.executor.finished(rig.executor.leases[0])])
        with pytest.raises(FencedError, match="another control actor has taken over this home"):
            refused.wait(10.0)
        with pytest.raises(FencedError):
            rig.host.offer([RunStopRequested(RUN)]).wait(10.0)

        assert isinstance(rig.host.stopped_by, FencedError)
        assert rig.executor.closed
    assert not any(isinstance(event.fact, AttemptFinished) for event in rig.journaled())


def test_runners_are_let_go_of_while_all_that_is_left_waits_until_it_is_cheap() -> None:
    """It is eight o'clock, and the run waits for the night: a machine would be paid all day."""
    rig = Rig(clock=ManualClock())
    assert isinstance(rig.clock, ManualClock)
    with leading(rig):
        rig.submit(tasks=1)
        rig.watch.wait_state(RunState.SUCCEEDED)
        night = replace(rig.submission(run=RunId("night")), cheap=Cheap(22 * 60, 6 * 60))
        rig.host.offer([night]).wait(WAIT_S)
        rig.watch.wait_for(lambda: rig.host.view(RunId("night")).wait is not None)
        before = rig.executor.released

        rig.clock.advance(IDLE_S_MAX + 1.0)
        rig.host.offer([]).wait(WAIT_S)
        rig.host.offer([]).wait(WAIT_S)

        assert before == 0
        assert rig.executor.released > 0


def test_an_idle_host_that_was_superseded_finds_out_before_it_signs() -> None:
    rig = Rig(clock=ManualClock())
    rig.executor.ends_at_once = False
    with leading(rig):
        rig.submit(tasks=1)
        rig.watch.wait_for(lambda: rig.executor.leases)
        newer = Journal(rig.store, rig.clock, lambda: "newer")
        newer.replay(lambda _: None)
        newer.lead(lambda _: None)
        assert isinstance(rig.clock, ManualClock)
        rig.clock.advance(SIGN_S + 0.1)

        rig.host._thread.join(10.0)  # type: ignore[union-attr]

        assert isinstance(rig.host.stopped_by, FencedError)


def test_a_store_that_cannot_be_written_stops_the_host_and_everybody_is_told() -> None:
    rig = Rig()
    with leading(rig):

        def refuse(key: str) -> None:
            raise StoreReadOnlyError(rig.home.url, key, "read-only file system")

        fact = rig.submission()
        rig.watched.before_create = refuse
        heard: list[BaseException] = []
        rig.host.halted = heard.append

        with pytest.raises(StoreReadOnlyError):
            rig.host.offer([fact]).wait(10.0)
        with pytest.raises(StoreReadOnlyError):
            rig.host.offer([fact]).wait(10.0)
        assert isinstance(rig.host.stopped_by, StoreReadOnlyError)
        assert heard == [rig.host.stopped_by]


def test_a_host_that_was_told_to_stop_is_not_reported_as_halted() -> None:
    """Its process would end itself and be started again by Ray: whoever ends it wants it gone."""
    rig = Rig()
    heard: list[BaseException] = []
    with leading(rig):
        rig.host.halted = heard.append

        def refuse(key: str) -> None:
            rig.host.stop()
            raise StoreReadOnlyError(rig.store.url, key, "no")

        rig.watched.before_create = refuse
        with pytest.raises(StoreReadOnlyError):
            rig.host.offer([rig.submission()]).wait(10.0)
    assert isinstance(rig.host.stopped_by, StoreReadOnlyError)
    assert heard == []


@pytest.mark.parametrize("what", ["leader.json", SNAP])
def test_a_hint_or_a_snapshot_that_cannot_be_stored_is_put_off(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No run depends on it, and the journal may well be stored a moment later."""
    monkeypatch.setattr(host_module, "SNAPSHOT_SEGMENTS", 2)
    refused: list[str] = []
    rig = Rig()

    def refuse(key: str) -> None:
        if key.startswith(what):
            refused.append(key)
            raise StoreUnavailableError(rig.home.url, key, "slow down")

    rig.watched.before_put = refuse
    with leading(rig):
        rig.submit()
        rig.watch.wait_state(RunState.SUCCEEDED)
        rig.watch.wait_for(lambda: rig.watch.runs[RUN].swept)
        rig.host.offer([]).wait(10.0)
        rig.host.offer([]).wait(10.0)

        assert rig.host.stopped_by is None
    assert refused


def test_a_plan_that_is_gone_fails_its_run_and_takes_the_leases_back() -> None:
    rig = Rig()
    rig.executor.ends_at_once = False
    with leading(rig):
        rig.submit(tasks=2)
        rig.watch.wait_for(lambda: len(rig.executor.leases) == 2)
    rig.store.delete([f"runs/{RUN}/plan.msgpack"])
    rig.again()
    with leading(rig):
        rig.host.offer([RunResumed(RUN, VERSION)]).wait(10.0)
        run = rig.watch.wait_state(RunState.FAILED)

        assert rig.host.stopped_by is None
        assert rig.executor.leases == []
    assert run.error is not None
    assert "plan.msgpack" in run.error.message
    assert {fact.task for fact in rig.watch.of(LeaseReturned)} == {0, 1}


def test_a_new_host_goes_on_from_snapshot_and_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """What recovery rebuilds is the fold of what was durable, and the run goes on from it.

    1. Two of four tasks commit; a snapshot is written; a third commits after it.
    2. The host goes, without a word.
    3. The next one is interrupted, resumed, and hands out only the fourth.
    """
    monkeypatch.setattr(host_module, "SNAPSHOT_SEGMENTS_ACTIVE", 3)
    rig = Rig()
    rig.executor.ends_at_once = False
    with leading(rig):
        rig.submit(tasks=4)
        rig.watch.wait_for(lambda: len(rig.executor.leases) == 2)
        rig.host.offer([rig.executor.finished(each) for each in rig.executor.leases]).wait(10.0)
        rig.watch.wait_for(lambda: len(rig.executor.leases) > 2)
        rig.host.offer([]).wait(10.0)
        snapshots = list(rig.store.list(SNAP))
        monkeypatch.setattr(host_module, "SNAPSHOT_SEGMENTS_ACTIVE", 10_000)
        rig.host.offer([rig.executor.finished(rig.executor.leases[2])]).wait(10.0)
        rig.host.offer([]).wait(10.0)
    assert snapshots
    assert list(rig.store.list(SNAP)) == snapshots

    rig.again()
    with leading(rig):
        assert rig.host.view(RUN).state == "interrupted"
        assert rig.host.view(RUN).committed == 3
        rig.host.offer([RunResumed(RUN, VERSION)]).wait(10.0)
        run = rig.watch.wait_state(RunState.SUCCEEDED)

    assert [lease.task for lease in rig.executor.leases] == [3]
    assert run.committed == 4
    assert run.totals.rows_in == 4
    machine = Machine()
    Journal(rig.store, rig.clock, lambda: "reader").replay(machine.fold, machine.restore)
    assert machine.runs[RUN] == run


def test_a_host_of_the_same_cluster_takes_over_what_its_runners_hold() -> None:
    """Restarted by Ray, nothing is interrupted, and what runs is not begun again."""
    rig = Rig()
    rig.executor.ends_at_once = False
    with leading(rig):
        rig.submit(tasks=1)
        rig.watch.wait_for(lambda: rig.executor.leases)
        lease = rig.executor.leases[0]

    rig.again()
    rig.executor.ends_at_once = False
    rig.executor._joined.add(RUNNER)
    with leading(rig, interrupts=False):
        assert rig.host.view(RUN).state == "running"
        held = Held(lease.run, lease.task, lease.attempt, lease.epoch, started=True)
        joined = RunnerJoined(RUNNER, "scripted", 1.0, 1 << 30, (held,))
        rig.host.offer([joined]).wait(10.0)
        rig.host.offer([rig.executor.finished(lease)]).wait(10.0)
        rig.watch.wait_state(RunState.SUCCEEDED)

    assert rig.executor.leases == []


def test_a_request_left_under_the_home_is_obeyed_and_goes_away() -> None:
    rig = Rig()
    rig.executor.ends_at_once = False
    with leading(rig):
        rig.submit(tasks=2)
        rig.watch.wait_for(lambda: rig.executor.leases)
        rig.executor.ends_at_once = True
        leave_request(rig.home, RunStopRequested(RUN, "asked"), rig.clock.now_s(), "n1")

        rig.watch.wait_for(lambda: rig.watch.of(RunStopRequested))
        rig.host.offer([rig.executor.finished(lease) for lease in rig.executor.leases]).wait(10.0)
        rig.host.offer([]).wait(10.0)

        assert rig.watch.of(RunStopRequested) == [RunStopRequested(RUN, "asked")]
        assert list(rig.store.list(REQUESTS)) == []


def test_an_old_request_to_stop_does_not_stop_what_is_resumed_after_it() -> None:
    """It was left while nobody led: it is about what ran then."""
    rig = Rig()
    rig.executor.ends_at_once = False
    with leading(rig):
        rig.submit(tasks=2)
        rig.watch.wait_for(lambda: rig.executor.leases)
    leave_request(rig.home, RunStopRequested(RUN, "asked"), rig.clock.now_s(), "n1")

    rig.again()
    with leading(rig):
        rig.host.offer([RunResumed(RUN, VERSION)]).wait(10.0)
        rig.watch.wait_state(RunState.SUCCEEDED)

    assert list(rig.store.list(REQUESTS)) == []


def test_observers_hear_of_every_append() -> None:
    rig = Rig()
    with leading(rig):
        rig.submit()
        rig.watch.wait_for(lambda: rig.watch.runs and rig.watch.runs[RUN].swept)

    assert sum(rig.watch.flushes) == len(rig.journaled())


def test_a_stopped_host_refuses_and_takes_its_hint_away() -> None:
    """Or the next one, in the same minute, would take it for a leader that is at work."""
    rig = Rig()
    rig.executor.ends_at_once = False
    with leading(rig):
        rig.submit(tasks=1)
        rig.watch.wait_for(lambda: rig.executor.leases)
        rig.host.offer([]).wait(10.0)
        rig.host.offer([]).wait(10.0)
        assert rig.store.head("leader.json") is not None

    assert rig.store.head("leader.json") is None
    with pytest.raises(RuntimeError, match="the control host has stopped"):
        rig.host.offer([RunStopRequested(RUN)]).wait(10.0)
    assert rig.host.stopped_by is None
