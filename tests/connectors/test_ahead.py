"""Objects are read in order, some of them before they are wanted, and none that nobody may want."""

import threading
from contextlib import closing
from itertools import count

import pytest

from connectors.ahead import AT_ONCE, at_once_of, get_in_order
from connectors.errors import StoreUnavailableError
from connectors.stores.memory import MemoryStore
from rayorch.ids import new_nonce

WAIT_S = 20.0


class Far(MemoryStore):
    """A store with numbered objects; it notes what it was asked for."""

    def __init__(self, objects: int, gate: int = 0) -> None:
        super().__init__(new_nonce())
        self.asked: list[str] = []
        for number in range(objects):
            self.put(str(number), str(number).encode())
        # So many requests wait for each other: they get an answer together, or none.
        self._gate = threading.Barrier(gate) if gate else None
        self._gated = {str(number) for number in range(gate - 1, 2 * gate - 1)} if gate else set()

    def get(self, key: str) -> bytes:
        self.asked.append(key)
        if self._gate is not None and key in self._gated:
            self._gate.wait(WAIT_S)
        return super().get(key)


def got(store: Far, at_once: int | None = AT_ONCE) -> list[bytes]:
    found: list[bytes] = []
    with closing(get_in_order(store, map(str, count()), at_once)) as all_of_it:
        for data in all_of_it:
            if data is None:
                return found
            found.append(data)
    return found


@pytest.mark.parametrize("at_once", [1, 3, None])
def test_what_is_there_comes_in_order_up_to_what_is_not(at_once: int | None) -> None:
    assert got(Far(100), at_once) == [str(number).encode() for number in range(100)]


@pytest.mark.parametrize("at_once", [1, 8])
def test_who_goes_on_behind_what_is_not_there_gets_what_comes_after_it(at_once: int) -> None:
    far = Far(40)
    far.delete(["20", "21"])

    found = list(get_in_order(far, map(str, range(40)), at_once))

    assert found == [None if at in {20, 21} else str(at).encode() for at in range(40)]


def test_requests_to_a_far_store_are_under_way_together() -> None:
    """Eight of them wait for each other: were they made one by one, none would get an answer."""
    assert len(got(Far(60, gate=8), at_once=8)) == 60


def test_who_looks_whether_there_is_one_more_asks_for_one() -> None:
    """As whoever follows a journal does, twice a second."""
    nothing, one = Far(0), Far(1)

    assert (got(nothing), nothing.asked) == ([], ["0"])
    assert got(one) == [b"0"]
    assert len(one.asked) <= 3


def test_no_more_is_asked_for_than_may_be_under_way() -> None:
    far = Far(1_000)

    got(far)

    assert len(far.asked) <= 1_000 + AT_ONCE


def test_a_near_store_is_asked_one_by_one_and_a_far_one_is_not() -> None:
    near = Far(10)

    got(near, None)

    assert near.asked == [str(number) for number in range(11)]
    assert [at_once_of(url) for url in ("/home", "memory://a", "s3://b/c", "gs://b")] == [
        *(1, 1),
        *(AT_ONCE, AT_ONCE),
    ]


def test_what_cannot_be_read_is_raised_when_its_turn_comes() -> None:
    class Failing(Far):
        def get(self, key: str) -> bytes:
            if key == "5":
                raise StoreUnavailableError(self.url, key, "slow down")
            return super().get(key)

    found = get_in_order(Failing(10), map(str, count()), 4)

    assert [next(found) for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    with pytest.raises(StoreUnavailableError, match="slow down"):
        next(found)
