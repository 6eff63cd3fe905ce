"""Tasks go first to the machine whose disk may hold what they read, and wait for nobody."""

from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random

import pytest
from msgspec.structs import replace

from rayorch.core.dealing import FOLLOW_S
from rayorch.core.facts import PlanReady, RunnerJoined, RunnerLost, StagePlanned
from rayorch.core.near import (
    KEY_BITS,
    POINT_BITS,
    POINTS,
    Caches,
    NearQueue,
    Ring,
    pack_keys,
    unpack_keys,
)
from rayorch.core.queues import ReadyQueue
from rayorch.core.values import StageShape
from rayorch.ids import NO_CACHE, CacheId, RunnerId, TaskId
from tests.rayorch import make
from tests.rayorch.driver import Driver

A, B, C = CacheId("cache-a"), CacheId("cache-b"), CacheId("cache-c")
ALL_KEYS = range(1 << KEY_BITS)
ANY = frozenset[str]()


def keys_of(cache: CacheId, count: int, caches: Sequence[CacheId] = (A, B)) -> list[int]:
    """So many keys that belong to a cache."""
    ring = Ring(caches)
    return [key for key in ALL_KEYS if ring.cache_of(key) == cache][:count]


def running(keys: Iterable[int]) -> Driver:
    """A run whose tasks read what has these keys."""
    packed = pack_keys(list(keys))
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), PlanReady(make.RUN, (len(packed) // 2,), keys={0: packed}))
    return driver


def joined(runner: str, cache: str = "", pool: str = "local") -> RunnerJoined:
    return replace(make.joined(runner, pool=pool), cache=CacheId(cache))


def work_off(driver: Driver, runners: Sequence[str]) -> dict[str, list[int]]:
    """Let runners work, each as fast as the others, until nothing is left; who did what."""
    done: dict[str, list[int]] = {runner: [] for runner in runners}
    while driver.run.committed < len(driver.run.tasks):
        driver.tick(0.05)
        for runner in runners:
            if queue := driver.queue(runner):
                done[runner].append(queue[0].task)
                driver.feed(make.finished(queue[0], runner))
    return done


# --- to whom keys belong ---------------------------------------------------------------------


def test_the_keys_of_tasks_survive_the_journal() -> None:
    keys = [0, 1, 300, 65_535]
    assert list(unpack_keys(pack_keys(keys))) == keys
    assert pack_keys([1]) == b"\x01\x00"  # On whatever machine.


def test_keys_are_spread_evenly_over_caches() -> None:
    caches = [CacheId(f"cache-{number}") for number in range(20)]
    counts = Counter(map(Ring(caches).cache_of, ALL_KEYS))
    mean = len(ALL_KEYS) / 20
    assert min(counts.values()) > 0.6 * mean
    assert max(counts.values()) < 1.5 * mean


def test_a_cache_that_comes_takes_its_part_and_moves_nothing_else() -> None:
    before, after = Ring([A, B]), Ring([A, B, C])
    moved = [key for key in ALL_KEYS if before.cache_of(key) != after.cache_of(key)]
    assert {after.cache_of(key) for key in moved} == {C}
    assert 0.2 < len(moved) / len(ALL_KEYS) < 0.5


@pytest.mark.parametrize("seed", range(5))
def test_a_ring_is_the_same_however_its_caches_came_and_went(seed: int) -> None:
    """A restart makes it of caches that come in another order."""
    luck = Random(seed)
    every = [CacheId(f"node-{number}") for number in range(60)]
    caches, there = Caches(), set[CacheId]()

    for _ in range(8):
        for cache in luck.sample(every, luck.randint(0, len(every))):
            caches.count("fast", cache, -1 if cache in there else 1)
            there ^= {cache}

        ring, fresh = caches.ring(ANY), Ring(sorted(there, reverse=True))
        assert len(ring) == len(fresh) == POINTS * len(there)
        assert list(map(ring.cache_of, ALL_KEYS)) == list(map(fresh.cache_of, ALL_KEYS))


def test_equal_points_belong_to_the_cache_whose_name_is_first() -> None:
    """These two have one in common; four thousand caches have ten such pairs."""
    first, second, point = CacheId("node-1258"), CacheId("node-253"), 2_833_823_496
    key = point >> (POINT_BITS - KEY_BITS)  # The last one before it.

    assert {ring.cache_of(key) for ring in (Ring([first, second]), Ring([second, first]))} == {
        first
    }
    others = Ring([first]).cache_of(key), Ring([second, A]).cache_of(key)
    assert others == (first, second)  # It is a point of both.


@pytest.mark.parametrize("caches", [(), (A,), (A, B, C)])
def test_keys_are_divided_as_each_belongs_and_stay_in_order(caches: Sequence[CacheId]) -> None:
    ring, luck = Ring(caches), Random(1)
    keys = luck.sample(ALL_KEYS, 500)

    divided = ring.divided(keys)

    assert divided == {
        cache: [key for key in keys if ring.cache_of(key) == cache]
        for cache in caches or (NO_CACHE,)
    }
    assert ring.divided([]) == {}


def test_where_there_is_no_cache_keys_belong_to_nobody() -> None:
    assert Ring().cache_of(7) == NO_CACHE


def test_a_ring_is_of_the_pools_that_a_class_may_go_to() -> None:
    caches = Caches()
    caches.count("fast", A, 1)
    caches.count("slow", B, 1)
    caches.count("slow", NO_CACHE, 1)

    fast, everywhere = caches.ring(frozenset({"fast"})), caches.ring(ANY)

    assert {fast.cache_of(key) for key in ALL_KEYS} == {A}
    assert {everywhere.cache_of(key) for key in ALL_KEYS} == {A, B}


def test_a_ring_is_the_same_until_a_cache_comes_or_goes() -> None:
    caches = Caches()
    caches.count("fast", A, 1)
    ring = caches.ring(ANY)

    caches.count("fast", A, 1)  # Another runner of the same machine.
    caches.count("fast", A, -1)
    assert caches.ring(ANY) is ring

    caches.count("fast", A, -1)
    assert caches.ring(ANY).cache_of(7) == NO_CACHE


# --- what is next ----------------------------------------------------------------------------


def queue_of(*keys: int) -> NearQueue:
    queue = NearQueue()
    queue.follow(Ring([A, B]))
    for number, key in enumerate(keys):
        queue.add(TaskId(number), key)
    return queue


def test_its_own_come_first_the_oldest_of_them() -> None:
    a, b = keys_of(A, 2), keys_of(B, 2)
    queue = queue_of(a[0], b[0], a[1], b[1])

    assert queue.first(B) == 1
    assert [queue.pop(B), queue.pop(B)] == [1, 3]


def test_when_those_are_taken_the_last_of_whoever_has_most_come_next() -> None:
    caches = (A, B, C)
    a, b = keys_of(A, 3, caches), keys_of(B, 1, caches)
    queue = NearQueue()
    queue.follow(Ring(caches))
    for number, key in enumerate((*a, *b)):
        queue.add(TaskId(number), key)

    assert queue.first(C) == 2
    assert [queue.pop(C) for _ in range(4)] == [2, 1, 0, 3]
    assert not queue


def test_what_one_takes_and_what_it_was_shown_are_the_same_task() -> None:
    queue = queue_of(*keys_of(A, 5), *keys_of(B, 3), *keys_of(A, 2))
    for cache in (A, C, B, NO_CACHE, A, A, A, B, C, C):
        shown = queue.first(cache)
        assert queue.pop(cache) == shown
    assert len(queue) == 0


def test_a_task_that_comes_back_is_queued_again_where_it_belongs() -> None:
    key = keys_of(A, 1)[0]
    queue = queue_of(key)
    assert queue.pop(B) == 0
    queue.add(TaskId(0), key)
    assert queue.first(A) == 0
    assert list(queue) == [0]


def test_what_others_have_to_do_first_goes_before_it_in_its_class() -> None:
    """The rest of a task that was cut has no key."""
    queue = ReadyQueue()
    queue.add(TaskId(0), 0, 7)
    queue.add(TaskId(1), 0)
    assert (queue.size, queue.count([0]), queue.classes()) == (2, 2, [0, 0])
    assert [queue.pop([0], A), queue.pop([0], A), queue.pop([0], A)] == [1, 0, None]


# --- leases ----------------------------------------------------------------------------------


def test_two_machines_read_the_same_in_every_run() -> None:
    """The second run reads nothing that the other machine has."""
    keys = [*keys_of(A, 20), *keys_of(B, 20)]

    def run(order: tuple[str, str]) -> dict[str, set[int]]:
        driver = running(keys)
        cache = {"a": "cache-a", "b": "cache-b"}
        driver.feed(*(joined(each, cache=cache[each]) for each in order))
        return {runner: set(tasks) for runner, tasks in work_off(driver, order).items()}

    first, second = run(("a", "b")), run(("b", "a"))

    assert first == second == {"a": set(range(20)), "b": set(range(20, 40))}


def test_nobody_waits_for_the_machine_that_has_it() -> None:
    """All input is of one machine: the other does half of it all the same."""
    driver = running(keys_of(A, 40))
    driver.feed(joined("a", cache="cache-a"), joined("b", cache="cache-b"))

    done = work_off(driver, ("a", "b"))

    assert abs(len(done["a"]) - len(done["b"])) <= 2
    # From the end: what its own machine comes to last.
    assert max(done["a"]) < max(done["b"])
    assert done["b"][0] == 39


def test_a_runner_without_a_cache_takes_what_there_is() -> None:
    driver = running([*keys_of(A, 2), *keys_of(B, 2)])
    driver.feed(joined("plain"))
    assert len(work_off(driver, ("plain",))["plain"]) == 4


def test_without_any_cache_tasks_go_in_their_order() -> None:
    driver = running([*keys_of(B, 3), *keys_of(A, 3)])
    driver.feed(joined("plain"))
    assert work_off(driver, ("plain",))["plain"] == list(range(6))


def test_a_cache_never_sends_a_task_to_a_pool_that_the_plan_does_not_name() -> None:
    driver = running(keys_of(B, 4))
    driver.feed(make.placed(("cheap",), class_of=(0, 0, 0, 0)))
    driver.feed(
        joined("a", pool="cheap", cache="cache-a"),
        joined("b", pool="dear", cache="cache-b"),
    )
    driver.tick()
    assert driver.queue("a")
    assert not driver.queue("b")


def test_a_new_placement_keeps_what_tasks_read() -> None:
    driver = running([*keys_of(A, 4), *keys_of(B, 4)])
    driver.feed(make.placed((), class_of=(0,) * 8))
    driver.feed(joined("b", cache="cache-b"), joined("a", cache="cache-a"))
    driver.tick()
    assert [lease.task for lease in driver.queue("b")] == [4, 5]


def test_a_machine_that_comes_later_is_given_what_belongs_to_it() -> None:
    driver = running([*keys_of(A, 4), *keys_of(B, 4)])
    driver.feed(joined("a", cache="cache-a"))
    driver.tick()
    driver.feed(joined("b", cache="cache-b"))
    driver.tick(1.0)
    assert [lease.task for lease in driver.queue("b")] == [4, 5]


def test_what_belonged_to_a_machine_that_is_gone_is_done_by_others() -> None:
    driver = running(keys_of(B, 6))
    driver.feed(joined("a", cache="cache-a"), joined("b", cache="cache-b"))
    driver.tick()
    driver.feed(RunnerLost(RunnerId("b"), "lost"))
    work_off(driver, ("a",))
    assert driver.run.committed == 6


def test_machines_that_come_all_the_time_are_looked_at_now_and_then() -> None:
    """A look costs what there is to be looked at: it must not take all of the scheduler's time."""
    driver = running(keys_of(B, 1) * 2)
    driver.feed(joined("a", cache="cache-a"))
    driver.tick()
    flow = driver.machine.flows[make.RUN]
    assert flow.near_due_s == pytest.approx(driver.at_s + 65 * FOLLOW_S)


def test_a_stage_that_is_divided_later_has_keys_too_and_a_replay_knows_them() -> None:
    stages = (
        StageShape(name="small", sinks=(0,)),
        StageShape(name="large", sinks=(0,)),
    )
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(stages=stages), PlanReady(make.RUN, (1, 0), waits={1: (0,)}))
    driver.feed(joined("a", cache="cache-a"), joined("b", cache="cache-b"))
    driver.tick()
    driver.feed(make.finished(driver.head("a"), "a"))
    keys = pack_keys([*keys_of(B, 3), *keys_of(A, 3)])
    driver.feed(StagePlanned(make.RUN, 1, 1, 6, keys=keys))
    driver.tick()

    assert {lease.task for lease in driver.queue("b")} <= {1, 2, 3}
    assert {lease.task for lease in driver.queue("a")} <= {4, 5, 6}
    driver.assert_replays()
    restored = driver.restored().flows[make.RUN]
    assert list(restored.keys[1]) == list(unpack_keys(keys))
