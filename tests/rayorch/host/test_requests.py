"""Requests under the home: obeyed once, and gone when they are."""

import pytest

from connectors.errors import StoreUnavailableError
from rayorch.clock import ManualClock
from rayorch.core.facts import RunCancelRequested, RunResumed, RunStopRequested, RunSubmitted
from rayorch.core.values import StageShape
from rayorch.home import REFUSED, REQUESTS, Home
from rayorch.host.requests import (
    LOOK_S,
    LOOK_S_IDLE,
    TAKEN_MAX,
    RequestBox,
    check_not_refused,
    leave_request,
)
from rayorch.ids import RunId
from rayorch.submit_errors import RefusedRequestError
from tests.rayorch.host.make import WatchedStore

STOP = RunStopRequested(RunId("a"))
CANCEL = RunCancelRequested(RunId("b"), "not needed")
RESUME = RunResumed(RunId("a"), "v1")
SUBMIT = RunSubmitted(RunId("c"), "nightly", "v1", (StageShape(name="lines"),), ())


@pytest.fixture
def store(request: pytest.FixtureRequest) -> WatchedStore:
    return WatchedStore(f"requests-{request.node.name}")


def box(store: WatchedStore) -> tuple[Home, ManualClock, RequestBox]:
    clock = ManualClock()
    home = Home(store)
    return home, clock, RequestBox(home, clock)


def test_requests_are_taken_in_the_order_in_which_they_were_left(store: WatchedStore) -> None:
    home, clock, mine = box(store)
    leave_request(home, CANCEL, clock.now_s() + 1.0, "x")
    leave_request(home, STOP, clock.now_s(), "y")

    assert mine.take(active=True) == [STOP, CANCEL]
    # Deleted only now, when what was returned is in the journal.
    assert len(list(store.list(REQUESTS))) == 2
    assert mine.take(active=True) == []
    assert list(store.list(REQUESTS)) == []


def test_the_box_is_looked_at_first_and_then_while_somebody_is_active(store: WatchedStore) -> None:
    home, clock, mine = box(store)
    assert mine.take(active=False) == []
    leave_request(home, STOP, clock.now_s(), "x")
    clock.advance(LOOK_S)

    assert mine.take(active=False) == []
    assert mine.take(active=True) == [STOP]


def test_who_serves_clients_looks_without_a_run_too_but_not_as_often(store: WatchedStore) -> None:
    home, clock, mine = box(store)
    assert mine.take(active=False, serves=True) == []
    leave_request(home, RESUME, clock.now_s(), "x")

    clock.advance(LOOK_S)
    assert mine.take(active=False, serves=True) == []
    clock.advance(LOOK_S_IDLE)
    assert mine.take(active=False, serves=True) == [RESUME]


def test_a_run_may_be_asked_for_by_way_of_the_home(store: WatchedStore) -> None:
    home, clock, mine = box(store)
    leave_request(home, SUBMIT, clock.now_s(), "x")

    assert mine.take(active=False) == [SUBMIT]


@pytest.mark.parametrize(
    "data",
    [
        b"{'not': json",
        b'{"type":"RunnerLost","runner":"r","kind":"lost"}',
        b'{"type":"RunStopRequested","run":"../../home"}',
    ],
)
def test_what_is_no_request_is_removed_and_its_client_is_told_why_once(
    store: WatchedStore, data: bytes
) -> None:
    home, _, mine = box(store)
    key = f"{REQUESTS}x.json"
    store.put(key, data)

    assert mine.take(active=True) == []
    assert mine.take(active=False) == []
    assert list(store.list(REQUESTS)) == []
    with pytest.raises(RefusedRequestError, match="refuses what a client sent"):
        check_not_refused(home, key)
    check_not_refused(home, key)
    assert list(store.list(REFUSED)) == []


def test_a_flood_of_requests_is_taken_in_parts(store: WatchedStore) -> None:
    home, clock, mine = box(store)
    for number in range(TAKEN_MAX + 5):
        leave_request(home, STOP, clock.now_s(), f"{number:04d}")

    assert len(mine.take(active=True)) == TAKEN_MAX
    clock.advance(LOOK_S)
    assert len(mine.take(active=True)) == 5


def test_a_request_that_cannot_be_deleted_is_not_returned_again(store: WatchedStore) -> None:
    """Its run may have been resumed since."""
    home, clock, mine = box(store)
    leave_request(home, STOP, clock.now_s(), "x")
    assert mine.take(active=True) == [STOP]

    def refuse(keys: list[str]) -> None:
        if keys:
            raise StoreUnavailableError(store.url, keys[0], "slow down")

    store.before_delete = refuse
    for _ in range(3):
        clock.advance(LOOK_S)
        assert mine.take(active=True) == []
    store.before_delete = lambda _: None
    assert mine.take(active=True) == []
    assert list(store.list(REQUESTS)) == []
