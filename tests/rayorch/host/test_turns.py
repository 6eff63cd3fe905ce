"""What a turn of the control host stores, in how many segments, and who waits for it."""

import threading

import msgspec
import pytest

from connectors.store import open_store
from rayorch.clock import ManualClock
from rayorch.core.commands import Command, Record
from rayorch.core.facts import (
    AttemptFinished,
    Event,
    Led,
    PlacementReady,
    PlanReady,
    RunFailed,
    RunStopRequested,
    RunSubmitted,
    SinkPublished,
    Ticked,
)
from rayorch.core.machine import Machine
from rayorch.core.node_facts import NodesMetered
from rayorch.core.run import RunState
from rayorch.ids import EventId, RunId, TaskId
from rayorch.journal.log import LOG
from tests.rayorch.host.make import Rig, leading


def test_no_command_rests_on_an_event_that_is_not_stored() -> None:
    """Journal before commands: a lease of a run that a restart forgets would run for nobody."""
    rig = Rig()
    seen: list[tuple[int, bool]] = []

    def look(key: str) -> None:
        if key.startswith(LOG):
            published = list(open_store(rig.sink_url).list("_manifests/"))
            seen.append((len(rig.executor.commands), bool(published)))

    with leading(rig):
        rig.watched.before_create = look
        rig.submit(tasks=1)
        rig.watch.wait_state(RunState.SUCCEEDED)

    # Readings of meters come when they are due: nothing waits for them.
    kinds = [k for e in rig.journaled() if (k := type(e.fact)) is not NodesMetered]
    assert kinds[:3] == [Led, RunSubmitted, PlacementReady]
    assert kinds[3:6] == [PlanReady, AttemptFinished, SinkPublished]
    # As each of these, but the first, was being stored: what had gone out to runners and readers.
    # The plan asks for runners; one that joined was sent the lease; the commit publishes.
    assert list(dict.fromkeys(seen))[:3] == [(0, False), (2, False), (2, True)]


def held(rig: Rig) -> tuple[threading.Event, threading.Event]:
    """Hold what is to be stored; return what says that it has begun, and what lets it go on."""
    storing, go_on = threading.Event(), threading.Event()

    def hold(_key: str) -> None:
        storing.set()
        assert go_on.wait(10.0)

    rig.watched.before_create = hold
    return storing, go_on


def test_who_offers_is_answered_only_when_it_is_stored() -> None:
    rig = Rig()
    with leading(rig):
        fact = rig.submission()
        storing, go_on = held(rig)
        ticket = rig.host.offer([fact])
        assert storing.wait(10.0)

        with pytest.raises(TimeoutError):
            ticket.wait(0.0)
        go_on.set()
        ticket.wait(10.0)

        assert any(isinstance(event.fact, RunSubmitted) for event in rig.journaled())


def test_what_arrives_while_a_segment_is_stored_shares_the_next_one() -> None:
    """Group commit: a slow store makes segments larger, not the queue longer."""
    rig = Rig()
    with leading(rig):
        storing, go_on = held(rig)
        first = rig.host.offer([RunStopRequested(RunId("nobody"))])
        assert storing.wait(10.0)
        others = [rig.host.offer([RunStopRequested(RunId(f"nobody-{i}"))]) for i in range(9)]
        go_on.set()
        for ticket in (first, *others):
            ticket.wait(10.0)

    # The lead's own event, the first one, and nine together.
    assert rig.watch.flushes == [1, 1, 9]
    assert len(list(rig.store.list(LOG))) == 4


def test_a_tick_says_how_long_a_segment_takes_of_late() -> None:
    """By it runners have work for as long as their reports may take."""
    clock = ManualClock()
    rig = Rig(clock=clock)
    rig.watched.before_create = lambda key: clock.advance(0.5 if key.startswith(LOG) else 0.0)
    with leading(rig):
        for number in range(8):
            rig.host.offer([RunStopRequested(RunId(f"nobody-{number}"))]).wait(10.0)

    said = [tick.flush_s for tick in rig.watch.of(Ticked)]
    assert said[0] < 0.5 * said[-1]  # One slow segment is not believed at once.
    assert 0.4 < said[-1] < 0.5


def test_what_a_tick_decides_keeps_nobody_waiting_for_another_segment() -> None:
    """A report waits for the segment that is being stored, and then for its own, and no more."""
    rig = Rig()
    machine_handle = Machine.handle
    storing, go_on = threading.Event(), threading.Event()
    decisions = [RunStopRequested(RunId("decided"))]

    def hold(_key: str) -> None:
        storing.set()
        assert go_on.wait(10.0)

    def handle(machine: Machine, event: Event) -> tuple[Command, ...]:
        """Decide something at the first tick after the segment that is held."""
        commands = machine_handle(machine, event)
        if isinstance(event.fact, Ticked) and storing.is_set() and decisions:
            return (*commands, Record(event.id, decisions.pop()))
        return commands

    with pytest.MonkeyPatch.context() as patch, leading(rig):
        patch.setattr(Machine, "handle", handle)
        storing, go_on = held(rig)
        first = rig.host.offer([RunStopRequested(RunId("first"))])
        assert storing.wait(10.0)
        second = rig.host.offer([RunStopRequested(RunId("second"))])
        go_on.set()
        first.wait(10.0)
        second.wait(10.0)

    stopped = [
        event.fact.run for event in rig.journaled() if isinstance(event.fact, RunStopRequested)
    ]
    assert stopped == ["first", "decided", "second"]
    # The lead's own event, the first one, and the other two in one segment.
    assert rig.watch.flushes == [1, 1, 2]


def test_what_was_decided_last_is_stored_before_a_host_stops() -> None:
    rig = Rig()
    rig.host.start()
    rig.host.stop()
    before = len(rig.journaled())

    rig.again()
    rig.host._decided.append(RunStopRequested(RunId("decided")))
    rig.host._stopping.set()  # Before its first turn.
    with leading(rig):
        pass

    assert [type(event.fact) for event in rig.journaled()[before:]] == [Led, RunStopRequested]


def test_a_decision_of_the_machine_is_journaled_like_any_other_fact() -> None:
    rig = Rig()
    rig.executor.ends_at_once = False
    with leading(rig):
        rig.submit(tasks=1)
        rig.watch.wait_for(lambda: rig.executor.leases)
        lease = msgspec.structs.replace(rig.executor.leases[0], task=TaskId(99))
        rig.host.offer([rig.executor.finished(lease)]).wait(10.0)

    failed = [event for event in rig.journaled() if isinstance(event.fact, RunFailed)]
    assert len(failed) == 1
    assert failed[0].id > EventId(0)
