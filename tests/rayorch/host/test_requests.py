"""Requests under the home: obeyed once, and gone when they are."""

import pytest

from connectors.errors import StoreUnavailableError
from rayorch.clock import ManualClock
from rayorch.core.facts import RunCancelRequested, RunStopRequested
from rayorch.home import REQUESTS, Home
from rayorch.host.requests import LOOK_S, RequestBox, leave_request
from rayorch.ids import RunId
from tests.rayorch.host.make import WatchedStore

STOP = RunStopRequested(RunId("a"))
CANCEL = RunCancelRequested(RunId("b"), "not needed")


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


def test_what_is_no_request_is_removed_and_says_nothing(store: WatchedStore) -> None:
    _, _, mine = box(store)
    store.put(f"{REQUESTS}x.json", b"{'not': json")

    assert mine.take(active=True) == []
    assert mine.take(active=False) == []
    assert list(store.list(REQUESTS)) == []


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
