"""The queue in front of the host: bounded, and never in its taker's own way."""

import threading
from collections.abc import Sequence

import pytest

from rayorch.core.facts import Fact, Ticked
from rayorch.host import inbox as inbox_module
from rayorch.host.inbox import Inbox, Ticket

FACTS: Sequence[Fact] = (Ticked(), Ticked(), Ticked())


def offered(inbox: Inbox, facts: Sequence[Fact] = FACTS) -> tuple[threading.Thread, Ticket]:
    """Offer from a thread of its own."""
    ticket = Ticket()
    thread = threading.Thread(target=inbox.put, args=(facts, ticket), daemon=True)
    thread.start()
    return thread, ticket


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Inbox:
    """An inbox that is full after one batch."""
    monkeypatch.setattr(inbox_module, "WAITING_MAX", 2)
    return Inbox()


def test_all_that_waits_is_taken_at_once_in_its_order() -> None:
    inbox = Inbox()
    tickets = [Ticket(), Ticket()]
    inbox.put(FACTS[:1], tickets[0])
    inbox.put(FACTS[1:], tickets[1])
    assert len(inbox) == 3

    taken = inbox.take(0.0)

    assert taken == [(FACTS[:1], tickets[0]), (FACTS[1:], tickets[1])]
    assert len(inbox) == 0


def test_nothing_is_taken_when_the_time_is_over() -> None:
    assert Inbox().take(0.0) == []


def test_who_offers_to_a_full_inbox_waits_until_there_is_room(small: Inbox) -> None:
    """So runners slow down with the host, and its memory stays what it was."""
    small.put(FACTS, Ticket())
    waits, ticket = offered(small)
    waits.join(0.05)
    assert waits.is_alive()

    first = small.take(0.0)
    waits.join(10.0)

    assert not waits.is_alive()
    assert len(first) == 1
    assert [each for _, each in small.take(10.0)] == [ticket]


def test_who_takes_never_waits_for_itself(small: Inbox) -> None:
    """The host's own thread says what became of a command: nobody else would ever make room."""
    done = threading.Event()

    def host() -> None:
        small.take(0.0)
        small.put(FACTS, Ticket())
        small.put(FACTS, Ticket())
        done.set()

    threading.Thread(target=host, daemon=True).start()

    assert done.wait(10.0)
    assert len(small) == 6


def test_a_close_settles_what_waits_and_who_waits_and_who_comes(small: Inbox) -> None:
    reason = RuntimeError("over")
    inside = Ticket()
    told: list[BaseException | None] = []
    small.put(FACTS, inside)
    thread, waiting = offered(small)
    small.close(reason)
    thread.join(10.0)
    late = Ticket(told.append)
    small.put(FACTS, late)

    for ticket in (inside, waiting, late):
        with pytest.raises(RuntimeError, match="over"):
            ticket.wait(10.0)
    assert told == [reason]
    assert small.take(0.0) == []


def test_a_ticket_that_nobody_settles_times_out() -> None:
    with pytest.raises(TimeoutError, match="did not answer in time"):
        Ticket().wait(0.0)
