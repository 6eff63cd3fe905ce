"""How long a runner took until it had work: of itself, and not of others or of its machine."""

from rayorch.core.facts import AttemptStarted, Event, Fact, RunnerJoined, RunnerLost
from rayorch.core.node_facts import NodeJoined, NodeLost
from rayorch.host.starting import Starts
from rayorch.ids import Epoch, EventId, NodeId, RunId, RunnerId, TaskId

RUNNER = RunnerId("r1")
NODE = NodeId("n1")
FIRST = AttemptStarted(RunId("nightly"), TaskId(0), 1, Epoch(1), RUNNER)
JOINED = RunnerJoined(RUNNER, "spot", 1.0, 1 << 30, node=NODE)


def starts(*seen: tuple[float, Fact]) -> Starts:
    made = Starts()
    for number, (at_s, fact) in enumerate(seen):
        made.saw(Event(EventId(number), at_s, fact))
    return made


def test_a_runner_of_a_machine_that_was_there_counts_from_the_plan() -> None:
    found = starts((10.0, NodeJoined(NODE, "spot", 1.0)), (103.0, JOINED))

    assert found.took_s(FIRST, 103.25, planned_s=100.0) == 3.25


def test_a_machine_that_came_later_counts_from_when_it_was_there() -> None:
    found = starts((160.0, NodeJoined(NODE, "spot", 1.0)), (162.0, JOINED))

    assert found.took_s(FIRST, 162.0, planned_s=100.0) == 2.0


def test_a_runner_that_was_warm_took_no_time() -> None:
    assert starts((10.0, JOINED)).took_s(FIRST, 100.0, planned_s=100.0) == 0.0


def test_what_a_runner_waited_for_its_turn_is_no_start() -> None:
    """It served somebody else, or its stage had not begun."""
    found = starts((10.0, NodeJoined(NODE, "spot", 1.0)), (102.0, JOINED))

    assert found.took_s(FIRST, 900.0, planned_s=100.0) == 2.0


def test_who_is_gone_and_comes_again_is_new() -> None:
    found = starts(
        (10.0, NodeJoined(NODE, "spot", 1.0)),
        (11.0, JOINED),
        (12.0, RunnerLost(RUNNER, "lost")),
        (13.0, NodeLost(NODE, "spot")),
        (200.0, NodeJoined(NODE, "spot", 1.0)),
        (204.0, JOINED),
    )

    assert found.took_s(FIRST, 204.0, planned_s=100.0) == 4.0
