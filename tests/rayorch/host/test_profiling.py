"""What a run took, by its journal: where nobody saw it from its beginning to its end."""

import pytest

from rayorch.core.facts import (
    AttemptStarted,
    Event,
    Fact,
    PlanReady,
    RunnerJoined,
    RunResumed,
    RunSubmitted,
    StagePlanned,
)
from rayorch.core.machine import Machine
from rayorch.core.node_facts import NodeJoined, NodesMetered
from rayorch.core.placed import NodeWindow
from rayorch.core.run import RunState
from rayorch.core.values import Held, StageShape
from rayorch.host import host as host_module
from rayorch.host.estimating import EstimateKeeper
from rayorch.host.profiling import Trace, Traces, profile_of
from rayorch.host.retracing import retraced
from rayorch.ids import Epoch, EventId, NodeId, RunId, TaskId
from tests.rayorch.host.make import RUN, RUNNER, VERSION, Rig, leading


def half_done(rig: Rig) -> None:
    """Commit one of two tasks, and stop without a word."""
    rig.executor.ends_at_once = False
    with leading(rig):
        rig.submit(tasks=2)
        rig.watch.wait_for(lambda: len(rig.executor.leases) == 2)
        rig.host.offer([rig.executor.finished(rig.executor.leases[0])]).wait(10.0)


def test_a_run_whose_control_actor_moved_has_a_profile_of_all_its_tasks() -> None:
    """The one that leads at its end has not seen the beginning, and keeps nothing."""
    rig = Rig()
    half_done(rig)
    lease = rig.executor.leases[1]
    rig.again()
    rig.executor._joined.add(RUNNER)
    keeper = EstimateKeeper(rig.home)
    rig.host = rig.made(None, keeper)
    with leading(rig, interrupts=False):
        held = Held(lease.run, lease.task, lease.attempt, lease.epoch, started=True)
        rig.host.offer([RunnerJoined(RUNNER, "scripted", 1.0, 1 << 30, (held,))]).wait(10.0)
        rig.host.offer([rig.executor.finished(lease)]).wait(10.0)
        rig.watch.wait_state(RunState.SUCCEEDED)
    keeper.close()

    trace = retraced(rig.home, rig.clock, RUN)

    assert not list(rig.store.list(f"runs/{RUN}/profile"))
    assert trace is not None
    found = profile_of(rig.home, RUN, trace)
    [stage] = found.stages
    assert (found.state, found.resumed) == ("succeeded", 0)
    assert (stage.tasks, stage.measured, stage.rows) == (2, 2, 2)
    assert found.whole_s > 0.0


def test_a_run_that_was_resumed_has_a_profile_of_all_its_tasks() -> None:
    rig = Rig()
    half_done(rig)
    rig.again()
    with leading(rig):
        rig.host.offer([RunResumed(RUN, VERSION)]).wait(10.0)
        rig.watch.wait_state(RunState.SUCCEEDED)

    trace = retraced(rig.home, rig.clock, RUN)

    assert trace is not None
    found = profile_of(rig.home, RUN, trace)
    assert (found.state, found.resumed, found.stages[0].measured) == ("succeeded", 1, 2)
    assert sum(found.runners.values()) == 1


def test_what_a_snapshot_has_taken_the_place_of_is_not_made_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host_module, "SNAPSHOT_SEGMENTS", 1)
    rig = Rig()
    with leading(rig):
        rig.submit(tasks=2)
        rig.watch.wait_state(RunState.SUCCEEDED)
        rig.host.offer([]).wait(10.0)
        rig.host.offer([]).wait(10.0)

    assert list(rig.store.list("journal/snap"))
    assert retraced(rig.home, rig.clock, RUN) is None


def test_a_rest_is_no_overhead() -> None:
    """Of a night between a failure and the resumption, only what came after it counts."""
    trace = Trace(again_s=[1_000.0, 9_000.0])

    assert trace.apart_s(900.0, 1_004.0) == 4.0
    assert trace.apart_s(1_001.0, 1_004.0) == 3.0
    assert trace.apart_s(0.0, 1_004.0) == 0.0


def test_a_runner_that_a_later_stage_asked_for_counts_from_when_that_was_cut() -> None:
    """One with a GPU has nothing to do before: what came first is no part of its start."""
    shapes = StageShape(name="lines"), StageShape(name="scored", gpus=1.0, after=(0,))
    first = AttemptStarted(RUN, TaskId(1), 0, Epoch(1), RUNNER)
    machine, traces = Machine(), Traces()
    seen: list[tuple[float, Fact]] = [
        (0.0, RunSubmitted(RUN, "nightly", "v0", shapes, ("out",))),
        (1.0, NodeJoined(NodeId("n"), "gpu", 4.0)),
        (10.0, PlanReady(RUN, (1, 0))),
        (35.0, StagePlanned(RUN, 1, 1, 1)),
        (40.0, RunnerJoined(RUNNER, "gpu", 1.0, 1 << 30, node=NodeId("n"), gpus=1.0)),
        (40.0, first),
    ]
    machine.handle(Event(EventId(1), 0.0, seen[0][1]))

    for number, (at_s, fact) in enumerate(seen):
        traces.saw(Event(EventId(number), at_s, fact), machine)

    trace = traces.taken(machine.runs[RUN], machine)
    assert trace is not None
    assert trace.starts_s == {RUNNER: 5.0}


@pytest.mark.parametrize(
    ("earlier", "opened_s", "stood"),
    [
        ((), 3.0, {"gpu": 7.0}),
        (("before",), 3.0, {}),  # Others had used it.
        ((), 12.0, {}),  # It came for the run.
    ],
)
def test_what_a_run_paid_for_before_it_was_submitted_is_in_its_profile(
    earlier: tuple[str, ...], opened_s: float, stood: dict[str, float]
) -> None:
    """Its nodes had waited for whoever comes first, and that is on its bill."""
    shapes = (StageShape(name="lines", gpus=1.0),)
    machine, traces, node = Machine(), Traces(), NodeId("n")
    windows = [
        NodeWindow(node, "gpu", 4.0, opened_s + at, opened_s + at + 1.0, used=((RunId(run), 1.0),))
        for at, run in enumerate((*earlier, RUN))
    ]
    seen: list[tuple[float, Fact]] = [
        *((2.0, RunSubmitted(RunId(run), "nightly", "v0", shapes, ("out",))) for run in earlier),
        (10.0, RunSubmitted(RUN, "nightly", "v0", shapes, ("out",))),
        *((20.0, NodesMetered((window,))) for window in windows),
    ]

    for number, (at_s, fact) in enumerate(seen):
        event = Event(EventId(number + 1), at_s, fact)
        machine.handle(event)
        traces.saw(event, machine)

    trace = traces.taken(machine.runs[RUN], machine)
    assert trace is not None
    assert trace.stood == stood
