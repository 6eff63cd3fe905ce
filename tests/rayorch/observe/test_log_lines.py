import msgspec
import pytest

from rayorch.core.facts import (
    FACT_KINDS,
    VOLATILE,
    AttemptProgressed,
    AttemptStarted,
    Event,
    Fact,
    LeaseReturned,
    PlacementKept,
    Ticked,
)
from rayorch.core.limit_facts import PolicyApplied, UnitsFreed, UnitsTaken
from rayorch.core.node_facts import NodesMetered
from rayorch.ids import EventId
from rayorch.observe.log_lines import SAYINGS, line_of
from tests.rayorch.observe.make import RUN, failed, finished, joined, lost, published


def test_every_fact_has_a_line_but_the_frequent_and_dull() -> None:
    silent = {AttemptStarted, AttemptProgressed, LeaseReturned, PlacementKept, Ticked}

    # Readings of meters, policies and units are of the home, not of runs: `rayorch cost` and
    # `rayorch tenants` tell them.
    homes = {NodesMetered, PolicyApplied, UnitsFreed, UnitsTaken}
    assert set(SAYINGS) == set(FACT_KINDS) - silent - homes
    assert silent <= VOLATILE


@pytest.mark.parametrize(
    ("fact", "level", "message"),
    [
        (finished(1), "info", "10 rows in, 3 rows out"),
        (failed(1), "warning", "no such column"),
        (lost(1), "warning", "the runner went away. reason=spot"),
        (joined("spot"), "info", "runner joined pool spot with 4 cores and 8.0 GiB"),
        (published(), "info", "sink 0 published as 1: 12 rows, 4 files, 800 bytes"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_line_says_what_happened(fact: Fact, level: str, message: str) -> None:
    line = line_of(Event(EventId(7), 3.5, fact), RUN, "orders")

    assert (line.level, line.message, line.cause, line.at_s) == (level, message, 7, 3.5)
    assert line.event == type(fact).__name__


def test_a_failed_attempt_is_a_flat_object_with_its_error() -> None:
    line = line_of(Event(EventId(7), 3.5, failed(2, "oom")), RUN, "orders")

    assert msgspec.json.decode(msgspec.json.encode(line)) == {
        "at_s": 3.5,
        "level": "warning",
        "run": RUN,
        "event": "AttemptFailed",
        "message": "no such column",
        "stage": "orders",
        "task": 2,
        "attempt": 0,
        "cause": 7,
        "runner": "runner-1",
        "kind": "oom",
        "error": {"message": "no such column", "error_type": "KeyError"},
    }
