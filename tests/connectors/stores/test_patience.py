from collections.abc import Iterator
from typing import Any

import pytest

from connectors.errors import (
    BadUrlError,
    StoreDeniedError,
    StoreError,
    StoreUnavailableError,
    StoreUnsureError,
)
from connectors.stores.patience import ExclusiveCreate, Patience

OURS, THEIRS = b"ours", b"theirs"
SILENCE = StoreUnavailableError("s3://b", "k", "no answer")
DENIED = StoreDeniedError("s3://b", "k", "expired")


class ThreeTries(Patience):
    """Does not wait."""

    def tries(self) -> Iterator[int]:
        return iter(range(1, 4))


def settle(answers: list[bool | StoreError], stored: list[Any]) -> str:
    """Settle with a server that answers each create and each read as told."""

    def answer(queue: list[Any]) -> Any:
        item = queue.pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    create = ExclusiveCreate("s3://b", "k", OURS, lambda: answer(answers), lambda: answer(stored))
    return create.settle(ThreeTries())


@pytest.mark.parametrize(
    ("answers", "stored", "outcome"),
    [
        ([True], [], "won"),
        ([False], [THEIRS], "occupied"),
        ([False], [OURS], "won"),
        ([SILENCE, True], [], "won"),
        ([SILENCE, False], [OURS], "won"),
        ([SILENCE, False], [THEIRS], "occupied"),
        ([SILENCE, SILENCE, True], [], "won"),
        # The answer was lost on the way back from the read: ask again.
        ([False, False], [SILENCE, THEIRS], "occupied"),
        # Taken, and gone when looked at: a conflict of requests under way.
        ([False, True], [None], "won"),
    ],
)
def test_the_outcome_is_what_the_key_holds(
    answers: list[bool | StoreError], stored: list[bytes | None], outcome: str
) -> None:
    assert settle(answers, stored) == outcome


@pytest.mark.parametrize("answers", [[SILENCE] * 3, [SILENCE, DENIED, DENIED]])
def test_a_doubt_that_stays_is_said_and_never_called_a_failure(
    answers: list[bool | StoreError],
) -> None:
    """A later refusal says nothing about the request that may still be under way."""
    with pytest.raises(StoreUnsureError) as caught:
        settle(answers, [])
    assert caught.value.remedy == "check"


def test_a_first_request_that_is_refused_is_a_plain_refusal() -> None:
    with pytest.raises(StoreDeniedError):
        settle([DENIED], [])


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf"])
def test_a_time_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadUrlError, match=f"option deadline_s .* not '{text}'"):
        Patience.from_options("s3://b", {"deadline_s": text})


def test_tries_end_before_the_deadline() -> None:
    assert list(Patience(deadline_s=0.01).tries()) == [1]
