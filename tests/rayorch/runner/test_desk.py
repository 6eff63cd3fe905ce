"""Leases and read-ahead batches: taken in order, bounded in bytes, given back until started."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa
import pytest

from connectors.splits import FilePart, Split
from rayorch.core.commands import Lease
from rayorch.ids import Epoch, TaskId
from rayorch.runner.desk import TICKETS_AHEAD_MAX, Desk, Ticket
from tests.rayorch.runner import make

BATCH = pa.table({"x": pa.array(range(128), pa.int64())})
SPLIT = Split(parts=(FilePart(key="a", size_bytes=1),))


def ticket(task: int, *, inline: bool = False) -> Ticket:
    lease = Lease(run=make.RUN, task=TaskId(task), attempt=0, epoch=Epoch(1), stage=0)
    return Ticket(lease, SPLIT, inline=inline)


def in_thread(call: Callable[[], object]) -> "Future[object]":
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call)
    pool.shutdown(wait=False)
    return future


def read(desk: Desk, batches: int = 1) -> Ticket:
    """Do the reader's part for the next ticket."""
    found = desk.next_to_read()
    assert found is not None
    for _ in range(batches):
        assert desk.wait_for_room(found, BATCH.nbytes)
        desk.put_batch(found, 0, BATCH)
    desk.end_reading(found)
    return found


def test_tickets_are_taken_in_order() -> None:
    desk = Desk(1 << 20)
    tickets = [ticket(0, inline=True), ticket(1), ticket(2, inline=True)]
    desk.put(tickets)
    read(desk)

    for expected in tickets:
        assert desk.take() is expected
        desk.finish(expected)


def test_a_ticket_is_not_started_before_its_first_batch_is_there() -> None:
    """So that it can be given back as long as only reading has begun."""
    desk = Desk(1 << 20)
    desk.put([ticket(0)])
    taking = in_thread(desk.take)
    found = desk.next_to_read()
    assert found is not None
    assert desk.held() == (None, [found.lease])

    desk.put_batch(found, 0, BATCH)

    assert taking.result(timeout=30) is found
    assert desk.held() == (found.lease, [])


def test_a_prefetched_ticket_can_be_given_back_and_frees_its_bytes() -> None:
    desk = Desk(BATCH.nbytes)
    first, second = ticket(0), ticket(1)
    desk.put([first, second])
    read(desk)
    found = desk.next_to_read()
    assert found is second
    waiting = in_thread(lambda: desk.wait_for_room(second, BATCH.nbytes))

    given = desk.give_back([first.key])

    assert given == [first]
    assert waiting.result(timeout=30) is True
    assert not first.batches


def test_the_reader_stops_for_a_ticket_that_was_given_back() -> None:
    desk = Desk(0)
    only = ticket(0)
    desk.put([only])
    found = desk.next_to_read()
    assert found is only
    desk.put_batch(only, 0, BATCH)
    waiting = in_thread(lambda: desk.wait_for_room(only, BATCH.nbytes))

    desk.give_back([only.key])

    assert waiting.result(timeout=30) is False
    desk.put_batch(only, 0, BATCH)  # what it was reading just then
    assert not only.batches


def test_a_started_ticket_is_not_given_back() -> None:
    desk = Desk(1 << 20)
    only = ticket(0, inline=True)
    desk.put([only])
    assert desk.take() is only

    assert desk.give_back([only.key]) == []


def test_each_ticket_is_either_started_or_given_back() -> None:
    """A worker takes while a host revokes, from one barrier: no ticket is lost, none is both."""
    for _ in range(50):
        desk = Desk(1 << 20)
        tickets = [ticket(task, inline=True) for task in range(20)]
        desk.put(tickets)
        barrier = threading.Barrier(2, timeout=30)
        started: list[Ticket] = []

        def work(desk: Desk = desk, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            while (taken := desk.take()) is not None:
                started.append(taken)  # noqa: B023 - joined within the loop
                desk.finish(taken)

        thread = threading.Thread(target=work)
        thread.start()
        barrier.wait()
        given = desk.give_back([one.key for one in reversed(tickets)])
        while not desk.is_idle:
            given += desk.give_back([one.key for one in tickets])
        desk.close()
        thread.join()

        assert {one.key for one in started} | {one.key for one in given} == {
            one.key for one in tickets
        }
        assert len(started) + len(given) == len(tickets)


def test_read_ahead_stays_within_its_bytes() -> None:
    desk = Desk(2 * BATCH.nbytes)
    only = ticket(0)
    desk.put([only])
    found = desk.next_to_read()
    assert found is only
    for _ in range(2):
        assert desk.wait_for_room(only, BATCH.nbytes)
        desk.put_batch(only, 0, BATCH)
    waiting = in_thread(lambda: desk.wait_for_room(only, BATCH.nbytes))
    assert not waiting.done()

    assert desk.take() is only
    next(desk.batches(only))

    assert waiting.result(timeout=30) is True


def test_a_batch_above_the_limit_is_read_all_the_same() -> None:
    desk = Desk(1)
    desk.put([ticket(0)])

    assert read(desk).size_bytes == BATCH.nbytes


def test_no_more_than_so_many_tickets_are_read_ahead() -> None:
    desk = Desk(1 << 30)
    desk.put([ticket(task) for task in range(TICKETS_AHEAD_MAX + 1)])
    for _ in range(TICKETS_AHEAD_MAX):
        read(desk)
    waiting = in_thread(desk.next_to_read)
    assert not waiting.done()

    taken = desk.take()

    assert taken is not None
    assert waiting.result(timeout=30) is not None


def test_an_error_of_the_reader_comes_after_the_batches_before_it() -> None:
    desk = Desk(1 << 20)
    only = ticket(0)
    desk.put([only])
    found = desk.next_to_read()
    assert found is only
    desk.put_batch(only, 0, BATCH)
    desk.end_reading(only, OSError("cut"))

    assert desk.take() is only
    batches = desk.batches(only)
    assert next(batches)[1].num_rows == BATCH.num_rows
    with pytest.raises(OSError, match="cut"):
        next(batches)


def test_a_cheap_ticket_is_left_to_the_worker() -> None:
    desk = Desk(1 << 20)
    only = ticket(0)
    desk.put([only])
    found = desk.next_to_read()
    assert found is only

    desk.leave_inline(only)

    assert desk.take() is only


def test_a_lease_that_comes_twice_runs_once() -> None:
    """After a restart of the control actor, leases may be sent again."""
    desk = Desk(1 << 20)
    desk.put([ticket(0, inline=True), ticket(1, inline=True)])
    taken = desk.take()
    desk.put([ticket(0, inline=True), ticket(1, inline=True)])

    running, queued = desk.held()

    assert taken is not None
    assert running == taken.lease
    assert [lease.task for lease in queued] == [1]


def test_a_draining_desk_returns_all_and_takes_no_more() -> None:
    desk = Desk(1 << 20)
    tickets = [ticket(task, inline=True) for task in range(3)]
    desk.put(tickets)
    assert desk.take() is tickets[0]

    assert desk.drain() == tickets[1:]
    late = [ticket(9)]
    assert desk.put(late) == late


def test_closing_ends_both_threads() -> None:
    desk = Desk(1 << 20)
    taking, reading = in_thread(desk.take), in_thread(desk.next_to_read)

    desk.close()

    assert taking.result(timeout=30) is None
    assert reading.result(timeout=30) is None
