"""Which tasks share what they read, and what they ask the store for then."""

from rayorch.exchange.sharing import groups, shared_requests, tasks_together, together_bytes
from rayorch.exchange.splits import Buckets, HotRows, ReduceSplit, Take

FILES = 1_000
MIB = 1 << 20


def task(number: int, *takes: Take, size_bytes: int = MIB) -> ReduceSplit:
    """A task of the bucket of its number, unless it takes something else."""
    return ReduceSplit(
        index=number,
        sides=(takes or (Buckets(number, number + 1),),),
        rows=(1,),
        raw_bytes=(size_bytes,),
        requests=FILES,
    )


def test_small_tasks_of_many_files_are_read_together() -> None:
    splits = [task(number) for number in range(100)]

    together = tasks_together(splits, [FILES], 240 * MIB)

    assert together == 40
    found = list(groups(splits, 0, together, together_bytes(240 * MIB, 1, FILES)))
    assert found == [(0, 40), (40, 80), (80, 100)]


def test_tasks_with_enough_of_their_own_are_read_alone() -> None:
    splits = [task(number, size_bytes=64 * MIB) for number in range(10)]
    assert tasks_together(splits, [10], 1 << 30) == 1


def test_a_group_ends_where_a_task_takes_something_else() -> None:
    splits = [task(number) for number in range(8)]
    splits[3] = task(3, HotRows(3, 7, 0, 10))
    splits[6] = task(6, Buckets(6, 7, without=(7,)))

    assert list(groups(splits, 0, 100, 100 * MIB)) == [(0, 3), (4, 6)]


def test_a_group_ends_where_the_next_task_takes_no_neighbour() -> None:
    splits = [task(0), task(1), task(5), task(6)]
    assert list(groups(splits, 0, 100, 100 * MIB)) == [(0, 2), (2, 4)]


def test_a_group_keeps_within_its_bytes() -> None:
    splits = [task(number) for number in range(5)]
    assert list(groups(splits, 0, 100, 2 * MIB)) == [(0, 2), (2, 4)]


def test_a_group_asks_for_each_file_once() -> None:
    splits = [task(number) for number in range(100)]

    found = shared_requests(splits, [FILES], 40, 240 * MIB)

    assert sum(split.requests for split in found) == 3 * FILES
    assert [n for n, split in enumerate(found) if split.requests] == [0, 40, 80]
